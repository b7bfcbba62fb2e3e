"""Reads pickles as data: an interpreter of the pickle opcodes that builds inert values and calls nothing.

Python's own unpickler looks up names, calls them and sets attributes as the file demands. Here a name becomes a `Name`,
and a call a `Made` that records what would have been called with which arguments; a name that no checkpoint needs is an
error. Nothing can be executed, imported or overwritten, and the size of the result is bounded by the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from linsem.checkpoints.allowed import PLAIN_NAMES
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, Name, Persistent, checked_key, kind_of

MAX_OPCODES = 4_000_000  # a 1024 px checkpoint with both networks has about 0.1 million
MAX_LONG_BYTES = 64


def read_pickle(data: memoryview, start: int = 0, names: frozenset[tuple[str, str]] = PLAIN_NAMES) -> tuple[Any, int]:
    """The value of the pickle at `start`, with bytes as views into `data`, and the position after it.

    Raises `CheckpointError` for a name outside `names`, an opcode that no checkpoint has, or any damage.
    """
    reader = _Reader(data, start, names)
    try:
        return reader.run(), reader.position
    except CheckpointError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise CheckpointError(f"damaged pickle at byte {reader.position}") from error


class _Mark:
    """The marker below a run of stack entries."""


_MARK = _Mark()


class _Reader:
    """The state of reading one pickle: a stack, a memo and a position."""

    def __init__(self, data: memoryview, start: int, names: frozenset[tuple[str, str]]) -> None:
        self.data, self.position, self.names = data, start, names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, size = self.data, len(self.data)
        for _ in range(MAX_OPCODES):
            if self.position >= size:
                raise CheckpointError("truncated: the pickle has no end")
            code = data[self.position]
            self.position += 1
            if code == 0x2E:  # STOP
                return self.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise CheckpointError(f"the pickle has the opcode {bytes([code])!r}, which no known checkpoint has")
            action(self)
        raise CheckpointError(f"the pickle has more than {MAX_OPCODES} steps")

    # Stack.

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise CheckpointError("damaged pickle: a mark in the place of a value")
        return value

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise CheckpointError("damaged pickle: a mark in the place of a value")
        return self.stack[-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    # Bytes.

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise CheckpointError(f"truncated: {count} bytes expected at byte {self.position}")
        view = self.data[self.position : end]
        self.position = end
        return view

    def number(self, format: str) -> int:
        return struct.unpack(format, self.take(struct.calcsize(format)))[0]

    def line(self) -> str:
        window = bytes(self.data[self.position : self.position + 512])
        end = window.find(b"\n")
        if end < 0:
            raise CheckpointError(f"damaged pickle at byte {self.position}: a line without an end")
        self.position += end + 1
        return window[:end].decode("utf-8")

    def text(self, count: int) -> str:
        return str(self.take(count), "utf-8", "surrogatepass")

    # Opcodes that do more than push a value.

    def look_up(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise CheckpointError("damaged pickle: a global whose name is not text")
        if (module, name) not in self.names:
            raise CheckpointError(
                f"the file wants to load {module[:80]}.{name[:80]}, which no known checkpoint needs; nothing was run. "
                "Of a network that was saved whole, save its state_dict() instead"
            )
        self.push(Name(module, name))

    def global_line(self) -> None:
        module = self.line()
        self.look_up(module, self.line())

    def global_stack(self) -> None:
        name = self.pop()
        self.look_up(self.pop(), name)

    def call(self) -> None:
        args = self.pop()
        self.push(Made(self.pop(), args))

    def call_with_keywords(self) -> None:
        keywords, args = self.pop(), self.pop()
        if keywords:
            raise CheckpointError("the pickle makes an object with keywords, which no known checkpoint does")
        self.push(Made(self.pop(), args))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if not isinstance(target, Made):
            raise CheckpointError(f"the pickle sets attributes of {kind_of(target)}, which no known checkpoint does")
        target.state = state

    def set_pairs(self, pairs: list[Any]) -> None:
        target = self.top()
        table = target.items if isinstance(target, Made) else target
        if not isinstance(table, dict) or len(pairs) % 2:
            raise CheckpointError(f"damaged pickle: items put into {kind_of(target)}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            table[checked_key(key)] = value

    def set_item(self) -> None:
        value = self.pop()
        self.set_pairs([self.pop(), value])

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        row = target.values if isinstance(target, Made) else target
        if not isinstance(row, list):
            raise CheckpointError(f"damaged pickle: values appended to {kind_of(target)}")
        row.extend(values)

    def append(self) -> None:
        value = self.pop()
        self.extend([value])

    def make_dict(self) -> None:
        pairs = self.since_mark()
        self.push({})
        self.set_pairs(pairs)

    def make_tuple(self, count: int) -> None:
        values = tuple(self.pop() for _ in range(count))
        self.push(values[::-1])

    def long(self, count: int) -> None:
        if not 0 <= count <= MAX_LONG_BYTES:
            raise CheckpointError(f"the pickle has a whole number of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def protocol(self) -> None:
        version = self.number("<B")
        if version > 5:
            raise CheckpointError(f"pickle protocol {version}, expected at most 5")


def _constant(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(value)


_ACTIONS: dict[int, Callable[[_Reader], None]] = {
    0x80: _Reader.protocol,
    0x95: lambda r: r.number("<Q"),  # FRAME: the length is not needed
    ord("("): lambda r: r.push(_MARK),
    ord("0"): lambda r: r.stack.pop(),
    ord("1"): lambda r: r.since_mark(),
    ord("2"): lambda r: r.push(r.top()),
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("J"): lambda r: r.push(r.number("<i")),
    ord("K"): lambda r: r.push(r.number("<B")),
    ord("M"): lambda r: r.push(r.number("<H")),
    ord("G"): lambda r: r.push(r.number(">d")),
    0x8A: lambda r: r.long(r.number("<B")),
    0x8B: lambda r: r.long(r.number("<i")),
    ord("T"): lambda r: r.push(str(r.take(r.number("<i")), "latin-1")),
    ord("U"): lambda r: r.push(str(r.take(r.number("<B")), "latin-1")),
    ord("X"): lambda r: r.push(r.text(r.number("<I"))),
    0x8C: lambda r: r.push(r.text(r.number("<B"))),
    0x8D: lambda r: r.push(r.text(r.number("<Q"))),
    ord("B"): lambda r: r.push(r.take(r.number("<I"))),
    ord("C"): lambda r: r.push(r.take(r.number("<B"))),
    0x8E: lambda r: r.push(r.take(r.number("<Q"))),
    0x96: lambda r: r.push(r.take(r.number("<Q"))),
    ord("]"): lambda r: r.push([]),
    ord("}"): lambda r: r.push({}),
    ord(")"): _constant(()),
    0x8F: lambda r: r.push([]),  # sets are kept as lists, since none is read
    ord("a"): _Reader.append,
    ord("e"): lambda r: r.extend(r.since_mark()),
    0x90: lambda r: r.extend(r.since_mark()),
    0x91: lambda r: r.push(r.since_mark()),
    ord("s"): _Reader.set_item,
    ord("u"): lambda r: r.set_pairs(r.since_mark()),
    ord("t"): lambda r: r.push(tuple(r.since_mark())),
    0x85: lambda r: r.make_tuple(1),
    0x86: lambda r: r.make_tuple(2),
    0x87: lambda r: r.make_tuple(3),
    ord("l"): lambda r: r.push(r.since_mark()),
    ord("d"): _Reader.make_dict,
    ord("c"): _Reader.global_line,
    0x93: _Reader.global_stack,
    ord("R"): _Reader.call,
    0x81: _Reader.call,
    0x92: _Reader.call_with_keywords,
    ord("b"): _Reader.build,
    ord("Q"): lambda r: r.push(Persistent(r.pop())),
    ord("h"): lambda r: r.get(r.number("<B")),
    ord("j"): lambda r: r.get(r.number("<I")),
    ord("q"): lambda r: r.put(r.number("<B")),
    ord("r"): lambda r: r.put(r.number("<I")),
    0x94: lambda r: r.put(len(r.memo)),
}
