"""Atomic writing of files: complete or not at all, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from linsem.errors import InputError


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which is renamed to it at the end; after an error `path` is unchanged.

    A link stays, and the file that it leads to is replaced. The file gets the permissions of any new file, whatever its
    writer set. A full disk is an OSError, whoever writes. Raises InputError if something else than a file is there.
    """
    path, target = Path(path), followed(path)
    name = target.name.encode(errors="surrogateescape")[:100].decode(errors="ignore")  # file systems count bytes
    partial = target.with_name(f".{name}.{secrets.token_hex(6)}.part")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not may_be_file(path):
        raise InputError(f"{path}: expected a file, got a pipe, a device or a loop of links")
    try:
        partial.touch(exist_ok=False)
    except OSError as error:  # tells of the caller's path, not of this one
        raise type(error)(error.errno, error.strerror, str(path)) from error
    try:
        mode = partial.stat().st_mode & 0o777
        yield partial
        os.chmod(partial, mode)
        os.replace(partial, target)
    except SafetensorError as error:
        partial.unlink(missing_ok=True)
        raise _of_system(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def followed(path: str | Path) -> Path:
    """The file that a path leads to, through any links; there need not be one yet."""
    return Path(os.path.realpath(path))


def may_be_file(path: str | Path) -> bool:
    """Whether a file is there, or nothing; not a folder, a pipe, a device, or a link that leads to itself."""
    return os.path.isfile(path) or not (os.path.exists(path) or os.path.islink(followed(path)))


def _of_system(error: SafetensorError, path: Path) -> Exception:
    """The OSError that safetensors tells of in words, as any other writer raises it; any other error as it is."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1])), str(path)) if found else error
