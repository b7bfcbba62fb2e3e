"""The Sample tab: from a layout to images that match it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import gradio as gr
import numpy as np

from linsem.conditional import STEPS
from linsem.errors import InputError
from linsem.session import Fitted, Session
from linsem.settings import Settings
from linsem.track import Track
from linsem.ui import show
from linsem.ui.canvas import LabelPainter
from linsem.ui.edit import EditTab
from linsem.ui.errors import refused, said
from linsem.ui.events import ALWAYS, CHANGES, LAST, busy, idle, not_started, on, stopping
from linsem.ui.first import first_categories
from linsem.ui.label import LabelTab
from linsem.ui.layouts import MASK, NO_LAYOUT, Layout, Layouts
from linsem.ui.reader import Reader
from linsem.ui.sampling import FOUND, Results, Sampling
from linsem.ui.services import Services, reach
from linsem.ui.thumbs import Strip, Thumbs
from linsem.ui.turns import latest

BEFORE = "The results appear here."
OTHER, THIS = "These are the results of another layout.", "These are the results of this layout."
KEPT = "Stopped; what is shown is kept."
HINT = "Give a layout and get different images that follow it, best first."
PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"]


class _Layout:
    """The components of this tab, laid out on creation."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        self.reader = Reader(services, "sample", Layouts(services).examples)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=330):
                with gr.Tabs(elem_id="sample-source") as self.source:
                    self._sources(services)
                self.line = gr.HTML(show.status(NO_LAYOUT), elem_id="sample-understood")
                self.wanted = Thumbs(
                    label="The layout", empty="The layout appears here.", size=220, still=True, elem_id="sample-layout"
                )
                self.change = gr.Button("Paint on it", interactive=False, elem_id="sample-change", size="sm")
                self.legend = gr.HTML("", elem_id="sample-legend")
            with gr.Column(scale=3, min_width=330):
                self._settings(services.settings)
                self._results()

    def _sources(self, services: Services) -> None:
        with gr.Tab("Upload", id="upload"):
            self.mask = gr.File(
                label="Label map (PNG)", elem_id="sample-mask", file_types=PICTURES, type="filepath",
                height=130,
            )  # fmt: skip
            self.offered = gr.HTML("<small>or click an example:</small>", visible=False)
            self.shelf = Thumbs(label="Example layouts", size=66, elem_id="sample-examples", visible=False)
        with gr.Tab("From an image", id="seed"):
            with gr.Row(elem_classes="ls-tight"):
                self.number = gr.Number(7, label="Seed", elem_id="sample-from", min_width=90)
                self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", min_width=190)
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
            self.seed = gr.Number(0, label="First seed", min_width=110, elem_id="sample-first")
            self.look = gr.Textbox(  # text, because an empty number is sent as 0
                "",
                label="Colours from seed (optional)",
                placeholder="each its own",
                min_width=170,
                max_lines=1,
                elem_id="sample-look",
            )
        with gr.Accordion("Options", open=False), gr.Row(elem_classes="ls-tight"):
            steps, many = reach(0, limits.max_steps, STEPS), reach(12, min(limits.max_candidates, 1000), 200, 4)
            told = "More follow the layout more closely, take longer, and end more alike."
            self.steps = gr.Slider(**steps, label="Maximum steps", info=told, min_width=200, elem_id="sample-steps")
            self.candidates = gr.Slider(**many, label="Candidates", min_width=200, elem_id="sample-candidates")

    def _results(self) -> None:
        self.state = gr.HTML(show.status(BEFORE), elem_id="sample-status")
        self.strip = Thumbs(label="Results", empty="No results yet.", size=160, elem_id="sample-results")
        self.sides = Thumbs(
            label="The chosen result",
            empty="Click a result to see its own labels.",
            size=150,
            still=True,
            elem_id="sample-sides",
        )
        with gr.Row(elem_classes="ls-tight"):
            self.send = gr.Button("Edit this one", interactive=False, elem_id="sample-send")
            self.pack = gr.Button("Make a zip of the results", interactive=False, elem_id="sample-pack")
        self.file = gr.File(label="All results", interactive=False, visible=False, elem_id="sample-file")


