"""What a visitor has made: frozen values, and pure functions from value to value.

Nothing here knows a network or a screen. A `Session` is the labelling bench: pictures (by their latents), what is
painted on them, and the categories. Undo gives back what a change took, and keeps what was painted since
(`linsem.changes`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from linsem.changes import SAME, Change, Picture, make_room, old_categories, old_pictures, taken_of
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.palette import Category, parse_categories
from linsem.pixels import IGNORE

HISTORY = 20  # changes that can be undone


class SessionError(InputError):
    """A change that cannot be made; the sentence says why. The session stays as it was."""


@dataclass(frozen=True, eq=False)
class Session:
    """The bench. `version` rises with each change that a fit would see; `serial` numbers the keys, and `token`, which
    no other bench has, begins them."""

    model: str = ""
    token: str = ""
    categories: tuple[Category, ...] = ()
    pictures: tuple[Picture, ...] = ()
    version: int = 0
    serial: int = 0
    past: tuple[Change, ...] = ()

    def find(self, key: str | None) -> int | None:
        """The position of the picture with this key, or None."""
        return next((i for i, picture in enumerate(self.pictures) if picture.key == key), None)

    @property
    def last_seed(self) -> int:
        """The largest seed among the pictures; 0 where there is none."""
        return max((picture.seed for picture in self.pictures if picture.seed is not None), default=0)

    @property
    def labelled(self) -> tuple[Picture, ...]:
        """The pictures on which something is painted."""
        return tuple(picture for picture in self.pictures if picture.painted)


def new_session(model: str, categories: tuple[Category, ...]) -> Session:
    """An empty bench for a generator."""
    return Session(model, secrets.token_hex(6), categories)


@dataclass(frozen=True, eq=False)
class Fitted:
    """An extractor that the visitor has fitted, the `version` of the session that it was fitted on, and how long the
    fit took."""

    extractor: Extractor
    version: int
    seconds: float


# --- pictures --------------------------------------------------------------------------------------------------------


def add_pictures(
    session: Session, ws: np.ndarray, seeds: Sequence[int], psi: float, size: tuple[int, int], limit: int = 24
) -> Session:
    """New, unlabelled pictures behind the others; ws (N, num_ws, w_dim). Raises `SessionError` beyond `limit`."""
    if len(session.pictures) + len(seeds) > limit:
        raise SessionError(
            f"there is room for {limit} images: {len(session.pictures)} are here and {len(seeds)} more were asked for"
        )
    new = tuple(
        Picture(f"{session.token}-{session.serial + i}", row, int(seed), float(psi), np.full(size, IGNORE, np.uint8))
        for i, (row, seed) in enumerate(zip(ws, seeds, strict=True))
    )
    return replace(session, pictures=session.pictures + new, serial=session.serial + len(new))


def keep_labelled(session: Session) -> Session:
    """The bench without the pictures that nothing is painted on."""
    return replace(session, pictures=session.labelled)


def paint(session: Session, key: str, labels: np.ndarray) -> Session:
    """The labels (H, W) uint8 that the painter holds for a picture. A key that is no longer current changes nothing."""
    index = session.find(key)
    if index is None:
        return session
    picture = session.pictures[index]
    if labels.shape != picture.labels.shape:
        raise SessionError(f"labels: expected {picture.labels.shape}, got {labels.shape}")
    known = labels[labels != IGNORE]
    if known.size and known.max() >= len(session.categories):
        raise SessionError(f"labels: label {known.max()}, but there are {len(session.categories)} categories")
    if np.array_equal(labels, picture.labels):
        return session
    return _put(session, index, replace(picture, labels=labels))


def set_labels(session: Session, index: int, labels: np.ndarray) -> Session:
    """Labels that did not come from the painter: the picture gets a new key, so that the painter takes them over."""
    picture = replace(session.pictures[index], labels=labels, key=f"{session.token}-{session.serial}")
    return _remember(session, _put(replace(session, serial=session.serial + 1), index, picture))


def remove_picture(session: Session, index: int) -> Session:
    """Take a picture off the bench."""
    if len(session.pictures) == 1:
        raise SessionError("this is the only image: add another one before you remove it")
    rest = session.pictures[:index] + session.pictures[index + 1 :]
    return _remember(session, replace(session, pictures=rest, version=session.version + 1))


def undo(session: Session, limit: int = 24) -> Session:
    """Give back what the last change took that was not a stroke (the painter undoes strokes).

    Nothing that was painted since is lost, nor a picture that was added: a category that was added and then painted
    stays, and the change before it is undone. Where more than `limit` pictures would be there, unlabelled ones go.
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
        if picture not in session.pictures:  # under a new key, so that the painter takes the labels over
            picture = replace(picture, key=f"{session.token}-{serial}")
            serial += 1
        keyed.append(picture)
    return replace(
        session, categories=categories, pictures=tuple(keyed), past=past[:-1], version=session.version + 1,
        serial=serial,
    )  # fmt: skip


