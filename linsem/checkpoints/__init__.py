"""Foreign generator checkpoints, read without executing anything that they hold.

`read_checkpoint` recognises a file by its content and returns family, configuration and state under our own names;
`build_network` turns that into a frozen network. One format a file: `own`, `nvidia_torch`, `nvidia_tf`, `rosinality`,
`genforce`.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

from linsem.checkpoints import genforce, nvidia_tf, nvidia_torch, rosinality
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.build import build_network
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, entries, kind_of
from linsem.checkpoints.own import looks_own, read_own, write_safetensors
from linsem.checkpoints.pickles import read_pickle
from linsem.checkpoints.torchfile import looks_legacy, read_torch_legacy, read_torch_zip, state_table
from linsem.checkpoints.zipped import looks_zip

__all__ = ["Checkpoint", "CheckpointError", "build_network", "read_checkpoint", "write_safetensors"]

MAX_FILE_BYTES = 2 * 2**30  # the largest known one of these families has 0.4 GB; with its optimizers, 0.9

FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer (the weights themselves were not downloaded)",
    b"<!": "a web page (the download gave a page instead of the file)",
    b"<html": "a web page (the download gave a page instead of the file)",
    b"\x89HDF": "an HDF5 file of another library",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"BZh": "a bzip2 archive (unpack it first)",
}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The generator in a file of any known format, told by its content; nothing in it is executed or imported.

    Raises `CheckpointError` with a sentence for whatever is not one.
    """
    return parse_checkpoint(_mapped(Path(path)))


def _mapped(path: Path) -> memoryview:
    """The bytes of a regular file of at most `MAX_FILE_BYTES`. What nobody looks at takes no memory."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: {'this is no regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise CheckpointError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got {size}")
            if not size:  # which cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_checkpoint(data: bytes | memoryview) -> Checkpoint:
    """As `read_checkpoint`, of bytes in memory. Whatever goes wrong, a `CheckpointError` comes out."""
    try:
        return _recognise(memoryview(data))
    except CheckpointError:
        raise
    except Exception as error:  # the last net: a damaged file must never take its caller down
        raise CheckpointError(f"damaged, or not a generator checkpoint ({type(error).__name__}: {error})") from error


def _recognise(data: memoryview) -> Checkpoint:
    head = bytes(data[:64])
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise CheckpointError(f"this is {what}, not a generator checkpoint")
    if looks_own(data):
        return read_own(data)
    if looks_zip(data):
        value, storages = read_torch_zip(data)
        return _from_torch(value, Decoder(storages, len(data)))
    if looks_legacy(data):
        value, storages = read_torch_legacy(data)
        return _from_torch(value, Decoder(storages, len(data)))
    if head[:1] == b"\x80":
        return _from_pickle(read_pickle(data)[0], Decoder(size=len(data)))
    raise CheckpointError("not a generator checkpoint in any known format (safetensors, torch file or pickle)")


def _from_torch(value: Any, decoder: Decoder) -> Checkpoint:
    """The checkpoint in the value of a torch file."""
    if not isinstance(value, dict | Made):
        raise CheckpointError(f"expected a table of tensors in the torch file, got {kind_of(value)}")
    if rosinality.find_state(value) is not None:
        return rosinality.read_rosinality(value, decoder)
    if nvidia_torch.find_state(value) is not None:
        return nvidia_torch.read_state(value, decoder)
    if genforce.find_state(value) is not None:
        return genforce.read_genforce(value, decoder)
    raise CheckpointError(f"a torch file of an unknown network: it holds {_some_keys(value)}")


def _from_pickle(value: Any, decoder: Decoder) -> Checkpoint:
    """The checkpoint in the value of a plain pickle."""
    if nvidia_torch.looks_nvidia_torch(value):
        return nvidia_torch.read_nvidia_torch(value, decoder)
    if nvidia_tf.looks_nvidia_tf(value):
        return nvidia_tf.read_nvidia_tf(value, decoder)
    what = _some_keys(value) if isinstance(value, dict) else kind_of(value)
    raise CheckpointError(f"a pickle, but none of NVIDIA's networks: it holds {what}")


def _some_keys(value: Any) -> str:
    """The first names in a table and in the tables in it, for messages. Keys are plain: `checked_key` has seen them."""
    table = entries(value)
    names = [str(key)[:60] for key in list(table)[:4]]
    for inner in list(table.values())[:2]:
        if isinstance(inner, dict | Made):
            names += [str(key)[:60] for key in list(state_table(inner))[:3]]
    return ", ".join(names) or "nothing"
