"""Scripted edits: what a person would repaint, derived from an image's label map alone.

Each edit is a function (labels (H, W) uint8, rng) -> target (H, W) uint8 with 255 = no wish, or None where it does not
apply (no hat to take off). Lengths are in units of the face's height, so that they hold at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from linsem.lab.drawings import (
    BACKGROUND,
    BROWS,
    CLOTHES,
    EYES,
    FACIAL_HAIR,
    GLASSES,
    HAIR,
    HAT,
    MOUTH,
    SKIN,
)  # fmt: skip
from linsem.pixels import IGNORE

Script = Callable[[np.ndarray, np.random.Generator], "np.ndarray | None"]


@dataclass(frozen=True)
class Face:
    """Where the face is: rows and columns of the eyes' and mouth's middle, and the distance between them."""

    eye_row: float
    mouth_row: float
    column: float

    @property
    def unit(self) -> float:
        """The distance from eyes to mouth, in pixels."""
        return self.mouth_row - self.eye_row


def find_face(labels: np.ndarray) -> Face | None:
    """The face of a label map, or None where eyes (or glasses) and mouth are not found one above the other."""
    eyes = np.argwhere((labels == EYES) | (labels == GLASSES))
    mouth = np.argwhere(labels == MOUTH)
    if len(eyes) < 4 or len(mouth) < 4:
        return None
    face = Face(eyes[:, 0].mean(), mouth[:, 0].mean(), (eyes[:, 1].mean() + mouth[:, 1].mean()) / 2)
    return face if face.unit >= 0.06 * labels.shape[0] else None


def _grids(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(labels.shape)
    return rows.astype(np.float32), columns.astype(np.float32)


def _wish(labels: np.ndarray, mask: np.ndarray, category: int | np.ndarray, least: float = 0.002) -> np.ndarray | None:
    """A target that asks for a category where the mask is; None where it would change less than `least` of all."""
    target = np.full(labels.shape, IGNORE, np.uint8)
    target[mask] = category[mask] if isinstance(category, np.ndarray) else category
    asked = (target != IGNORE) & (target != labels)
    return target if asked.mean() >= least else None


def _ellipse(labels: np.ndarray, row: float, column: float, height: float, width: float) -> np.ndarray:
    rows, columns = _grids(labels)
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1


def longer_hair(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Hair down both sides of the face to below the mouth."""
    face = find_face(labels)
    if face is None or not (labels == HAIR).mean() > 0.01:
        return None
    rows, columns = _grids(labels)
    aside = np.abs(columns - face.column) / face.unit
    mask = (rows > face.eye_row - face.unit) & (rows < face.mouth_row + 0.8 * face.unit)
    mask &= (aside > 1.55) & (aside < 2.1) & (labels == BACKGROUND)
    return _wish(labels, mask, HAIR)


