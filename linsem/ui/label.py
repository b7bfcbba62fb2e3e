"""The tab Label: its layout, and what happens at each event."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gradio as gr

from linsem.session import Fitted, Session, remove_picture, set_labels, undo
from linsem.ui import show
from linsem.ui.bench import FIRST_PSI, FIRST_SEEDS, NOT_YET, Bench, absorb, shown, usable
from linsem.ui.canvas import LabelPainter, PainterLabels
from linsem.ui.categories import CategoryEditor
from linsem.ui.errors import in_words, said
from linsem.ui.examples import example_project
from linsem.ui.projects import Projects
from linsem.ui.services import Services
from linsem.ui.thumbs import Thumbs

HINT = (
    "Pick a category and scribble on the image, then do the same with another one: every image is segmented within a "
    "second. What you leave unpainted means unknown."
)
KEPT_SECRET = "linsem"  # the copy is the visitor's own and in their own browser: nothing to hide
START = "Paint strokes of two categories, and the segmentation appears here and on all images."
VIEWS = ("Overlay", "Image", "Uncertainty")


@dataclass(frozen=True, eq=False)
class LabelTab:
    """The components of this tab that others need."""

    session: gr.State
    fitted: gr.State
    track: gr.State  # of the tab Edit: it is here because a project holds it too


class Wiring:
    """Handlers of this tab: each takes and gives values of components, and no handler gives a state that it does not
    change, so that a slow one never puts an old value back."""

    def __init__(self, services: Services) -> None:
        self.services, self.bench = services, Bench(services)

    def begin(self, model: str) -> tuple[object, ...]:
        session = self.bench.begin(model)
        return session, None, self.bench.show_picture(session, None, 0), show.status(START)

    def switch(self, model: str, session: Session) -> tuple[object, ...]:
        """Another generator; if it cannot be had, everything stays, and the list says again which one is there."""
        try:
            return *self.begin(model), model
        except (ValueError, gr.Error) as error:
            gr.Warning(said(error).message)
            return *[gr.skip()] * 4, session.model

    def keep(self, session: Session, painted: PainterLabels | None) -> Session:
        return absorb(session, painted)

    def live(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, live: bool
    ) -> tuple[object, ...]:
        if not live:
            return gr.skip(), gr.skip(), show.status("Live is off: press Fit now when you are ready.")
        return self.bench.fit(session, fitted, painted)

    def choose(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, event: gr.SelectData
    ) -> tuple[object, ...]:
        session = absorb(session, painted)
        return session, self.bench.show_picture(session, fitted, int(event.index))

    def next_one(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, suggested: int | None
    ) -> tuple[object, ...]:
        session = absorb(session, painted)
        return session, self.bench.show_picture(session, fitted, suggested or 0)

    def refit(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, live: bool
    ) -> tuple[object, ...]:
        """After another image was chosen: fit if there are strokes that no fit has seen, and show what is read in it.

        The second even where there was a fit: it may have come in while the image was being fetched.
        """
        session = absorb(session, painted)
        if live and session.labelled and (fitted is None or fitted.version != session.version):
            return self.bench.fit(session, fitted, painted)
        if not usable(session, fitted):
            return gr.skip(), gr.skip(), gr.skip()
        state = self.bench.show_picture(session, fitted, shown(session, painted))
        return gr.skip(), replace(state, opens=False), gr.skip()

    def first_fit(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """After a project was loaded: fit, unless it brought its extractor."""
        if fitted is not None or not session.labelled:
            return gr.skip(), gr.skip(), gr.skip()
        return self.bench.fit(session, fitted, painted)

    def add(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, seeds: str, psi: float
    ) -> tuple[object, ...]:
        before = absorb(session, painted)
        session = self.bench.add(session, painted, seeds, psi)
        fresh = len(before.labelled) if len(session.pictures) > len(before.labelled) else 0
        return session, self.bench.show_picture(session, fitted, fresh)

    def more(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, seeds: str, psi: float
    ) -> tuple[object, ...]:
        """The next seeds after the largest one that is here."""
        last = max((picture.seed for picture in session.pictures), default=0)
        kept = len(absorb(session, painted).labelled)
        count = max(1, min(8, self.services.settings.max_pictures - kept))
        seeds = f"{last + 1}-{last + count}"
        return (*self.add(session, fitted, painted, seeds, psi), seeds)

    def clear(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        session = absorb(session, painted)
        index = shown(session, painted)
        session = set_labels(session, index, session.pictures[index].labels * 0 + 255)
        return session, self.bench.show_picture(session, fitted, index)

    def remove(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        session = absorb(session, painted)
        index = shown(session, painted)
        session = remove_picture(session, index)
        return session, self.bench.show_picture(session, fitted, index)

    def back(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        session = undo(absorb(session, painted))
        return session, self.bench.show_picture(session, fitted, 0)


def build(services: Services, model: gr.Dropdown, blocks: gr.Blocks) -> LabelTab:
    """Lay the tab out and wire it."""
    wiring = Wiring(services)
    bench = wiring.bench
    projects = Projects(services, bench)
    session, fitted, suggested, track = gr.State(Session()), *[gr.State(None) for _ in range(3)]
    kept = gr.BrowserState(None, storage_key="linsem-project", secret=KEPT_SECRET)
    gr.HTML(show.hint(HINT))
    resume = gr.Button("Go on with what this browser kept", visible=False, elem_id="resume")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            painter = LabelPainter(
                categories=first_categories(services), label="Image to label", elem_id="label-painter", max_width=620
            )
            with gr.Row(elem_classes="ls-tight"):
                clear = gr.Button("Clear image", size="sm", min_width=90)
                remove = gr.Button("Remove image", size="sm", min_width=90)
                back = gr.Button("Undo clear or remove", size="sm", min_width=90)
        with gr.Column(scale=4, min_width=320):
            with gr.Row(elem_classes="ls-tight"):
                live = gr.Checkbox(True, label="Live: learn after each stroke", elem_id="live", scale=2, min_width=200)
                fit = gr.Button("Fit now", variant="primary", elem_id="fit-now", scale=1, min_width=110)
            line = gr.HTML(show.status(START), elem_id="label-status")
            next_one = gr.Button("Label this one next", visible=False, elem_id="label-next", size="sm")
            view = gr.Radio(list(VIEWS), value="Overlay", show_label=False, elem_id="label-view", container=False)
            strip = Thumbs(label="Images on the bench", empty="Loading images ...", elem_id="label-strip", size=108)
            with gr.Row(elem_classes="ls-tight"):
                seeds = gr.Textbox(FIRST_SEEDS, label="Seeds", elem_id="label-seeds", scale=2, min_width=110)
                psi = gr.Slider(0, 1.2, FIRST_PSI, step=0.05, label="Variety (psi)", scale=2, min_width=130)
            with gr.Row(elem_classes="ls-tight"):
                load = gr.Button("Show these seeds", size="sm", elem_id="label-load")
                more = gr.Button("New images", size="sm", elem_id="label-more")
                example = gr.Button("Load a labelled example", size="sm", visible=False, elem_id="label-example")
            sure = gr.HTML(NOT_YET, elem_id="label-sure")
            editor = CategoryEditor(services)
            with gr.Accordion("Save and load", open=False, elem_id="projects"):
                with gr.Row(elem_classes="ls-tight"):
                    save = gr.Button("Save the project", size="sm", elem_id="project-save", min_width=110)
                    make = gr.Button("Save the extractor", size="sm", elem_id="extractor-save", min_width=110)
                    load_file = gr.UploadButton(
                        "Load a project", size="sm", file_types=[".zip"], elem_id="project-load", min_width=110
                    )
                file = gr.File(label="Saved", interactive=False, visible=False, elem_id="saved-file")

    def event(register: object, function: object, inputs: list, outputs: list, **more: object) -> object:
        return register(in_words(function), inputs, outputs, api_visibility="private", **more)

    short, quick = services.short, {"concurrency_limit": None, "show_progress": "hidden"}
    now = [session, fitted, painter]
    look = ([session, fitted, painter, view], [strip, sure, next_one, suggested])
    fits = [fitted, painter, line]
    quiet = {**short, "show_progress": "hidden"}

    def overview_after(source: object) -> object:
        seen = event(source.then, bench.overview, *look, trigger_mode="always_last", **quiet)
        event(seen.then, projects.keep, [session, painter, track], [kept], trigger_mode="always_last", **quick)
        return seen

    event(painter.input, wiring.keep, [session, painter], [session], trigger_mode="multiple", **quick)
    stroke = event(painter.input, wiring.live, [*now, live], fits, trigger_mode="always_last", **quiet)
    overview_after(stroke)
    once = event(fit.click, bench.fit, now, fits, **quiet)
    overview_after(once)
    overview_after(event(live.input, wiring.live, [*now, live], fits, **quiet))
    event(view.input, bench.overview, *look, **quiet)
    for chosen in (
        event(strip.select, wiring.choose, now, [session, painter], **quiet),
        event(next_one.click, wiring.next_one, [*now, suggested], [session, painter], **quiet),
    ):
        overview_after(event(chosen.then, wiring.refit, [*now, live], fits, **quiet))
    for changed in (
        event(load.click, wiring.add, [*now, seeds, psi], [session, painter], **short),
        event(more.click, wiring.more, [*now, seeds, psi], [session, painter, seeds], **short),
        event(clear.click, wiring.clear, now, [session, painter], **quiet),
        event(remove.click, wiring.remove, now, [session, painter], **quiet),
        event(back.click, wiring.back, now, [session, painter], **quiet),
    ):
        named = event(changed.then, editor.choices, [session], editor.lists, **quick)
        overview_after(event(named.then, wiring.live, [*now, live], fits, **quiet))
    editor.wire(
        event,
        now,
        [session, fitted, painter],
        bench,
        quiet,
        lambda changed: overview_after(event(changed.then, wiring.live, [*now, live], fits, **quiet)),
    )
    event(make.click, lambda *v: gr.File(bench.extractor_file(*v), visible=True), [session, fitted], [file], **quick)
    event(save.click, lambda *v: gr.File(projects.save(*v), visible=True), [*now, track], [file], **quick)
    opened = [session, fitted, track, painter, line, model]
    for arrived in (
        event(load_file.upload, projects.load, [load_file], opened, **quiet),
        event(example.click, projects.example, [session], opened, **quiet),
        event(resume.click, projects.resume, [kept], opened, **quiet),
    ):
        named = event(arrived.success, editor.choices, [session], editor.lists, **quick)
        overview_after(event(named.then, wiring.first_fit, now, fits, **quiet))
        event(arrived.then, lambda: gr.Button(visible=False), [], [resume], **quick)
    event(blocks.load, lambda copy: gr.Button(visible=bool(copy)), [kept], [resume], **quick)
    for begun in (
        event(blocks.load, wiring.begin, [model], [session, fitted, painter, line], **short),
        event(model.input, wiring.switch, [model, session], [session, fitted, painter, line, model], **short),
    ):
        overview_after(event(begun.then, editor.choices, [session], editor.lists, **quick))
        event(begun.then, lambda now: gr.Button(visible=example_project(now.model) is not None), [session], [example],
              **quick)  # fmt: skip
    return LabelTab(session, fitted, track)


def first_categories(services: Services) -> tuple:
    """Those of the default generator, for a painter that has no image yet."""
    try:
        return services.studio.categories(services.studio.default_model())
    except ValueError:
        return ()
