"""Atomic writing of files: complete or not at all, however the process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which is renamed to it at the end; after an error `path` is unchanged.

    The file gets the permissions of any new file, whatever its writer set.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    partial.touch(exist_ok=False)
    try:
        mode = partial.stat().st_mode & 0o777
        yield partial
        os.chmod(partial, mode)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
