"""The Segment tab: segmentation of new images with the current extractor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import gradio as gr
import numpy as np

from linsem.categories import shares
from linsem.errors import InputError
from linsem.export import write_dataset
from linsem.extractor import Extractor
from linsem.seeds import MAX_SEED, format_seeds, next_seeds, parse_seeds
from linsem.session import Fitted, Session
from linsem.studio import Reading
from linsem.ui import show
from linsem.ui.bench import usable
from linsem.ui.errors import said
from linsem.ui.events import ALWAYS, CHANGES, LAST, busy, idle, not_started, on, stopping
from linsem.ui.label import LabelTab
from linsem.ui.reader import Reader, chosen_extractor, own_chosen
from linsem.ui.services import Services, real, whole
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HINT = "New images, segmented. Click one for details."
READING = show.status("Segmenting ...", "busy")
NOT_DONE = show.status("That did not work, and nothing has changed.", "bad")
FIRST_SEED, IMAGES = 101, 8
# On a phone the details of an image are far below it.
REVEAL = """() => {
  const sides = document.querySelector("#segment-sides");
  const show = () => sides?.querySelector("button") && sides.scrollIntoView({block: "center"});
  if (innerWidth < 700) setTimeout(show, 200);
}"""
SHOWN_PIXELS = 16_000_000  # of all images of a visitor, whose readings stay in memory


@dataclass(frozen=True, eq=False)
class Shown:
    """What the tab shows: the reading of some seeds by an extractor, and the chosen image."""

    seeds: tuple[int, ...]
    reading: Reading
    extractor: Extractor
    current: int | None = None


def whose(own: bool, taught: bool) -> str:
    """A sentence on whose extractor was used, and where to teach one if the visitor has none yet."""
    if own:
        return "Segmented with what you taught."
    return "Segmented with the built-in labels." + ("" if taught else " Teach your own in the tab Label.")


class Segment:
    """The actions of the tab."""

    def __init__(self, services: Services) -> None:
        self.services, self.turns = services, services.turns

    def run(
        self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str
    ) -> Iterator[tuple[object, ...]]:
        """Generate and segment the seeds; the first frame only says that this is in progress."""
        chosen, psi = parse_seeds(seeds, self.services.settings.max_seeds), real("psi", psi, 0, 2)
        extractor = chosen_extractor(self.services, session, fitted)
        height, width = extractor.size
        most = max(1, SHOWN_PIXELS // (height * width))
        if len(chosen) > most:
            raise InputError(f"seeds: at most {most} images of {width} px can be shown at once, got {len(chosen)}")
        turn = self.turns.take(session.token, "segment")
        yield *[gr.skip()] * 4, READING
        ws, _ = self.services.gpu.draw(session.model, chosen, psi)
        reading = self.services.gpu.read(session.model, extractor, list(ws))
        if not self.turns.is_last(session.token, "segment", turn):  # others were asked for meanwhile
            yield (gr.skip(),) * 5
            return
        own = own_chosen(self.services, session, fitted)
        shown = Shown(chosen, reading, extractor)
        yield shown, *self.draw(shown, view), show.status(whose(own, usable(session, fitted)), "good")

    def fresh(
        self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str
    ) -> Iterator[tuple[object, ...]]:
        """Segment as many new seeds, following the largest one."""
        before = parse_seeds(seeds, self.services.settings.max_seeds)
        seeds = format_seeds(next_seeds(max(before), len(before)))
        written = seeds
        for frame in self.run(session, fitted, seeds, psi, view):
            yield *frame, written
            written = gr.skip()  # other seeds may be entered while these are drawn

    def visit(
        self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str, shown: Shown | None
    ) -> Iterator[tuple[object, ...]]:
        """When the tab is opened: segment again if the extractor has changed."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except InputError as error:
            yield None, Strip(()), "", Strip(()), show.status(str(error), "bad")
            return
        if shown is None or shown.extractor is not extractor:
            yield from self.run(session, fitted, seeds, psi, view)
        else:
            self.turns.take(session.token, "segment")  # one that is under way is not waited for
            # What is there already: a generator that yields nothing would empty the tab.
            own = own_chosen(self.services, session, fitted)
            yield shown, *self.draw(shown, view), show.status(whose(own, usable(session, fitted)), "good")

    @staticmethod
    def draw(shown: Shown | None, view: str) -> tuple[Strip, str, Strip]:
        """The grid, the legend, and all views of the chosen image."""
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
        """Show one image in detail; clicking it again goes back to all."""
        if shown is None:
            return None, *self.draw(None, view)
        index = int(event.index)
        current = None if index == shown.current or index >= len(shown.seeds) else index
        shown = replace(shown, current=current)
        return shown, *self.draw(shown, view)

    def export(
        self, session: Session, fitted: Fitted | None, count: float, first: float, psi: float
    ) -> Iterator[tuple[object, ...]]:
        """Export many images with their label maps as one zip, with a frame per batch, so that Stop works."""
        try:
            yield from self._export(session, fitted, count, first, psi)
        except Exception as error:  # not of Stop: then this generator is closed
            told = said(error)
            yield gr.File(visible=False), show.status(f"{told.message} So nothing was kept.", "bad")
            raise told from None

    def _export(
        self, session: Session, fitted: Fitted | None, count: float, first: float, psi: float
    ) -> Iterator[tuple[object, ...]]:
        count = whole("images", count, 1, self.services.settings.max_export)
        first = whole("first seed", first, 0, MAX_SEED + 1 - count)
        extractor, psi = chosen_extractor(self.services, session, fitted), real("psi", psi, 0, 2)
        batches = self.services.gpu.label(session.model, extractor, range(first, first + count), psi)
        path = self.services.downloads.path(f"{session.model}-{count}.zip")
        steps = write_dataset(path, batches, count, extractor.categories, generator=session.model, psi=psi)
        yield gr.File(visible=False), show.progress(0, "Starting ...")
        for step in steps:
            yield gr.skip(), show.progress(step.done / count, f"{step.done} of {count} images.")
        size = path.stat().st_size / 1e6
        line = show.status(f"{count} images with their label maps, {size:.1f} MB.", "good")
        yield gr.File(str(path), visible=True), line


