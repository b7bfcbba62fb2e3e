"""Reads generator checkpoints of several origins without executing anything in them.

`read_checkpoint` recognises a file by its content and returns its family, configuration and state, with tensors named
as in `linsem`; `build_network` turns these into a frozen network. Each format has a module: `own`, `nvidia_torch`,
`nvidia_tf`, `rosinality`, `genforce`.
"""

from __future__ import annotations

import dataclasses
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
from linsem.checkpoints.tables import notes_on, tables_in
from linsem.checkpoints.torchfile import looks_legacy, read_torch_legacy, read_torch_zip, state_table
from linsem.checkpoints.zipped import looks_zip

__all__ = ["Checkpoint", "CheckpointError", "build_network", "read_checkpoint", "write_safetensors"]

MAX_FILE_BYTES = 2 * 2**30  # the largest known file of these families has 0.4 GB, or 0.9 GB with its optimizers

FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer (the weights themselves were not downloaded)",
    b"<!": "a web page (the download gave a page instead of the file)",
    b"<html": "a web page (the download gave a page instead of the file)",
    b"\x89HDF": "an HDF5 file of another library",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"BZh": "a bzip2 archive (unpack it first)",
}

FORMATS = (
    (rosinality.find_states, rosinality.read_rosinality),
    (nvidia_torch.find_states, nvidia_torch.read_state),
    (genforce.find_states, genforce.read_genforce),
)
"""How the state dicts of each format are found in a table, and read."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a generator from a file of any known format, recognised by content; nothing in it is executed or imported.

    Raises `CheckpointError`, with a sentence that says why, for any other file.
    """
    return parse_checkpoint(_mapped(Path(path)))


def _mapped(path: Path) -> memoryview:
    """Map a regular file of at most `MAX_FILE_BYTES`; parts that are not accessed take no memory."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: {'this is no regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise CheckpointError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got {size}")
            if not size:  # an empty file cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_checkpoint(data: bytes | memoryview) -> Checkpoint:
    """Like `read_checkpoint`, but from bytes in memory; every failure raises `CheckpointError`."""
    try:
        return _recognise(memoryview(data))
    except CheckpointError:
        raise
    except Exception as error:  # last resort: no damaged file may cause any other exception
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
    """Read a checkpoint from the value of a torch file: of a network that was saved whole, or of its best table."""
    if nvidia_torch.looks_nvidia_torch(value):
        return nvidia_torch.read_nvidia_torch(value, decoder)
    if not isinstance(value, dict | Made):
        raise CheckpointError(f"expected a table of tensors in the torch file, got {kind_of(value)}")
    found = [(read, state) for table in tables_in(value) for find, read in FORMATS for state in find(table)]
    if not found:
        raise CheckpointError(f"a torch file of an unknown network: it holds {_some_keys(value)}")
    found.sort(key=lambda pair: pair[1].rank)
    read, state = found[0]
    checkpoint = read(state, decoder)
    more = notes_on(state.path, [other.path for _, other in found[1:]])
    return dataclasses.replace(checkpoint, notes=(*checkpoint.notes, *more))


def _from_pickle(value: Any, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from the value of a plain pickle."""
    if nvidia_torch.looks_nvidia_torch(value):
        return nvidia_torch.read_nvidia_torch(value, decoder)
    if nvidia_tf.looks_nvidia_tf(value):
        return nvidia_tf.read_nvidia_tf(value, decoder)
    what = _some_keys(value) if isinstance(value, dict) else kind_of(value)
    raise CheckpointError(f"a pickle, but none of NVIDIA's networks: it holds {what}")


def _some_keys(value: Any) -> str:
    """The first keys of a table and of the tables in it, for messages; `checked_key` ensures that they are plain."""
    table = entries(value)
    names = [str(key)[:60] for key in list(table)[:4]]
    for inner in list(table.values())[:2]:
        if isinstance(inner, dict | Made):
            names += [str(key)[:60] for key in list(state_table(inner))[:3]]
    return ", ".join(names) or "nothing"
