"""A thread-safe least-recently-used cache, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from linsem.forks import ForkLock

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by key; the least recently used are evicted when the total size exceeds `bytes_limit`."""

    def __init__(self, bytes_limit: int) -> None:
        self.bytes_limit = bytes_limit
        self._entries: OrderedDict[bytes, tuple[T, int]] = OrderedDict()
        self._bytes = 0
        self._lock = ForkLock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """The total size of the cached values."""
        return self._bytes

    def find(self, key: bytes) -> T | None:
        """The value of a key, marked as most recently used; None if it is not cached."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def take(self, key: bytes) -> T | None:
        """The value of a key, which is no longer cached; None if it was not."""
        with self._lock:
            value, size = self._entries.pop(key, (None, 0))
            self._bytes -= size
            return value

    def keep(self, key: bytes, value: T, size: int) -> None:
        """Cache a value of `size` bytes, unless it alone exceeds the limit or its key is already cached."""
        with self._lock:
            if key in self._entries or size > self.bytes_limit:
                return
            self._entries[key] = value, size
            self._bytes += size
            while self._bytes > self.bytes_limit:
                self._bytes -= self._entries.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0
