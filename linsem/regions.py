"""Regions: where an edit may act, as a black and white image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from linsem.pixels import resize_labels

MAX_PIXELS = 16_000_000


class RegionError(ValueError):
    """A file that is no region."""


def read_region(source: str | Path, size: tuple[int, int]) -> np.ndarray:
    """An image of any size to (H, W) bool at `size`: white (from half gray on, and opaque) is where an edit may act."""
    try:
        with Image.open(source, formats=("PNG", "JPEG", "WEBP", "BMP", "GIF")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RegionError(f"region: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            pixels = np.asarray(image.convert("RGBA"))
    except RegionError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise RegionError("region: expected an image (white: may change, black: stays), got something else") from error
    white = (pixels[..., :3].mean(-1) >= 127.5) & (pixels[..., 3] >= 128)
    return resize_labels(white.astype(np.uint8), size).astype(bool)


def write_region(region: np.ndarray, path: str | Path) -> None:
    """(H, W) bool to a black and white PNG."""
    Image.fromarray(np.where(region, 255, 0).astype(np.uint8)).save(path, "PNG")
