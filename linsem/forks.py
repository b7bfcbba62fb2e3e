"""A lock that survives a fork: ZeroGPU forks the server for each worker, whatever its threads are doing."""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A reentrant lock that is released in a forked child, where the thread that held it does not exist.

    What it guards must be consistent at every moment, such as a dict to which finished values are added.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _ALIVE.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


_ALIVE: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _open_all() -> None:
    for lock in _ALIVE:
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # Windows cannot fork
    os.register_at_fork(after_in_child=_open_all)
