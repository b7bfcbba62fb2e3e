"""The tab Segment: what the extractor reads in images that nobody labelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
import numpy as np

from linsem.export import write_dataset
from linsem.extractor import Extractor
from linsem.seeds import MAX_SEED, format_seeds, parse_seeds
from linsem.session import Fitted, Session
from linsem.studio import Reading
from linsem.ui import show
from linsem.ui.bench import usable
from linsem.ui.errors import in_words
from linsem.ui.label import LabelTab
from linsem.ui.services import Services, real, shares, whole
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HINT = "See every fresh image segmented by what you taught it; click an image to look closer."
FIRST_SEEDS = "101-108"


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
        seeds = format_seeds(range(max(before) + 1, max(before) + 1 + len(before)))
        return (*self.run(session, fitted, seeds, psi, view), seeds)

    def visit(
        self, session: Session, fitted: Fitted | None, seeds: str, psi: float, view: str, shown: Shown | None
    ) -> tuple[object, ...]:
        """When the tab is opened: read again if there is something new to say."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ValueError as error:
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
        first = whole("first seed", first, 0, MAX_SEED - count)
        extractor, psi = chosen_extractor(self.services, session, fitted), real("psi", psi, 0, 2)
        batches = self.services.gpu.label(session.model, extractor, range(first, first + count), psi)
        path = self.services.downloads.path(f"{session.model}-{count}.zip")
        steps = write_dataset(path, batches, count, extractor.categories, generator=session.model, psi=psi)
        for step in steps:
            yield gr.skip(), show.progress(step.done / count, f"{step.done} of {count} images.")
        size = path.stat().st_size / 1e6
        line = show.status(f"{count} images with their label maps, {size:.1f} MB.", "good")
        yield gr.File(str(path), visible=True), line


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    logic = Segment(services)
    shown = gr.State(None)
    gr.HTML(show.hint(HINT))
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=340):
            with gr.Row(elem_classes="ls-tight ls-end"):
                seeds = gr.Textbox(FIRST_SEEDS, label="Seeds", elem_id="segment-seeds", scale=2, min_width=110)
                psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=140)
                run = gr.Button("Segment", variant="primary", elem_id="segment-run", scale=1, min_width=110)
                fresh = gr.Button("Fresh seeds", elem_id="segment-fresh", scale=1, min_width=110)
            view = gr.Radio(list(show.ALL_VIEWS), value="Overlay", show_label=False, container=False,
                            elem_id="segment-view")  # fmt: skip
            grid = Thumbs(label="Segmented images", empty="Press Segment.", size=170, elem_id="segment-grid")
        with gr.Column(scale=3, min_width=300):
            line = gr.HTML(show.status("Opening ...", "busy"), elem_id="segment-status")
            legend = gr.HTML("", elem_id="segment-legend")
            sides = Thumbs(label="The chosen image", empty="Click an image to see it from all sides.", size=130,
                           elem_id="segment-sides")  # fmt: skip
            with gr.Accordion("Export a data set", open=False, elem_id="export"):
                with gr.Row(elem_classes="ls-tight"):
                    most = services.settings.max_export
                    many = gr.Number(min(100, most), label="Images", precision=0, minimum=1, maximum=most, min_width=90)
                    first = gr.Number(1000, label="First seed", precision=0, minimum=0, min_width=90)
                with gr.Row(elem_classes="ls-tight"):
                    export = gr.Button("Export", size="sm", elem_id="export-run", min_width=90)
                    stop = gr.Button("Stop", size="sm", min_width=90)
                told = gr.HTML("")
                zipped = gr.File(label="The data set", interactive=False, visible=False, elem_id="export-file")

    def event(register: object, function: object, inputs: list, outputs: list, **more: object) -> object:
        return register(in_words(function), inputs, outputs, api_visibility="private", **services.short, **more)

    picture = [grid, legend, sides]
    inputs = [bench.session, bench.fitted, seeds, psi, view]
    event(run.click, logic.run, inputs, [shown, *picture, line])
    event(seeds.submit, logic.run, inputs, [shown, *picture, line])
    event(fresh.click, logic.fresh, inputs, [shown, *picture, line, seeds])
    event(tab.select, logic.visit, [*inputs, shown], [shown, *picture, line])
    event(view.input, logic.draw, [shown, view], picture, show_progress="hidden")
    going = export.click(
        in_words(logic.export), [bench.session, bench.fitted, many, first, psi], [zipped, told],
        api_visibility="private", show_progress="hidden", **services.long,
    )  # fmt: skip
    stop.click(lambda: show.status("Stopped: nothing was kept."), None, [told], cancels=[going],
               api_visibility="private")  # fmt: skip
    event(grid.select, logic.choose, [shown, view], [shown, *picture], show_progress="hidden")
