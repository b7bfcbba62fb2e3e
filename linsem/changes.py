"""Changes of a bench other than strokes, and how they are undone without losing what was painted since.

A change stores only what it removed. Undoing is a three-way merge of the labels before it, after it, and now: what
differs between after and now was painted since, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from linsem.categories import MAX_NAME, Category
from linsem.pixels import IGNORE

USUAL_PSI = 0.7  # the variety of images of which nothing is said
SAME = np.arange(256, dtype=np.uint8)  # the identity table of labels


@dataclass(frozen=True, eq=False)
class Picture:
    """An image on the bench.

    Attributes:
        key: identifies the picture and the server's last state of its labels; a new key makes the painter reload them.
        ws: (num_ws, w_dim) float32.
        seed, psi: what ws was drawn from (no seed: a latent from a project file).
        labels: (H, W) uint8, 255 = unknown.
        name: the first key, which stays.
        stamp: of the painter's value that the labels are of; the painter's later ones have larger stamps.
    """

    key: str
    ws: np.ndarray
    seed: int | None
    psi: float
    labels: np.ndarray
    name: str = ""
    stamp: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.key)

    @property
    def title(self) -> str:
        """The display name."""
        return "own latent" if self.seed is None else title_of(self.seed, self.psi)

    @property
    def painted(self) -> int:
        """The number of labelled pixels."""
        return int((self.labels != IGNORE).sum())


def title_of(seed: int, psi: float) -> str:
    """The display name of a seed's image: with another psi than usual it is another image."""
    return f"seed {seed}" if round(psi, 3) == USUAL_PSI else f"seed {seed}, psi {psi:.3g}"


@dataclass(frozen=True, eq=False)
class Taken:
    """A picture before a change, its position, and the labels it had after the change; None: it was removed."""

    index: int
    picture: Picture
    left: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Change:
    """A change that can be undone.

    Attributes:
        categories: those before the change.
        count: the number of categories after it.
        back: (256,), maps each label after it to one before it.
        taken: the pictures that lost something.
    """

    categories: tuple[Category, ...]
    count: int
    back: np.ndarray
    taken: tuple[Taken, ...] = ()

    def holds(self, pictures: Sequence[Picture]) -> bool:
        """Whether undoing would lose strokes: it added a category that has been painted since."""
        added = len(self.categories)
        return self.count > added and any((picture.labels == added).any() for picture in pictures)


def taken_of(before: Sequence[Picture], after: Sequence[Picture], back: np.ndarray) -> tuple[Taken, ...]:
    """What a change removed: the pictures that `back`, which maps labels after it to those before, does not restore."""
    left = {picture.name: picture.labels for picture in after}
    return tuple(
        Taken(index, picture, left.get(picture.name))
        for index, picture in enumerate(before)
        if picture.name not in left or not np.array_equal(picture.labels, back[left[picture.name]])
    )


def old_categories(change: Change, now: Sequence[Category]) -> list[Category | dict]:
    """The categories before a change, followed by those added since.

    An old category whose name or colour is now used by an added one gets another.
    """
    added = list(now[change.count :])
    names, colors = {category.name for category in added}, {category.color for category in added}
    old: list[Category | dict] = []
    for category in change.categories:
        name = _free_name(category.name, names)
        names.add(name)
        old.append({"name": name, "color": None if category.color in colors else category.color})
    return old + added


def old_pictures(change: Change, now: Sequence[Picture]) -> tuple[Picture, ...]:
    """The present pictures with what a change removed restored, and what was painted since kept.

    A picture that is missing is inserted at its position if the change removed it or all of its labels.
    """
    taken = {each.picture.name: each for each in change.taken}
    pictures = [_given_back(picture, taken.get(picture.name), change.back) for picture in now]
    here = {picture.name for picture in now}
    for each in change.taken:
        if each.picture.name not in here and (each.left is None or (each.left == IGNORE).all()):
            pictures.insert(each.index, each.picture)
    return tuple(pictures)


def make_room(pictures: tuple[Picture, ...], back: set[str], limit: int) -> tuple[Picture, ...]:
    """Remove unlabelled pictures from the end, except those named in `back`, until `limit` remain, if possible."""
    while len(pictures) > limit:
        empty = [i for i, picture in enumerate(pictures) if not picture.painted and picture.name not in back]
        if not empty:
            break
        pictures = pictures[: empty[-1]] + pictures[empty[-1] + 1 :]
    return pictures


def _given_back(picture: Picture, taken: Taken | None, back: np.ndarray) -> Picture:
    if taken is None and np.array_equal(back, SAME):
        return picture
    labels = back[picture.labels]
    if taken is not None and taken.left is not None:
        labels = np.where(picture.labels == taken.left, taken.picture.labels, labels)
    return replace(picture, labels=labels)


def _free_name(name: str, names: set[str]) -> str:
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name[: MAX_NAME - 5]} {number}"
    return free
