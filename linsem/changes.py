"""Changes of a bench that are no strokes, and how what they took is given back, whatever has been painted since.

A change keeps what it took and nothing else: giving back is a merge of three, the labels before it, after it and now.
What differs between after and now was painted since, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from linsem.categories import MAX_NAME, Category
from linsem.pixels import IGNORE

SAME = np.arange(256, dtype=np.uint8)  # each label as itself


@dataclass(frozen=True, eq=False)
class Picture:
    """An image on the bench: its ws (num_ws, w_dim) float32, the seed and psi that give it (no seed: a latent from a
    project file), its labels (H, W) uint8 (255: unknown). `key` names it with the state of its labels that the server
    made last: a new one tells the painter to take the labels from here. `name` is the first key, and stays."""

    key: str
    ws: np.ndarray
    seed: int | None
    psi: float
    labels: np.ndarray
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.key)

    @property
    def title(self) -> str:
        """What it is called."""
        return "own latent" if self.seed is None else f"seed {self.seed}"

    @property
    def painted(self) -> int:
        """How many pixels are labelled."""
        return int((self.labels != IGNORE).sum())


@dataclass(frozen=True, eq=False)
class Taken:
    """A picture as it was before a change, its position, and the labels that the change left on it; None: it left."""

    index: int
    picture: Picture
    left: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Change:
    """A change that can be undone: the categories before it, how many there were after it, each label after it as one
    before it (256), and the pictures that it took something from."""

    categories: tuple[Category, ...]
    count: int
    back: np.ndarray
    taken: tuple[Taken, ...] = ()

    def holds(self, pictures: Sequence[Picture]) -> bool:
        """Whether undoing would lose strokes: it added a category, which has been painted since."""
        added = len(self.categories)
        return self.count > added and any((picture.labels == added).any() for picture in pictures)


def taken_of(before: Sequence[Picture], after: Sequence[Picture], back: np.ndarray) -> tuple[Taken, ...]:
    """What a change took that made these pictures of those: what `back`, each label after it as one before, does not
    give."""
    left = {picture.name: picture.labels for picture in after}
    return tuple(
        Taken(index, picture, left.get(picture.name))
        for index, picture in enumerate(before)
        if picture.name not in left or not np.array_equal(picture.labels, back[left[picture.name]])
    )


def old_categories(change: Change, now: Sequence[Category]) -> list[Category | dict]:
    """The categories before a change, and behind them those that were added since and are there still. One of the old
    that has lost its name or colour to these gets another."""
    added = list(now[change.count :])
    names, colors = {category.name for category in added}, {category.color for category in added}
    old: list[Category | dict] = []
    for category in change.categories:
        name = _free_name(category.name, names)
        names.add(name)
        old.append({"name": name, "color": None if category.color in colors else category.color})
    return old + added


def old_pictures(change: Change, now: Sequence[Picture]) -> tuple[Picture, ...]:
    """The pictures of now, with what a change took from them; what is painted since stays on top of it. A picture that
    is not there any more is put in again at its place, if the change took all of its labels, or the picture itself."""
    taken = {each.picture.name: each for each in change.taken}
    pictures = [_given_back(picture, taken.get(picture.name), change.back) for picture in now]
    here = {picture.name for picture in now}
    for each in change.taken:
        if each.picture.name not in here and (each.left is None or (each.left == IGNORE).all()):
            pictures.insert(each.index, each.picture)
    return tuple(pictures)


def make_room(pictures: tuple[Picture, ...], back: set[str], limit: int) -> tuple[Picture, ...]:
    """At most `limit` of the pictures, where that can be: the last unlabelled ones go, but never one that is `back`."""
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
