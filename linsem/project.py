"""Project files: a user's whole work in one zip that can be reloaded exactly.

    project.json        format, version, generator, psi, categories, settings, and what follows for each image and edit
    labels/0000.png     an image's labels, as a label map with its categories in it; where all maps together would have
                        too many pixels, an image without labels has only its size in project.json
    ws/0000.npy         its latents, float32 (num_ws, w_dim), where it has any beyond its seed
    edits/0000.npy      the latents of the states of edited images, oldest first, and edits/0000.png their labels
    extractor.safetensors

Files are untrusted: `archive.py` rejects hostile zips, and every part is validated here.
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import BinaryIO

import numpy as np

from linsem.archive import ArchiveError, read_archive, write_archive
from linsem.arguments import shown
from linsem.palette import Category, LabelMapError, parse_categories, read_label_map, write_label_map
from linsem.pictures import png_head
from linsem.pixels import IGNORE
from linsem.project_value import (
    MAX_EDITS,
    MAX_IMAGES,
    MAX_LATENT,
    MAX_SETTINGS,
    MAX_TEXT,
    Project,
    ProjectEdit,
    ProjectError,
    ProjectImage,
    Scalar,
    check_project,
)  # fmt: skip

__all__ = [
    "MAX_EDITS", "MAX_IMAGES", "MAX_LATENT", "MAX_SETTINGS", "MAX_TEXT", "Project", "ProjectEdit", "ProjectError",
    "ProjectImage", "load_project", "save_project",
]  # fmt: skip

FORMAT, VERSION = "linsem-project", 1
MAX_PIXELS = 128_000_000  # of all label maps together: of 24 images of 2048 px, and some
MAX_BLANK = MAX_IMAGES << 20  # pixels of all images without a map: as many of 1024 px as there may be
_LIMITS = {"json": 4 << 20, "labels": 8 << 20, "latent": 4 * MAX_LATENT + 1024, "extractor": 128 << 20}
_MAX_BYTES = 256 << 20
_PART = re.compile(r"(?:labels|edits)/\d{4}\.(png)|(?:ws|edits)/\d{4}\.(npy)", re.ASCII)
_KEYS = {"format", "version", "generator", "psi", "categories", "settings", "images", "edits"}


def save_project(project: Project, target: str | Path | BinaryIO) -> None:
    """Write a project to a path (atomically) or into a binary file; the same project gives the same bytes.

    Raises ProjectError for a project that `load_project` would refuse.
    """
    check_project(project)
    parts: dict[str, bytes] = {}
    blank = _blank_images(project)
    images = [_image_row(parts, i, image, project.categories, i in blank) for i, image in enumerate(project.images)]
    edits = [_edit_row(parts, i, edit, project.categories) for i, edit in enumerate(project.edits)]
    if project.extractor is not None:
        parts["extractor.safetensors"] = bytes(project.extractor)
    head = {
        "format": FORMAT, "version": VERSION, "generator": project.generator_id, "psi": float(project.psi),
        "categories": [asdict(category) for category in project.categories],
        "settings": {name: _plain(value) for name, value in project.settings.items()}, "images": images, "edits": edits,
    }  # fmt: skip
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=1)
    parts = {"project.json": text.encode(), **parts}
    _check_sizes(parts)
    write_archive(parts, target)


def load_project(source: str | Path | bytes | BinaryIO) -> Project:
    """Read a project from a path, bytes or a seekable binary file, exactly as it was saved. Raises ProjectError."""
    try:
        parts = read_archive(
            source, _limit_of, max_entries=2 + 2 * MAX_IMAGES + 2 * MAX_EDITS, max_bytes=_MAX_BYTES
        )  # fmt: skip
        project = _parse(parts)
        check_project(project)
    except ArchiveError as error:
        raise ProjectError(f"this is not a linsem project file (.linsem.zip): {error}") from error
    except LabelMapError as error:
        raise ProjectError(f"project: {error}") from error
    if parts:
        raise ProjectError(f"project: the file holds what the project does not name: {min(parts)!r}")
    return project


# --- writing ---------------------------------------------------------------------------------------------------------


def _plain(value: Scalar) -> Scalar:
    """A whole number of any type as JSON writes it."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _blank_images(project: Project) -> frozenset[int]:
    """The images without a map: those without labels, and none if all maps have room, as earlier versions expect."""
    sizes = [each.labels.size for each in (*project.images, *project.edits) if each.labels is not None]
    if sum(sizes) <= MAX_PIXELS:
        return frozenset()
    blank = {i: image.labels.size for i, image in enumerate(project.images) if (image.labels == IGNORE).all()}
    _check_room("label maps", sum(sizes) - sum(blank.values()), MAX_PIXELS, "remove some labelled images")
    _check_room("images without labels", sum(blank.values()), MAX_BLANK, "remove some of these")
    return frozenset(blank)


