"""The project file: everything that a visitor made, in one zip, reloaded exactly.

    project.json        format, version, generator, psi, categories, settings, and what follows for each image and edit
    labels/0000.png     an image's labels, as a label map with its categories in it
    ws/0000.npy         its latents, float32 (num_ws, w_dim), where it has any beyond its seed
    edits/0000.npy      the latents of the states of an edited image, oldest first, and edits/0000.png their labels
    extractor.safetensors

Reading trusts nothing: `archive.py` refuses hostile zips, and here every part is checked against what it must be.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import safetensors

from linsem.archive import ArchiveError, read_archive, write_archive
from linsem.palette import Category, LabelMapError, parse_categories, read_label_map, write_label_map

FORMAT, VERSION = "linsem-project", 1
MAX_IMAGES = 256
MAX_EDITS = 256
MAX_SETTINGS = 256
MAX_TEXT = 4096  # characters of a setting or a caption
MAX_LATENT = 1 << 18  # numbers in one ws
MAX_PIXELS = 100_000_000  # of all label maps together
_LIMITS = {"json": 4 << 20, "labels": 8 << 20, "latent": 4 * MAX_LATENT + 1024, "extractor": 128 << 20}
_MAX_BYTES = 256 << 20
_PART = re.compile(r"(?:labels|edits)/\d{4}\.(png)|(?:ws|edits)/\d{4}\.(npy)", re.ASCII)
_KEYS = {"format", "version", "generator", "psi", "categories", "settings", "images", "edits"}
Scalar = str | int | float | bool | None


class ProjectError(ValueError):
    """A file that is no project, or a project that cannot be saved; the sentence says why."""


@dataclass(frozen=True, eq=False)
class ProjectImage:
    """A labelled image: labels (H, W) uint8 with 255 = unknown, its seed and psi, or its ws (num_ws, w_dim) float32."""

    seed: int | None
    ws: np.ndarray | None
    labels: np.ndarray
    psi: float | None = None  # None: the project's


@dataclass(frozen=True, eq=False)
class ProjectEdit:
    """One state of an edited image: ws (num_ws, w_dim) float32, how it came to be, its labels (H, W) uint8."""

    ws: np.ndarray
    caption: str = ""
    labels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Project:
    """What a visitor made. `settings` are JSON scalars by name, `extractor` the bytes of its safetensors file."""

    generator_id: str
    psi: float
    categories: tuple[Category, ...]
    images: tuple[ProjectImage, ...]
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    extractor: bytes | None = None
    edits: tuple[ProjectEdit, ...] = ()


def save_project(project: Project, target: str | Path | BinaryIO) -> None:
    """Write a project to a path (whole, or the old file stays) or into a binary file; the same project, the same bytes.

    Raises ProjectError for a project that `load_project` would refuse.
    """
    _check(project)
    parts: dict[str, bytes] = {}
    images = [_image_row(parts, i, image, project.categories) for i, image in enumerate(project.images)]
    edits = [_edit_row(parts, i, edit, project.categories) for i, edit in enumerate(project.edits)]
    if project.extractor is not None:
        parts["extractor.safetensors"] = bytes(project.extractor)
    head = {
        "format": FORMAT, "version": VERSION, "generator": project.generator_id, "psi": project.psi,
        "categories": [asdict(category) for category in project.categories],
        "settings": dict(project.settings), "images": images, "edits": edits,
    }  # fmt: skip
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=1)
    parts = {"project.json": text.encode(), **parts}
    _check_sizes(parts)
    write_archive(parts, target)


def load_project(source: str | Path | bytes | BinaryIO) -> Project:
    """Read a project from a path, bytes or a seekable binary file, exactly as it was. Raises ProjectError."""
    try:
        parts = read_archive(
            source, _limit_of, max_entries=2 + 2 * MAX_IMAGES + 2 * MAX_EDITS, max_bytes=_MAX_BYTES
        )  # fmt: skip
        project = _parse(parts)
        _check(project)
    except (ArchiveError, LabelMapError) as error:
        raise ProjectError(f"project: {error}") from error
    if parts:
        raise ProjectError(f"project: the file holds what the project does not name: {min(parts)!r}")
    return project


# --- writing ---------------------------------------------------------------------------------------------------------


def _image_row(parts: dict[str, bytes], index: int, image: ProjectImage, categories: tuple[Category, ...]) -> dict:
    parts[f"labels/{index:04d}.png"] = write_label_map(image.labels, categories)
    if image.ws is not None:
        parts[f"ws/{index:04d}.npy"] = _npy(image.ws)
    return {"seed": image.seed, "psi": image.psi, "ws": image.ws is not None}


def _edit_row(parts: dict[str, bytes], index: int, edit: ProjectEdit, categories: tuple[Category, ...]) -> dict:
    parts[f"edits/{index:04d}.npy"] = _npy(edit.ws)
    if edit.labels is not None:
        parts[f"edits/{index:04d}.png"] = write_label_map(edit.labels, categories)
    return {"caption": edit.caption, "labels": edit.labels is not None}


def _npy(ws: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(ws, dtype="<f4"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _check_sizes(parts: dict[str, bytes]) -> None:
    for name, content in parts.items():
        if len(content) > _limit_of(name):
            raise ProjectError(
                f"project: {name} would have {len(content)} bytes, and at most {_limit_of(name)} are read"
            )
    _check_pixels(parts)
    if sum(map(len, parts.values())) > _MAX_BYTES - (1 << 20):  # the rest is for the zip's own records
        raise ProjectError(f"project: more than {(_MAX_BYTES >> 20) - 1} MB do not go into a file")


# --- reading: `parts` loses what is taken from it -------------------------------------------------------------------


def _limit_of(name: str) -> int | None:
    if name == "project.json":
        return _LIMITS["json"]
    if name == "extractor.safetensors":
        return _LIMITS["extractor"]
    match = _PART.fullmatch(name)
    return None if match is None else _LIMITS["labels" if match[1] else "latent"]


def _parse(parts: dict[str, bytes]) -> Project:
    head = _head(parts)
    _check_pixels(parts)
    try:
        categories = parse_categories(head["categories"])
    except ValueError as error:
        raise ProjectError(f"project: {error}") from error
    rows, edits = _rows(head, "images", {"seed", "psi", "ws"}), _rows(head, "edits", {"caption", "labels"})
    return Project(
        head["generator"], head["psi"], categories,
        tuple(
            ProjectImage(
                row["seed"], _ws(parts, f"ws/{i:04d}.npy") if row["ws"] else None,
                _labels(parts, f"labels/{i:04d}.png", categories), row["psi"],
            )
            for i, row in enumerate(rows)
        ),
        head["settings"], parts.pop("extractor.safetensors", None),
        tuple(
            ProjectEdit(
                _ws(parts, f"edits/{i:04d}.npy"), row["caption"],
                _labels(parts, f"edits/{i:04d}.png", categories) if row["labels"] else None,
            )
            for i, row in enumerate(edits)
        ),
    )  # fmt: skip


def _head(parts: dict[str, bytes]) -> dict:
    try:
        head = json.loads(_take(parts, "project.json"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ProjectError):
            raise
        raise ProjectError("project: project.json is no JSON") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ProjectError(f"project: expected the format {FORMAT!r} in project.json, got another file")
    if head.get("version") != VERSION or isinstance(head["version"], bool):
        raise ProjectError(f"project: version {str(head.get('version'))[:40]}, and this program reads {VERSION}")
    if set(head) != _KEYS:
        raise ProjectError(f"project: expected {', '.join(sorted(_KEYS))} in project.json")
    if not isinstance(head["categories"], list):
        raise ProjectError("project: expected a list of categories")
    return head


def _rows(head: dict, name: str, keys: set[str]) -> list[dict]:
    rows = head[name]
    if not isinstance(rows, list) or any(not isinstance(row, dict) or set(row) != keys for row in rows):
        raise ProjectError(f"project: expected for each of the {name} {', '.join(sorted(keys))}")
    return rows


def _check_pixels(parts: dict[str, bytes]) -> None:
    """By the PNGs' own headers, before any is decoded: some kilobytes can be gigabytes of one colour."""
    pixels = 0
    for name, content in parts.items():
        if name.endswith(".png"):
            if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
                raise ProjectError(f"project: {name} is no PNG")
            pixels += int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big")
    if pixels > MAX_PIXELS:
        raise ProjectError(f"project: its label maps have {pixels} pixels, and at most {MAX_PIXELS} are expected")


