"""Storages: the raw numbers behind the tensors of torch files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Name, kind_of

STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # raw bits, widened to float32 by `arrays`
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|u1",
}


@dataclass(frozen=True)
class Storage:
    """The raw numbers of a tensor: the torch name of their type, and their bytes."""

    kind: str
    raw: memoryview

    @property
    def itemsize(self) -> int:
        """The size of one number in bytes."""
        return np.dtype(STORAGE_DTYPES[self.kind]).itemsize


def storage_of(pid: Any) -> tuple[str, str, int]:
    """The kind, key and count of numbers in the persistent id of a storage; raises CheckpointError."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise CheckpointError("the file refers to something outside it that is not a storage")
    _, cls, key, _, count = pid[:5]
    if not isinstance(cls, Name) or cls.name not in STORAGE_DTYPES:
        raise CheckpointError(f"a storage of an unknown type: {kind_of(cls)}")
    if len(pid) == 6 and pid[5] is not None:
        raise CheckpointError("a storage that is a view of another one, which no known checkpoint has")
    if not isinstance(key, str) or type(count) is not int or count < 0:
        raise CheckpointError("damaged description of a storage")
    return cls.name, key, count
