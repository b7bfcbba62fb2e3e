"""What the C library does with freed memory, where that is glibc's business; elsewhere nothing happens.

Each thread that allocates gets an arena of its own, and keeps what was freed in it. A server whose jobs wander over
dozens of threads so comes to hold each job's memory many times over.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


@cache
def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def share_arenas(count: int = 2) -> bool:
    """Let all threads share a few arenas; before they are many. Returns whether that could be asked for."""
    library = _library()
    return library is not None and bool(library.mallopt(_ARENA_MAX, count))


def give_back() -> bool:
    """Return freed memory to the system. Returns whether there was any to return."""
    library = _library()
    return library is not None and bool(library.malloc_trim(0))
