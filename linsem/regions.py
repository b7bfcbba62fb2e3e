"""Editing regions, as black and white images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linsem.pictures import PictureError, open_picture
from linsem.pixels import resize_labels


class RegionError(PictureError):
    """A file that is not a region."""


def read_region(source: str | Path, size: tuple[int, int]) -> np.ndarray:
    """Read an image of any size as (H, W) bool at `size`: white (half grey or lighter, and opaque) may be edited."""
    image = open_picture(source, "region (white: may change, black: stays)", RegionError)
    if image.mode.startswith("I"):
        gray = np.asarray(image)
        white = gray >= (127.5 if gray.max() <= 255 else 32767.5)  # 8 bits or 16
    else:
        pixels = np.asarray(image.convert("RGBA"))
        white = (pixels[..., :3].mean(-1) >= 127.5) & (pixels[..., 3] >= 128)
    return resize_labels(white.astype(np.uint8), size).astype(bool)
