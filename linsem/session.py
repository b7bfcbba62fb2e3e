"""The state of the labelling bench, as frozen values and pure functions between them.

This module depends on neither networks nor the user interface. A `Session` holds pictures (by their latents), the
labels painted on them, and the categories. Undo restores what a change removed, and keeps what was painted since
(`linsem.changes`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from linsem.categories import names_of
from linsem.changes import SAME, Change, Picture, make_room, old_categories, old_pictures, taken_of
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.palette import Category, parse_categories
from linsem.pixels import IGNORE

HISTORY = 20  # changes that can be undone


class SessionError(InputError):
    """A change that cannot be made; the message says why. The session is unchanged."""


@dataclass(frozen=True, eq=False)
class Session:
    """The labelling bench.

    `version` increases with each change that affects a fit; `serial` numbers the keys, which begin with `token`, unique
    to each bench. `built_in`: the shipped extractor is used although the visitor has fitted one. `dropped`: the
    unlabelled pictures that made room for others last.
    """

    model: str = ""
    token: str = ""
    categories: tuple[Category, ...] = ()
    pictures: tuple[Picture, ...] = ()
    version: int = 0
    serial: int = 0
    past: tuple[Change, ...] = ()
    built_in: bool = False
    dropped: tuple[Picture, ...] = ()

    def find(self, key: str | None) -> int | None:
        """The position of the picture with this key, or None."""
        return next((i for i, picture in enumerate(self.pictures) if picture.key == key), None)

    @property
    def last_seed(self) -> int:
        """The largest seed among the pictures; 0 if there is none."""
        return max((picture.seed for picture in self.pictures if picture.seed is not None), default=0)

    @property
    def labelled(self) -> tuple[Picture, ...]:
        """The pictures with painted pixels."""
        return tuple(picture for picture in self.pictures if picture.painted)


def new_session(model: str, categories: tuple[Category, ...]) -> Session:
    """An empty bench for a generator."""
    return Session(model, secrets.token_hex(6), categories)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted extractor, the `version` and the `token` ("": unknown) of its session, and the duration of the fit."""

    extractor: Extractor
    version: int
    seconds: float
    token: str = ""


# --- pictures --------------------------------------------------------------------------------------------------------


def add_pictures(
    session: Session, ws: np.ndarray, seeds: Sequence[int], psi: float, size: tuple[int, int], limit: int = 24
) -> Session:
    """Append new, unlabelled pictures; ws (N, num_ws, w_dim). Raises `SessionError` beyond `limit`."""
    check_room(session, len(seeds), limit)
    new = tuple(
        Picture(f"{session.token}-{session.serial + i}", row, int(seed), float(psi), np.full(size, IGNORE, np.uint8))
        for i, (row, seed) in enumerate(zip(ws, seeds, strict=True))
    )
    return replace(session, pictures=session.pictures + new, serial=session.serial + len(new))


def check_room(session: Session, count: int, limit: int) -> None:
    """Raise `SessionError` unless so many more pictures fit on the bench."""
    if len(session.pictures) + count > limit:
        raise SessionError(
            f"there is room for {limit} images: {len(session.pictures)} are here and {count} more were asked for"
        )


def keep_labelled(session: Session) -> Session:
    """The bench without the unlabelled pictures; a stroke that was under way on one brings it back (`paint`)."""
    dropped = tuple(picture for picture in session.pictures if not picture.painted)
    return replace(session, pictures=session.labelled, dropped=dropped)


def paint(session: Session, key: str, labels: np.ndarray, stamp: int = 0) -> Session:
    """Take over the labels (H, W) uint8 of a picture from the painter; an outdated key or stamp changes nothing."""
    index = session.find(key)
    if index is None:
        back = tuple(picture for picture in session.dropped if picture.key == key)
        if not back or (labels == IGNORE).all():
            return session
        session, index = replace(session, pictures=session.pictures + back, dropped=()), len(session.pictures)
    picture = session.pictures[index]
    if labels.shape != picture.labels.shape:
        raise SessionError(f"labels: expected {picture.labels.shape}, got {labels.shape}")
    known = labels[labels != IGNORE]
    if known.size and known.max() >= len(session.categories):
        raise SessionError(f"labels: label {known.max()}, but there are {len(session.categories)} categories")
    if stamp < picture.stamp:  # a value that came late
        return session
    if not np.array_equal(labels, picture.labels):
        return _put(session, index, replace(picture, labels=labels, stamp=stamp))
    if stamp == picture.stamp:
        return session
    return replace(_put(session, index, replace(picture, stamp=stamp)), version=session.version)


def set_labels(session: Session, index: int, labels: np.ndarray) -> Session:
    """Set labels that do not come from the painter; the picture gets a new key, so that the painter reloads them."""
    picture = replace(session.pictures[index], labels=labels, key=f"{session.token}-{session.serial}")
    return _remember(session, _put(replace(session, serial=session.serial + 1), index, picture))


def remove_picture(session: Session, index: int) -> Session:
    """Remove a picture from the bench."""
    if len(session.pictures) == 1:
        raise SessionError("this is the only image: add another one before you remove it")
    rest = session.pictures[:index] + session.pictures[index + 1 :]
    return _remember(session, replace(session, pictures=rest, version=session.version + 1))


