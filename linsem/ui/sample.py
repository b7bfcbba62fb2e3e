"""The tab Sample: a layout in, images that obey it out."""

from __future__ import annotations

import gradio as gr

from linsem.session import Fitted, Session
from linsem.track import Track
from linsem.ui import show
from linsem.ui.canvas import LabelPainter
from linsem.ui.edit import EditTab
from linsem.ui.errors import in_words
from linsem.ui.examples import example_masks
from linsem.ui.label import LabelTab, first_categories
from linsem.ui.sampling import NO_LAYOUT, Results, Sampling
from linsem.ui.segment import chosen_extractor
from linsem.ui.services import Services
from linsem.ui.thumbs import Strip, Thumbs

HINT = "Give a layout, and get several different images that obey it, best first."

BUSY = "() => [false, true].map((on) => ({__type__: 'update', interactive: on}))"


def build(services: Services, bench: LabelTab, editing: EditTab, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Lay the tab out and wire it."""
    logic = Sampling(services)
    layout, results = gr.State(None), gr.State(None)
    gr.HTML(show.hint(HINT))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=330):
            with gr.Tabs(elem_id="sample-source"):
                with gr.Tab("Upload", id="upload"):
                    mask = gr.File(
                        label="A mask of any kind and size", elem_id="sample-mask",
                        file_types=[".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"],
                        type="filepath", height=130,
                    )  # fmt: skip
                    shelf = Thumbs(
                        label="Example masks", size=66, elem_id="sample-examples", visible=False,
                    )  # fmt: skip
                with gr.Tab("From an image", id="seed"), gr.Row(elem_classes="ls-tight ls-end"):
                    number = gr.Number(7, label="Seed", precision=0, minimum=0, elem_id="sample-from", min_width=90)
                    psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", min_width=110)
                    take = gr.Button("Take its layout", elem_id="sample-take", min_width=110)
                with gr.Tab("Paint", id="paint") as paint_tab:
                    painter = LabelPainter(
                        categories=first_categories(services), label="Layout", elem_id="sample-painter", max_width=420
                    )
            line = gr.HTML(show.status(NO_LAYOUT), elem_id="sample-understood")
            wanted = Thumbs(label="The layout", empty="The layout appears here.", size=220, elem_id="sample-layout")
            legend = gr.HTML("", elem_id="sample-legend")
        with gr.Column(scale=3, min_width=330):
            with gr.Row(elem_classes="ls-tight"):
                run = gr.Button("Sample", variant="primary", elem_id="sample-run", min_width=100)
                stop = gr.Button("Stop", interactive=False, elem_id="sample-stop", min_width=100)
            settings = services.settings
            with gr.Row(elem_classes="ls-tight"):
                count = gr.Slider(1, settings.max_results, min(4, settings.max_results), step=1, label="Results",
                                  min_width=200)  # fmt: skip
                seed = gr.Number(0, label="First seed", precision=0, minimum=0, min_width=110)
            with gr.Accordion("How", open=False), gr.Row(elem_classes="ls-tight"):
                steps = gr.Slider(0, settings.max_steps, min(30, settings.max_steps), step=1, label="Most steps",
                                  min_width=200)  # fmt: skip
                most = min(settings.max_candidates, 1000)
                candidates = gr.Slider(12, most, min(200, most), step=4, label="Candidates", min_width=200,
                                       elem_id="sample-candidates")  # fmt: skip
            state = gr.HTML(show.status("The results appear here."), elem_id="sample-status")
            strip = Thumbs(label="Results", empty="No results yet.", size=190, elem_id="sample-results")
            sides = Thumbs(label="The chosen result", empty="Click a result to see its own labels.", size=150,
                           elem_id="sample-sides")  # fmt: skip
            with gr.Row(elem_classes="ls-tight"):
                send = gr.Button("Edit this one", elem_id="sample-send")
                pack = gr.Button("Make a zip of the results")
            file = gr.File(label="All results", interactive=False, visible=False)

    def event(register: object, function: object, inputs: list, outputs: list, **more: object) -> object:
        return register(in_words(function), inputs, outputs, api_visibility="private", **more)

    quiet = {**services.short, "show_progress": "hidden"}
    who, shown = [bench.session, bench.fitted], [layout, wanted, legend, line]

    def masks(session: Session, fitted: Fitted | None) -> list:
        try:
            return example_masks(session.model, chosen_extractor(services, session, fitted).categories)
        except ValueError:  # nothing to read them with yet
            return []

    def example(session: Session, fitted: Fitted | None, event: gr.SelectData) -> tuple[object, ...]:
        path, thumb = masks(session, fitted)[int(event.index)]
        return logic.example(session, fitted, path, thumb.title)

    def visit(session: Session, fitted: Fitted | None) -> dict:
        found = masks(session, fitted)
        return gr.update(value=Strip(tuple(thumb for _, thumb in found)), visible=bool(found))

    def to_edit(session: Session, fitted: Fitted | None, now: Results | None) -> tuple[Track, gr.Tabs]:
        if now is None or not now.frame.seeds:
            raise ValueError("choose a result first")
        i = now.current or 0
        caption = f"sample of seed {now.frame.seeds[i]}"
        return editing.logic.start(session, fitted, now.frame.ws[i], caption), gr.Tabs(selected="edit")

    def packed(now: Results | None) -> gr.File:
        return gr.File(logic.files(now), visible=True)

    event(mask.upload, logic.upload, [*who, mask], shown, **quiet)
    event(mask.clear, logic.upload, [*who, mask], shown, **quiet)
    event(tab.select, visit, who, [shelf], **quiet)
    event(shelf.select, example, who, shown, **quiet)
    event(take.click, logic.from_seed, [*who, number, psi], shown, **quiet)
    event(paint_tab.select, logic.canvas, who, [painter], **quiet)
    event(painter.input, logic.painted, [*who, painter], shown, trigger_mode="always_last", **quiet)
    going = event(
        run.click, logic.run, [*who, layout, count, candidates, steps, seed], [results, strip, state],
        **services.long, show_progress="hidden",
    )  # fmt: skip
    stopped = stop.click(None, None, None, cancels=[going], api_visibility="private")
    run.click(None, None, [run, stop], js=BUSY, api_visibility="private")  # in the browser, so that it comes first
    for register in (going.then, going.failure, stopped.then):
        event(register, lambda: (gr.Button(interactive=True), gr.Button(interactive=False)), [], [run, stop],
              concurrency_limit=None, show_progress="hidden")  # fmt: skip
    event(stopped.then, lambda now: show.status("Stopped; what was found so far is kept." if now else "Stopped."),
          [results], [state], **quiet)  # fmt: skip
    event(strip.select, logic.choose, [results], [results, sides], **quiet)
    sent = event(send.click, to_edit, [*who, results], [editing.track, tabs], **quiet)
    editing.arrive(sent)
    event(pack.click, packed, [results], [file], **quiet)
