"""The header of a PNG says what Pillow will decode, or nothing at all."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from linsem.pictures import MAX_CHUNKS, png_head
from tests.hostile_files import chunk

TEXT = chunk(b"tEXt", b"a\0b")


def header(width, height):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def plain():
    """A PNG of 5 x 3 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def size_in(head):
    return struct.unpack(">II", head[:8])


def test_a_header_is_told_only_if_it_is_the_one_that_is_decoded():
    told, wrong, whole = 0, 0, plain()
    for first, second, third in itertools.product((b"", TEXT, header(5, 3), header(1, 1)), repeat=3):
        data = whole[:8] + first + whole[8:33] + second + TEXT + third + whole[33:]
        with Image.open(io.BytesIO(data)) as image:
            decoded = image.size
        head = png_head(data)
        assert (head is not None) == (not first and data.count(b"IHDR") == 1)
        assert head is None or size_in(head) == decoded == (5, 3)
        told += head is not None
        wrong += first != TEXT and size_in(data[16:]) != decoded
    assert told == 4 and wrong > 10  # of 64, and for so many the first header would be wrong


def test_what_follows_the_pixels_changes_no_size():
    data = plain()
    data = data[:-12] + header(1, 1) + data[-12:]
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == size_in(png_head(data)) == (5, 3)


@pytest.mark.parametrize("data", [b"", b"GIF89a", plain()[:8], plain()[:32], b"\xff" * 64])
def test_what_is_no_png_has_no_header(data):
    assert png_head(data) is None


def test_chunks_without_end_are_not_counted():
    data = plain()
    few, many = (data[:33] + count * TEXT + data[33:] for count in (MAX_CHUNKS - 1, MAX_CHUNKS))
    assert png_head(few) == png_head(data) and png_head(many) is None
