"""Fresh noise through the `Generator` protocol, for the families that have noise."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from linsem.generator import Generator, checked_pass

_STRENGTHS = ("noise_strength", "noise_weight")


def has_noise(generator: Generator) -> bool:
    """Whether noise affects the features: the generator accepts it, and some noise strength is not zero."""
    takes = inspect.signature(generator.synthesize).parameters
    if "noise_mode" not in takes or "noise_seeds" not in takes or not isinstance(generator, torch.nn.Module):
        return False
    strengths = [p for name, p in generator.named_parameters() if name.rsplit(".", 1)[-1] in _STRENGTHS]
    return any(bool(p.detach().abs().max() > 0) for p in strengths)


def synthesize_noisy(
    generator: Generator, ws: torch.Tensor, noise_seeds: Sequence[int], last_layer: int | None = None
) -> list[torch.Tensor]:
    """The features of ws (N, num_ws, w_dim) under noise determined by one seed per sample.

    A generator without noise gives its only features.
    """
    more = {"noise_mode": "random", "noise_seeds": list(noise_seeds)} if has_noise(generator) else {}
    return checked_pass(generator, ws, image=False, last_layer=last_layer, **more)[1]
