"""Per-pixel operations on logits that the latent loop runs at each step: labels, margins and weighted cross-entropy.

They are written out because composed from single operations they took a tenth of a step; torch's argmax over classes
alone takes as long as two layers of the generator.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def labels_of(logits: torch.Tensor) -> torch.Tensor:
    """The most likely class of each pixel, the first on ties: (N, K, H, W), K <= 255, to (N, H, W) uint8.

    NaN counts as the last class.
    """
    classes = logits.shape[1]
    rank = torch.arange(classes, 0, -1, dtype=torch.uint8, device=logits.device)[:, None, None]
    highest = logits == logits.amax(dim=1, keepdim=True)
    return classes - (highest * rank).amax(dim=1).clamp_min(1)


def margin_of(probabilities: torch.Tensor) -> torch.Tensor:
    """The lead of the most likely class over the second: (N, K, H, W) to (N, H, W)."""
    first = probabilities.amax(dim=1)
    highest = probabilities == first[:, None]
    second = probabilities.masked_fill(highest, 0).amax(dim=1)
    return torch.where(highest.sum(dim=1) > 1, 0.0, first - second)


def weighted_entropy(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, bound: float = 0.0
) -> torch.Tensor:
    """The weighted sum of the pixels' cross-entropies, (N,).

    With `bound` q in (0, 1] it is the generalised cross-entropy (1 - p^q) / q of the target's probability p (Zhang and
    Sabuncu, NeurIPS 2018), of which q = 0 is the limit: a pixel that is far from its target costs at most 1 / q, and
    pulls with p^q of the force.

    Args:
        logits: (N, K, H, W), any real numbers.
        target: (N, H, W) int64 in 0..K-1, also where the weight is 0.
        weight: (N, H, W), 0 where there is no target.

    Target and weight may be (1, H, W), shared by all samples.
    """
    return _WeightedEntropy.apply(logits, target, weight, bound)


class _WeightedEntropy(torch.autograd.Function):
    """Weighted cross-entropy with a gradient written out, which reuses the memory of the log-softmax."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, bound: float
    ) -> torch.Tensor:
        """(N,) losses."""
        share = F.log_softmax(logits, dim=1)
        count = len(logits)
        index, wanted = (x[:, None].expand(count, -1, -1, -1) for x in (target, weight.to(share.dtype)))
        found = share.gather(1, index)
        force = (bound * found).exp() if bound else None
        cost = -found if force is None else -torch.expm1(bound * found) / bound
        loss = torch.where(wanted > 0, cost * wanted, 0.0).sum(dim=(1, 2, 3))  # an excluded class has logit -inf
        wanted = wanted if force is None else wanted * force
        if ctx.needs_input_grad[0]:
            error = share.exp_().mul_(wanted)
            ctx.save_for_backward(error.scatter_add_(1, index, -wanted))
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """The gradient of the logits."""
        (error,) = ctx.saved_tensors
        return error * gradient[:, None, None, None], None, None, None