class _Layout:
    """The components of this tab, laid out on creation."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=340):
                self._images(services.settings.max_seeds)
            with gr.Column(scale=3, min_width=300):
                self.reader = Reader(services, "segment")
                self.line = gr.HTML(show.status("Opening ...", "busy"), elem_id="segment-status")
                self.legend = gr.HTML("", elem_id="segment-legend")
                self.sides = Thumbs(
                    label="The chosen image", empty="Click an image to see its labels and uncertainty.", size=130,
                    still=True, elem_id="segment-sides",
                )  # fmt: skip
                with gr.Accordion("Export a data set", open=False, elem_id="export"):
                    self._export(services.settings.max_export)

    def _images(self, limit: int) -> None:
        with gr.Row(elem_classes="ls-tight ls-end"):
            seeds = format_seeds(range(FIRST_SEED, FIRST_SEED + min(IMAGES, limit)))
            self.seeds = gr.Textbox(seeds, label="Seeds", elem_id="segment-seeds", scale=2, min_width=110)
            self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=170)
            self.run = gr.Button("Segment", variant="primary", elem_id="segment-run", scale=1, min_width=110)
            self.fresh = gr.Button("Fresh seeds", elem_id="segment-fresh", scale=1, min_width=110)
        self.view = gr.Radio(
            list(show.ALL_VIEWS), value="Overlay", show_label=False, container=False, elem_id="segment-view"
        )
        self.grid = Thumbs(label="Segmented images", empty="The images appear here.", size=170, elem_id="segment-grid")

    def _export(self, most: int) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.many = gr.Number(min(100, most), label=f"Images (at most {most})", min_width=90)
            self.first = gr.Number(1000, label="First seed", min_width=90)
        with gr.Row(elem_classes="ls-tight"):
            self.export = gr.Button("Export", size="sm", elem_id="export-run", min_width=90)
            self.stop = gr.Button("Stop", size="sm", interactive=False, elem_id="export-stop", min_width=90)
        self.told = gr.HTML("", elem_id="export-status")
        self.zipped = gr.File(label="The data set", interactive=False, visible=False, elem_id="export-file")


class _Wiring:
    """The events of this tab."""

    def __init__(self, services: Services, bench: LabelTab, at: _Layout) -> None:
        self.services, self.at, self.logic, self.shown = services, at, Segment(services), gr.State(None)
        self.session, self.who = bench.session, [bench.session, bench.fitted]
        self.quiet = {**services.short, "show_progress": "hidden"}

    def wire(self, tab: gr.Tab) -> None:
        """Register all events."""
        at, logic, quiet, picture = self.at, self.logic, self.quiet, [self.at.grid, self.at.legend, self.at.sides]
        inputs, outputs = [*self.who, at.seeds, at.psi, at.view], [self.shown, *picture, at.line]
        other = on(
            at.reader.radio.input, at.reader.choose, [self.session, at.reader.radio], [self.session], **CHANGES, **LAST
        )
        for read in (
            on(at.run.click, logic.run, inputs, outputs, **quiet),
            on(at.seeds.submit, logic.run, inputs, outputs, **quiet),
            on(at.fresh.click, logic.fresh, inputs, [*outputs, at.seeds], **quiet),
            on(tab.select, logic.visit, [*inputs, self.shown], outputs, **quiet, **LAST),
            on(other.then, logic.visit, [*inputs, self.shown], outputs, **quiet, **LAST),
        ):
            on(read.failure, lambda: NOT_DONE, [], [at.line], **quiet)
        for seen in (tab.select, other.then):
            on(seen, at.reader.look, self.who, at.reader.parts, **quiet, **LAST)
        on(at.view.input, logic.draw, [self.shown, at.view], picture, **quiet, **LAST)
        chosen = on(at.grid.select, logic.choose, [self.shown, at.view], [self.shown, *picture], **quiet)
        chosen.success(None, None, None, js=REVEAL, api_visibility="private")
        self._wire_export()

    def _wire_export(self) -> None:
        at, asked = self.at, [*self.who, self.at.many, self.at.first, self.at.psi]
        at.export.click(None, None, [at.export, at.stop, at.told], js=busy(False, True), api_visibility="private")
        going = on(
            at.export.click, self.logic.export, asked, [at.zipped, at.told],
            **self.services.long, show_progress="hidden",
        )  # fmt: skip
        stopped = at.stop.click(None, None, at.stop, js=stopping(), cancels=[going], api_visibility="private")
        on(stopped.then, lambda: show.status("Stopped: nothing was kept."), [], [at.told], **self.quiet)
        on(going.failure, not_started, [at.told], [at.told], **ALWAYS)
        for ended in (going.then, going.failure, stopped.then):
            on(ended, idle, [], [at.export, at.stop], **ALWAYS)


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> None:
    """Lay out the tab and register its events."""
    _Wiring(services, bench, _Layout(services)).wire(tab)