def _take(parts: dict[str, bytes], name: str) -> bytes:
    if name not in parts:
        raise ProjectError(f"project: {name} is missing")
    return parts.pop(name)


def _labels(parts: dict[str, bytes], name: str, categories: tuple[Category, ...]) -> np.ndarray:
    read = read_label_map(_take(parts, name), categories)
    if read.report["mode"] != "names":
        raise ProjectError(f"project: {name} does not carry the project's categories")
    return read.labels


def _ws(parts: dict[str, bytes], name: str) -> np.ndarray:
    """The array in an npy file of exactly the kind that `_npy` writes: the header is read, then the rest is numbers."""
    file = io.BytesIO(_take(parts, name))
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy's header reader raises many kinds on hostile bytes
        raise ProjectError(f"project: {name} is no array") from error
    data = file.read()
    if version != (1, 0) or fortran or dtype != np.dtype("<f4") or len(shape) != 2 or min(shape) < 1:
        raise ProjectError(f"project: expected float32 (num_ws, w_dim) in {name}, got {dtype} {shape}")
    if math.prod(shape) * 4 != len(data):
        raise ProjectError(f"project: {name} says {shape} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)


# --- what holds for every project, written or read ------------------------------------------------------------------


def _check(project: Project) -> None:
    if not project.generator_id or not _is_text(project.generator_id, 200):
        raise ProjectError("project: expected the id of a generator, 1 to 200 characters")
    _check_psi(project.psi)
    try:
        if parse_categories(project.categories) != tuple(project.categories):
            raise ProjectError("project: expected categories as parse_categories gives them")
    except ValueError as error:
        raise ProjectError(f"project: {error}") from error
    if len(project.images) > MAX_IMAGES or len(project.edits) > MAX_EDITS:
        raise ProjectError(f"project: at most {MAX_IMAGES} images and {MAX_EDITS} edits are kept in a file")
    _check_settings(project.settings)
    for image in project.images:
        if image.seed is None and image.ws is None:
            raise ProjectError("project: an image needs a seed or a latent")
        if image.seed is not None and not (_is_whole(image.seed) and 0 <= image.seed < 2**63):
            raise ProjectError(f"project: expected a seed in 0..2**63 - 1, got {str(image.seed)[:40]}")
        if image.psi is not None:
            _check_psi(image.psi)
    for edit in project.edits:
        if not _is_text(edit.caption, MAX_TEXT):
            raise ProjectError(f"project: expected a caption of at most {MAX_TEXT} characters")
    _check_arrays(project)
    if project.extractor is not None:
        _check_extractor(project.extractor, project.generator_id)


def _check_psi(psi: object) -> None:
    if isinstance(psi, bool) or not isinstance(psi, (int, float)) or not -10 <= psi <= 10:  # NaN is in no range
        raise ProjectError(f"project: expected a psi in -10..10, got {str(psi)[:40]}")


def _check_settings(settings: Mapping[str, Scalar]) -> None:
    if not isinstance(settings, Mapping) or len(settings) > MAX_SETTINGS:
        raise ProjectError(f"project: expected at most {MAX_SETTINGS} settings by name")
    for name, value in settings.items():
        fine = value is None or isinstance(value, bool) or (_is_whole(value) and abs(value) < 2**63)
        fine = fine or _is_text(value, MAX_TEXT) or (isinstance(value, float) and math.isfinite(value))
        if not _is_text(name, MAX_TEXT) or not fine:
            raise ProjectError(f"project: expected text, a finite number, true, false or nothing as setting {name!r}")


def _is_text(value: object, limit: int) -> bool:
    """Text of at most `limit` characters that can be written (half a surrogate pair cannot)."""
    return isinstance(value, str) and len(value) <= limit and value.encode(errors="ignore").decode() == value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_arrays(project: Project) -> None:
    latents = [x.ws for x in (*project.images, *project.edits) if x.ws is not None]
    labels = [x.labels for x in (*project.images, *project.edits) if x.labels is not None]
    for ws in latents:
        if ws.ndim != 2 or ws.dtype != np.float32 or not 1 <= ws.size <= MAX_LATENT or not np.isfinite(ws).all():
            raise ProjectError(f"project: expected finite float32 (num_ws, w_dim), got {ws.dtype} {ws.shape}")
    for one in labels:
        if one.ndim != 2 or one.dtype != np.uint8 or one.size == 0:
            raise ProjectError(f"project: expected labels (H, W) uint8, got {one.shape} {one.dtype}")
        wrong = (one >= len(project.categories)) & (one != 255)
        if wrong.any():
            raise ProjectError(f"project: label {one[wrong][0]}, and there are {len(project.categories)} categories")
    if len({ws.shape for ws in latents}) > 1 or len({one.shape for one in labels}) > 1:
        raise ProjectError("project: expected all latents of one shape, and all labels of one size")


def _check_extractor(data: bytes, generator_id: str) -> None:
    """A safetensors file of ours for this generator; whether its shapes fit is for `load_extractor` to say."""
    try:
        safetensors.deserialize(bytes(data))
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except Exception as error:  # the reader raises its own kind, and JSON's
        raise ProjectError("project: extractor.safetensors is no extractor") from error
    if metadata.get("format") != "linsem-extractor":
        raise ProjectError("project: extractor.safetensors is no extractor")
    if metadata.get("generator") != generator_id:
        got = str(metadata.get("generator"))[:80]
        raise ProjectError(f"project: its extractor was made for {got!r}, and the project for {generator_id!r}")
