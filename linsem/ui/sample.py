"""The tab Sample: a layout in, images that obey it out."""

from __future__ import annotations

import gradio as gr

from linsem.conditional import STEPS
from linsem.errors import InputError
from linsem.session import Fitted, Session
from linsem.settings import Settings
from linsem.track import Track
from linsem.ui import show
from linsem.ui.canvas import LabelPainter
from linsem.ui.edit import EditTab
from linsem.ui.events import on
from linsem.ui.examples import example_masks
from linsem.ui.label import LabelTab, first_categories
from linsem.ui.sampling import NO_LAYOUT, Results, Sampling
from linsem.ui.segment import chosen_extractor
from linsem.ui.services import Services, reach
from linsem.ui.thumbs import Strip, Thumbs

HINT = "Give a layout, and get several different images that obey it, best first."
PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"]
BUSY = "() => [false, true].map((on) => ({__type__: 'update', interactive: on}))"


class _Layout:
    """The components of this tab, laid out where it is made."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=330):
                with gr.Tabs(elem_id="sample-source"):
                    self._sources(services)
                self.line = gr.HTML(show.status(NO_LAYOUT), elem_id="sample-understood")
                self.wanted = Thumbs(
                    label="The layout", empty="The layout appears here.", size=220, elem_id="sample-layout"
                )
                self.legend = gr.HTML("", elem_id="sample-legend")
            with gr.Column(scale=3, min_width=330):
                self._settings(services.settings)
                self._results()

    def _sources(self, services: Services) -> None:
        with gr.Tab("Upload", id="upload"):
            self.mask = gr.File(
                label="A mask of any kind and size", elem_id="sample-mask", file_types=PICTURES, type="filepath",
                height=130,
            )  # fmt: skip
            self.shelf = Thumbs(label="Example masks", size=66, elem_id="sample-examples", visible=False)
        with gr.Tab("From an image", id="seed"), gr.Row(elem_classes="ls-tight ls-end"):
            self.number = gr.Number(7, label="Seed", precision=0, minimum=0, elem_id="sample-from", min_width=90)
            self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", min_width=110)
            self.take = gr.Button("Take its layout", elem_id="sample-take", min_width=110)
        with gr.Tab("Paint", id="paint") as self.paint_tab:
            self.painter = LabelPainter(
                categories=first_categories(services), label="Layout", elem_id="sample-painter", max_width=420, views=()
            )

    def _settings(self, limits: Settings) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.run = gr.Button("Sample", variant="primary", elem_id="sample-run", min_width=100)
            self.stop = gr.Button("Stop", interactive=False, elem_id="sample-stop", min_width=100)
        with gr.Row(elem_classes="ls-tight"):
            self.count = gr.Slider(**reach(1, limits.max_results, 4), label="Results", min_width=200)
            self.seed = gr.Number(0, label="First seed", precision=0, minimum=0, min_width=110)
            self.look = gr.Textbox(  # text, since an empty number comes back as 0
                "", label="Look of seed", placeholder="their own", min_width=110, max_lines=1, elem_id="sample-look"
            )
        with gr.Accordion("How", open=False), gr.Row(elem_classes="ls-tight"):
            steps, many = reach(0, limits.max_steps, STEPS), reach(12, min(limits.max_candidates, 1000), 200, 4)
            self.steps = gr.Slider(**steps, label="Most steps", min_width=200)
            self.candidates = gr.Slider(**many, label="Candidates", min_width=200, elem_id="sample-candidates")

    def _results(self) -> None:
        self.state = gr.HTML(show.status("The results appear here."), elem_id="sample-status")
        self.strip = Thumbs(label="Results", empty="No results yet.", size=190, elem_id="sample-results")
        self.sides = Thumbs(
            label="The chosen result", empty="Click a result to see its own labels.", size=150, elem_id="sample-sides"
        )
        with gr.Row(elem_classes="ls-tight"):
            self.send = gr.Button("Edit this one", elem_id="sample-send")
            self.pack = gr.Button("Make a zip of the results")
        self.file = gr.File(label="All results", interactive=False, visible=False)


class _Wiring:
    """What happens at each event of this tab."""

    def __init__(self, services: Services, bench: LabelTab, editing: EditTab, at: _Layout) -> None:
        self.services, self.editing, self.at, self.logic = services, editing, at, Sampling(services)
        self.layout, self.results = gr.State(None), gr.State(None)
        self.who = [bench.session, bench.fitted]
        self.quiet = {**services.short, "show_progress": "hidden"}

    def wire(self, tab: gr.Tab, tabs: gr.Tabs) -> None:
        """Register everything."""
        at, logic, who, quiet = self.at, self.logic, self.who, self.quiet
        shown = [self.layout, at.wanted, at.legend, at.line]
        on(at.mask.upload, logic.upload, [*who, at.mask], shown, **quiet)
        on(at.mask.clear, logic.upload, [*who, at.mask], shown, **quiet)
        on(tab.select, self.visit, who, [at.shelf], **quiet)
        on(at.shelf.select, self.example, who, shown, **quiet)
        on(at.take.click, logic.from_seed, [*who, at.number, at.psi], shown, **quiet)
        on(at.paint_tab.select, logic.canvas, who, [at.painter], **quiet)
        on(at.painter.input, logic.painted, [*who, at.painter], shown, trigger_mode="always_last", **quiet)
        self._wire_runs()
        on(at.strip.select, logic.choose, [self.results], [self.results, at.sides], **quiet)
        more = {**quiet, "cancels": self.editing.going}
        sent = on(at.send.click, self.to_edit, [*who, self.results], [self.editing.track, tabs], **more)
        self.editing.arrive(sent)
        on(at.pack.click, self.packed, [self.results], [at.file], **quiet)

    def _wire_runs(self) -> None:
        at, asked = self.at, [*self.who, self.layout, self.at.count, self.at.candidates, self.at.steps, self.at.seed]
        asked.append(self.at.look)
        # In the browser, and before the run: what is registered after it on the same click waits for its end.
        at.run.click(None, None, [at.run, at.stop], js=BUSY, api_visibility="private")
        going = on(
            at.run.click, self.logic.run, asked, [self.results, at.strip, at.state],
            **self.services.long, show_progress="hidden",
        )  # fmt: skip
        stopped = at.stop.click(None, None, None, cancels=[going], api_visibility="private")
        for register in (going.then, going.failure, stopped.then):
            on(register, lambda: (gr.Button(interactive=True), gr.Button(interactive=False)), [], [at.run, at.stop],
               concurrency_limit=None, show_progress="hidden")  # fmt: skip
        on(stopped.then, lambda now: show.status("Stopped; what was found so far is kept." if now else "Stopped."),
           [self.results], [at.state], **self.quiet)  # fmt: skip

    def masks(self, session: Session, fitted: Fitted | None) -> list:
        """The example masks, each (path, thumbnail), that fit what would read them."""
        try:
            return example_masks(session.model, chosen_extractor(self.services, session, fitted).categories)
        except InputError:  # nothing to read them with yet
            return []

    def example(self, session: Session, fitted: Fitted | None, event: gr.SelectData) -> tuple[object, ...]:
        path, thumb = self.masks(session, fitted)[int(event.index)]
        return self.logic.example(session, fitted, path, thumb.title)

    def visit(self, session: Session, fitted: Fitted | None) -> dict:
        found = self.masks(session, fitted)
        return gr.update(value=Strip(tuple(thumb for _, thumb in found)), visible=bool(found))

    def to_edit(self, session: Session, fitted: Fitted | None, now: Results | None) -> tuple[Track, gr.Tabs]:
        if now is None or not now.frame.seeds:
            raise InputError("choose a result first")
        i = now.current or 0
        caption = f"sample of seed {now.frame.seeds[i]}"
        return self.editing.logic.start(session, fitted, now.frame.ws[i], caption), gr.Tabs(selected="edit")

    def packed(self, now: Results | None) -> gr.File:
        return gr.File(self.logic.files(now), visible=True)


def build(services: Services, bench: LabelTab, editing: EditTab, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Lay the tab out and wire it."""
    _Wiring(services, bench, editing, _Layout(services)).wire(tab, tabs)
