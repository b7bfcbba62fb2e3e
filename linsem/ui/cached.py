"""Images as files in Gradio's cache, written once and atomically.

Gradio's own components name such a file after its content too, but write it anew at each call: whoever is being served
the same image then gets an empty file, or a part of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from linsem.whole import whole


def cached_png(rgb: np.ndarray) -> str:
    """The path of an image (H, W, 3) uint8 as a PNG, in a folder named after a hash of its content."""
    rgb = np.ascontiguousarray(rgb)
    digest = hashlib.blake2b(rgb.data, digest_size=20, person=b"%dx%d" % rgb.shape[:2]).hexdigest()
    path = Path(get_upload_folder()) / digest / "image.png"
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)  # `delete_cache` deletes by age
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        Image.fromarray(rgb).save(partial, format="PNG", compress_level=3)
    return str(path)
