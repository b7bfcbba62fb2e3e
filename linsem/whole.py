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


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which is renamed to it at the end; after an error `path` is unchanged.

    The file gets the permissions of any new file, whatever its writer set. A full disk is an OSError, whoever writes.
    """
    path = Path(path)
    name = path.name.encode(errors="surrogateescape")[:100].decode(errors="ignore")  # file systems count bytes
    partial = path.with_name(f".{name}.{secrets.token_hex(6)}.part")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        partial.touch(exist_ok=False)
    except OSError as error:  # tells of the caller's path, not of this one
        raise type(error)(error.errno, error.strerror, str(path)) from error
    try:
        mode = partial.stat().st_mode & 0o777
        yield partial
        os.chmod(partial, mode)
        os.replace(partial, path)
    except SafetensorError as error:
        partial.unlink(missing_ok=True)
        raise _of_system(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _of_system(error: SafetensorError, path: Path) -> Exception:
    """The OSError that safetensors tells of in words, as any other writer raises it; any other error as it is."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1])), str(path)) if found else error