def _check_room(what: str, pixels: int, most: int, remedy: str) -> None:
    if pixels > most:
        raise ProjectError(f"project: its {what} have {pixels} pixels, and at most {most} go into a file: {remedy}")


def _image_row(
    parts: dict[str, bytes], index: int, image: ProjectImage, categories: tuple[Category, ...], blank: bool
) -> dict:
    if not blank:
        parts[f"labels/{index:04d}.png"] = write_label_map(image.labels, categories)
    if image.ws is not None:
        parts[f"ws/{index:04d}.npy"] = _npy(image.ws)
    seed, psi = (None if image.seed is None else int(image.seed)), (None if image.psi is None else float(image.psi))
    size = {"blank": list(image.labels.shape)} if blank else {}
    return {"seed": seed, "psi": psi, "ws": image.ws is not None} | size


def _edit_row(parts: dict[str, bytes], index: int, edit: ProjectEdit, categories: tuple[Category, ...]) -> dict:
    parts[f"edits/{index:04d}.npy"] = _npy(edit.ws)
    if edit.labels is not None:
        parts[f"edits/{index:04d}.png"] = write_label_map(edit.labels, categories)
    other = {"image": int(edit.image)} if edit.image else {}  # where there is one image, earlier versions can read it
    return {"caption": edit.caption, "labels": edit.labels is not None} | other


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
    if sum(map(len, parts.values())) > _MAX_BYTES - (1 << 20):  # the rest is for the zip's own records
        raise ProjectError(f"project: more than {(_MAX_BYTES >> 20) - 1} MB do not go into a file")


# --- reading: each function removes from `parts` what it reads
# ---------------------------------------------------------


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
    rows = _rows(head, "images", {"seed", "psi", "ws"}, {"blank"})
    edits = _rows(head, "edits", {"caption", "labels"}, {"image"})
    _check_blank(rows)
    return Project(
        head["generator"], head["psi"], categories,
        tuple(
            ProjectImage(
                row["seed"], _ws(parts, f"ws/{i:04d}.npy") if row["ws"] else None,
                np.full(row["blank"], IGNORE, np.uint8) if "blank" in row
                else _labels(parts, f"labels/{i:04d}.png", categories),
                row["psi"],
            )
            for i, row in enumerate(rows)
        ),
        head["settings"], parts.pop("extractor.safetensors", None),
        tuple(
            ProjectEdit(
                _ws(parts, f"edits/{i:04d}.npy"), row["caption"],
                _labels(parts, f"edits/{i:04d}.png", categories) if row["labels"] else None, row.get("image", 0),
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


def _rows(head: dict, name: str, keys: set[str], some: set[str] = frozenset()) -> list[dict]:
    """The rows of a list in project.json, each with all of `keys`, and perhaps some others."""
    rows = head[name]
    if not isinstance(rows, list) or any(not isinstance(row, dict) or set(row) - some != keys for row in rows):
        raise ProjectError(f"project: expected for each of the {name} {', '.join(sorted(keys))}")
    return rows


def _check_pixels(parts: dict[str, bytes]) -> None:
    """Check the sizes in the PNG headers before decoding: a few kilobytes can expand to gigabytes of one colour."""
    pixels = 0
    for name, content in parts.items():
        if name.endswith(".png"):
            head = png_head(content)
            if head is None:
                raise ProjectError(f"project: {name} is no PNG with one header")
            pixels += int.from_bytes(head[:4], "big") * int.from_bytes(head[4:8], "big")
    if pixels > MAX_PIXELS:
        raise ProjectError(f"project: its label maps have {pixels} pixels, and at most {MAX_PIXELS} are expected")


def _check_blank(rows: list[dict]) -> None:
    """Check the sizes of images without a map before they are made: a few bytes can ask for gigabytes."""
    sizes = [row["blank"] for row in rows if "blank" in row]
    for size in sizes:
        if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
            raise ProjectError(f"project: expected [height, width] of an image without labels, got {shown(size)}")
    pixels = sum(height * width for height, width in sizes)
    if pixels > MAX_BLANK:
        raise ProjectError(
            f"project: its images without labels have {shown(pixels)} pixels, and at most {MAX_BLANK} are expected"
        )


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
    """The array in an npy file of exactly the kind that `_npy` writes."""
    file = io.BytesIO(_take(parts, name))
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy's header reader raises many exceptions on hostile bytes
        raise ProjectError(f"project: {name} is no array") from error
    data = file.read()
    if version != (1, 0) or fortran or dtype != np.dtype("<f4") or len(shape) != 2 or min(shape) < 1:
        raise ProjectError(f"project: expected float32 (num_ws, w_dim) in {name}, got {dtype} {shape}")
    if math.prod(shape) * 4 != len(data):
        raise ProjectError(f"project: {name} says {shape} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
