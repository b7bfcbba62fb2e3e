"""The history of edits of one image, with undo and redo, as frozen values and functions between them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from linsem.categories import names_of
from linsem.extractor import Extractor
from linsem.pixels import IGNORE

HISTORY = 20  # states that are kept
KEPT, KEPT_BYTES = 8, 32 << 20  # other images whose edits are kept too
State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class EditPoint:
    """One state of an edited image.

    Attributes:
        ws, rgb, labels: (num_ws, w_dim), (H, W, 3) uint8 and (H, W) uint8.
        caption: how it was made, in words.
        report: that of `linsem.edit`; empty for the start.
        number: unique within the track.
        wish: (H, W) uint8, what the painter shows: an example's strokes, or those that an edit was run with.
        told_by: the extractor that the numbers of the report are of.
    """

    ws: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray
    caption: str
    report: dict[str, object]
    number: int = 0
    wish: np.ndarray | None = None
    told_by: Extractor | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """The history of edits of one image.

    Attributes:
        position: of the state shown; later ones can be redone.
        name: unique to the track, so that the painter never confuses two of them.
        root: its first name, which it keeps when other categories rename it.
        made: the number of states ever made.
        stale: numbers of the states whose labels were predicted by an earlier extractor.
    """

    name: str
    model: str
    points: tuple[EditPoint, ...]
    position: int
    extractor: Extractor
    made: int = 0
    stale: frozenset[int] = frozenset()
    root: str = ""

    def __post_init__(self) -> None:
        if not self.root:
            object.__setattr__(self, "root", self.name)

    @property
    def now(self) -> EditPoint:
        """The state shown."""
        return self.points[self.position]

    @property
    def key(self) -> str:
        """The state's key for the painter."""
        return f"{self.name}.{self.now.number}"


def new_track(model: str, extractor: Extractor, start: EditPoint) -> Track:
    """A track that begins with an image."""
    return Track(secrets.token_hex(6), model, (start,), 0, extractor)


def push(track: Track, point: EditPoint) -> Track:
    """Add a state after the one shown, discarding what could be redone; the first state is always kept."""
    point = replace(point, number=track.made + 1)
    points = recent((*track.points[: track.position + 1], point))
    return replace(track, points=points, position=len(points) - 1, made=track.made + 1)


def recent(states: Sequence[State]) -> tuple[State, ...]:
    """Of the states of an image, oldest first, those that a track keeps: the first one, and the last ones."""
    return tuple(states) if len(states) <= HISTORY else (states[0], *states[1 - HISTORY :])


def room_for(sizes: Sequence[int]) -> int:
    """Of other images whose edits have so many bytes each, newest first: how many are kept. The first one always is."""
    total = 0
    for count, size in enumerate(sizes[:KEPT]):
        total += size
        if count and total > KEPT_BYTES:
            return count
    return min(len(sizes), KEPT)


def goes_on(track: Track | None, made: Track | None) -> bool:
    """Whether `made` is `track` with more states, and not another track, or what it was before an undo.

    Their extractors may differ, if another was learnt while the states were made.
    """
    return track is not None and made is not None and made.root == track.root and made.made > track.made


def known_track(begun: Track, tracks: Sequence[Track]) -> Track | None:
    """The first of the tracks that started from the image with which another one begins, in the same words, or None.

    A wish that is painted already, as on an example, is begun anew.
    """
    start = begun.points[0]
    for each in tracks:
        first = each.points[0]
        same = each.model == begun.model and first.caption == start.caption and np.array_equal(first.ws, start.ws)
        if same and start.wish is None:
            return each
    return None


def turned(wanted: Track, now: Track | None, kept: tuple[Track, ...]) -> tuple[Track, tuple[Track, ...]]:
    """Turn from a track to another: that one, and the tracks to keep, newest first, of which it is none.

    The one shown stays if it is the other with more states, as when its image is chosen again during a run.
    """
    wanted = now if goes_on(wanted, now) else wanted
    left = () if now is None or (len(now.points) == 1 and now.now.wish is None) else (now,)
    rest = [each for each in (*left, *kept) if each.root != wanted.root]
    sizes = [sum(point.rgb.nbytes + point.labels.nbytes for point in each.points) for each in rest]
    return wanted, tuple(rest[: room_for(sizes)])


def painted_here(track: Track, wish: np.ndarray) -> Track:
    """The track with strokes (H, W) on the state shown, so that they are there again when an edit is undone."""
    wish = None if (wish == IGNORE).all() and track.now.wish is None else wish
    points = (*track.points[: track.position], replace(track.now, wish=wish), *track.points[track.position + 1 :])
    return replace(track, points=points)


def step(track: Track, by: int) -> Track:
    """Undo (-1) or redo (+1); no effect at either end."""
    return replace(track, position=min(max(track.position + by, 0), len(track.points) - 1))


def reread(track: Track, extractor: Extractor, labels: np.ndarray) -> Track:
    """The track after another extractor has predicted labels (H, W) for the state shown.

    The other states are `stale` until they are shown and predicted in turn. If the categories differ, indices change
    their meaning, so the painter treats it as a new track, and strokes keep those of their categories that are left.
    """
    points = (*track.points[: track.position], replace(track.now, labels=labels), *track.points[track.position + 1 :])
    stale = track.stale if extractor is track.extractor else frozenset(point.number for point in points)
    before, after = names_of(track.extractor.categories), names_of(extractor.categories)
    same = before == after
    points = points if same else tuple(replace(point, wish=_renamed(point.wish, before, after)) for point in points)
    return replace(
        track, name=track.name if same else secrets.token_hex(6), points=points, extractor=extractor,
        stale=stale - {track.now.number},
    )  # fmt: skip


def _renamed(wish: np.ndarray | None, before: Sequence[str], after: Sequence[str]) -> np.ndarray | None:
    """Strokes (H, W) of categories `before` as indices of those `after`; None if nothing is left of them."""
    if wish is None:
        return None
    table = np.full(256, IGNORE, np.uint8)
    for k, name in enumerate(before):
        if name in after:
            table[k] = list(after).index(name)
    renamed = table[wish]
    return None if (renamed == IGNORE).all() else renamed
