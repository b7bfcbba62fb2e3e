"""A lock that outlives a fork. ZeroGPU forks the server for each worker, from whatever its threads are doing."""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A reentrant lock, open again in a forked process: the thread that held it does not exist there.

    What it guards must be whole at every moment, as a dict is to which finished values are added.
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


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_open_all)
