"""Images in Gradio's cache: written once, whole, and kept as long as they are asked for."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsem.ui.cached import cached_png

RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def test_the_same_image_is_the_same_file_and_another_shape_is_another(cache):
    path = cached_png(RGB)
    assert np.array_equal(np.asarray(Image.open(path)), RGB)
    assert cached_png(RGB.copy()) == path != cached_png(RGB.reshape(40, 24, 3))
    assert len(list(cache.rglob("*.png"))) == 2


def test_an_image_that_is_asked_for_is_young_and_not_written_again():
    path = Path(cached_png(RGB))
    inode = path.stat().st_ino
    os.utime(path, (1, 1))
    assert cached_png(RGB) == str(path)
    assert path.stat().st_mtime > time.time() - 60 and path.stat().st_ino == inode


def test_many_who_ask_at_once_get_a_whole_image(cache):
    def asked(_):
        return np.asarray(Image.open(cached_png(RGB)))

    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(image, RGB) for image in pool.map(asked, range(64)))
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["image.png"]
