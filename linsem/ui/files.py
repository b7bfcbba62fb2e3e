"""Visitors' files: uploads are opened only from the upload folder, downloads are deleted after a while."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path

from gradio.utils import get_upload_folder

from linsem.errors import InputError

SWEEP_SECONDS = 60  # between two searches for expired files
MAX_NAME = 160  # bytes of a file name: file systems allow 255
_CACHED = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")  # the names of folders of one file: Gradio's, and the painter's
_UNSAFE = re.compile(r"[^\w.~+@-]+")


class UploadError(InputError):
    """The file was not uploaded to this server."""


def own_folder() -> None:
    """Give this page a temporary folder of its own, unless the environment sets one.

    By default all Gradio programs on a machine share one folder, so deleting old files here would delete theirs too.
    """
    who = getattr(os, "getuid", getpass.getuser)()  # in a container the user id may have no name
    if not os.environ.get("GRADIO_TEMP_DIR"):
        os.environ["GRADIO_TEMP_DIR"] = str(Path(tempfile.gettempdir()) / f"linsem-{who}")


def uploaded(file: object, what: str) -> Path | None:
    """The path of an uploaded file, or None for no file; paths outside the upload folder are refused."""
    if file is None or file == "":
        return None
    path = file if isinstance(file, (str, Path)) else getattr(file, "name", None)
    try:
        path = Path(str(path)).resolve()
        inside = path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()
    except (OSError, ValueError):  # the name contains NUL or is too long
        inside = False
    if not inside:
        raise UploadError(f"{what}: expected an uploaded file, got something else")
    return path


def base_name(name: str) -> str:
    """Turn a name into a safe file name without folders: the id of a generator may be an address."""
    plain = _UNSAFE.sub("-", name).lstrip(".-")
    plain = plain.encode(errors="ignore")[-MAX_NAME:].decode(errors="ignore")  # the end has the extension
    return plain.lstrip(".-") or "file"


class Downloads:
    """Files made for visitors, each in a folder of its own whose name cannot be guessed."""

    def __init__(self, keep_hours: float) -> None:
        self.keep_seconds = keep_hours * 3600
        self.root = Path(get_upload_folder()) / "made"
        self._swept = 0.0
        self._alone = not _is_shared(self.root.parent)
        if self._alone:
            self._sweep_uploads()

    def path(self, name: str) -> Path:
        """Where to write a file with this name, made safe; also deletes expired files."""
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
        """Delete expired uploads and cached copies of earlier processes: Gradio tracks only those of its own process.

        This must precede the building of the page, whose own images are copied there.
        """
        for entry in self.root.parent.glob("*"):
            try:
                old = time.time() - entry.stat().st_ctime > self.keep_seconds
            except OSError:  # another process has deleted it
                continue
            if old and _CACHED.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete expired downloads, of earlier processes too, and the remains of interrupted uploads."""
        now = time.time()
        if now - self._swept < SWEEP_SECONDS or not self.root.is_dir():
            return
        self._swept = now
        for entry in (*self.root.iterdir(), *(self.root.parent.glob("tmp*") if self._alone else ())):
            try:
                if now - _last_written(entry) <= self.keep_seconds:
                    continue
                if entry.parent == self.root:
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.is_file():  # Gradio's: partial uploads, and an empty file per upload read
                    entry.unlink()
            except OSError:  # another request has deleted it
                continue


def _is_shared(folder: Path) -> bool:
    """Whether other programs keep their files there too, as in /tmp, which an environment may name."""
    try:
        sticky = folder.stat().st_mode & stat.S_ISVTX
    except OSError:  # it is not there yet
        sticky = 0
    return bool(sticky) or folder.resolve() == Path(tempfile.gettempdir()).resolve()


def _last_written(entry: Path) -> float:
    """When a file, or anything in a folder, was last written: one that grows does not change its folder's time."""
    return max(each.stat().st_mtime for each in (entry, *(entry.iterdir() if entry.is_dir() else ())))
