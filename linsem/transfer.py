"""A resumable download into a file, and the hashes that verify it."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

RETRIES = 5  # in a row without a new byte
FIRST_WAIT = 0.5  # seconds before the first retry; doubled for each further one
_CHUNK = 1 << 20

Progress = Callable[[int, int], None]


class TransferError(Exception):
    """A download that cannot be finished; the message says what to do."""


class NothingThere(Exception):
    """The server has no data at the position where the download should continue."""


@dataclass(frozen=True)
class Stream:
    """The bytes of a response, and their position in the file (0 if the server does not support ranges)."""

    chunks: Iterator[bytes]
    start: int


def receive(
    part: Path,
    size: int,
    open_at: Callable[[int], AbstractContextManager[Stream]],
    progress: Progress | None = None,
) -> None:
    """Fill `part` up to `size` bytes, continuing after what it already holds; `progress(done, size)` counts bytes.

    `open_at(start)` opens the source and raises ConnectionError where the connection breaks, which is retried; if that
    fails, `part` is kept for the next call. Raises TransferError.
    """
    left, wait = RETRIES, FIRST_WAIT
    part.touch()
    _need_room(part, size - _length(part))
    if progress:
        progress(_length(part), size)
    while (before := _length(part)) != size:
        try:
            _append(part, size, before, open_at, progress)
            broken = None
        except ConnectionError as error:
            broken = error
        except NothingThere:
            part.write_bytes(b"")
            before, broken = size, None
        reached = _length(part)
        if reached == size:
            return
        left, wait = (RETRIES, FIRST_WAIT) if reached > before else (left - 1, 2 * wait)
        if left == 0:
            raise TransferError(
                f"the download broke off at {reached >> 20} of {_mb(size)} MB: check the network and try again, it "
                "goes on from there"
            ) from broken
        time.sleep(wait)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return _hash(path, hashlib.sha256())


def git_hash_of(path: Path) -> str:
    """The hash under which git stores a file with this content."""
    return _hash(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False))


def _append(
    part: Path, size: int, before: int, open_at: Callable[[int], AbstractContextManager[Stream]],
    progress: Progress | None,
) -> None:  # fmt: skip
    start = before if before < size else 0  # longer than the file: not a part of it
    with open_at(start) as stream, part.open("ab" if stream.start else "wb") as target:
        done = stream.start
        for chunk in stream.chunks:
            done += len(chunk)
            if done > size:
                target.truncate(0)
                raise TransferError(f"more came than the {size} bytes that were announced: try again")
            target.write(chunk)
            if progress:
                progress(done, size)


def _length(part: Path) -> int:
    return part.stat().st_size


def _need_room(part: Path, need: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if need > free:
        raise TransferError(
            f"the disk is full: {_mb(need)} MB are needed in {part.parent}, {free >> 20} MB are free; make room, or "
            "set HF_HOME to another disk"
        )


def _mb(size: int) -> int:
    return -(-size // (1 << 20))


def _hash(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
