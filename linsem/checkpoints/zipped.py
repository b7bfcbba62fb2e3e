"""Reads the members of a zip file as views into its bytes; they must be uncompressed, as torch.save writes them.

Python's `zipfile` builds an object for every directory entry before they can be counted, and if two entries have the
same name, the last one wins. Here the count is checked first, duplicates are refused, and nothing is decompressed.
"""

from __future__ import annotations

import struct

from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import add_once

MAX_MEMBERS = 20_000
_END, _END_64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_MASK = 0xFFFFFFFF  # placeholder for a number that is in the extra field


def looks_zip(data: memoryview) -> bool:
    """Whether the bytes start like a zip file."""
    return bytes(data[:4]) == _LOCAL


def read_zip(data: memoryview) -> dict[str, memoryview]:
    """The members by name; raises `CheckpointError` if they are too many, duplicate, compressed or damaged."""
    try:
        return _read(data)
    except struct.error as error:
        raise CheckpointError(f"damaged zip file: {error}") from error


def _read(data: memoryview) -> dict[str, memoryview]:
    count, position = _directory(data)
    if count > MAX_MEMBERS:
        raise CheckpointError(f"a zip file of {count} members, expected at most {MAX_MEMBERS}")
    members: dict[str, memoryview] = {}
    for _ in range(count):
        if bytes(data[position : position + 4]) != _ENTRY:
            raise CheckpointError("damaged zip file: its directory is cut or in another place")
        flags, method = struct.unpack("<HH", data[position + 8 : position + 12])
        sizes = struct.unpack("<II", data[position + 20 : position + 28])
        lengths = struct.unpack("<HHH", data[position + 28 : position + 34])
        (start,) = struct.unpack("<I", data[position + 42 : position + 46])
        end_of_name = position + 46 + lengths[0]
        name = str(data[position + 46 : end_of_name], "utf-8", "replace")
        packed, size, start = _large((*sizes, start), data[end_of_name : end_of_name + lengths[1]])
        if method or packed != size or flags & 1:
            raise CheckpointError(f"the member {name[:80]!r} is compressed, which no file of torch.save is")
        add_once(members, name, _member(data, name, start, size))
        position += 46 + sum(lengths)
    return members


def _directory(data: memoryview) -> tuple[int, int]:
    """The number of entries in the directory, and the offset of its start."""
    tail = bytes(data[-(22 + 0xFFFF) :])
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < 22:
        raise CheckpointError("damaged zip file: it has no directory, so it may be cut")
    end = len(data) - len(tail) + found
    count, _, start = struct.unpack("<HII", data[end + 10 : end + 20])
    if end >= 20 and bytes(data[end - 20 : end - 16]) == _LOCATOR:
        (place,) = struct.unpack("<Q", data[end - 12 : end - 4])
        if bytes(data[place : place + 4]) != _END_64:
            raise CheckpointError("damaged zip file: its directory is in another place")
        count, _, start = struct.unpack("<QQQ", data[place + 32 : place + 56])
    return count, start


def _large(numbers: tuple[int, int, int], extra: memoryview) -> list[int]:
    """Packed size, size and start of a member; those that exceed 32 bits come from the extra field of kind 1.

    That field stores them in the order size, packed size, start.
    """
    packed, size, start = numbers
    if _MASK not in numbers:
        return [packed, size, start]
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == 1:
            more = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            size, packed, start = (next(more, _MASK) if old == _MASK else old for old in (size, packed, start))
            break
        extra = extra[4 + length :]
    return [packed, size, start]


def _member(data: memoryview, name: str, start: int, size: int) -> memoryview:
    """The bytes that follow the member's local header."""
    header = bytes(data[start : start + 30])
    if len(header) != 30 or header[:4] != _LOCAL:
        raise CheckpointError(f"damaged zip file: no header for the member {name[:80]!r}")
    begin = start + 30 + sum(struct.unpack("<HH", header[26:30]))
    if begin + size > len(data):
        raise CheckpointError(f"truncated zip file: the member {name[:80]!r} is cut")
    return data[begin : begin + size]
