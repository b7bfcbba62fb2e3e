"""A file of the Hub, and whether what lies in the cache is that file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from linsem import transfer
from linsem.errors import InputError

HASH = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\Z")  # of git, or sha256


class HubError(InputError):
    """Something with the Hub failed; the message is one sentence that says what, and what to do."""


class _Damaged(HubError):
    """A file in the cache is not what its own name says."""


@dataclass(frozen=True)
class HubFile:
    """A file in a repository; `revision` is a commit or a branch; `sha256` None: the hash that the Hub states."""

    repo: str
    file: str
    revision: str = "main"
    repo_type: str = "model"
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}"


def verified(file: HubFile, path: Path) -> Path:
    """`path`, once its content has the expected hash; what is damaged is taken out of the cache.

    A blob is named by its hash. One that still has it is somebody else's good file, even if it is not what we expect.
    """
    blob = path.parent / os.readlink(path) if path.is_symlink() else path
    name = blob.name if path.is_symlink() or blob.parent.name == "blobs" else ""
    try:
        check(file, blob, name)
    except _Damaged:
        path.unlink(missing_ok=True)
        raise
    return path


def check(file: HubFile, path: Path, etag: str) -> None:
    """Raise HubError unless the file has the sha256 that we expect, or else the hash that the Hub states.

    What is damaged is deleted. A cache without links (on some systems) does not keep what the Hub stated, which was
    compared when the file came.
    """
    expected = file.sha256 or etag
    found = _hash_like(expected, path)
    if found == expected:
        return
    if path.name == etag and _hash_like(etag, path) == etag != "":
        raise HubError(wrong(file, expected, found) + "; it was left in the cache, since it is not damaged")
    path.unlink(missing_ok=True)
    raise _Damaged(wrong(file, expected, found) + "; it was deleted")


def _hash_like(expected: str, path: Path) -> str:
    """The file's hash of the kind of another one, sha256 or git's; for what is no hash, that itself."""
    if not HASH.match(expected):
        return expected
    return transfer.sha256_of(path) if len(expected) == 64 else transfer.git_hash_of(path)


def wrong(file: HubFile, expected: str, found: str) -> str:
    """The beginning of a sentence on a file that has another hash."""
    return (
        f"{file} is not the file that was expected (hash {expected[:12]}..., got {found[:12]}...): try again, and if "
        "it stays so do not use it, since it was replaced or tampered with"
    )
