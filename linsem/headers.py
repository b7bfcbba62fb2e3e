"""How long the header of a safetensors file may be.

A header is JSON, and so are some of the texts in it: parsed, these may take thirty times as much memory. A file that
was made here has a header of a few thousand bytes.
"""

from __future__ import annotations

from pathlib import Path

from linsem.errors import InputError

MAX_HEADER = 1 << 20  # bytes; a generator of 1024 pixels has a header of 20 thousand


def check_header(source: Path | bytes | memoryview, what: str, error: type[InputError]) -> None:
    """Raise `error` if a safetensors file, or its bytes, have too long a header, which the message calls `what`.

    Any other fault is left to the reader, a header that is longer than the file too.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            start, size = file.read(8), source.stat().st_size
    else:
        start, size = source[:8], len(source)
    length = int.from_bytes(start, "little")
    if MAX_HEADER < length <= size:
        raise error(f"{what}: expected at most {MAX_HEADER} bytes, got {length}")
