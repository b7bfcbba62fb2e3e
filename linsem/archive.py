"""Small zip files, written atomically and read as untrusted input.

Nothing is unpacked to disk. A file is refused before it costs anything: by its size, the size of its directory, and the
number, names, kinds and declared sizes of its entries. The contents of entries are for the caller to check.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from linsem.errors import InputError
from linsem.whole import whole

MAX_RATIO = 200  # of an entry's size to its compressed size; archives written here are stored uncompressed
_SLACK = 4096  # bytes to which the ratio does not apply
_END, _END64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _ENTRY_BYTES = 22, 20, 46 + 256


class ArchiveError(InputError):
    """A file that is not an acceptable zip; the message says what is wrong with it."""


def write_archive(entries: Mapping[str, bytes], target: str | Path | BinaryIO) -> None:
    """Write name -> content as a zip (stored, not compressed); the same content gives the same bytes.

    A path is written atomically: it holds the whole file, or what was there before.
    """
    if not isinstance(target, (str, Path)):
        _write(entries, target)
        return
    with whole(target) as partial, partial.open("wb") as file:
        _write(entries, file)
        file.flush()
        os.fsync(file.fileno())


def read_archive(
    source: str | Path | bytes | BinaryIO, limit_of: Callable[[str], int | None], *, max_entries: int, max_bytes: int
) -> dict[str, bytes]:
    """Read a zip (a path, its bytes, or a seekable binary file) as name -> content.

    `limit_of(name)` is the most bytes that an entry of this name may have, or None if no such entry is expected. Raises
    ArchiveError for anything but a plain zip of at most `max_entries` such entries and `max_bytes` in total.
    """
    if isinstance(source, (bytes, bytearray)):
        file = io.BytesIO(source)
    elif isinstance(source, (str, Path)):
        try:
            file = Path(source).open("rb")
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
            raise ArchiveError(f"there is no readable file {Path(source).name[:80]!r}") from error
    else:
        file = source
    try:
        return _read(file, limit_of, max_entries, max_bytes)
    except ArchiveError:
        raise
    except Exception as error:  # zipfile and zlib raise many exceptions on hostile bytes
        raise ArchiveError("the zip is damaged or cannot be read") from error
    finally:
        if file is not source:
            file.close()


def _write(entries: Mapping[str, bytes], file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(entry(name), content)


def entry(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """An entry without a clock: what is written again from the same content has the same bytes."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr, info.compress_type = (stat.S_IFREG | 0o644) << 16, compression
    return info


def _read(file: BinaryIO, limit_of: Callable[[str], int | None], max_entries: int, max_bytes: int) -> dict[str, bytes]:
    _check_end(file, max_entries, max_bytes)
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > max_entries:
            raise ArchiveError(f"the zip has {len(infos)} entries, and at most {max_entries} are expected")
        names = [info.filename for info in infos]
        if len(set(names)) < len(names):
            raise ArchiveError("the zip has two entries of one name")
        for info in infos:
            _check_entry(info, limit_of)
        total = sum(info.file_size for info in infos)
        if total > max_bytes:
            raise ArchiveError(f"the zip would unpack to {total} bytes, and at most {max_bytes} are expected")
        return {info.filename: _content(archive, info) for info in infos}


def _check_end(file: BinaryIO, max_entries: int, max_bytes: int) -> None:
    """Check the end record before `zipfile` reads the directory, for which it builds an object per entry.

    There could be millions. Archives written here end with a plain end record, without a comment or a zip64 record that
    could override it.
    """
    size = file.seek(0, os.SEEK_END)
    if size > max_bytes:
        raise ArchiveError(f"the file has {size} bytes, and at most {max_bytes} are expected")
    file.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END) or end[-2:] != b"\0\0":
        raise ArchiveError("the file is no zip, or not one that this program wrote")
    if tail[:-_END_BYTES].startswith(_END64):
        raise ArchiveError("the zip is in the format for large files, which is not expected here")
    if int.from_bytes(end[12:16], "little") > max_entries * _ENTRY_BYTES:
        raise ArchiveError(f"the zip has too many entries: at most {max_entries} are expected")
    file.seek(0)


def _check_entry(info: zipfile.ZipInfo, limit_of: Callable[[str], int | None]) -> None:
    name = info.filename
    shown = repr(name[:80])
    if (
        name.startswith(("/", "\\"))
        or ":" in name
        or "\\" in name
        or ".." in name.split("/")
        or "\0" in info.orig_filename
    ):
        raise ArchiveError(f"the zip has an entry with a path that leads out of it: {shown}")
    if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ArchiveError(f"the zip has an entry that is not a plain file: {shown}")
    if info.flag_bits & 0x1:
        raise ArchiveError(f"the zip is encrypted: {shown}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"the zip has an entry in an unexpected compression: {shown}")
    limit = limit_of(name)
    if limit is None:
        raise ArchiveError(f"the zip has an entry that does not belong there: {shown}")
    if info.file_size > limit:
        raise ArchiveError(f"{shown} would unpack to {info.file_size} bytes, and at most {limit} are expected")
    if info.file_size > MAX_RATIO * info.compress_size + _SLACK:
        raise ArchiveError(f"{shown} is {info.compress_size} bytes and would unpack to {info.file_size}")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)  # never more than declared, whatever the stream contains
    if len(content) != info.file_size:
        raise ArchiveError(f"{info.filename!r} is not as long as the zip says")
    return content
