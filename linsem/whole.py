"""Files that are written whole or not at all, whatever ends the process in between."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name at the end. After an error `path` is as it was.

    The file gets the permissions that any new file gets, whatever its writer gave it.
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
