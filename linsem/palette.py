"""Categories and colours: a single place to import the categories, their visualisations and label map files from.

`labels` are (H, W) integers: the index of a category in {0..K-1}, or `IGNORE` (255) for unlabelled; `rgb` is
(H, W, 3) uint8. Categories are implemented in `linsem.categories`, label map files in `linsem.masks`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linsem.arguments import array
from linsem.categories import (
    DEFAULT_COLORS,
    MAX_CATEGORIES,
    SNAP,
    UNLABELLED_COLOR,
    Category,
    checked_labels,
    color_table,
    given_categories,
    parse_categories,
    rgb_of,
)  # fmt: skip
from linsem.errors import InputError
from linsem.masks import TEXT_KEY, LabelMap, LabelMapError, read_label_map, write_label_map
from linsem.pixels import IGNORE

__all__ = [
    "DEFAULT_COLORS", "MAX_CATEGORIES", "SNAP", "TEXT_KEY", "UNLABELLED_COLOR", "Category", "LabelMap", "LabelMapError",
    "color_table", "colorize", "gray", "heat", "overlay", "parse_categories", "read_label_map", "rgb_of",
    "write_label_map",
]  # fmt: skip

_LUMINANCE = (0.2126, 0.7152, 0.0722)
_HEAT = ((0.0, (28, 16, 68)), (0.35, (122, 36, 108)), (0.65, (226, 88, 58)), (0.85, (248, 170, 44)),
         (1.0, (252, 246, 170)))  # fmt: skip


def colorize(labels: np.ndarray, categories: Sequence[Category]) -> np.ndarray:
    """Convert labels (..., H, W) to rgb (..., H, W, 3) uint8; unlabelled pixels are gray."""
    categories = given_categories(categories)
    labels = checked_labels(labels, categories)
    return color_table(categories)[labels]


def overlay(rgb: np.ndarray, labels: np.ndarray, categories: Sequence[Category], opacity: float = 0.6) -> np.ndarray:
    """Blend the categories' colours over rgb (..., H, W, 3) uint8 in gray, so that any hue stands for a category.

    Unlabelled pixels are gray too: in their own colours they could be mistaken for a category.
    """
    rgb, labels = array("rgb", rgb), array("labels", labels)
    if rgb.shape[-1:] != (3,) or rgb.dtype != np.uint8:
        raise InputError(f"rgb: expected (..., H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    if rgb.shape[:-1] != labels.shape:
        raise InputError(f"overlay: expected labels {rgb.shape[:-1]} for this rgb, got {labels.shape}")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity: expected 0..1, got {opacity}")
    weight = np.where(labels == IGNORE, 0.0, opacity)[..., None]
    mixed = gray(rgb) * (1 - weight) + colorize(labels, categories) * weight
    return np.rint(mixed).astype(np.uint8)


def gray(rgb: np.ndarray) -> np.ndarray:
    """Convert rgb (..., H, W, 3) to gray: the luminance (Rec. 709) in all three channels, uint8."""
    luminance = np.rint(rgb @ np.array(_LUMINANCE)).astype(np.uint8)
    return np.repeat(luminance[..., None], 3, -1)


def heat(values: np.ndarray) -> np.ndarray:
    """Map values (..., H, W), clipped to [0, 1], to rgb (..., H, W, 3) uint8, dark to bright."""
    values = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0).clip(0, 1)
    stops = np.array([stop for stop, _ in _HEAT])
    colors = np.array([color for _, color in _HEAT], dtype=np.float64)
    channels = [np.interp(values, stops, colors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)
