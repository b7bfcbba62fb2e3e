"""A line of edits of one image, with undo and redo: frozen values, and functions from value to value."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import numpy as np

from linsem.extractor import Extractor

HISTORY = 20  # states that are kept


@dataclass(frozen=True, eq=False)
class EditPoint:
    """One state of an edited image: ws (num_ws, w_dim), rgb (H, W, 3) uint8, labels (H, W) uint8, and in words how it
    came to be; `report` is that of `linsem.edit`, empty for the start. `number` is its own in its track. `wish` (H, W)
    uint8 is what is painted on it before anybody has painted."""

    ws: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    caption: str
    report: dict[str, object]
    number: int = 0
    wish: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """A line of edits of one image. `position` is the one shown; what lies behind it can be redone. `name` is unlike
    that of any other track, so that the painter never takes one for the other; `made` counts the states ever made.
    `stale` are the numbers of those whose labels an extractor before this one has read."""

    name: str
    model: str
    points: tuple[EditPoint, ...]
    position: int
    extractor: Extractor
    made: int = 0
    stale: frozenset[int] = frozenset()

    @property
    def now(self) -> EditPoint:
        """The state shown."""
        return self.points[self.position]

    @property
    def key(self) -> str:
        """Names the state for the painter."""
        return f"{self.name}.{self.now.number}"


def new_track(model: str, extractor: Extractor, start: EditPoint) -> Track:
    """A line of edits that begins with an image."""
    return Track(secrets.token_hex(6), model, (start,), 0, extractor)


def push(track: Track, point: EditPoint) -> Track:
    """A new state after the one shown; what could be redone is gone. The first state is always kept."""
    point = replace(point, number=track.made + 1)
    points = (*track.points[: track.position + 1], point)
    if len(points) > HISTORY:
        points = (points[0], *points[2:])
    return replace(track, points=points, position=len(points) - 1, made=track.made + 1)


def step(track: Track, by: int) -> Track:
    """Undo (-1) or redo (+1); at either end it stays."""
    return replace(track, position=min(max(track.position + by, 0), len(track.points) - 1))


def reread(track: Track, extractor: Extractor, labels: np.ndarray) -> Track:
    """The same track after another extractor has read the state shown: labels (H, W). The other states are `stale`
    until they are shown and read in their turn. Where the categories are others, strokes on it would mean something
    else: the painter takes it for another track, and a wish that is painted already is taken off."""
    points = (*track.points[: track.position], replace(track.now, labels=labels), *track.points[track.position + 1 :])
    stale = track.stale if extractor is track.extractor else frozenset(point.number for point in points)
    same = [c.name for c in extractor.categories] == [c.name for c in track.extractor.categories]
    points = points if same else tuple(replace(point, wish=None) for point in points)
    return replace(
        track, name=track.name if same else secrets.token_hex(6), points=points, extractor=extractor,
        stale=stale - {track.now.number},
    )  # fmt: skip
