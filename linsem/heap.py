"""What the C library does with freed memory, where that is glibc's business; elsewhere nothing happens.

Each thread that allocates gets an arena of its own, and keeps what was freed in it. A server whose jobs wander over
dozens of threads so comes to hold each job's memory many times over. And only in the first arena, which `share_arenas`
leaves to all, is freed memory kept as `keep_freed` asks.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_... of malloc.h
_LARGEST = 32 << 20  # bytes: what glibc takes as M_MMAP_THRESHOLD at most


@cache
def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def share_arenas(count: int = 1) -> bool:
    """Let all threads share a few arenas, by default the first one; before they are many.

    Returns whether that could be asked for.
    """
    library = _library()
    return library is not None and bool(library.mallopt(_ARENA_MAX, count))


def keep_freed(most: int = 256 << 20) -> bool:
    """Keep up to `most` freed bytes at the end of the heap, instead of returning each large block at once.

    A pass of a network frees what the next one asks for again, and memory that comes fresh from the system is cleared
    page by page first: that took a fifth of the time of an edit. `give_back` returns it. Returns whether that could be
    asked for.
    """
    library = _library()
    if library is None:
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(library.mallopt(_TRIM_THRESHOLD, most))


def give_back() -> bool:
    """Return freed memory to the system. Returns whether there was any to return."""
    library = _library()
    return library is not None and bool(library.malloc_trim(0))
