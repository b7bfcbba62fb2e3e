"""The tab Segment: what the extractor reads in images that nobody labelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
import numpy as np

from linsem.errors import InputError
from linsem.export import write_dataset
from linsem.extractor import Extractor
from linsem.seeds import MAX_SEED, format_seeds, next_seeds, parse_seeds
from linsem.session import Fitted, Session
from linsem.studio import Reading
from linsem.ui import show
from linsem.ui.bench import usable
from linsem.ui.errors import GONE
from linsem.ui.events import on
from linsem.ui.label import LabelTab
from linsem.ui.services import Services, real, shares, whole
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HINT = "See every fresh image segmented by what you taught it; click an image to look closer."
FIRST_SEED, IMAGES = 101, 8


@dataclass(frozen=True, eq=False)
class Shown:
    """What the tab shows: a reading of some seeds by an extractor, and whether that one is the visitor's own."""

    seeds: tuple[int, ...]
    reading: Reading
    extractor: Extractor
    own: bool
    current: int | None = None


def chosen_extractor(services: Services, session: Session, fitted: Fitted | None) -> Extractor:
    """The visitor's own extractor, or else the shipped one."""
    if not session.token:
        raise InputError(GONE)
    return services.studio.extractor(session.model, fitted.extractor if usable(session, fitted) else None)


def whose(own: bool) -> str:
    """A sentence that says whose extractor is at work."""
    return "Read by the extractor that you taught." if own else "Read by the extractor that ships with this generator."


class Segment:
    """What the tab does."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def run(self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str) -> tuple[object, ...]:
        """Generate and read the seeds."""
        chosen = parse_seeds(seeds, self.services.settings.max_seeds)
        extractor = chosen_extractor(self.services, session, fitted)
        ws, _ = self.services.gpu.draw(session.model, chosen, real("psi", psi, 0, 2))
        reading = self.services.gpu.read(session.model, extractor, list(ws))
        shown = Shown(chosen, reading, extractor, usable(session, fitted))
        return shown, *self.draw(shown, view), show.status(whose(shown.own), "good")

    def fresh(self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str) -> tuple[object, ...]:
        """As many seeds, after the last one."""
        before = parse_seeds(seeds, self.services.settings.max_seeds)
        seeds = format_seeds(next_seeds(max(before), len(before)))
        return (*self.run(session, fitted, seeds, psi, view), seeds)

    def visit(
        self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str, shown: Shown | None
    ) -> tuple[object, ...]:
        """When the tab is opened: read again if there is something new to say."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except InputError as error:
            return None, Strip(()), "", Strip(()), show.status(str(error), "bad")
        if shown is not None and shown.extractor is extractor:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return self.run(session, fitted, seeds, psi, view)

    @staticmethod
    def draw(shown: Shown | None, view: str) -> tuple[Strip, str, Strip]:
        """The grid, the legend, and the chosen image from all sides."""
        if shown is None:
            return Strip(()), "", Strip(())
        categories, reading = shown.extractor.categories, shown.reading
        items = tuple(
            Thumb(show.view(view, reading, i, categories), f"seed {seed}", "", view == "Labels")
            for i, seed in enumerate(shown.seeds)
        )
        if shown.current is None:
            title = f"Share of each category, in {len(shown.seeds)} images"
            return Strip(items), show.legend(categories, shares(reading.labels, categories), title), Strip(())
        i = shown.current
        sides = tuple(
            Thumb(show.view(name, reading, i, categories), name, "", name == "Labels") for name in show.ALL_VIEWS
        )
        unsure = float(np.mean(reading.uncertainty[i]))
        title = f"Seed {shown.seeds[i]}: share of each category (mean uncertainty {unsure:.2f})"
        return Strip(items, i), show.legend(categories, shares(reading.labels[i], categories), title), Strip(sides)

    def choose(self, shown: Shown | None, view: str, event: gr.SelectData) -> tuple[object, ...]:
        """Look at one image; a second click goes back to all."""
        if shown is None:
            return None, *self.draw(None, view)
        index = int(event.index)
        current = None if index == shown.current or index >= len(shown.seeds) else index
        shown = Shown(shown.seeds, shown.reading, shown.extractor, shown.own, current)
        return shown, *self.draw(shown, view)

    def export(
        self, session: Session, fitted: Fitted | None, count: float, first: float, psi: float
    ) -> Iterator[tuple[object, ...]]:
        """A data set of many images with their label maps, as one zip; a frame a batch, so that Stop works."""
        count = whole("images", count, 1, self.services.settings.max_export)
        first = whole("first seed", first, 0, MAX_SEED + 1 - count)
        extractor, psi = chosen_extractor(self.services, session, fitted), real("psi", psi, 0, 2)
        batches = self.services.gpu.label(session.model, extractor, range(first, first + count), psi)
        path = self.services.downloads.path(f"{session.model}-{count}.zip")
        steps = write_dataset(path, batches, count, extractor.categories, generator=session.model, psi=psi)
        for step in steps:
            yield gr.skip(), show.progress(step.done / count, f"{step.done} of {count} images.")
        size = path.stat().st_size / 1e6
        line = show.status(f"{count} images with their label maps, {size:.1f} MB.", "good")
        yield gr.File(str(path), visible=True), line


