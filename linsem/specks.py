"""Categories of which an image shows too little to be one: the few pixels of glasses on a face that wears none.

A linear map decides pixel by pixel, and of thousands some few look like anything. How large a category is where there
is any tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from linsem.agree import labels_of
from linsem.pixels import IGNORE

SHARE = 0.12  # of its usual area: what is less of a category in an image is none of it


def areas(maps: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """The share of each image that each category has, (N, K), from label maps (H, W), 255 = unknown."""
    return np.stack([np.bincount(m[m != IGNORE].ravel(), minlength=classes) / m.size for m in maps])


def least_areas(shares: np.ndarray) -> tuple[float, ...]:
    """For each category the share of an image below which it is a speck, from what `areas` gives, (N, K).

    Of strokes only what is painted is known of its area. 0 for a category without a pixel.
    """
    return usual_areas(shares.sum(axis=0), (shares > 0).sum(axis=0))


def usual_areas(total: np.ndarray, images: np.ndarray) -> tuple[float, ...]:
    """The same from (K,) the sum of a category's shares of the images, and the number of images that have it."""
    return tuple((SHARE * total / np.maximum(images, 1)).tolist())


def without_specks(logits: torch.Tensor, least: Sequence[float], labels: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (N, K, H, W) to labels (N, H, W) uint8 among the categories that an image shows enough of.

    `least` (K,) are shares of the image. A speck takes the likeliest of the other categories; the largest category is
    none. `labels` are those of the largest logits, where they are known; they are not changed.
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
