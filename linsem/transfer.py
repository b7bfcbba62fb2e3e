"""A resumable transfer into a file, and the hashes by which one knows that it is the right file."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

RETRIES = 5  # in a row without a new byte
FIRST_WAIT = 0.5  # seconds before the first of them; each next one waits twice as long
_CHUNK = 1 << 20

Progress = Callable[[int, int], None]


class TransferError(Exception):
    """A transfer cannot be finished; the message says what to do."""


class NothingThere(Exception):
    """The server has nothing at the place where the transfer should go on."""


@dataclass(frozen=True)
class Stream:
    """The bytes of an answer, and at which byte of the file they begin (0 if the server cannot go on in the middle)."""

    chunks: Iterator[bytes]
    start: int


def receive(
    part: Path,
    size: int,
    open_at: Callable[[int], AbstractContextManager[Stream]],
    progress: Progress | None = None,
) -> None:
    """Fill `part` up to `size` bytes, going on after what it already holds; `progress(done, size)` counts bytes.

    `open_at(start)` opens the source and raises ConnectionError where it breaks, which is taken up again; `part` is
    kept for the next call when that does not help. Raises TransferError.
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
    """The hash by which git names a file of this content."""
    return _hash(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False))


def _append(
    part: Path, size: int, before: int, open_at: Callable[[int], AbstractContextManager[Stream]],
    progress: Progress | None,
) -> None:  # fmt: skip
    start = before if before < size else 0  # longer than the whole: not a part of it
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
