"""Layouts for sampling, from any source: a mask, an example, a generated image, or the painter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
import numpy as np

from linsem.categories import shares
from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError
from linsem.masks import LabelMapError, read_layout
from linsem.palette import Category, colorize, read_label_map
from linsem.pixels import IGNORE, resize_labels
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.ui import show
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.examples import example_masks
from linsem.ui.files import uploaded
from linsem.ui.reader import all_known, chosen_extractor, left_out
from linsem.ui.services import Services, real, whole
from linsem.ui.thumbs import Strip, Thumb

MASK, PAINTING = "your mask", "your painting"  # where the layout of an uploaded file, and a painted one, are from
NO_LAYOUT = "Upload a mask, take the layout of an image, or paint one."


@dataclass(frozen=True, eq=False)
class Layout:
    """The layout that samples should match: labels (H, W) uint8 with 255 = free, their categories, and their origin."""

    labels: np.ndarray
    categories: tuple[Category, ...]
    origin: str


@dataclass(frozen=True, eq=False)
class Base:
    """A layout to paint on; `serial` differs between the times at which one was taken to the painter."""

    layout: Layout
    serial: int


class Layouts:
    """The ways to a layout, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    def cleared(self, layout: Layout | None) -> tuple[object, ...]:
        """Remove the layout together with the file of a mask, unless it has come from elsewhere since."""
        if layout is not None and layout.origin != MASK:
            return (gr.skip(),) * 4
        return None, *self.show_layout(None), show.status(NO_LAYOUT)

    def upload(
        self, session: Session, fitted: Fitted | None, file: str, former: Layout | None = None
    ) -> tuple[object, ...]:
        """Load a mask from a file and report how it was interpreted.

        An invalid file is removed, with a line that says why, and which layout is in use after all: the `former` one.
        """
        extractor = chosen_extractor(self.services, session, fitted)
        path = uploaded(file, "mask")
        if path is None:
            raise InputError("mask: expected a file, got none")
        try:
            layout, report = self._read(session.model, extractor, path, MASK)
        except LabelMapError as error:
            used = "No layout is in use." if former is None else f"Still in use: {former.origin}."
            return gr.skip(), gr.skip(), gr.skip(), show.status(f"{_plain(error)} {used}", "bad"), None
        return *self._taken(extractor, layout, understood(report)), gr.skip()

    def example(self, session: Session, fitted: Fitted | None, path: Path, name: str) -> tuple[object, ...]:
        """Load a shipped mask."""
        extractor = chosen_extractor(self.services, session, fitted)
        layout, report = self._read(session.model, extractor, path, name)
        return self._taken(extractor, layout, f"Layout '{name}': {_categories(len(report['counts']))}.")

    def examples(self, session: Session, fitted: Fitted | None) -> list[tuple[Path, Thumb]]:
        """The shipped masks whose categories the current extractor has learnt, each with its thumbnail."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except InputError:  # no extractor yet
            return []
        return [
            (path, thumb)
            for path, thumb in example_masks(session.model, extractor.categories)
            if all_known(extractor, read_label_map(path, extractor.categories).labels)
        ]

    def shelf(self, session: Session, fitted: Fitted | None, layout: Layout | None) -> Strip:
        """Those `examples`, and which of them the layout is."""
        thumbs = tuple(thumb for _, thumb in self.examples(session, fitted))
        titles, origin = [thumb.title for thumb in thumbs], "" if layout is None else layout.origin
        return Strip(thumbs, titles.index(origin) if origin in titles else None)

    def _read(self, model: str, extractor: Extractor, path: Path, origin: str) -> tuple[Layout, dict]:
        """The layout in a file, and the report on how it was read."""
        read = read_layout(path, extractor.categories, extractor.size)
        return Layout(read_label_map(path, extractor.categories).labels, extractor.categories, origin), read.report

    def _taken(self, extractor: Extractor, layout: Layout, line: str) -> tuple[object, ...]:
        """The layout, its display, and a status line that also says which parts will be left out."""
        shown = self.show_layout(layout, extractor.size)
        try:
            note = left_out(self.services, extractor, layout.labels)
        except InputError as error:
            return layout, *shown, show.status(f"{_plain(error)}", "bad")
        kind = "idle" if note or (layout.labels == IGNORE).all() else "good"
        return layout, *shown, show.status(f"{line} {note}".strip(), kind)

    def from_seed(self, session: Session, fitted: Fitted | None, seed: float, psi: float) -> tuple[object, ...]:
        """Take the layout of a generated image."""
        number = whole("seed", seed, 0, MAX_SEED)
        extractor = chosen_extractor(self.services, session, fitted)
        ws, _ = self.gpu.draw(session.model, [number], real("psi", psi, 0, 2))
        labels = self.gpu.read(session.model, extractor, [ws[0]]).labels[0]
        layout = Layout(labels, extractor.categories, f"the layout of seed {number}")
        line = f"The layout of seed {number}: {_categories(len(np.unique(labels)))}."
        return self._taken(extractor, layout, line)

    def painted(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, base: Base | None = None
    ) -> tuple[object, ...]:
        """Take a layout from the painter; unpainted pixels are free."""
        extractor = chosen_extractor(self.services, session, fitted)
        if painted is not None and painted.key != _key(session, extractor, base):
            raise InputError("the categories have changed since: open this tab again, then paint")
        if painted is None or (painted.labels == IGNORE).all():
            return None, *self.show_layout(None), show.status("Paint where things should be; the rest is free.")
        layout = Layout(painted.labels, extractor.categories, PAINTING)
        return self._taken(extractor, layout, _painted_line(painted.labels))

    def renamed(self, session: Session, fitted: Fitted | None, layout: Layout | None) -> tuple[object, ...]:
        """What was painted, in terms of the categories that there are by now; those that are gone are left free."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ExtractorError:
            return (gr.skip(),) * 4
        if layout is None or layout.origin != PAINTING or layout.categories == extractor.categories:
            return (gr.skip(),) * 4
        labels = in_terms_of(layout, extractor.categories, strict=False)
        if (labels == IGNORE).all():
            return None, *self.show_layout(None), show.status(NO_LAYOUT)
        return self._taken(extractor, Layout(labels, extractor.categories, PAINTING), _painted_line(labels))

    def back_to(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, base: Base | None,
        layout: Layout | None,
    ) -> tuple[object, ...]:  # fmt: skip
        """When the painter is shown again: what one sees on it is the layout, whatever was taken in between."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ExtractorError:
            return (gr.skip(),) * 4
        mine = painted is not None and painted.key == _key(session, extractor, base)
        if not mine or (painted.labels == IGNORE).all():
            return (gr.skip(),) * 4
        taken = base is not None and layout is base.layout  # to paint on it, and nothing is painted yet
        if taken or (layout is not None and np.array_equal(layout.labels, painted.labels)):
            return (gr.skip(),) * 4
        return self.painted(session, fitted, painted, base)

    def canvas(
        self, session: Session, fitted: Fitted | None, base: Base | None, layout: Layout | None = None
    ) -> PainterState | None:
        """A painter state of the generator's size, with `base` painted on it, as far as the extractor knows it.

        If the `layout` was painted, it is that: the categories may be others by now. None, an empty painter, while
        there is no extractor.
        """
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ExtractorError:
            return None
        labels = np.full(extractor.size, IGNORE, np.uint8)
        shown = None if base is None else base.layout
        if layout is not None and layout.origin == PAINTING:
            shown = layout
        if shown is not None:
            labels = resize_labels(in_terms_of(shown, extractor.categories, strict=False), extractor.size)
        rgb = np.full((*extractor.size, 3), 236, np.uint8)
        return PainterState(rgb, labels, None, None, extractor.categories, _key(session, extractor, base))

    def paint_on(
        self, session: Session, fitted: Fitted | None, layout: Layout | None, base: Base | None,
        painted: PainterLabels | None = None,
    ) -> tuple[Base, PainterState | None, str]:  # fmt: skip
        """Take a layout to the painter, where undo brings back what was painted before; also returns a status line."""
        if layout is None:
            raise InputError(f"there is no layout yet: {NO_LAYOUT[:1].lower()}{NO_LAYOUT[1:]}")
        former, base = self.canvas(session, fitted, base), Base(layout, 1 if base is None else base.serial + 1)
        state = self.canvas(session, fitted, base)
        if (
            former is not None
            and painted is not None
            and painted.key == former.key
            and (painted.labels != IGNORE).any()
        ):
            state = replace(state, back=painted.labels)
        line = f"On the painter: {layout.origin}. What you paint or erase there changes the layout."
        return base, state, show.status(line)

    @staticmethod
    def show_layout(layout: Layout | None, size: tuple[int, int] | None = None) -> tuple[Strip, str]:
        """The layout as a thumbnail, and its legend: as sampling resizes it to `size`, unless nothing of it is left."""
        if layout is None:
            return Strip(()), ""
        labels = layout.labels if size is None else resize_labels(layout.labels, size)
        labels = layout.labels if (labels == IGNORE).all() else labels
        picture = Thumb(colorize(labels, layout.categories), layout.origin, "", True)
        asked = shares(labels, layout.categories, of_all=True)
        free = float((labels == IGNORE).mean())
        return Strip((picture,)), show.legend(layout.categories, asked, "Asked for", free)


def _key(session: Session, extractor: Extractor, base: Base | None) -> str:
    """What the painter knows its picture by: another for other categories, whose indices mean something else."""
    said = repr([(c.name, c.color) for c in extractor.categories]).encode() + repr(extractor.size).encode()
    digest = hashlib.sha256(said).hexdigest()[:16]
    return f"layout-{session.token}-{digest}-{0 if base is None else base.serial}"


def _painted_line(labels: np.ndarray) -> str:
    share = float((labels != IGNORE).mean())
    rest = "the rest is free" if share < 1 else "nothing is free"
    return f"{show.percent(share)} of the layout is painted, and {rest}."


def in_terms_of(layout: Layout, categories: tuple[Category, ...], *, strict: bool = True) -> np.ndarray:
    """The layout's labels as indices of the extractor's categories, matched by name.

    Raises InputError for a category that the extractor does not know, or with `strict=False` leaves it free.
    """
    if layout.categories == categories:
        return layout.labels
    index = {category.name: k for k, category in enumerate(categories)}
    table = np.full(256, IGNORE, np.uint8)
    for k in np.unique(layout.labels[layout.labels != IGNORE]):
        name = layout.categories[k].name
        if strict and name not in index:
            raise InputError(f"the layout asks for {name!r}, which the extractor does not know: load the layout again")
        table[k] = index.get(name, IGNORE)
    return table[layout.labels]


def understood(report: dict) -> str:
    """How a mask was interpreted, in a line of text."""
    how = {
        "names": "by the names in the file", "indexed": "by its indices", "grayscale": "by its gray values",
        "colours": "by its colours",
    }[report["mode"]]  # fmt: skip
    found = ", ".join(report["counts"]) or "nothing"
    line = f"{report['width']} × {report['height']}, read {how}: {found}."
    if report["unlabelled"]:
        line += f" Free pixels: {report['unlabelled']:,}."
    return " ".join([line, *(f"{note[:1].upper()}{note[1:]}." for note in report["notes"])])


def _categories(count: int) -> str:
    return f"{count} categor{'y' if count == 1 else 'ies'}"


def _plain(error: Exception) -> str:
    """The message of an error, as a sentence."""
    sentence = str(error).removeprefix("label map: ")
    return f"{sentence[:1].upper()}{sentence[1:]}."
