"""The tab Edit: repaint labels, and the image follows while you watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from linsem.session import Fitted, Session
from linsem.track import Track
from linsem.ui import show
from linsem.ui.bench import caption
from linsem.ui.canvas import LabelPainter
from linsem.ui.compare import Compare
from linsem.ui.editing import READY, Editing
from linsem.ui.errors import in_words
from linsem.ui.label import LabelTab, first_categories
from linsem.ui.services import Services
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HINT = (
    "Paint what should be there (hair where there is none, a hat, glasses) and press Run: the image changes until it "
    "obeys. Everything you do not paint is held as it is."
)


BUSY = "() => [false, false, false, false, true].map((on) => ({__type__: 'update', interactive: on}))"


@dataclass(frozen=True, eq=False)
class EditTab:
    """What others need to send an image here: an event that gives `track`, on which `arrive` is then called."""

    track: gr.State
    logic: Editing
    arrive: Callable[[object], object]


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> EditTab:
    """Lay the tab out and wire it."""
    logic = Editing(services)
    track = bench.track
    gr.HTML(show.hint(HINT))
    with gr.Accordion("Choose an image", open=True, elem_id="edit-choose"):
        strip = Thumbs(label="Images on the bench", empty="The images of the tab Label appear here.", size=68,
                       elem_id="edit-strip")  # fmt: skip
        with gr.Row(elem_classes="ls-tight ls-end"):
            seed = gr.Number(12, label="Or a seed", precision=0, minimum=0, elem_id="edit-seed", scale=1, min_width=110)
            psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=140)
            take = gr.Button("Edit this seed", elem_id="edit-take", scale=1, min_width=120)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=340):
            painter = LabelPainter(
                categories=first_categories(services), label="Image to edit", elem_id="edit-painter", max_width=560
            )
        with gr.Column(scale=1, min_width=320):
            with gr.Row(elem_classes="ls-tight"):
                run = gr.Button("Run", variant="primary", elem_id="edit-run", min_width=74)
                stop = gr.Button("Stop", interactive=False, elem_id="edit-stop", min_width=74)
                undo = gr.Button("Undo", interactive=False, elem_id="edit-undo", min_width=74)
                redo = gr.Button("Redo", interactive=False, elem_id="edit-redo", min_width=74)
            line = gr.HTML(show.status(READY), elem_id="edit-status")
            frames = Thumbs(label="Before and now", empty="The result appears here.", size=210, elem_id="edit-frames")
            with gr.Row(elem_classes="ls-tight ls-end"):
                gone = gr.Dropdown([], label="Or take something away", elem_id="edit-gone", scale=2, min_width=140)
                remove = gr.Button("Remove it", elem_id="edit-remove", scale=1, min_width=100)
            with gr.Accordion("How", open=False):
                steps = gr.Slider(5, services.settings.max_steps, 50, step=5, label="Most steps", elem_id="edit-steps")
                everywhere = gr.Checkbox(False, label="The whole image may change, not only around my strokes")
                with gr.Row(elem_classes="ls-tight"):
                    colored = gr.Checkbox(False, label="Where I paint, ask for this colour too", scale=2)
                    color = gr.ColorPicker("#d1495b", label="Colour", scale=1, min_width=80)
            with gr.Accordion("Compare with the first image", open=True):
                slider = Compare(elem_id="edit-slider")
            with gr.Row(elem_classes="ls-tight"):
                files = [
                    gr.DownloadButton(name, size="sm", interactive=False, min_width=74)
                    for name in ("Image", "Label map", "Latent")
                ]

    def event(register: object, function: object, inputs: list, outputs: list, **more: object) -> object:
        return register(in_words(function), inputs, outputs, api_visibility="private", **more)

    settle = ([track], [painter, slider, undo, redo, gone, *files])
    quiet = {**services.short, "show_progress": "hidden"}

    busy = [run, remove, undo, redo, stop]

    def idle(after: object) -> None:
        """After a run, however it ended: what may be pressed."""

        def states(now: Track | None) -> list[gr.Button]:
            position, last = (now.position, len(now.points) - 1) if now else (0, 0)
            return [gr.Button(interactive=on) for on in (True, True, position > 0, position < last, False)]

        event(after, states, [track], busy, concurrency_limit=None, show_progress="hidden")

    def arrive(source: object) -> object:
        """After the track has changed: everything that shows it."""
        looked = event(source.then, lambda t: logic.look(t) if t else (Strip(()), show.status(READY)), [track],
                       [frames, line], **quiet)  # fmt: skip
        return event(looked.then, logic.settle, *settle, **quiet)

    def bench_strip(session: Session) -> Strip:
        if not session.pictures:
            return Strip(())
        rgb = services.gpu.render(session.model, [picture.ws for picture in session.pictures])
        return Strip(tuple(Thumb(rgb[i], caption(p)[0]) for i, p in enumerate(session.pictures)))

    def choose(session: Session, fitted: Fitted | None, event: gr.SelectData) -> Track:
        return logic.from_bench(session, fitted, int(event.index))

    def visit(session: Session, fitted: Fitted | None, now: Track | None) -> tuple[object, object, object]:
        try:
            return bench_strip(session), logic.visit(session, fitted, now), gr.skip()
        except ValueError as error:
            return bench_strip(session), None, show.status(str(error), "bad")

    opened = event(tab.select, visit, [bench.session, bench.fitted, track], [strip, track, line], **quiet)
    event(opened.then, lambda t: logic.settle(t) if t else [gr.skip()] * len(settle[1]), *settle, **quiet)
    arrive(event(strip.select, choose, [bench.session, bench.fitted], [track], **quiet))
    arrive(event(take.click, logic.from_seed, [bench.session, bench.fitted, seed, psi], [track], **services.short))
    going = [
        event(run.click, logic.run, [track, painter, steps, everywhere, colored, color], [track, frames, line],
              **services.long, show_progress="hidden"),
        event(remove.click, logic.remove, [track, gone, steps], [track, frames, line], **services.long,
              show_progress="hidden"),
    ]  # fmt: skip
    for button, each in zip((run, remove), going, strict=True):
        # In the browser, at once: an answer from the server could come after that of a run that fails at once.
        button.click(None, None, busy, js=BUSY, api_visibility="private")
        idle(event(each.then, logic.settle, *settle, **quiet).then)
        idle(each.failure)  # which `then` does not follow
    stopped = stop.click(None, None, None, cancels=going, api_visibility="private")
    idle(arrive(stopped).then)
    for button, by in ((undo, -1), (redo, 1)):
        moved = event(button.click, lambda t, by=by: logic.move(t, by), [track], [track, frames, line], **quiet)
        event(moved.then, logic.settle, *settle, **quiet)
    return EditTab(track, logic, arrive)
