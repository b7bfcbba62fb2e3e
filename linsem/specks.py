"""Removal of specks: categories with too few pixels in an image, such as glasses on a face that wears none.

A linear extractor decides pixel by pixel, and of thousands of pixels some resemble anything. The usual area of a
category, where it occurs, tells specks from the real thing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from linsem.agree import labels_of
from linsem.pixels import IGNORE

SHARE = 0.12  # of a category's usual area: less than this in an image is a speck


def areas(maps: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Each category's share of each image, (N, K), from label maps (H, W), 255 = unknown."""
    return np.stack([np.bincount(m[m != IGNORE].ravel(), minlength=classes) / m.size for m in maps])


def least_areas(shares: np.ndarray) -> tuple[float, ...]:
    """Each category's minimum area, as a share of an image, from `areas` (N, K); 0 for a category without a pixel.

    Of strokes, only the painted pixels count.
    """
    return usual_areas(shares.sum(axis=0), (shares > 0).sum(axis=0))


def usual_areas(total: np.ndarray, images: np.ndarray) -> tuple[float, ...]:
    """The same from (K,) sums of each category's shares and (K,) numbers of images that have it."""
    return tuple((SHARE * total / np.maximum(images, 1)).tolist())


def without_specks(logits: torch.Tensor, least: Sequence[float], labels: torch.Tensor | None = None) -> torch.Tensor:
    """Labels (N, H, W) uint8 of logits (N, K, H, W), among the categories that are large enough in each image.

    `least` (K,) are shares of the image. The pixels of a speck take the most likely other category; an image's largest
    category is never a speck. `labels` are those of the largest logits, if already known; they are not modified.
    """
    labels = labels_of(logits) if labels is None else labels.clone()
    flat = labels.flatten(1).long()
    counts = flat.new_zeros(logits.shape[:2]).scatter_add_(1, flat, torch.ones_like(flat))
    few = counts < flat.shape[1] * torch.tensor(least, dtype=torch.float64, device=flat.device)
    few.scatter_(1, counts.argmax(dim=1, keepdim=True), False)
    rows = (few & (counts > 0)).any(dim=1)
    if rows.any():
        labels[rows] = labels_of(logits[rows].masked_fill(few[rows][:, :, None, None], -torch.inf))
    return labels
