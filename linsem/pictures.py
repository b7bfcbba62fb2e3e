"""Reading of untrusted image files: known formats, bounded size, upright, and a clear error for any damage.

`png_head` is for those who look at the sizes of many files before they decode one.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageOps

from linsem.errors import InputError

MAX_PIXELS = 16_000_000
MAX_BYTES = 64_000_000  # of the file
MAX_CHUNKS = 1000  # of a PNG before its pixels; files have about five
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


class PictureError(InputError):
    """A file that is not a picture, or too large."""


def open_picture(source: bytes | str | Path, what: str, kind: type[PictureError] = PictureError) -> Image.Image:
    """Decode a picture (the bytes of a file, or a path), upright; raises `kind`, whose message begins with `what`.

    `info["lossy"]` says whether its colours are only approximately those saved, `info["deep"]` whether it holds more
    bits than are read here (a PNG of 16 bits a channel, unless it is plain gray); `info["text"]` has its text chunks.
    """
    if not isinstance(source, (bytes, str, os.PathLike)):
        raise kind(f"{what}: expected the bytes of a file, or its path, got {type(source).__name__}")
    data = source if isinstance(source, bytes) else _bytes_of(Path(source), what, kind)
    if len(data) > MAX_BYTES:
        raise kind(f"{what}: expected a file of at most {MAX_BYTES // 10**6} MB, got {len(data)} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise kind(f"{what}: expected at most {MAX_PIXELS:,} pixels, got far more") from error
    except Exception as error:  # Pillow's readers raise many exceptions on hostile bytes
        raise kind(f"{what}: expected a picture ({', '.join(FORMATS)}), got something else") from error
    if image.width * image.height > MAX_PIXELS:
        got = f"{image.width} x {image.height}"
        raise kind(f"{what}: expected at most {MAX_PIXELS // 10**6} megapixels, got {got}")
    try:
        format_, image.filename = image.format, ""
        image.load()
        text = getattr(image, "text", {})
        image = ImageOps.exif_transpose(image)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA") and not image.mode.startswith("I"):
            image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    except Exception as error:  # as above: damage may come late in a file
        raise kind(f"{what}: the picture is damaged or incomplete") from error
    image.format = format_
    image.info["text"] = text
    image.info["deep"] = format_ == "PNG" and data[24:25] == b"\x10" and data[25:26] != b"\x00"  # depth, colour type
    image.info["lossy"] = format_ == "JPEG" or (format_ == "WEBP" and b"VP8L" not in data[:64])
    return image


def png_head(data: bytes) -> bytes | None:
    """The header of a PNG, undecoded: width, height (4 bytes each), bit depth, colour type, and more; 13 bytes.

    None for any other file, and for a PNG with a second header: of two, Pillow takes the last, so that the sizes in the
    first could be small whatever is decoded.
    """
    if not data.startswith(_PNG_HEAD) or len(data) < 33:
        return None
    at = 33  # behind the header and its checksum
    for _ in range(MAX_CHUNKS):
        kind = data[at + 4 : at + 8]
        if kind == b"IHDR":
            return None
        if kind in (b"IDAT", b""):  # the pixels begin, or the file has ended: no later chunk changes the size
            return data[16:29]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return None


def _bytes_of(path: Path, what: str, kind: type[PictureError]) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        folder = isinstance(error, IsADirectoryError)
        told = f"expected a file, {path.name!r} is a folder" if folder else f"there is no readable file {path.name!r}"
        raise kind(f"{what}: {told}") from error