class _Layout:
    """The components of this tab, laid out where it is made."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=340):
                self._images(services.settings.max_seeds)
            with gr.Column(scale=3, min_width=300):
                self.line = gr.HTML(show.status("Opening ...", "busy"), elem_id="segment-status")
                self.legend = gr.HTML("", elem_id="segment-legend")
                self.sides = Thumbs(
                    label="The chosen image", empty="Click an image to see it from all sides.", size=130,
                    elem_id="segment-sides",
                )  # fmt: skip
                with gr.Accordion("Export a data set", open=False, elem_id="export"):
                    self._export(services.settings.max_export)

    def _images(self, limit: int) -> None:
        with gr.Row(elem_classes="ls-tight ls-end"):
            seeds = format_seeds(range(FIRST_SEED, FIRST_SEED + min(IMAGES, limit)))
            self.seeds = gr.Textbox(seeds, label="Seeds", elem_id="segment-seeds", scale=2, min_width=110)
            self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=140)
            self.run = gr.Button("Segment", variant="primary", elem_id="segment-run", scale=1, min_width=110)
            self.fresh = gr.Button("Fresh seeds", elem_id="segment-fresh", scale=1, min_width=110)
        self.view = gr.Radio(
            list(show.ALL_VIEWS), value="Overlay", show_label=False, container=False, elem_id="segment-view"
        )
        self.grid = Thumbs(label="Segmented images", empty="Press Segment.", size=170, elem_id="segment-grid")

    def _export(self, most: int) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.many = gr.Number(min(100, most), label="Images", precision=0, minimum=1, maximum=most, min_width=90)
            self.first = gr.Number(1000, label="First seed", precision=0, minimum=0, min_width=90)
        with gr.Row(elem_classes="ls-tight"):
            self.export = gr.Button("Export", size="sm", elem_id="export-run", min_width=90)
            self.stop = gr.Button("Stop", size="sm", min_width=90)
        self.told = gr.HTML("")
        self.zipped = gr.File(label="The data set", interactive=False, visible=False, elem_id="export-file")


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    logic, at, shown = Segment(services), _Layout(services), gr.State(None)
    picture, short = [at.grid, at.legend, at.sides], services.short
    quiet = {**short, "show_progress": "hidden"}
    inputs, outputs = [bench.session, bench.fitted, at.seeds, at.psi, at.view], [shown, *picture, at.line]
    on(at.run.click, logic.run, inputs, outputs, **short)
    on(at.seeds.submit, logic.run, inputs, outputs, **short)
    on(at.fresh.click, logic.fresh, inputs, [*outputs, at.seeds], **short)
    on(tab.select, logic.visit, [*inputs, shown], outputs, **short)
    on(at.view.input, logic.draw, [shown, at.view], picture, **quiet)
    on(at.grid.select, logic.choose, [shown, at.view], [shown, *picture], **quiet)
    asked = [bench.session, bench.fitted, at.many, at.first, at.psi]
    going = on(at.export.click, logic.export, asked, [at.zipped, at.told], **services.long, show_progress="hidden")
    at.stop.click(lambda: show.status("Stopped: nothing was kept."), None, [at.told], cancels=[going],
                  api_visibility="private")  # fmt: skip
