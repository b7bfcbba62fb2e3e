"""Foreign generator checkpoints, read without executing anything that they hold.

`read_checkpoint` recognises a file by its content and returns family, configuration and state under our own names;
`build_network` turns that into a frozen network. One format a file: `own`, `nvidia_torch`, `nvidia_tf`, `rosinality`,
`genforce`.
"""

from __future__ import annotations

from pathlib import Path

from linsem.checkpoints.build import build_network
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.own import looks_own, read_own, write_safetensors

__all__ = ["Checkpoint", "CheckpointError", "build_network", "read_checkpoint", "write_safetensors"]

MAX_FILE_BYTES = 4 * 2**30  # the largest known checkpoint of these families has 0.4 GB


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The generator in a file of any known format, told by its content; nothing in it is executed or imported.

    Raises `CheckpointError` with a sentence for whatever is not one.
    """
    return parse_checkpoint(read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a regular file of at most `MAX_FILE_BYTES`."""
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CheckpointError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got {size}")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_checkpoint(data: bytes) -> Checkpoint:
    """As `read_checkpoint`, of bytes in memory."""
    if looks_own(data):
        return read_own(data)
    raise CheckpointError("not a generator checkpoint in any known format")