class _Wiring:
    """The events of this tab."""

    def __init__(self, services: Services, bench: LabelTab, editing: EditTab, at: _Layout) -> None:
        self.services, self.editing, self.at = services, editing, at
        self.layouts, self.logic, self.arrived = Layouts(services), Sampling(services), bench.arrived
        self.layout, self.base, self.results = gr.State(None), gr.State(None), gr.State(None)
        self.origin = gr.State("")  # of the layout by which the examples and the file box were set last
        self.picked = gr.State(None)  # the seed of the result that was clicked; a run writes `results` meanwhile
        self.who = [bench.session, bench.fitted]
        self.quiet = {**services.short, "show_progress": "hidden"}

    def wire(self, tab: gr.Tab, tabs: gr.Tabs) -> None:
        """Register all events."""
        at, logic, quiet = self.at, self.logic, self.quiet
        self._wire_layout()
        self._wire_runs()
        other = on(
            at.reader.radio.input, at.reader.choose, [self.who[0], at.reader.radio], [self.who[0]], **CHANGES, **LAST
        )
        for seen in (tab.select, other.then):  # the categories may be others than before
            drawn = on(seen, self.layouts.canvas, [*self.who, self.base, self.layout], [at.painter], **quiet, **LAST)
            shown = [self.layout, at.wanted, at.legend, at.line]
            on(drawn.then, self.layouts.renamed, [*self.who, self.layout], shown, **quiet, **LAST)
        for seen in (tab.select, other.then):
            parts = [at.offered, at.shelf, *at.reader.parts]
            on(seen, self.visit, [*self.who, self.layout], parts, **quiet, **LAST)
        on(at.strip.select, logic.choose, [self.results], [self.picked, at.sides], **quiet)
        asked = [*self.who, self.results, self.picked]
        self.editing.came.after(at.send.click, self.to_edit, asked, [self.editing.wanted, tabs], **quiet)
        at.send.click(None, None, None, cancels=self.editing.going, api_visibility="private")
        on(at.pack.click, self.packed, [self.results], [at.file], **quiet)

    def _wire_layout(self) -> None:
        at, logic, who, quiet = self.at, self.layouts, self.who, self.quiet
        shown = [self.layout, at.wanted, at.legend, at.line]

        def asked(register: Callable, handler: Callable, given: list, *more: object, **how: object) -> None:
            """Of several layouts that are asked for, the last one is shown, however long the others take."""
            outputs = [*shown, *more]
            handler = latest(self.services.turns, "layout", handler, len(outputs))
            on(register, handler, [*who, *given], outputs, **quiet, **how)

        asked(at.mask.upload, logic.upload, [at.mask, self.layout], at.mask)
        on(at.mask.clear, logic.cleared, [self.layout], shown, **quiet)
        asked(at.shelf.select, self.example, [])
        asked(partial(gr.on, [at.take.click, at.number.submit]), logic.from_seed, [at.number, at.psi])
        drawn = on(at.paint_tab.select, logic.canvas, [*who, self.base, self.layout], [at.painter], **quiet, **LAST)
        on(drawn.then, logic.back_to, [*who, at.painter, self.base, self.layout], shown, **quiet, **LAST)
        seen, follow = [self.layout, at.state, self.results], [at.change, at.state, at.shelf, at.mask, self.origin]
        on(self.layout.change, self.follow, [*who, *seen, self.origin], follow, **ALWAYS)
        taken = [self.base, at.painter, at.line, at.source]
        on(at.change.click, self.paint_on, [*who, self.layout, self.base, at.painter], taken, **quiet)
        asked(at.painter.input, logic.painted, [at.painter, self.base], trigger_mode="always_last")

    def _wire_runs(self) -> None:
        at, asked = self.at, [*self.who, self.layout, self.at.count, self.at.candidates, self.at.steps, self.at.seed]
        asked.append(self.at.look)
        begun = [at.run.click, at.seed.submit, at.look.submit]
        gr.on(begun, None, None, [at.run, at.stop, at.state], js=busy(False, True), api_visibility="private")
        old = [at.sides, at.send, at.pack, at.file, self.picked]  # cleared when a new run starts
        going = on(
            partial(gr.on, begun), self.run, asked, [self.results, at.strip, at.state, *old],
            **self.services.long, show_progress="hidden",
        )  # fmt: skip
        stopped = at.stop.click(None, None, at.stop, js=stopping(), cancels=[going], api_visibility="private")
        on(going.failure, not_started, [at.state], [at.state], **ALWAYS)
        for ended in (going.then, going.failure, stopped.then):
            on(ended, idle, [], [at.run, at.stop], **ALWAYS)
            on(ended, self.settled, [self.results, self.picked], [at.strip, at.sides, at.send, at.pack], **ALWAYS)
        left = self.arrived.change(None, None, None, cancels=[going], api_visibility="private")
        seen = [self.layout, at.state, self.results]
        told = on(left.then, self.left, [self.who[0], *seen], [at.state, at.send], **ALWAYS)
        on(told.then, idle, [], [at.run, at.stop], **ALWAYS)
        on(stopped.then, self.stopped, seen, [at.state], **self.quiet)

    def run(self, *asked: object) -> Iterator[tuple[object, ...]]:
        """As `Sampling.run`, but the first frame also clears what is shown of the previous results' chosen one.

        What went wrong is said beside the button too, where it stays.
        """
        off = gr.Button(interactive=False)
        first = Strip(()), off, off, gr.File(None, visible=False), None
        try:
            for frame in self.logic.run(*asked):
                yield *frame, *first
                first = (gr.skip(),) * 5
        except Exception as error:  # not of Stop: then this generator is closed
            told = said(error)
            yield gr.skip(), gr.skip(), refused(told), *[gr.skip()] * 5
            raise told from None

    def follow(
        self, session: Session, fitted: Fitted | None, now: Layout | None, line: str, results: Results | None, last: str
    ) -> tuple[object, ...]:
        """When the layout is another: what is said of it, and the example and the file that are shown are its own.

        The examples are read only if the layout is from elsewhere than the `last` one: each stroke makes another. And
        only the file of that one is removed: another may be on its way.
        """
        origin = "" if now is None else now.origin
        if origin == last:
            return *self.there(now, line, results), gr.skip(), gr.skip(), origin
        file = None if last == MASK and now is not None else gr.skip()
        return *self.there(now, line, results), self.layouts.shelf(session, fitted, now), file, origin

    @staticmethod
    def there(now: Layout | None, line: str, results: Results | None) -> tuple[gr.Button, object]:
        """When the layout is another: whether it can be painted on, and that the results are not of this one.

        Why a run was refused before is over then; a run that goes on says so itself.
        """
        other = of_another(results, now)
        over = (now is not None and "ls-bad" in line) or (other and "ls-busy" not in line) or OTHER in line
        told = show.status(BEFORE if results is None else OTHER if other else THIS) if over else gr.skip()
        return gr.Button(interactive=now is not None), told

    @staticmethod
    def stopped(now: Layout | None, line: str, results: Results | None) -> str:
        """After Stop, with the last line of the run: what is shown is of an earlier run if it came to no result."""
        if results is None:
            return show.status("Stopped.")
        if not of_another(results, now):
            return show.status(KEPT)
        return show.status(f"{KEPT if FOUND in line else 'Stopped before the first result.'} {OTHER}")

    def left(self, session: Session, now: Layout | None, line: str, results: Results | None) -> tuple[object, object]:
        """When another bench has come, which ends a run: results of another generator stay, but cannot be edited."""
        if results is not None and results.model != session.model:
            return show.status(f"These results are of {results.model}."), gr.Button(interactive=False)
        return self.stopped(now, line, results) if "ls-busy" in line else gr.skip(), gr.skip()

    def settled(self, now: Results | None, picked: int | None) -> tuple[object, ...]:
        """After a run, however it ended: show the chosen result, or else the best, and enable its actions."""
        if now is None or not now.frame.seeds:
            return gr.skip(), gr.skip(), gr.Button(interactive=False), gr.Button(interactive=False)
        i, free = now.index(picked), gr.Button(interactive=True)
        return self.logic.strip(now, i), self.logic.sides(now, i), free, free

    def example(self, session: Session, fitted: Fitted | None, event: gr.SelectData) -> tuple[object, ...]:
        found, index = self.layouts.examples(session, fitted), int(event.index)
        if not 0 <= index < len(found):
            raise InputError("this example is not there any more: choose another one")
        return self.layouts.example(session, fitted, found[index][0], found[index][1].title)

    def paint_on(self, *asked: object) -> tuple[object, ...]:
        return *self.layouts.paint_on(*asked), gr.Tabs(selected="paint")

    def visit(self, session: Session, fitted: Fitted | None, now: Layout | None) -> tuple[object, ...]:
        strip = self.layouts.shelf(session, fitted, now)
        found = bool(strip.items)
        return gr.HTML(visible=found), gr.update(value=strip, visible=found), *self.at.reader.look(session, fitted)

    def to_edit(
        self, session: Session, fitted: Fitted | None, now: Results | None, picked: int | None
    ) -> tuple[Track, gr.Tabs]:
        if now is None or not now.frame.seeds:
            raise InputError("choose a result first")
        if now.model != session.model:
            raise InputError(f"these results are of {now.model}, and {session.model} is chosen now: sample again")
        i = now.index(picked)
        caption = f"sample of seed {now.frame.seeds[i]}"
        self.services.turns.take(session.token, "edit")  # an image that was chosen there before is not waited for
        return self.editing.logic.start(session, fitted, now.frame.ws[i], caption), gr.Tabs(selected="edit")

    def packed(self, now: Results | None) -> gr.File:
        return gr.File(self.logic.files(now), visible=True)


def of_another(results: Results | None, layout: Layout | None) -> bool:
    """Whether there are results, and not of this layout."""
    return results is not None and (layout is None or not np.array_equal(results.asked, layout.labels))


def build(services: Services, bench: LabelTab, editing: EditTab, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Lay out the tab and register its events."""
    _Wiring(services, bench, editing, _Layout(services)).wire(tab, tabs)
