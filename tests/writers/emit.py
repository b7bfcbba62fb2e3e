"""Emits pickles from inert descriptions: calls in the pickle are described, never made."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """A call `module.name(*args)`, followed by its items and state; `new` uses NEWOBJ instead of REDUCE."""

    module: str
    name: str
    args: tuple = ()
    items: dict = field(default_factory=dict)
    state: Any = None
    new: bool = False


@dataclass
class Global:
    """A global that is only named."""

    module: str
    name: str


@dataclass
class Pid:
    """A persistent id."""

    value: Any


@dataclass
class Raw:
    """Raw opcodes."""

    code: bytes


def dumps(value: Any, protocol: int = 4) -> bytes:
    """The pickle of `value`."""
    return bytes([0x80, protocol]) + code(value, protocol) + b"."


def code(value: Any, protocol: int) -> bytes:
    """The opcodes that push `value`."""
    if isinstance(value, Raw):
        return value.code
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        if 0 <= value < 256:
            return b"K" + bytes([value])
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bytes):
        if protocol >= 3:
            return b"B" + struct.pack("<I", len(value)) + value
        return code(Call("_codecs", "encode", (value.decode("latin-1"), "latin1")), protocol)
    if isinstance(value, tuple):
        return b"(" + b"".join(code(item, protocol) for item in value) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(code(item, protocol) for item in value) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(code(item, protocol) for pair in value.items() for item in pair) + b"u"
    if isinstance(value, Global):
        if protocol >= 4:
            return code(value.module, protocol) + code(value.name, protocol) + b"\x93"
        return b"c" + f"{value.module}\n{value.name}\n".encode()
    if isinstance(value, Pid):
        return code(value.value, protocol) + b"Q"
    return _call(value, protocol)


def _call(value: Call, protocol: int) -> bytes:
    out = code(Global(value.module, value.name), protocol) + code(value.args, protocol)
    out += b"\x81" if value.new else b"R"
    if value.items:
        out += b"(" + b"".join(code(item, protocol) for pair in value.items.items() for item in pair) + b"u"
    if value.state is not None:
        out += code(value.state, protocol) + b"b"
    return out


def _dtype(values: Any) -> Call:
    return Call("numpy", "dtype", (values.dtype.str[1:], False, True), state=(3, "<", None, None, None, -1, -1, 0))


def array(values: Any, multiarray: str = "numpy.core.multiarray") -> Call:
    """A numpy array as numpy pickles it (`numpy._core.multiarray` since numpy 2)."""
    fortran = values.flags.f_contiguous and not values.flags.c_contiguous
    state = (1, values.shape, _dtype(values), fortran, values.tobytes("F" if fortran else "C"))
    return Call(multiarray, "_reconstruct", (Global("numpy", "ndarray"), (0,), b"b"), state=state)


def buffer(values: Any, numeric: str = "numpy.core.numeric") -> Call:
    """A numpy array as numpy pickles it in protocol 5 (`numpy._core.numeric` since numpy 2)."""
    fortran = values.flags.f_contiguous and not values.flags.c_contiguous
    raw = values.tobytes("F" if fortran else "C")
    inner = Raw(b"\x96" + struct.pack("<Q", len(raw)) + raw)
    return Call(numeric, "_frombuffer", (inner, _dtype(values), values.shape, "F" if fortran else "C"))


def number(value: Any, multiarray: str = "numpy.core.multiarray") -> Call:
    """A numpy scalar as numpy pickles it."""
    return Call(multiarray, "scalar", (_dtype(value), value.tobytes()))
