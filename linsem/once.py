"""Values made once and then shared; a thread that needs one in the making waits for it, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from linsem.forks import ForkLock

T = TypeVar("T")


class Once(Generic[T]):
    """Values by key, each made on first use. Making one may take minutes, and does not block other keys.

    With `most`, no more than so many are kept: the least recently used are dropped, and made again when asked for.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._values: dict[str, T] = {}
        self._making: dict[str, ForkLock] = {}
        self._lock = ForkLock()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value, made by `make` if there is none; if that fails, the next caller tries again."""
        found = self._found(key)
        if found:
            return found[0]
        with self._lock:
            making = self._making.setdefault(key, ForkLock())
        with making:
            found = self._found(key) or (make(),)
            self._keep(key, found[0])
        with self._lock:  # not earlier: after a failure waiting threads still use this lock, and new ones must too
            self._making.pop(key, None)
        return found[0]

    def _found(self, key: str) -> tuple[T] | None:
        """The value of a key, in a tuple, since it may be None; marked as used last."""
        with self._lock:
            if key not in self._values:
                return None
            value = self._values[key]
            self._keep(key, value)
            return (value,)

    def _keep(self, key: str, value: T) -> None:
        with self._lock:
            rest = [(k, v) for k, v in self._values.items() if k != key]
            rest = rest if self.most is None else rest[max(0, len(rest) + 1 - self.most) :]
            self._values = {**dict(rest), key: value}  # replaced at once: a process may be forked at any moment