def shorter_hair(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """No hair below the eyes: background beside the head, clothes where the shoulders are."""
    face = find_face(labels)
    if face is None:
        return None
    rows, columns = _grids(labels)
    mask = (labels == HAIR) & (rows > face.eye_row + 0.3 * face.unit)
    clothes = (labels == CLOTHES).any(1)
    top = int(np.argmax(clothes)) if clothes.any() else labels.shape[0]
    instead = np.where(rows < top, BACKGROUND, CLOTHES).astype(np.uint8)
    return _wish(labels, mask & (np.abs(columns - face.column) > 1.3 * face.unit), instead)


def hat_on(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A hat where the hair above the brows is."""
    face = find_face(labels)
    if face is None or (labels == HAT).any():
        return None
    rows, _ = _grids(labels)
    return _wish(labels, (labels == HAIR) & (rows < face.eye_row - 0.8 * face.unit), HAT, 0.01)


def hat_off(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Hair where the hat was, above the brows."""
    face = find_face(labels)
    if face is None or not (labels == HAT).mean() > 0.01:
        return None
    rows, _ = _grids(labels)
    near = _ellipse(labels, face.eye_row - 0.6 * face.unit, face.column, 2.2 * face.unit, 2.0 * face.unit)
    return _wish(labels, (labels == HAT) & near & (rows < face.eye_row - 0.4 * face.unit), HAIR)


def glasses_on(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Two rings around the eyes and a bridge."""
    face = find_face(labels)
    if face is None or (labels == GLASSES).any():
        return None
    rows, columns = _grids(labels)
    mask = (np.abs(rows - face.eye_row) < 0.08 * face.unit) & (np.abs(columns - face.column) < 0.25 * face.unit)
    for side in (-1, 1):
        middle = face.column + side * 0.72 * face.unit
        outer = _ellipse(labels, face.eye_row, middle, 0.55 * face.unit, 0.6 * face.unit)
        inner = _ellipse(labels, face.eye_row, middle, 0.38 * face.unit, 0.43 * face.unit)
        mask |= outer & ~inner
    return _wish(labels, mask & (labels != HAIR) & (labels != HAT) & (labels != EYES), GLASSES)


def glasses_off(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Skin where the glasses' outer parts were; what appears behind the lenses is left free."""
    face = find_face(labels)
    if face is None or not (labels == GLASSES).any():
        return None
    free = np.zeros(labels.shape, bool)
    for side in (-1, 1):
        free |= _ellipse(labels, face.eye_row, face.column + side * 0.65 * face.unit, 0.3 * face.unit, 0.35 * face.unit)
    return _wish(labels, (labels == GLASSES) & ~free, SKIN)


def open_mouth(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A tall mouth."""
    face = find_face(labels)
    if face is None or (labels == FACIAL_HAIR).any():
        return None
    return _wish(labels, _ellipse(labels, face.mouth_row, face.column, 0.42 * face.unit, 0.42 * face.unit), MOUTH)


def close_mouth(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Skin where the mouth was, but for a line in its middle."""
    face = find_face(labels)
    if face is None or not (labels == MOUTH).mean() > 0.008:
        return None
    rows, _ = _grids(labels)
    line = np.abs(rows - face.mouth_row) < 0.1 * face.unit
    around = np.where(line, MOUTH, SKIN).astype(np.uint8)
    return _wish(labels, labels == MOUTH, around)


def raise_brows(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The brows higher by a quarter of a unit, skin where they were."""
    face = find_face(labels)
    if face is None or not (labels == BROWS).mean() > 0.002:
        return None
    up = max(2, round(0.22 * face.unit))
    brows = labels == BROWS
    moved = np.roll(brows, -up, axis=0) & np.isin(labels, (SKIN, BROWS))
    target = np.where(moved, BROWS, SKIN).astype(np.uint8)
    return _wish(labels, moved | brows, target, 0.001)


def more_clothing(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Clothes up the neck."""
    face = find_face(labels)
    if face is None:
        return None
    rows, _ = _grids(labels)
    return _wish(labels, (labels == SKIN) & (rows > face.mouth_row + 0.95 * face.unit), CLOTHES, 0.004)


def less_clothing(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A lower neckline."""
    face = find_face(labels)
    if face is None:
        return None
    mask = _ellipse(labels, face.mouth_row + 1.3 * face.unit, face.column, 0.7 * face.unit, 0.75 * face.unit)
    return _wish(labels, mask & (labels == CLOTHES), SKIN, 0.004)


def beard_on(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A full beard around the mouth."""
    face = find_face(labels)
    if face is None or (labels == FACIAL_HAIR).any():
        return None
    rows, _ = _grids(labels)
    mask = _ellipse(labels, face.mouth_row + 0.25 * face.unit, face.column, 0.75 * face.unit, 1.1 * face.unit)
    return _wish(labels, mask & (labels == SKIN) & (rows > face.mouth_row - 0.2 * face.unit), FACIAL_HAIR)


def beard_off(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Skin where the facial hair was."""
    if find_face(labels) is None or not (labels == FACIAL_HAIR).mean() > 0.004:
        return None
    return _wish(labels, labels == FACIAL_HAIR, SKIN)


def bald(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Less hair above: background where the hair's top third was."""
    hair = labels == HAIR
    if find_face(labels) is None or not hair.mean() > 0.03:
        return None
    rows, _ = _grids(labels)
    heights = np.flatnonzero(hair.any(1))
    limit = heights[0] + 0.15 * (heights[-1] - heights[0])
    return _wish(labels, hair & (rows < limit), BACKGROUND)


SCRIPTS: dict[str, Script] = {
    each.__name__.replace("_", " "): each
    for each in (
        longer_hair, shorter_hair, hat_on, hat_off, glasses_on, glasses_off, open_mouth, close_mouth, raise_brows,
        more_clothing, less_clothing, beard_on, beard_off, bald,
    )
}  # fmt: skip


def scripted(
    label_maps: Iterator[tuple[int, np.ndarray]], count: int, seed: int = 0
) -> list[tuple[int, str, np.ndarray]]:
    """`count` edits as (image seed, name, target), the scripts taken in turn, each on the next image that it fits."""
    rng = np.random.default_rng(seed)
    names = list(SCRIPTS)
    edits: list[tuple[int, str, np.ndarray]] = []
    waiting = names.copy()
    for image_seed, labels in label_maps:
        for name in waiting:
            target = SCRIPTS[name](labels, rng)
            if target is not None:
                edits.append((image_seed, name, target))
                waiting.remove(name)
                break
        waiting = waiting or names.copy()
        if len(edits) == count:
            return edits
    raise ValueError(f"scripted: only {len(edits)} of {count} edits fit the images given")
