"""Temperature scaling of probabilities (Guo et al., ICML 2017), on pixels that took no part in the fit."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_LOWEST, _HIGHEST = 0.05, 20.0


def temperature_of(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    """The T > 0 that minimises the cross-entropy of softmax(logits / T); logits (n, K), labels (n,), weight (n,).

    The loss is convex in 1 / T, so a grid and a golden-section search find it. T is limited to 0.05..20, and is 1 if
    there are no pixels.
    """
    if len(labels) == 0:
        return 1.0
    logits, labels = logits.detach().double(), labels.long()
    weight = torch.ones_like(logits[:, 0]) if weight is None else weight.double()
    weight = weight / weight.sum()
    grid = torch.logspace(-1.3, 1.3, 27, base=10.0, dtype=torch.float64).tolist()
    best = min(grid, key=lambda t: _loss(logits, labels, weight, t))
    low, high = best / 1.26, best * 1.26
    for _ in range(12):  # golden section between the neighbours of the best grid point
        a, b = high - (high - low) * 0.618, low + (high - low) * 0.618
        if _loss(logits, labels, weight, a) < _loss(logits, labels, weight, b):
            high = b
        else:
            low = a
    return float(min(max((low + high) / 2, _LOWEST), _HIGHEST))


def _loss(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, temperature: float) -> float:
    return float((F.cross_entropy(logits / temperature, labels, reduction="none") * weight).sum())
