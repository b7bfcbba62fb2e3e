"""The moments of a layer's channels, by which supervised training evens them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from linsem.readout import READS

LEAST, ROUNDING = 1e-3, 3e-5  # of a layer's largest deviation, and root mean square: what varies less is constant


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean, the standard deviation and the root mean square of each channel of a layer, (C,) each.

    In even features, from which a run learns, all channels weigh the same, whatever their units. For an LSE they have
    no mean either, so that its convex problem is well conditioned. For an NSE they keep it: NSE-1 learns sooner with
    it, and the convolutions of NSE-2 see zeros beyond the border, which would not stand for the same thing.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    size: torch.Tensor

    def even(self, features: torch.Tensor, kind: str) -> torch.Tensor:
        """Features (N, C, h, w) as an extractor of this kind learns from them."""
        if kind == "LSE":
            return (features - self.mean[:, None, None]) / self.deviation[:, None, None]
        return features / self.size[:, None, None]

    def fold(self, weights: dict[str, torch.Tensor], kind: str, layer: int) -> None:
        """Change the weights of a layer, in place, from those for even features to those for features as they are."""
        first = weights[f"layer{layer}.{READS[kind]}"]
        first /= (self.deviation if kind == "LSE" else self.size).view(1, -1, *[1] * (first.ndim - 2))
        if kind == "LSE":
            weights["bias"] -= first @ self.mean


def moments_of(means: Sequence[Sequence[torch.Tensor]], variances: Sequence[Sequence[torch.Tensor]]) -> list[Moments]:
    """The moments of each layer over images, from the means and the variances (C,) of each image's layers."""
    found = []
    for layer in range(len(means[0])):
        mine, vary = torch.stack([each[layer] for each in means]), torch.stack([each[layer] for each in variances])
        mean = mine.mean(0)
        variance = vary.mean(0) + mine.var(0, correction=0)
        size, deviation = (variance + mean.square()).sqrt(), variance.sqrt()
        least = torch.maximum(LEAST * deviation.max(), ROUNDING * size.max())
        found.append(Moments(mean, _at_least(deviation, least), _at_least(size, LEAST * size.max())))
    return found


def _at_least(values: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    return torch.where(least > 0, values.maximum(least), 1.0)
