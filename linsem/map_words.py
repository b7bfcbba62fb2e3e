"""What is said of a label map that was read, and of one that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from linsem.categories import Category
from linsem.pixels import IGNORE

MIXED = 8  # colours of no category, on fewer than half of the pixels: edges that were smoothed


def belongs(indices: np.ndarray, categories: Sequence[Category]) -> np.ndarray:
    """Which indices are those of a category, or 255."""
    return ((indices >= 0) & (indices < len(categories))) | (indices == IGNORE)


def unknown_indices(indices: np.ndarray, categories: Sequence[Category]) -> str:
    """Which indices belong to no category, most frequent first."""
    values, counts = np.unique(indices[~belongs(indices, categories)], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    listed = ", ".join(f"{values[i]} ({counts[i]} pixels)" for i in order[:5])
    more = f" and {len(order) - 5} more" if len(order) > 5 else ""
    return (
        f"label map: {int(counts.sum())} pixels have an index that belongs to no category: {listed}{more}; expected "
        f"0..{len(categories) - 1} or {IGNORE} for unlabelled"
    )


def cause_of(image: Image.Image, near: np.ndarray, counts: np.ndarray) -> str:
    """Why a map may have colours of no category, if that can be told from the file, else ""."""
    if image.info.get("lossy"):
        return f"{image.format} keeps colours only nearly, so save it as PNG; "
    mixed = (near < 0).sum() > MIXED and 2 * counts[near < 0].sum() < counts.sum()
    return "its edges look smoothed, so save it without smoothing; " if mixed else ""


def unknown_colors(colors: np.ndarray, counts: np.ndarray, categories: Sequence[Category], cause: str) -> str:
    """Which packed colours, found so often, belong to no category, most frequent first."""
    order = np.argsort(-counts, kind="stable")
    listed = ", ".join(f"#{colors[i]:06x} ({counts[i]} pixels)" for i in order[:3])
    more = f" and {len(order) - 3} more" if len(order) > 3 else ""
    known = ", ".join(f"{category.color} {category.name}" for category in categories[:6])
    known += f" and {len(categories) - 6} more" if len(categories) > 6 else ""
    return (
        f"label map: {cause}{_pixels_have(int(counts.sum()))} a colour that belongs to no category: {listed}{more}; "
        f"expected {known} (saved as PNG, without smoothing), or transparent for unlabelled"
    )


def _pixels_have(count: int) -> str:
    return "1 pixel has" if count == 1 else f"{count} pixels have"


def names(categories: Sequence[Category]) -> str:
    """The names of categories, of many the first."""
    return ", ".join(category.name for category in categories[:24])


def stretched(given: tuple[int, int], size: tuple[int, int] | None) -> str:
    """A note if the aspect ratio of the file differs from that of `size` by more than rounding, else ""."""
    if size is None or abs(given[0] * size[1] - given[1] * size[0]) <= max(*given, *size):
        return ""
    return f"stretched from {given[1]} × {given[0]}, which is another shape than {size[1]} × {size[0]}"


def notes_of(before: np.ndarray, after: np.ndarray, snapped: int, categories: Sequence[Category]) -> list[str]:
    """What to tell of a map with so many pixels (256,) of each label before and after resizing."""
    notes = []
    present = [category.name for k, category in enumerate(categories) if after[k]]
    if not present:
        notes.append("every pixel is unlabelled")
    if len(present) == 1:
        notes.append(f"only one category is there: {present[0]}")
    if snapped:
        notes.append(
            f"{_pixels_have(snapped)} a colour near a category's, and {'was' if snapped == 1 else 'were'} taken for it"
        )
    lost = [category.name for k, category in enumerate(categories) if before[k] and not after[k]]
    if lost:
        notes.append(f"lost in resizing, being too small: {', '.join(lost)}")
    return notes
