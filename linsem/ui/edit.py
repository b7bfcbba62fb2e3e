"""The tab Edit: repaint labels, and the image follows while you watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from linsem.errors import InputError
from linsem.session import Fitted, Session
from linsem.track import Track
from linsem.ui import show
from linsem.ui.bench import caption
from linsem.ui.canvas import LabelPainter
from linsem.ui.compare import Compare
from linsem.ui.editing import READY, Editing
from linsem.ui.events import on
from linsem.ui.label import LabelTab, first_categories
from linsem.ui.services import Services, reach
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HINT = (
    "Paint what should be there (hair where there is none, a hat, glasses) and press Run: the image changes until it "
    "obeys. Everything you do not paint is held as it is."
)
BUSY = "() => [false, false, false, false, true].map((on) => ({__type__: 'update', interactive: on}))"


@dataclass(frozen=True, eq=False)
class EditTab:
    """What others need to send an image here: an event that gives `track` and cancels `going`; `arrive` is called on it
    then."""

    track: gr.State
    logic: Editing
    arrive: Callable[[object], object]
    going: list


class _Layout:
    """The components of this tab, laid out where it is made."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        with gr.Accordion("Choose an image", open=True, elem_id="edit-choose"):
            self._choose()
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=340):
                self.painter = LabelPainter(
                    categories=first_categories(services),
                    label="Image to edit",
                    elem_id="edit-painter",
                    max_width=560,
                    views=("prediction",),
                )
            with gr.Column(scale=1, min_width=320):
                self._run()
                with gr.Accordion("How", open=False):
                    self._how(services.settings.max_steps)
                with gr.Accordion("Compare with the first image", open=True):
                    self.slider = Compare(elem_id="edit-slider")
                with gr.Row(elem_classes="ls-tight"):
                    self.files = [
                        gr.DownloadButton(name, size="sm", interactive=False, min_width=74)
                        for name in ("Image", "Label map", "Latent")
                    ]

    def _choose(self) -> None:
        self.strip = Thumbs(
            label="Images on the bench", empty="The images of the tab Label appear here.", size=68, elem_id="edit-strip"
        )
        self.shelf = Thumbs(label="Or an example, painted already", size=68, elem_id="edit-examples", visible=False)
        with gr.Row(elem_classes="ls-tight ls-end"):
            self.seed = gr.Number(
                12, label="Or a seed", precision=0, minimum=0, elem_id="edit-seed", scale=1, min_width=110
            )
            self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=140)
            self.take = gr.Button("Edit this seed", elem_id="edit-take", scale=1, min_width=120)

    def _run(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.run = gr.Button("Run", variant="primary", elem_id="edit-run", min_width=74)
            self.stop = gr.Button("Stop", interactive=False, elem_id="edit-stop", min_width=74)
            self.undo = gr.Button("Undo", interactive=False, elem_id="edit-undo", min_width=74)
            self.redo = gr.Button("Redo", interactive=False, elem_id="edit-redo", min_width=74)
        self.line = gr.HTML(show.status(READY), elem_id="edit-status")
        self.frames = Thumbs(label="Before and now", empty="The result appears here.", size=210, elem_id="edit-frames")
        with gr.Row(elem_classes="ls-tight ls-end"):
            self.gone = gr.Dropdown([], label="Or take something away", elem_id="edit-gone", scale=2, min_width=140)
            self.remove = gr.Button("Remove it", elem_id="edit-remove", scale=1, min_width=100)

    def _how(self, most: int) -> None:
        self.steps = gr.Slider(**reach(5, most, 50, 5), label="Most steps", elem_id="edit-steps")
        self.everywhere = gr.Checkbox(False, label="The whole image may change, not only around my strokes")
        with gr.Row(elem_classes="ls-tight"):
            self.colored = gr.Checkbox(False, label="Where I paint, ask for this colour too", scale=2)
            self.color = gr.ColorPicker("#d1495b", label="Colour", scale=1, min_width=80)


class _Wiring:
    """What happens at each event of this tab."""

    def __init__(self, services: Services, logic: Editing, bench: LabelTab, at: _Layout) -> None:
        self.services, self.logic, self.bench, self.track, self.at = services, logic, bench, bench.track, at
        self.settle = ([self.track], [at.painter, at.slider, at.undo, at.redo, at.gone, *at.files])
        self.changed = [self.track, at.frames, at.line]
        self.busy = [at.run, at.remove, at.undo, at.redo, at.stop]
        self.quiet = {**services.short, "show_progress": "hidden"}

    def wire(self, tab: gr.Tab) -> None:
        """Register everything."""
        at, logic, who = self.at, self.logic, [self.bench.session, self.bench.fitted]
        opened = on(tab.select, self.visit, [*who, self.track], [at.strip, self.track, at.line], **self.quiet)
        still = [gr.skip()] * len(self.settle[1])
        on(opened.then, lambda now: logic.settle(now) if now else still, *self.settle, **self.quiet)
        on(opened.then, logic.shelf, who, [at.shelf], **self.quiet)
        self._wire_runs()
        for taken in (
            on(at.strip.select, self.choose, who, [self.track], cancels=self.going, **self.quiet),
            on(at.shelf.select, self.example, who, [self.track], cancels=self.going, **self.quiet),
            on(at.take.click, logic.from_seed, [*who, at.seed, at.psi], [self.track], cancels=self.going,
               **self.services.short),
        ):  # fmt: skip
            self.arrive(taken)
        for button, by in ((at.undo, -1), (at.redo, 1)):
            moved = on(button.click, lambda now, by=by: logic.move(now, by), [self.track], self.changed, **self.quiet)
            on(moved.then, logic.settle, *self.settle, **self.quiet)

    def _wire_runs(self) -> None:
        at, logic, long = self.at, self.logic, {**self.services.long, "show_progress": "hidden"}
        wishes = [self.track, at.painter, at.steps, at.everywhere, at.colored, at.color]
        for button in (at.run, at.remove):
            # In the browser, and before the run: what is registered after it on the same click waits for its end.
            button.click(None, None, self.busy, js=BUSY, api_visibility="private")
        self.going = [
            on(at.run.click, logic.run, wishes, self.changed, **long),
            on(at.remove.click, logic.remove, [self.track, at.gone, at.steps], self.changed, **long),
        ]
        for each in self.going:
            self.idle(on(each.then, logic.settle, *self.settle, **self.quiet).then)
            self.idle(each.failure)  # which `then` does not follow
        stopped = at.stop.click(None, None, None, cancels=self.going, api_visibility="private")
        self.arrive(stopped)

    def idle(self, after: Callable) -> None:
        """After a run, however it ended: what may be pressed."""

        def states(now: Track | None) -> list[gr.Button]:
            position, last = (now.position, len(now.points) - 1) if now else (0, 0)
            return [gr.Button(interactive=free) for free in (True, True, position > 0, position < last, False)]

        on(after, states, [self.track], self.busy, concurrency_limit=None, show_progress="hidden")

    def arrive(self, source: object) -> object:
        """After the track has changed: everything that shows it, and what may be pressed."""

        def look(now: Track | None) -> tuple[Strip, str]:
            return self.logic.look(now) if now else (Strip(()), show.status(READY))

        looked = on(source.then, look, [self.track], [self.at.frames, self.at.line], **self.quiet)
        settled = on(looked.then, self.logic.settle, *self.settle, **self.quiet)
        self.idle(settled.then)
        return settled

    def choose(self, session: Session, fitted: Fitted | None, event: gr.SelectData) -> Track:
        return self.logic.from_bench(session, fitted, int(event.index))

    def example(self, session: Session, fitted: Fitted | None, event: gr.SelectData) -> Track:
        return self.logic.from_example(session, fitted, int(event.index))

    def visit(self, session: Session, fitted: Fitted | None, now: Track | None) -> tuple[object, object, object]:
        strip = self._bench_strip(session)
        try:
            return strip, self.logic.visit(session, fitted, now), gr.skip()
        except InputError as error:
            return strip, None, show.status(str(error), "bad")

    def _bench_strip(self, session: Session) -> Strip:
        if not session.pictures:
            return Strip(())
        rgb = self.services.gpu.render(session.model, [picture.ws for picture in session.pictures])
        return Strip(tuple(Thumb(rgb[i], caption(p)[0]) for i, p in enumerate(session.pictures)))


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> EditTab:
    """Lay the tab out and wire it."""
    logic = Editing(services)
    wiring = _Wiring(services, logic, bench, _Layout(services))
    wiring.wire(tab)
    return EditTab(bench.track, logic, wiring.arrive, wiring.going)
