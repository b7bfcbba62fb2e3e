"""Decodes inert descriptions of tensors and arrays, checking their geometry before anything is allocated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, Persistent, kind_of, shown
from linsem.checkpoints.storages import STORAGE_DTYPES, Storage, storage_of
from linsem.checkpoints.torchfile import TENSORS, nested_storage

MAX_ELEMENTS = 2**28  # per checkpoint; the largest known generator has 30 million parameters
SHARED = 2**16  # numbers that a file may describe in excess of its size in bytes
MAX_DIMENSIONS = 8
NUMBERS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class Decoder:
    """Turns descriptions into float32 tensors, limiting their total so that one buffer cannot be decoded without end.

    A checkpoint stores each number once, in at least one byte, so a file of `size` bytes may describe that many
    numbers, plus `SHARED` for small tensors that share a buffer.
    """

    def __init__(self, storages: dict[str, Storage] | None = None, size: int = MAX_ELEMENTS) -> None:
        self.storages = storages or {}
        self.limit = self.left = min(size + SHARED, MAX_ELEMENTS)
        self.nested: dict[int, tuple[Any, Storage]] = {}  # by the id of the bytes, which are kept alive

    def spend(self, name: str, count: int) -> None:
        """Count numbers as decoded; raises CheckpointError beyond what the file can hold or any generator has."""
        self.left -= count
        if self.left < 0:
            raise CheckpointError(f"{name}: the file describes more numbers than it can hold, which are {self.limit}")

    def tensor(self, name: str, value: Any) -> torch.Tensor:
        """The float32 tensor that `value` describes; raises a CheckpointError that names it if there is none."""
        if isinstance(value, Made) and value.is_of("torch._utils._rebuild_parameter"):
            value = _argument(name, value, 0)
        if not isinstance(value, Made) or not value.is_of("torch._utils._rebuild_tensor_v2"):
            raise CheckpointError(f"{name}: expected a tensor, got {kind_of(value)}")
        if not isinstance(value.args, tuple) or len(value.args) < 4:
            raise CheckpointError(f"{name}: damaged description of a tensor")
        storage = self.storage(name, value.args[0])
        offset, size, stride = value.args[1:4]
        return torch.from_numpy(self.strided(name, storage, offset, _sizes(name, size), _sizes(name, stride)))

    def numbers(self, name: str, value: Any) -> torch.Tensor:
        """The float32 tensor of a tensor, an array or a plain number."""
        is_tensor = isinstance(value, Made) and value.is_of(*TENSORS)
        return self.tensor(name, value) if is_tensor else self.array(name, value)

    def strided(
        self, name: str, storage: Storage, offset: Any, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> np.ndarray:
        """A float32 copy of the numbers at `offset` with the given geometry; raises if any lies outside the storage."""
        count = len(storage.raw) // storage.itemsize
        total = _product(size)
        if len(size) != len(stride) or type(offset) is not int or offset < 0:
            raise CheckpointError(f"{name}: damaged geometry of a tensor of {size}")
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if total and last >= count:  # one with a stride of 0 may have more numbers than its storage
            raise CheckpointError(f"{name}: a tensor of {size} reaches beyond its storage of {count} numbers")
        self.spend(name, total)
        numbers = np.frombuffer(storage.raw, STORAGE_DTYPES[storage.kind], count=count)[offset:]
        steps = tuple(step * storage.itemsize for step in stride)
        view = np.lib.stride_tricks.as_strided(numbers, size, steps, writeable=False)
        if storage.kind == "BFloat16Storage":
            return (np.ascontiguousarray(view).astype(np.uint32) << 16).view(np.float32).reshape(size)
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which `build` refuses
            return np.array(view, dtype=np.float32, order="C")

    def storage(self, name: str, value: Any) -> Storage:
        """A storage of this file, or one that is embedded in the pickle as bytes."""
        if isinstance(value, Persistent):
            kind, key, count = storage_of(value.pid)
            found = self.storages.get(key)
            if found is None or found.kind != kind or len(found.raw) != count * found.itemsize:
                raise CheckpointError(f"{name}: its storage is not in the file")
            return found
        if isinstance(value, Made) and value.is_of("torch.storage._load_from_bytes"):
            return self.nested_storage(name, _argument(name, value, 0))
        raise CheckpointError(f"{name}: expected a storage, got {kind_of(value)}")

    def nested_storage(self, name: str, value: Any) -> Storage:
        """The storage in embedded bytes, read only once, since thousands of tensors may share it through the memo."""
        raw = _argument(name, value, 0) if isinstance(value, Made) else value
        if id(raw) not in self.nested:
            self.nested[id(raw)] = raw, nested_storage(memoryview(_bytes(name, value)))
        return self.nested[id(raw)][1]

    def array(self, name: str, value: Any) -> torch.Tensor:
        """The float32 tensor of a pickled numpy array, numpy scalar or plain number."""
        if type(value) in (int, float):
            return torch.tensor(float(value))
        if not isinstance(value, Made):
            raise CheckpointError(f"{name}: expected an array, got {kind_of(value)}")
        dtype, shape, order, raw = _array(name, value)
        data = _bytes(name, raw)
        total = _product(shape)
        if len(data) != total * dtype.itemsize:
            raise CheckpointError(f"{name}: an array of {shape} {dtype} in {len(data)} bytes")
        self.spend(name, total)
        flat = np.frombuffer(data, dtype)
        numbers = flat.reshape(shape, order=order) if isinstance(order, str) else flat.reshape(shape).transpose(order)
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.array(numbers, dtype=np.float32, order="C"))


Order = Literal["C", "F"] | tuple[int, ...]


def _array(name: str, value: Made) -> tuple[np.dtype, tuple[int, ...], Order, Any]:
    """The type, shape, order and bytes of a numpy array or scalar; a permutation as the order turns its axes."""
    if value.is_of("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):
        return _dtype(name, _argument(name, value, 0)), (), "C", _argument(name, value, 1)
    if value.is_of("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
        state = value.state
        if not isinstance(state, tuple) or len(state) != 5:
            raise CheckpointError(f"{name}: damaged description of an array")
        return _dtype(name, state[2]), _sizes(name, state[1]), "F" if state[3] else "C", state[4]
    if value.is_of("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"):  # since protocol 5
        raw, dtype, shape, order = (_argument(name, value, index) for index in range(4))
        sizes = _sizes(name, shape)
        return _dtype(name, dtype), sizes, _order(name, order, value.args[4:], len(sizes)), raw
    raise CheckpointError(f"{name}: expected an array, got {kind_of(value)}")


def _order(name: str, order: Any, more: tuple[Any, ...], axes: int) -> Order:
    """The order of an array's numbers: "C", "F", or for "K" the permutation of its axes that follows."""
    if isinstance(order, str) and order in ("C", "F"):
        return "F" if order == "F" else "C"
    turn = _sizes(name, more[0]) if isinstance(order, str) and order == "K" and more else ()
    if not turn or sorted(turn) != list(range(axes)):
        raise CheckpointError(f"{name}: unknown order {shown(order)} of an array")
    return turn


