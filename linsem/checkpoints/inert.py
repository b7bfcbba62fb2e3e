"""What a pickle comes down to when nothing in it is called: names, calls that were not made, and plain values.

What the pickle shares through its memo is shared here, so that a file of 300 bytes may hold what is 2**60 values when
it is written out, compared or hashed. Nothing does so with a container: messages go through `shown` or `kind_of`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from linsem.checkpoints.errors import CheckpointError


@dataclass(frozen=True)
class Name:
    """A global that the pickle names. It stays a name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the pickle. Compared by identity: what it holds may be nested without end."""

    pid: Any


class Made:
    """What a call in the pickle would have made: who would be called, with which arguments, and what is put in."""

    __slots__ = ("args", "items", "maker", "state", "values")

    def __init__(self, maker: Any, args: Any) -> None:
        self.maker, self.args = maker, args
        self.state: Any = None
        self.items: dict[Hashable, Any] = {}
        self.values: list[Any] = []

    def is_of(self, *names: str) -> bool:
        """Whether the maker is one of the dotted names."""
        return isinstance(self.maker, Name) and str(self.maker) in names


def entries(value: Any) -> dict:
    """The items of a dict or of a dict-like object (OrderedDict, EasyDict); CheckpointError for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Made) and value.is_of("collections.OrderedDict", "dnnlib.util.EasyDict"):
        found = dict(value.items)
        if value.args and isinstance(value.args, tuple) and isinstance(value.args[0], list | tuple):
            pairs = (pair for pair in value.args[0] if isinstance(pair, list | tuple) and len(pair) == 2)
            found.update((checked_key(key), item) for key, item in pairs)
        return found
    raise CheckpointError(f"expected a table in the pickle, got {kind_of(value)}")


def kind_of(value: Any) -> str:
    """A word for an inert value, for messages."""
    if isinstance(value, Made):  # the maker may be a call again, a million times: its own maker is not followed
        return f"a call of {value.maker if isinstance(value.maker, Name) else type(value.maker).__name__}"
    return str(value) if isinstance(value, Name) else type(value).__name__


def shown(value: Any, limit: int = 40) -> str:
    """A plain value as it is written in a message, cut to `limit` characters; of any other only its kind."""
    if isinstance(value, str):
        return repr(value[:limit])
    return str(value)[:limit] if value is None or isinstance(value, int | float) else kind_of(value)


def checked_key(key: Any) -> Hashable:
    """Only plain keys: hashing a tuple nested a million deep would exhaust the C stack."""
    if not isinstance(key, str | int | float | None):
        raise CheckpointError(f"damaged pickle: {kind_of(key)} as a key")
    return key


def add_once(table: dict[str, Any], name: str, value: Any) -> None:
    """Put an item into a table; CheckpointError if there is one of that name, since nobody knows which is meant."""
    if name in table:
        raise CheckpointError(f"{name[:120]}: the file has it twice")
    table[name] = value
