"""A project as a value: a user's work, with the invariants that hold both when writing and after reading."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import safetensors

from linsem.arguments import shown
from linsem.categories import Category, parse_categories
from linsem.errors import InputError
from linsem.headers import check_header
from linsem.offers import split_label
from linsem.pictures import MAX_PIXELS
from linsem.pixels import IGNORE
from linsem.seeds import MAX_SEED

MAX_IMAGES = 256
MAX_EDITS = 256
MAX_SETTINGS = 256
MAX_TEXT = 4096  # characters of a setting or a caption
MAX_LATENT = 1 << 18  # numbers in one ws
Scalar = str | int | float | bool | None


class ProjectError(InputError):
    """A file that is not a project, or a project that cannot be saved; the message says why."""


@dataclass(frozen=True, eq=False)
class ProjectImage:
    """A labelled image: labels (H, W) uint8 with 255 = unknown, its seed and psi, or its ws (num_ws, w_dim) float32."""

    seed: int | None
    ws: np.ndarray | None
    labels: np.ndarray
    psi: float | None = None  # None: the project's


@dataclass(frozen=True, eq=False)
class ProjectEdit:
    """One state of an edited image: ws (num_ws, w_dim) float32, a caption of the edit, and its labels (H, W) uint8.

    `image` tells the edited images apart; 0 is the one that was shown.
    """

    ws: np.ndarray
    caption: str = ""
    labels: np.ndarray | None = None
    image: int = 0


@dataclass(frozen=True, eq=False)
class Project:
    """A user's work. `settings` are JSON scalars by name, `extractor` the bytes of its safetensors file."""

    generator_id: str
    psi: float
    categories: tuple[Category, ...]
    images: tuple[ProjectImage, ...]
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    extractor: bytes | None = None
    edits: tuple[ProjectEdit, ...] = ()


def check_project(project: Project) -> None:
    """Raise ProjectError for a project that cannot be written to a file."""
    if not isinstance(project, Project):
        raise ProjectError(f"project: expected a linsem.Project, got {type(project).__name__}")
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
        most = MAX_SEED if image.ws is None else 2**63 - 1  # with a latent, the seed is only a name
        if image.seed is not None and not (_is_whole(image.seed) and 0 <= image.seed <= most):
            raise ProjectError(f"project: expected a seed in 0..{most}, got {str(image.seed)[:40]}")
        if image.psi is not None:
            _check_psi(image.psi)
    for edit in project.edits:
        if not _is_text(edit.caption, MAX_TEXT):
            what = f"project: expected a caption of at most {MAX_TEXT} characters that UTF-8 can write"
            raise ProjectError(f"{what}, got {shown(edit.caption)}")
        if not _is_whole(edit.image) or not 0 <= edit.image < MAX_EDITS:
            raise ProjectError(f"project: expected the number of an edited image, got {str(edit.image)[:40]}")
    _check_arrays(project)
    if project.extractor is not None:
        _check_extractor(project.extractor, project.generator_id)


def _check_psi(psi: object) -> None:
    if isinstance(psi, bool) or not isinstance(psi, Real) or not -10 <= psi <= 10:  # also rejects NaN
        raise ProjectError(f"project: expected a psi in -10..10, got {str(psi)[:40]}")


def _check_settings(settings: Mapping[str, Scalar]) -> None:
    if not isinstance(settings, Mapping) or len(settings) > MAX_SETTINGS:
        raise ProjectError(f"project: expected at most {MAX_SETTINGS} settings by name")
    for name, value in settings.items():
        fine = value is None or isinstance(value, bool) or (_is_whole(value) and abs(value) < 2**63)
        fine = fine or _is_text(value, MAX_TEXT) or (isinstance(value, float) and math.isfinite(value))
        if not _is_text(name, MAX_TEXT) or not fine:
            raise ProjectError(
                f"project: expected text, a finite number, true, false or nothing as setting {shown(name)}"
            )


def _is_text(value: object, limit: int) -> bool:
    """Whether a value is text of at most `limit` characters that can be encoded (a lone surrogate cannot)."""
    return isinstance(value, str) and len(value) <= limit and value.encode(errors="ignore").decode() == value


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_arrays(project: Project) -> None:
    latents = [x.ws for x in (*project.images, *project.edits) if x.ws is not None]
    if not all(isinstance(each, np.ndarray) for each in latents):
        raise ProjectError("project: expected latents as numpy arrays, `ws.cpu().numpy()` of a tensor")
    labels = [x.labels for x in (*project.images, *project.edits) if x.labels is not None]
    for ws in latents:
        if ws.ndim != 2 or ws.dtype != np.float32 or not 1 <= ws.size <= MAX_LATENT or not np.isfinite(ws).all():
            raise ProjectError(f"project: expected finite float32 (num_ws, w_dim), got {ws.dtype} {ws.shape}")
    for one in labels:
        if one.ndim != 2 or one.dtype != np.uint8 or one.size == 0:
            raise ProjectError(f"project: expected labels (H, W) uint8, got {one.shape} {one.dtype}")
        if one.size > MAX_PIXELS:
            raise ProjectError(f"project: expected labels of at most {MAX_PIXELS // 10**6} megapixels, got {one.shape}")
        wrong = (one >= len(project.categories)) & (one != IGNORE)
        if wrong.any():
            raise ProjectError(f"project: label {one[wrong][0]}, and there are {len(project.categories)} categories")
    if len({ws.shape for ws in latents}) > 1 or len({one.shape for one in labels}) > 1:
        raise ProjectError("project: expected all latents of one shape, and all labels of one size")


def _check_extractor(data: bytes, generator_id: str) -> None:
    """Check that the data are an extractor file for this generator; `load_extractor` checks its shapes."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ProjectError(
            f"project: extractor: expected the bytes of its file, as `save_extractor` writes it, got {shown(data)}"
        )
    check_header(data, "project: the header of extractor.safetensors", ProjectError)
    try:
        safetensors.deserialize(bytes(data))
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except Exception as error:  # raised by safetensors or JSON
        raise ProjectError("project: extractor.safetensors is no extractor") from error
    if metadata.get("format") != "linsem-extractor":
        raise ProjectError("project: extractor.safetensors is no extractor")
    if metadata.get("generator") != split_label(generator_id)[0]:  # one serves all labels of a conditional generator
        got = str(metadata.get("generator"))[:80]
        raise ProjectError(f"project: its extractor was made for {got!r}, and the project for {generator_id!r}")
