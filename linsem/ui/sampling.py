"""Semantic-conditional sampling as in the Sample tab: a layout from any source, results best first."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from linsem.conditional import far_off
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.latents import save_latents
from linsem.masks import LabelMapError, read_layout
from linsem.palette import Category, colorize, read_label_map, write_label_map
from linsem.pixels import IGNORE
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.studio import Reading, SampleFrame
from linsem.ui import show
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.examples import example_masks
from linsem.ui.files import uploaded
from linsem.ui.reader import all_known, chosen_extractor, left_out
from linsem.ui.services import Services, real, shares, whole
from linsem.ui.thumbs import Strip, Thumb

EVERY = 0.2  # seconds between the frames sent to the browser
NO_LAYOUT = "Click an example, upload a mask, take the layout of an image, or paint one."


@dataclass(frozen=True, eq=False)
class Layout:
    """The layout that samples should match: labels (H, W) uint8 with 255 = free, their categories, and their origin."""

    labels: np.ndarray
    categories: tuple[Category, ...]
    origin: str


@dataclass(frozen=True, eq=False)
class Results:
    """The results so far, with the extractor that scored them."""

    model: str
    frame: SampleFrame
    extractor: Extractor
    current: int | None = None


class Sampling:
    """The actions of the tab, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    # --- the layout --------------------------------------------------------------------------------------------------

    def upload(self, session: Session, fitted: Fitted | None, file: str | None) -> tuple[object, ...]:
        """Load a mask from a file and report how it was interpreted; an invalid file is removed with an error line."""
        if file is None:
            return None, *self.show_layout(None), show.status(NO_LAYOUT), gr.skip()
        extractor = chosen_extractor(self.services, session, fitted)
        try:
            layout, report = self._read(session.model, extractor, uploaded(file, "mask"), "your mask")
        except LabelMapError as error:
            return gr.skip(), gr.skip(), gr.skip(), show.status(_plain(error), "bad"), None
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

    def _read(self, model: str, extractor: Extractor, path: Path, origin: str) -> tuple[Layout, dict]:
        """The layout in a file, and the report on how it was read."""
        read = read_layout(path, extractor.categories, extractor.size)
        return Layout(read_label_map(path, extractor.categories).labels, extractor.categories, origin), read.report

    def _taken(self, extractor: Extractor, layout: Layout, line: str) -> tuple[object, ...]:
        """The layout, its display, and a status line that also says which parts will be left out."""
        try:
            note = left_out(extractor, layout.labels)
        except InputError as error:
            return layout, *self.show_layout(layout), show.status(f"{_plain(error)}", "bad")
        return layout, *self.show_layout(layout), show.status(f"{line} {note}".strip(), "idle" if note else "good")

    def from_seed(self, session: Session, fitted: Fitted | None, seed: float, psi: float) -> tuple[object, ...]:
        """Take the layout of a generated image."""
        number = whole("seed", seed, 0, MAX_SEED)
        extractor = chosen_extractor(self.services, session, fitted)
        ws, _ = self.gpu.draw(session.model, [number], real("psi", psi, 0, 2))
        labels = self.gpu.read(session.model, extractor, [ws[0]]).labels[0]
        layout = Layout(labels, extractor.categories, f"the layout of seed {number}")
        line = f"The layout of seed {number}: {_categories(len(np.unique(labels)))}."
        return self._taken(extractor, layout, line)

    def painted(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """Take a layout from the painter; unpainted pixels are free."""
        extractor = chosen_extractor(self.services, session, fitted)
        if painted is None or (painted.labels == IGNORE).all():
            return None, *self.show_layout(None), show.status("Paint where things should be; the rest is free.")
        if painted.labels[painted.labels != IGNORE].max() >= len(extractor.categories):
            raise InputError("the painter shows other categories than the extractor has: open this tab again")
        layout = Layout(painted.labels, extractor.categories, "your painting")
        share = 100 * float((painted.labels != IGNORE).mean())
        return self._taken(extractor, layout, f"{share:.0f} % of the layout is painted, and the rest is free.")

    def canvas(self, session: Session, fitted: Fitted | None) -> PainterState:
        """An empty painter state of the generator's size."""
        extractor = chosen_extractor(self.services, session, fitted)
        rgb = np.full((*extractor.size, 3), 236, np.uint8)
        names = "".join(category.name + category.color for category in extractor.categories)
        key = f"layout-{session.token}-{abs(hash(names)):x}"
        return PainterState(rgb, np.full(extractor.size, IGNORE, np.uint8), None, None, extractor.categories, key)

    @staticmethod
    def show_layout(layout: Layout | None) -> tuple[Strip, str]:
        """The layout as a thumbnail, and its legend."""
        if layout is None:
            return Strip(()), ""
        picture = Thumb(colorize(layout.labels, layout.categories), layout.origin, "", True)
        asked = shares(layout.labels, layout.categories, of_all=True)
        free = float((layout.labels == IGNORE).mean())
        return Strip((picture,)), show.legend(layout.categories, asked, "Asked for", free)

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(
        self, session: Session, fitted: Fitted | None, layout: Layout | None, count: float, candidates: float,
        steps: float, seed: float, look: str = "",
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Sample; each frame contains the results so far, so that Stop keeps them."""
        if layout is None:
            raise InputError(f"there is no layout yet: {NO_LAYOUT[:1].lower()}{NO_LAYOUT[1:]}")
        settings = self.services.settings
        count = whole("results", count, 1, settings.max_results)
        candidates = whole("candidates", candidates, count, settings.max_candidates)
        steps, seed = whole("maximum steps", steps, 0, settings.max_steps), whole("first seed", seed, 0, MAX_SEED)
        look = _look_of(look)
        extractor = chosen_extractor(self.services, session, fitted)
        labels = _in_terms_of(layout, extractor.categories)
        note = left_out(extractor, labels)
        frames = self.gpu.sample(session.model, extractor, labels, count, candidates, steps, seed, look=look)
        yield None, Strip(()), show.progress(0, f"Looking at {candidates} candidates ...")
        clock, last, seen, frame, shown = time.monotonic(), 0.0, 0, None, None
        for frame in frames:
            seen += 1
            if time.monotonic() - last < EVERY or (frame.seeds and frame.index == shown):
                continue
            last, shown = time.monotonic(), frame.index if frame.seeds else None
            if not frame.seeds:
                yield gr.skip(), gr.skip(), show.progress(0.3 * seen * 8 / candidates, f"{candidates} candidates ...")
                continue
            results = Results(session.model, frame, extractor)
            line = f"Step {frame.index} of {frame.total}: best match {_percent(frame.scores[0])}."
            yield results, self.strip(results), show.progress(0.3 + 0.7 * frame.index / max(frame.total, 1), line)
        results = Results(session.model, frame, extractor)
        line = f"{len(frame.seeds)} results in {time.monotonic() - clock:.1f} s, best first."
        far = ""
        if far_off(frame.nearest, candidates):
            nearest = _percent(frame.nearest)
            far = f"None of {candidates} images comes close to this layout: the nearest matches {nearest}."
        kind = "idle" if far or note else "good"
        yield results, self.strip(results), show.status(" ".join(filter(None, (far, line, note))), kind)

    @staticmethod
    def strip(results: Results | None) -> Strip:
        """The results, best first."""
        if results is None:
            return Strip(())
        frame = results.frame
        return Strip(
            tuple(
                Thumb(
                    frame.rgb[i], f"match {_percent(frame.scores[i])} · seed {frame.seeds[i]}", "best" if i == 0 else ""
                )
                for i in range(len(frame.seeds))
            ),
            results.current,
        )

    def choose(self, results: Results | None, event: gr.SelectData) -> tuple[object, ...]:
        """Choose a result and show its views."""
        results = self.chosen(results, int(event.index))
        return results, self.sides(results)

    @staticmethod
    def chosen(results: Results | None, index: int) -> Results | None:
        """The results with the one at `index` chosen, if there is one."""
        known = results is not None and 0 <= index < len(results.frame.seeds)
        return replace(results, current=index) if known else results

    @staticmethod
    def sides(results: Results | None) -> Strip:
        """The chosen result as image, labels and overlay."""
        if results is None or results.current is None:
            return Strip(())
        i, frame, categories = results.current, results.frame, results.extractor.categories
        reading = Reading(frame.rgb, frame.labels, np.zeros(frame.labels.shape, np.float32))
        return Strip(
            tuple(
                Thumb(show.view(name, reading, i, categories), name, "", name == "Labels")
                for name in ("Image", "Labels", "Overlay")
            )
        )

    def files(self, results: Results | None) -> str:
        """Save all results as a zip of images, label maps and latents; returns its path."""
        if results is None or not results.frame.seeds:
            raise InputError("there are no results yet: press Sample first")
        frame, path = results.frame, self.services.downloads.path("samples.zip")
        latents = self.services.downloads.path("latents.safetensors")
        save_latents(latents, frame.ws, results.model, frame.seeds)
        with zipfile.ZipFile(path, "w") as archive:
            for i, seed in enumerate(frame.seeds):
                buffer = io.BytesIO()
                Image.fromarray(frame.rgb[i]).save(buffer, "PNG")
                archive.writestr(f"images/{i + 1}-seed{seed}.png", buffer.getvalue())
                labels = write_label_map(frame.labels[i], results.extractor.categories)
                archive.writestr(f"labels/{i + 1}-seed{seed}.png", labels)
            archive.write(latents, "latents.safetensors")
        return str(path)


def _look_of(text: str) -> int | None:
    """The seed in a text field, or None if it is empty."""
    text = text.strip()
    if text and not re.fullmatch(r"\d{1,400}", text, re.ASCII):
        raise InputError(f"colours from seed: enter a whole number from 0 to {MAX_SEED}, or nothing, not {text[:40]!r}")
    return whole("colours from seed", int(text), 0, MAX_SEED) if text else None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _categories(count: int) -> str:
    return f"{count} categor{'y' if count == 1 else 'ies'}"


def _plain(error: Exception) -> str:
    """The message of an error, as a sentence."""
    sentence = str(error).removeprefix("label map: ")
    return f"{sentence[:1].upper()}{sentence[1:]}."


def understood(report: dict) -> str:
    """How a mask was interpreted, in a line of text."""
    how = {
        "names": "by the names in the file", "indexed": "by its indices", "grayscale": "by its gray values",
        "colours": "by its colours",
    }[report["mode"]]  # fmt: skip
    found = ", ".join(report["counts"]) or "nothing"
    line = f"{report['width']} × {report['height']}, read {how}: {found}."
    if report["unlabelled"]:
        line += f" {report['unlabelled']} pixels are free."
    return " ".join([line, *(f"{note[:1].upper()}{note[1:]}." for note in report["notes"])])


def _in_terms_of(layout: Layout, categories: tuple[Category, ...]) -> np.ndarray:
    """The layout's labels as indices of the extractor's categories, matched by name."""
    if layout.categories == categories:
        return layout.labels
    index = {category.name: k for k, category in enumerate(categories)}
    table = np.full(256, IGNORE, np.uint8)
    for k in np.unique(layout.labels[layout.labels != IGNORE]):
        name = layout.categories[k].name
        if name not in index:
            raise InputError(f"the layout asks for {name!r}, which the extractor does not know: load the layout again")
        table[k] = index[name]
    return table[layout.labels]
