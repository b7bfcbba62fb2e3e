"""Files that are written whole or not at all, whatever ends the process in between."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name at the end. After an error `path` is as it was.

    The file gets the permissions that any new file gets, whatever its writer gave it. A full disk is an OSError,
    whoever writes.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    partial.touch(exist_ok=False)
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
