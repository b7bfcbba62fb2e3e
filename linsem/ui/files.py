"""Files that visitors send and get: uploads are opened only from the upload folder, downloads are swept by age."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from gradio.utils import get_upload_folder

from linsem.errors import InputError

SWEEP_SECONDS = 60  # between two looks for what is too old
MAX_NAME = 160  # bytes of a file's name: a file system takes 255
_OF_GRADIO = re.compile(r"[0-9a-f]{64}")  # a folder for each file that it has
_UNSAFE = re.compile(r"[^\w.~+@-]+")


class UploadError(InputError):
    """A file that was not uploaded here."""


def own_folder() -> None:
    """Have Gradio keep the files of this page apart from those of other programs, unless it is told where.

    Every Gradio program of a machine shares one folder otherwise, and what is swept here would be theirs too.
    """
    who = getattr(os, "getuid", getpass.getuser)()  # in a container the number may have no name
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / f"linsem-{who}"))


def uploaded(file: object, what: str) -> Path | None:
    """The path of an uploaded file, or None for no file. Any path outside the upload folder is refused."""
    if file is None or file == "":
        return None
    path = file if isinstance(file, (str, Path)) else getattr(file, "name", None)
    try:
        path = Path(str(path)).resolve()
        inside = path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()
    except (OSError, ValueError):  # a NUL in the name, or one that is too long
        inside = False
    if not inside:
        raise UploadError(f"{what}: expected an uploaded file, got something else")
    return path


def base_name(name: str) -> str:
    """A name that is one plain file in whatever folder it is put: what a generator is called may be an address."""
    plain = _UNSAFE.sub("-", name).lstrip(".-")
    plain = plain.encode(errors="ignore")[-MAX_NAME:].decode(errors="ignore")  # its end says what kind of file it is
    return plain.lstrip(".-") or "file"


class Downloads:
    """A folder for files made for visitors. Each file gets a folder of its own with a name that nobody can guess."""

    def __init__(self, keep_hours: float) -> None:
        self.keep_seconds = keep_hours * 3600
        self.root = Path(get_upload_folder()) / "made"
        self._swept = 0.0
        self._sweep_uploads()

    def path(self, name: str) -> Path:
        """Where to write a file of this name, made safe; what is too old is deleted on the way."""
        self._sweep()
        folder = self.root / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder / base_name(name)

    def write(self, name: str, data: bytes) -> str:
        """Write a file; returns its path."""
        path = self.path(name)
        path.write_bytes(data)
        return str(path)

    def _sweep_uploads(self) -> None:
        """Delete the uploads, and copies for visitors, that an earlier process left behind: Gradio knows only those of
        its own. Done before a page is built, whose own pictures are copied there."""
        for entry in self.root.parent.glob("*"):
            try:
                old = time.time() - entry.stat().st_ctime > self.keep_seconds
            except OSError:  # another process was faster
                continue
            if old and _OF_GRADIO.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what was made long ago, by this process or one before it, and what cut uploads have left behind."""
        now = time.time()
        if now - self._swept < SWEEP_SECONDS or not self.root.is_dir():
            return
        self._swept = now
        for entry in (*self.root.iterdir(), *self.root.parent.glob("tmp*")):
            try:
                if now - entry.stat().st_mtime <= self.keep_seconds:
                    continue
                if entry.parent == self.root:
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.is_file():  # Gradio's own: uploads on their way, and an empty file for each that is read
                    entry.unlink()
            except OSError:  # another request was faster
                continue
