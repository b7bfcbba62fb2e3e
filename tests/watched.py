"""Detects every opening of a file in a folder, by any process or library (inotify, on Linux)."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x1, 0x20, 0o4000
EVENT = struct.Struct("iIII")


class Watched:
    """A context manager that watches a folder; `opened` lists the names opened or read since."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._handle = -1
        self._names: list[str] = []

    def __enter__(self) -> Watched:
        if self._libc is not None:
            self._handle = self._libc.inotify_init1(IN_NONBLOCK)
            watch = self._libc.inotify_add_watch(self._handle, os.fsencode(self.folder), IN_ACCESS | IN_OPEN)
            if self._handle < 0 or watch < 0:
                raise OSError(ctypes.get_errno(), "inotify")
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    @property
    def opened(self) -> list[str]:
        """The names in the order of the events; empty if the system cannot watch folders."""
        while self._handle >= 0:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                break
            while data:
                _, _, _, length = EVENT.unpack_from(data)
                name = data[EVENT.size : EVENT.size + length].rstrip(b"\0")
                if name:  # an empty name is the folder itself
                    self._names.append(os.fsdecode(name))
                data = data[EVENT.size + length :]
        return self._names
