"""Values made once and then shared; a thread that needs one in the making waits for it, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from linsem.forks import ForkLock

T = TypeVar("T")


class Once(Generic[T]):
    """Values by key, each made on first use. Making one may take minutes, and does not block other keys."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._making: dict[str, ForkLock] = {}
        self._lock = ForkLock()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value, made by `make` if there is none; if that fails, the next caller tries again."""
        if key in self._values:
            return self._values[key]
        with self._lock:
            making = self._making.setdefault(key, ForkLock())
        with making:
            if key not in self._values:
                self._values[key] = make()
        with self._lock:  # not earlier: after a failure waiting threads still use this lock, and new ones must too
            self._making.pop(key, None)
        return self._values[key]