def _argument(name: str, value: Made, index: int) -> Any:
    if not isinstance(value.args, tuple) or len(value.args) <= index:
        raise CheckpointError(f"{name}: damaged description of a tensor")
    return value.args[index]


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, Made) and value.is_of("torch.Size"):
        value = _argument(name, value, 0)
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
        raise CheckpointError(f"{name}: damaged geometry of a tensor")
    if not all(type(side) is int and 0 <= side < 2**40 for side in value):
        raise CheckpointError(f"{name}: sizes and strides should be whole numbers from 0")
    return value


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for side in sizes:
        total *= side
    return total


def _dtype(name: str, value: Any) -> np.dtype:
    """A numeric dtype: floats, integers or booleans, never one that holds references."""
    text = _argument(name, value, 0) if isinstance(value, Made) and value.is_of("numpy.dtype") else None
    if not isinstance(text, str) or text not in NUMBERS:
        raise CheckpointError(f"{name}: expected plain numbers, got the type {shown(text)}")
    state = value.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
    if not isinstance(order, str) or order not in ("<", ">", "|", "="):
        raise CheckpointError(f"{name}: unknown byte order {shown(order)}")
    return np.dtype(text).newbyteorder("<" if order == "=" else order)


def _bytes(name: str, value: Any) -> memoryview | bytes:
    """Raw bytes, stored as such or (in protocol 2) as Latin-1 text."""
    if isinstance(value, Made) and value.is_of("_codecs.encode"):
        if not isinstance(value.args, tuple) or value.args[1:] != ("latin1",):
            raise CheckpointError(f"{name}: damaged bytes of an array")
        value = value.args[0]
    if isinstance(value, Made) and value.is_of("__builtin__.bytes") and value.args == ():  # no bytes, in protocol 2
        return b""
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError as error:
            raise CheckpointError(f"{name}: damaged bytes of an array") from error
    if not isinstance(value, memoryview):
        raise CheckpointError(f"{name}: expected the bytes of an array, got {kind_of(value)}")
    return value