def undo(session: Session, limit: int = 24) -> Session:
    """Undo the last change that was not a stroke (strokes are undone in the painter).

    Nothing painted or added since is lost: a category that was added and then painted stays, and the change before it
    is undone instead. If this gives more than `limit` pictures, unlabelled ones are removed.
    """
    past = session.past
    while past and past[-1].holds(session.pictures):
        past = past[:-1]
    if not past:
        raise SessionError("there is nothing to undo here; strokes are undone in the painter")
    change = past[-1]
    pictures = make_room(old_pictures(change, session.pictures), {each.picture.name for each in change.taken}, limit)
    if len(pictures) > max(limit, len(session.pictures)):
        raise SessionError(f"there is room for {limit} images, and all here are labelled: erase one's strokes first")
    categories, serial, keyed = _checked(old_categories(change, session.categories)), session.serial, []
    for picture in pictures:
        if picture not in session.pictures:  # a new key makes the painter reload the labels
            picture = replace(picture, key=f"{session.token}-{serial}")
            serial += 1
        keyed.append(picture)
    return replace(
        session, categories=categories, pictures=tuple(keyed), past=past[:-1], version=session.version + 1,
        serial=serial, dropped=(),
    )  # fmt: skip


def _put(session: Session, index: int, picture: Picture) -> Session:
    pictures = (*session.pictures[:index], picture, *session.pictures[index + 1 :])
    return replace(session, pictures=pictures, version=session.version + 1)


def _remember(before: Session, after: Session, back: np.ndarray = SAME) -> Session:
    """`after` with an entry for `undo`; `back` maps each of its labels to one of `before`."""
    taken = taken_of(before.pictures, after.pictures, back)
    change = Change(before.categories, len(after.categories), back, taken)
    return replace(after, past=(*before.past, change)[-HISTORY:])


# --- categories ------------------------------------------------------------------------------------------------------


def add_category(session: Session, name: str, color: str | None = None) -> Session:
    """Append a category; without a colour it gets a distinct one."""
    _refuse_name(session.categories, name)
    item = {"name": name, "color": color or None}
    more = replace(session, categories=_checked([*session.categories, item]), version=session.version + 1)
    return _remember(session, more, _without(len(session.categories), IGNORE))


def change_category(session: Session, index: int, name: str, color: str) -> Session:
    """Rename and recolour a category; the labels stay."""
    items: list[Category | dict] = list(session.categories)
    items.pop(_index(session, index))
    _refuse_name(items, name)
    items.insert(index, {"name": name, "color": color})
    return _remember(session, replace(session, categories=_checked(items)))


def merge_categories(session: Session, source: int, into: int) -> Session:
    """Relabel the pixels of `source` as `into`, and remove `source`."""
    source, into = _index(session, source), _index(session, into)
    if source == into:
        raise SessionError("choose two different categories to merge")
    _refuse_last_two(session, "merge these")
    return _drop(session, source, into)


def delete_category(session: Session, index: int) -> Session:
    """Remove a category; its pixels become unlabelled."""
    _refuse_last_two(session, "delete this one")
    return _drop(session, _index(session, index), None)


def _refuse_name(others: Sequence[Category], name: str) -> None:
    if not name.strip():
        raise SessionError("enter a name for the category")
    if name.strip() in {category.name for category in others}:
        raise SessionError(f"there already is a category called {name.strip()!r}")


def _refuse_last_two(session: Session, what: str) -> None:
    if len(session.categories) <= 2:
        raise SessionError(f"two categories are the least: add another one before you {what}")


def _drop(session: Session, gone: int, into: int | None) -> Session:
    table = _without(gone, IGNORE if into is None else into - (into > gone))
    serial, pictures = session.serial, []
    for picture in session.pictures:
        pictures.append(replace(picture, labels=table[picture.labels], key=f"{session.token}-{serial}"))
        serial += 1
    kept = session.categories[:gone] + session.categories[gone + 1 :]
    back = SAME.copy()
    back[gone : IGNORE - 1] += 1
    less = replace(
        session, categories=kept, pictures=tuple(pictures), serial=serial, version=session.version + 1, dropped=(),
    )  # fmt: skip
    return _remember(session, less, back)


def _without(gone: int, becomes: int) -> np.ndarray:
    """A table of 256 labels for the removal of a category: those behind it move up."""
    table = SAME.copy()
    table[gone + 1 : IGNORE] -= 1
    table[gone] = becomes
    return table


def _checked(items: Sequence[Category | dict]) -> tuple[Category, ...]:
    try:
        return parse_categories(items)
    except ValueError as error:
        raise SessionError(str(error)) from error


def _index(session: Session, index: int) -> int:
    if not 0 <= index < len(session.categories):
        raise SessionError("choose one of the categories first")
    return index


def rename_fitted(fitted: Fitted | None, before: Session, after: Session) -> Fitted | None:
    """The fitted extractor with the categories' new names and colours; None if there are more or fewer now.

    None too if it was fitted to other categories than those before or after: then they changed while it was fitted.
    """
    if fitted is None:
        return None
    names = names_of(fitted.extractor.categories)
    renamed = len(before.categories) == len(after.categories) and names == names_of(before.categories)
    if not renamed and names != names_of(after.categories):
        return None
    return replace(fitted, extractor=replace(fitted.extractor, categories=after.categories))
