"""Contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

GAP = 4


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = GAP) -> np.ndarray:
    """Arrange rows of equally sized rgb images (H, W, 3) uint8 on white, with gaps; rows may differ in length."""
    height, width = rows[0][0].shape[:2]
    across = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) + gap, across * (width + gap) + gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            y, x = gap + r * (height + gap), gap + c * (width + gap)
            sheet[y : y + height, x : x + width] = picture
    return sheet


def save_columns(cases: Sequence[Sequence[np.ndarray]], path: Path, per_row: int) -> None:
    """Save cases, each a column of images; `per_row` columns side by side, then a new band."""
    bands = []
    for start in range(0, len(cases), per_row):
        part = cases[start : start + per_row]
        bands.append(grid([[case[i] for case in part] for i in range(len(part[0]))]))
    width = max(band.shape[1] for band in bands)
    padded = [np.pad(b, ((0, 12), (0, width - b.shape[1]), (0, 0)), constant_values=255) for b in bands]
    save(np.concatenate(padded), path)


def save(rgb: np.ndarray, path: Path) -> None:
    """Save an optimised PNG."""
    Image.fromarray(rgb).save(path, optimize=True)