def _put(session: Session, index: int, picture: Picture) -> Session:
    pictures = (*session.pictures[:index], picture, *session.pictures[index + 1 :])
    return replace(session, pictures=pictures, version=session.version + 1)


def _remember(before: Session, after: Session, back: np.ndarray = SAME) -> Session:
    """`after`, from which `undo` finds the way back: `back` is each of its labels as one of `before`."""
    taken = taken_of(before.pictures, after.pictures, back)
    change = Change(before.categories, len(after.categories), back, taken)
    return replace(after, past=(*before.past, change)[-HISTORY:])


# --- categories ------------------------------------------------------------------------------------------------------


def add_category(session: Session, name: str, color: str | None = None) -> Session:
    """One more category, last; without a colour it gets one of its own."""
    _refuse_name(session.categories, name)
    item = {"name": name, "color": color or None}
    more = replace(session, categories=_checked([*session.categories, item]), version=session.version + 1)
    return _remember(session, more, _without(len(session.categories), IGNORE))


def change_category(session: Session, index: int, name: str, color: str) -> Session:
    """Rename and recolour; the labels stay."""
    items: list[Category | dict] = list(session.categories)
    items.pop(_index(session, index))
    _refuse_name(items, name)
    items.insert(index, {"name": name, "color": color})
    return _remember(session, replace(session, categories=_checked(items)))


def merge_categories(session: Session, source: int, into: int) -> Session:
    """What is labelled `source` becomes `into`, and `source` is gone."""
    source, into = _index(session, source), _index(session, into)
    if source == into:
        raise SessionError("choose two different categories to merge")
    _refuse_last_two(session, "merge these")
    return _drop(session, source, into)


def delete_category(session: Session, index: int) -> Session:
    """The category is gone, and its pixels are unlabelled."""
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
    less = replace(session, categories=kept, pictures=tuple(pictures), serial=serial, version=session.version + 1)
    return _remember(session, less, back)


def _without(gone: int, becomes: int) -> np.ndarray:
    """Each of 256 labels where a category is gone: those behind it move up."""
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


def rename_fitted(fitted: Fitted | None, categories: tuple[Category, ...]) -> Fitted | None:
    """What is fitted, with the categories' present names and colours; None where their number has changed."""
    if fitted is None or len(fitted.extractor.categories) != len(categories):
        return None
    return replace(fitted, extractor=replace(fitted.extractor, categories=categories))


# --- how sure --------------------------------------------------------------------------------------------------------


ONE_PICTURE, ONE_SEEN = 0.84, "seen on one image only"  # just below what is told as "sure", and in words
FAIRLY = 0.7  # from here on somebody would rely on it


@dataclass(frozen=True)
class Sureness:
    """How sure the extractor is of a category: `value` in [0, 1] (None: found nowhere), painted pixels, in words."""

    category: Category
    value: float | None
    painted: int
    share: float
    words: str


def sureness(
    session: Session, labels: np.ndarray, uncertainty: np.ndarray, words: Callable[[float], str] | None = None
) -> tuple[Sureness, ...]:
    """One row a category, from the predictions on all pictures: labels and uncertainty, both (N, H, W).

    A category that is painted on one of several pictures is `ONE_PICTURE` sure at most, and told as `ONE_SEEN` unless
    it is unsure even there: nothing has shown yet whether what was learnt holds elsewhere, or whether a stroke missed.
    """
    words = words or sure_words
    counts = np.array([np.bincount(picture.labels.ravel(), minlength=256) for picture in session.pictures])
    painted, alone = counts.sum(0), ((counts > 0).sum(0) == 1) & (len(counts) > 1)
    count = np.bincount(labels.ravel(), minlength=256)
    total = np.bincount(labels.ravel(), weights=1 - uncertainty.ravel(), minlength=256)
    rows = []
    for k, category in enumerate(session.categories):
        value = float(total[k] / count[k]) if count[k] else None
        value = min(value, ONE_PICTURE) if value is not None and alone[k] else value
        text = words(value) if value is not None else "painted, but found nowhere"
        text = "not painted yet" if not painted[k] else ONE_SEEN if alone[k] and (value or 0) >= FAIRLY else text
        rows.append(Sureness(category, value if painted[k] else None, int(painted[k]), count[k] / labels.size, text))
    return tuple(rows)


def sure_words(value: float) -> str:
    """A sureness in [0, 1] as a person would say it."""
    for least, text in ((0.95, "very sure"), (0.85, "sure"), (FAIRLY, "fairly sure"), (0.5, "unsure")):
        if value >= least:
            return text
    return "guessing"
