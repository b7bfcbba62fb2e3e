"""The inert values that a pickle is read into: names, calls that were not made, and plain values.

Values that the pickle shares through its memo stay shared, so a file of 300 bytes may expand to 2**60 values if
printed, compared or hashed. That is never done to a container; messages use `shown` or `kind_of`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from linsem.checkpoints.errors import CheckpointError

TABLES = ("collections.OrderedDict", "dnnlib.util.EasyDict")
PLAIN = (str, int, float, type(None))
MAX_KEY = 8  # items of a tuple that is a key
MAX_KEY_TEXT = 200  # characters of each, since a message may show them


@dataclass(frozen=True)
class Name:
    """A global that the pickle names; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the pickle; compared by identity, since its id may be nested without end."""

    pid: Any


class Made:
    """A call in the pickle that was not made: callable and arguments, then the state, items and values it was given."""

    __slots__ = ("args", "items", "maker", "state", "values")

    def __init__(self, maker: Any, args: Any) -> None:
        self.maker, self.args = maker, args
        self.state: Any = None
        self.items: dict[Hashable, Any] = {}
        self.values: list[Any] = []

    def is_of(self, *names: str) -> bool:
        """Whether the callable is one of the dotted names."""
        return isinstance(self.maker, Name) and str(self.maker) in names


def is_table(value: Any) -> bool:
    """Whether a value is a dict, OrderedDict or EasyDict, so that `entries` can read it."""
    return isinstance(value, dict) or (isinstance(value, Made) and value.is_of(*TABLES))


def size_of(table: Any) -> int:
    """The most entries that a table can have, told without a copy of it."""
    if isinstance(table, dict):
        return len(table)
    pairs = table.args[0] if isinstance(table.args, tuple) and table.args else ()
    return len(table.items) + (len(pairs) if isinstance(pairs, list | tuple) else 0)


def entries(value: Any) -> dict:
    """The items of a dict, OrderedDict or EasyDict; raises CheckpointError for anything else."""
    if isinstance(value, dict):
        return value
    if is_table(value):
        found = dict(value.items)
        if value.args and isinstance(value.args, tuple) and isinstance(value.args[0], list | tuple):
            pairs = (pair for pair in value.args[0] if isinstance(pair, list | tuple) and len(pair) == 2)
            found.update((checked_key(key), item) for key, item in pairs)
        return found
    raise CheckpointError(f"expected a table in the pickle, got {kind_of(value)}")


def kind_of(value: Any) -> str:
    """The kind of an inert value, for messages."""
    if isinstance(value, Made):  # calls may be nested a million deep, so only the outermost is described
        return f"a call of {value.maker if isinstance(value.maker, Name) else type(value.maker).__name__}"
    return str(value) if isinstance(value, Name) else type(value).__name__


def shown(value: Any, limit: int = 40) -> str:
    """A plain value for a message, cut to `limit` characters, or the kind of any other value."""
    if isinstance(value, str):
        return repr(value[:limit])
    return str(value)[:limit] if value is None or isinstance(value, int | float) else kind_of(value)


def checked_key(key: Any) -> Hashable:
    """Accept only plain keys and short tuples of them, since hashing a deep tuple would exhaust the C stack."""
    if not isinstance(key, PLAIN) and not _is_plain_tuple(key):
        raise CheckpointError(f"damaged pickle: {kind_of(key)} as a key")
    return key


def _is_plain_tuple(key: Any) -> bool:
    if not isinstance(key, tuple) or len(key) > MAX_KEY:
        return False
    return all(isinstance(item, PLAIN) and not (isinstance(item, str) and len(item) > MAX_KEY_TEXT) for item in key)


def add_once(table: dict[str, Any], name: str, value: Any) -> None:
    """Add an item to a table; raises CheckpointError if the name is taken, since either could be meant."""
    if name in table:
        raise CheckpointError(f"{name[:120]}: the file has it twice")
    table[name] = value
