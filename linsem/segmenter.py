"""What reads the labels of a generated image in the latent loop: an extractor, or a network that sees the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from linsem.extractor import Extractor

Segmenter = Callable[[torch.Tensor | None, list[torch.Tensor], tuple[int, int]], torch.Tensor]


def as_segmenter(segmenter: Extractor | Segmenter, device: torch.device | str | None = None) -> Segmenter:
    """An extractor as a function of (image, features, size); a function is returned unchanged."""
    if not isinstance(segmenter, Extractor):
        return segmenter
    if any(w.is_inference() for w in segmenter.weights.values()):  # loaded in inference mode: no gradient flows through
        segmenter = replace(segmenter, weights={name: w.clone() for name, w in segmenter.weights.items()})
    if device is not None:  # once, rather than in each step
        segmenter = segmenter.to(device)
    return lambda image, features, size: segmenter.logits(features, size)


def teacher_segmenter(teacher: object) -> Segmenter:
    """A segmenter from an image network with `.logits(image)`, as in the paper's baselines."""

    def segment(image: torch.Tensor | None, features: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        return teacher.logits(image)

    return segment
