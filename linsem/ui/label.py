"""The tab Label: scribble on some images, and all are segmented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from linsem.errors import InputError
from linsem.session import Session
from linsem.ui import show
from linsem.ui.bench import FIRST_PSI, NOT_YET, first_seeds
from linsem.ui.canvas import LabelPainter
from linsem.ui.categories import CategoryEditor
from linsem.ui.events import on
from linsem.ui.examples import example_project
from linsem.ui.labelling import START, Labelling
from linsem.ui.projects import Projects, copies
from linsem.ui.services import Services
from linsem.ui.thumbs import Thumbs

HINT = (
    "Pick a category and scribble on the image, then do the same with another one: every image is segmented within a "
    "second. A stroke takes what it touches of one colour; what it does not reach stays unknown."
)
KEPT_SECRET = "linsem"  # the copy is the visitor's own and in their own browser: nothing to hide
VIEWS = ("Overlay", "Image", "Uncertainty")


@dataclass(frozen=True, eq=False)
class LabelTab:
    """The components of this tab that others need."""

    session: gr.State
    fitted: gr.State
    track: gr.State  # of the tab Edit: it is here because a project holds it too


class _Layout:
    """The components of this tab, laid out where it is made."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        self.resume = gr.Button("Go on with what this browser kept", visible=False, elem_id="resume")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=340):
                self._painting(services)
            with gr.Column(scale=4, min_width=320):
                self._learning()
                self._images(first_seeds(services.settings.max_pictures))
                self.sure = gr.HTML(NOT_YET, elem_id="label-sure")
                self.editor = CategoryEditor(services)
                with gr.Accordion("Save and load", open=False, elem_id="projects"):
                    self._files()

    def _painting(self, services: Services) -> None:
        self.painter = LabelPainter(
            categories=first_categories(services), label="Image to label", elem_id="label-painter", max_width=620
        )
        with gr.Row(elem_classes="ls-tight", elem_id="image-tools"):
            self.clear = gr.Button("Clear image", size="sm", min_width=90)
            self.remove = gr.Button("Remove image", size="sm", min_width=90)
            self.back = gr.Button("Undo clear or remove", size="sm", min_width=90)

    def _learning(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.live = gr.Checkbox(True, label="Live: learn after each stroke", elem_id="live", scale=2, min_width=200)
            self.fit = gr.Button("Fit now", variant="primary", elem_id="fit-now", scale=1, min_width=110)
        self.line = gr.HTML(show.status(START), elem_id="label-status")
        self.next_one = gr.Button("Label this one next", visible=False, elem_id="label-next", size="sm")
        self.view = gr.Radio(list(VIEWS), value="Overlay", show_label=False, elem_id="label-view", container=False)

    def _images(self, first: str) -> None:
        self.strip = Thumbs(label="Images on the bench", empty="Loading images ...", elem_id="label-strip", size=108)
        with gr.Row(elem_classes="ls-tight"):
            self.seeds = gr.Textbox(first, label="Seeds", elem_id="label-seeds", scale=2, min_width=110)
            self.psi = gr.Slider(0, 1.2, FIRST_PSI, step=0.05, label="Variety (psi)", scale=2, min_width=130)
        with gr.Row(elem_classes="ls-tight"):
            self.load = gr.Button("Show these seeds", size="sm", elem_id="label-load")
            self.more = gr.Button("New images", size="sm", elem_id="label-more")
            self.worth = gr.Button("Images worth labelling", size="sm", elem_id="label-worth")
            self.example = gr.Button("Load a labelled example", size="sm", visible=False, elem_id="label-example")

    def _files(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.save = gr.Button("Save the project", size="sm", elem_id="project-save", min_width=110)
            self.make = gr.Button("Save the extractor", size="sm", elem_id="extractor-save", min_width=110)
            self.load_file = gr.UploadButton(
                "Load a project", size="sm", file_types=[".zip"], elem_id="project-load", min_width=110
            )
        self.file = gr.File(label="Saved", interactive=False, visible=False, elem_id="saved-file")


class _Wiring:
    """What happens at each event of this tab."""

    def __init__(self, services: Services, at: _Layout) -> None:
        self.at, self.logic = at, Labelling(services)
        self.bench, self.projects = self.logic.bench, Projects(services, self.logic.bench)
        self.session, self.fitted, self.suggested, self.track = gr.State(Session()), *[gr.State(None) for _ in range(3)]
        self.kept = gr.BrowserState(None, storage_key="linsem-project", secret=KEPT_SECRET)
        self.found = gr.State([])  # copies of what was there before this bench, for the button
        self.short, self.long, self.loading = services.short, services.long, services.loading
        self.quick = {"concurrency_limit": None, "show_progress": "hidden"}
        self.quiet = {**self.short, "show_progress": "hidden"}
        self.now = [self.session, self.fitted, at.painter]
        self.fits = [self.fitted, at.painter, at.line]

    def wire(self, model: gr.Dropdown, blocks: gr.Blocks) -> None:
        """Register everything."""
        for leaving in (model.input, self.at.example.click, self.at.load_file.upload):  # before it is gone
            on(leaving, self.aside, [self.session, self.kept, self.found], [self.found, self.at.resume], **self.quick)
        self._wire_strokes()
        self._wire_images()
        self._wire_files(model, blocks)
        at, logic, began = self.at, self.logic, [self.session, self.fitted, self.at.painter, self.at.line]
        for begun in (
            on(blocks.load, logic.begin, [model], began, **self.short),
            on(model.input, logic.switch, [model, self.session], [*began, model], **self.loading),
        ):
            self._overview(on(begun.then, at.editor.choices, [self.session], at.editor.lists, **self.quick))
            on(begun.then, lambda now: gr.Button(visible=example_project(now.model) is not None), [self.session],
               [at.example], **self.quick)  # fmt: skip

    def _wire_strokes(self) -> None:
        at, logic = self.at, self.logic
        on(at.painter.input, logic.keep, [self.session, at.painter], [self.session], trigger_mode="multiple",
           **self.quick)  # fmt: skip
        self._learn(at.painter.input, trigger_mode="always_last")
        self._overview(on(at.fit.click, self.bench.fit, self.now, self.fits, **self.quiet))
        self._learn(at.live.input)
        self._see(at.view.input)
        chosen = [self.session, at.painter]
        for moved in (
            on(at.strip.select, logic.choose, self.now, chosen, **self.quiet),
            on(at.next_one.click, logic.next_one, [*self.now, self.suggested], chosen, **self.quiet),
        ):
            self._overview(on(moved.then, logic.refit, [*self.now, at.live], self.fits, **self.quiet))

    def _wire_images(self) -> None:
        at, logic, changed = self.at, self.logic, [self.session, self.at.painter]
        worth = on(at.worth.click, self.bench.suggested, [self.session, at.painter, at.psi], [at.seeds], **self.long)
        for done in (
            on(worth.success, logic.add, [*self.now, at.seeds, at.psi], changed, **self.short),
            on(at.load.click, logic.add, [*self.now, at.seeds, at.psi], changed, **self.short),
            on(at.more.click, logic.more, [*self.now, at.seeds, at.psi], [*changed, at.seeds], **self.short),
            on(at.clear.click, logic.clear, self.now, changed, **self.quiet),
            on(at.remove.click, logic.remove, self.now, changed, **self.quiet),
            on(at.back.click, logic.back, self.now, [self.session, self.fitted, at.painter], **self.quiet),
        ):
            self._learn(on(done.then, at.editor.choices, [self.session], at.editor.lists, **self.quick).then)
        at.editor.wire(
            on, self.now, [self.session, self.fitted, at.painter], self.bench, self.quiet,
            lambda done: self._learn(done.then),
        )  # fmt: skip

    def _wire_files(self, model: gr.Dropdown, blocks: gr.Blocks) -> None:
        at, projects, quick = self.at, self.projects, self.quick
        on(at.make.click, lambda *v: gr.File(self.bench.extractor_file(*v), visible=True), [self.session, self.fitted],
           [at.file], **quick)  # fmt: skip
        on(at.save.click, lambda *v: gr.File(projects.save(*v), visible=True), [*self.now, self.track], [at.file],
           **quick)  # fmt: skip
        opened = [self.session, self.fitted, self.track, at.painter, at.line, model]
        resumed = on(at.resume.click, projects.resume, [self.found], opened, **self.quiet)
        for arrived in (
            on(at.load_file.upload, projects.load, [at.load_file], opened, **self.quiet),
            on(at.example.click, projects.example, [self.session], opened, **self.quiet),
            resumed,
        ):
            named = on(arrived.success, at.editor.choices, [self.session], at.editor.lists, **quick)
            self._overview(on(named.then, self.logic.first_fit, self.now, self.fits, **self.quiet))
        on(resumed.success, lambda found: (found[1:], gr.Button(visible=len(found) > 1)), [self.found],
           [self.found, at.resume], **quick)  # fmt: skip
        on(blocks.load, lambda kept: (copies(kept), gr.Button(visible=bool(kept))), [self.kept],
           [self.found, at.resume], **quick)  # fmt: skip

    @staticmethod
    def aside(session: Session, kept: object, found: list[str]) -> tuple[list[str], gr.Button]:
        """Before another project or generator takes the bench: what was on it can be had back."""
        found = copies(kept) if session.labelled else found
        return found, gr.Button(visible=bool(found))

    def _learn(self, register: Callable, **more: object) -> None:
        """Fit, if that is to be live, and then read all images."""
        self._overview(on(register, self.logic.live, [*self.now, self.at.live], self.fits, **more, **self.quiet))

    def _overview(self, source: object) -> None:
        """Read all images, and have the browser keep a copy of the project."""
        seen = self._see(source.then, trigger_mode="always_last")
        on(seen.then, self.projects.store, [self.session, self.at.painter, self.track, self.found], [self.kept],
           trigger_mode="always_last", **self.quick)  # fmt: skip

    def _see(self, register: Callable, **more: object) -> object:
        at = self.at
        shown = [at.strip, at.sure, at.next_one, self.suggested]
        return on(register, self.bench.overview, [*self.now, at.view], shown, **more, **self.quiet)


def build(services: Services, model: gr.Dropdown, blocks: gr.Blocks) -> LabelTab:
    """Lay the tab out and wire it."""
    wiring = _Wiring(services, _Layout(services))
    wiring.wire(model, blocks)
    return LabelTab(wiring.session, wiring.fitted, wiring.track)


def first_categories(services: Services) -> tuple:
    """Those of the default generator, for a painter that has no image yet."""
    try:
        return services.studio.categories(services.studio.default_model())
    except InputError:
        return ()
