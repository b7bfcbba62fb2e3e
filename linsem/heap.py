"""Settings of glibc's allocator for freed memory; without effect on other C libraries.

glibc gives each allocating thread an arena of its own, which keeps the memory freed in it. A server whose jobs move
over dozens of threads would thus hold each job's memory many times over. Also, only the main arena, which
`share_arenas` leaves to all threads, keeps freed memory as `keep_freed` asks.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_... of malloc.h
_LARGEST = 32 << 20  # bytes: the largest M_MMAP_THRESHOLD that glibc accepts


@cache
def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def share_arenas(count: int = 1) -> bool:
    """Let all threads share a few arenas, by default only the main one; to be called before threads are started.

    Returns whether the setting was accepted.
    """
    library = _library()
    return library is not None and bool(library.mallopt(_ARENA_MAX, count))


def keep_freed(most: int = 256 << 20) -> bool:
    """Keep up to `most` freed bytes at the end of the heap, instead of returning each large block at once.

    A pass of a network allocates again what the last one freed, and the system clears fresh memory page by page: that
    took a fifth of the time of an edit. `give_back` returns the memory. Returns whether the settings were accepted.
    """
    library = _library()
    if library is None:
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(library.mallopt(_TRIM_THRESHOLD, most))


def give_back() -> bool:
    """Return freed memory to the system; returns whether there was any."""
    library = _library()
    return library is not None and bool(library.malloc_trim(0))
