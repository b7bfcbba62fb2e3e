"""A file on the Hub, and the check that the cached file is that file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from linsem import transfer
from linsem.errors import InputError

HASH = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\Z")  # git's, or sha256


class HubError(InputError):
    """An operation on the Hub failed; the message is one sentence that says why and what to do."""


class _Damaged(HubError):
    """A cached file does not have the hash that is its name."""


@dataclass(frozen=True)
class HubFile:
    """A file in a repository; `revision` is a commit or a branch, `sha256` None means the hash that the Hub states."""

    repo: str
    file: str
    revision: str = "main"
    repo_type: str = "model"
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}"


def verified(file: HubFile, path: Path) -> Path:
    """Return `path` after checking the hash of its content; a damaged file is removed from the cache.

    Blobs are named by their hash. One that matches its name is intact and stays, even if it is not the expected file.
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
    """Raise HubError unless the file has the expected sha256 or, if that is None, the hash that the Hub states.

    A damaged file is deleted. A cache without symbolic links (on some systems) does not record the Hub's hash, which
    was compared after the download.
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
    """The file's hash, sha256 or git's, of the same kind as `expected`; `expected` itself if it is not a hash."""
    if not HASH.match(expected):
        return expected
    return transfer.sha256_of(path) if len(expected) == 64 else transfer.git_hash_of(path)


def wrong(file: HubFile, expected: str, found: str) -> str:
    """The beginning of an error message about a file with the wrong hash."""
    return (
        f"{file} is not the file that was expected (hash {expected[:12]}..., got {found[:12]}...): try again, and if "
        "it stays so do not use it, since it was replaced or tampered with"
    )
