"""The Label tab: draw strokes on some images, and all images are segmented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gradio as gr

from linsem.session import Session
from linsem.track import Track
from linsem.ui import show
from linsem.ui.bench import FIRST_PSI, NEXT_LATER, NOT_YET, first_seeds
from linsem.ui.canvas import LabelPainter, PainterLabels
from linsem.ui.categories import UNDO, CategoryEditor
from linsem.ui.copies import READ, WRITE, Copy, aside, copies, offer, store
from linsem.ui.events import CHANGES, LAST, Signal, busy, not_started, on
from linsem.ui.first import built_in, first_categories, has_example
from linsem.ui.labelling import START, Labelling
from linsem.ui.opened import Opened
from linsem.ui.projects import Projects
from linsem.ui.services import Services
from linsem.ui.thumbs import Thumbs
from linsem.ui.turns import latest

HINT = (
    "Pick a category and draw a stroke on the image; do the same with a second category. "
    "Within a second, every image is segmented."
)
MORE = "A stroke spreads over the same-coloured area it touches; leave the rest blank."  # hidden on small screens
AT_ONCE = ' In a hurry? <a href="#edit">Edit an image</a> with the built-in labels.'
VIEWS = ("Overlay", "Image", "Uncertainty")
DOWNLOAD = """(given) => {
  const file = Array.isArray(given) ? given[0] : given, link = document.createElement("a");
  if (file?.url) Object.assign(link, { href: file.url, download: file.orig_name || "" }).click();
}"""


@dataclass(frozen=True, eq=False)
class LabelTab:
    """The components of this tab that other tabs need."""

    session: gr.State
    fitted: gr.State
    track: gr.State  # of the Edit tab; kept here because projects include it,
    kept: gr.State  # and those of images that were edited before
    arrived: gr.State  # the token of the bench: changes whenever another one replaces it
    coming: gr.State  # the `Opened` that replaced the bench last
    store: Callable  # stores a copy of the work in the browser after an event
    begun: object  # the event after which there is a bench


class _Layout:
    """The components of this tab, laid out on creation."""

    def __init__(self, services: Services) -> None:
        with gr.Row(elem_id="label-top"):  # buttons that come and go share a row, so that nothing below moves
            more = f' <span class="ls-roomy">{show.text(MORE)}</span>' + (AT_ONCE if built_in(services) else "")
            gr.HTML(show.hint(HINT).replace("</p>", f"{more}</p>"))
            self.copy = gr.Textbox("", visible="hidden", elem_id="label-copy")
            self.resume = gr.Button("Continue where you left off", visible=False, elem_id="resume", size="sm", scale=0)
            self.example = gr.Button(
                "See a labelled example", size="sm", visible=has_example(services), elem_id="label-example", scale=0
            )
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
            categories=first_categories(services), label="Image to label", elem_id="label-painter", max_width=620,
            nothing="Nothing painted yet: a few strokes are enough.", one="Now paint a second category.",
            empty="Loading the image ...", fill="colour",
        )  # fmt: skip
        with gr.Row(elem_classes="ls-tight", elem_id="image-tools"):
            self.clear = gr.Button("Clear image", size="sm", min_width=90)
            self.remove = gr.Button("Remove image", size="sm", min_width=90)
            self.back = gr.Button(UNDO, size="sm", min_width=90, interactive=False, elem_id="label-undo")

    def _learning(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.live = gr.Checkbox(True, label="Live: learn after each stroke", elem_id="live", scale=2, min_width=200)
            self.fit = gr.Button("Learn now", elem_id="fit-now", visible=False, scale=1, min_width=110)
        self.line = gr.HTML(show.status(START), elem_id="label-status")
        self.next_one = gr.Button(NEXT_LATER, interactive=False, elem_id="label-next", size="sm")
        self.view = gr.Radio(list(VIEWS), value="Overlay", show_label=False, elem_id="label-view", container=False)

    def _images(self, first: str) -> None:
        self.strip = Thumbs(label="Images on the bench", empty="Loading images ...", elem_id="label-strip", size=108)
        with gr.Row(elem_classes="ls-tight"):
            self.seeds = gr.Textbox(first, label="Seeds", elem_id="label-seeds", scale=2, min_width=110)
            self.psi = gr.Slider(0, 1.2, FIRST_PSI, step=0.05, label="Variety (psi)", scale=2, min_width=200)
        with gr.Row(elem_classes="ls-tight"):
            self.load = gr.Button("Show seeds", size="sm", elem_id="label-load")
            self.more = gr.Button("New images", size="sm", elem_id="label-more")
            self.worth = gr.Button("Suggest images", size="sm", elem_id="label-worth")

    def _files(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.save = gr.Button("Save the project", size="sm", elem_id="project-save", min_width=110)
            self.make = gr.Button("Save the extractor", size="sm", elem_id="extractor-save", min_width=110)
            self.load_file = gr.UploadButton(
                "Load a project", size="sm", file_types=[".zip"], elem_id="project-load", min_width=110
            )
        self.file = gr.File(label="Saved", interactive=False, visible=False, elem_id="saved-file")


class _Wiring:
    """The events of this tab."""

    def __init__(self, services: Services, at: _Layout) -> None:
        self.at, self.logic = at, Labelling(services)
        self.bench, self.projects = self.logic.bench, Projects(services, self.logic.bench)
        self.session, self.fitted, self.suggested, self.track = gr.State(Session()), *[gr.State(None) for _ in range(3)]
        self.kept = gr.State(())
        self.found, self.origin = gr.State([]), gr.State("")  # other work that the browser keeps; what this came from
        self.fresh, self.coming = gr.State(None), gr.State(None)  # images, or a bench, that are there but not shown yet
        self.arrived = gr.State("")  # the token of the bench, which changes whenever another one replaces it
        self.services, self.short, self.long, self.loading = services, services.short, services.long, services.loading
        self.quick = {"concurrency_limit": None, "show_progress": "hidden"}
        self.quiet = {**self.short, "show_progress": "hidden"}
        self.now = [self.session, self.fitted, at.painter]
        self.fits = [self.fitted, at.painter, at.line]

    def wire(self, model: gr.Dropdown, blocks: gr.Blocks) -> None:
        """Register all events."""
        self._wire_strokes()
        self._wire_images()
        self._wire_files()
        self._wire_benches(model, blocks)

    def _wire_benches(self, model: gr.Dropdown, blocks: gr.Blocks) -> None:
        """Register the events that replace the bench, and what follows them."""
        at, projects, logic = self.at, self.projects, self.logic
        before = [self.session, at.painter, self.track, self.kept, self.found, self.coming, self.origin]
        after = [
            self.session, self.fitted, self.track, at.painter, at.line, model, self.found, self.origin, self.arrived,
        ]  # fmt: skip
        begun = [self.session, self.fitted, at.painter, at.line, self.arrived]
        self.begun = on(blocks.load, lambda name: (*(new := logic.begin(name)), new[0].token), [model], begun,
                        **self.short, show_progress_on=at.painter)  # fmt: skip
        resumed, opened = [self.found, at.resume], Signal()
        on(blocks.load, lambda kept: ((found := copies(kept)), self._offer(found)), [at.copy], resumed, js=READ,
           **self.quiet)  # fmt: skip
        for register, opens, given, queue in (
            (
                model.input,
                lambda session, name: logic.switch(name, session),
                [model],
                {**self.loading, "show_progress_on": at.line},
            ),
            (at.load_file.upload, lambda _, file: projects.load(file), [at.load_file], self.quiet),
            (at.example.click, projects.example, [], self.quiet),
            (at.resume.click, lambda _, found: projects.resume(found), [self.found], self.quiet),
        ):
            opened.after(register, _opening(opens), [self.session, *given], [self.coming, model], **queue)
        adopted = on(opened.change, self._adopt, before, after, **CHANGES)
        on(adopted.then, self._offer, [self.found], [at.resume], **self.quiet)
        self._overview(on(self.arrived.change, logic.first_fit, self.now, self.fits, **self.quiet, **LAST))
        on(self.arrived.change, logic.arrived, [self.session], [at.seeds, at.example], **self.quick)

    def _adopt(
        self, session: Session, painted: PainterLabels | None, track: Track | None, kept: tuple[Track, ...],
        found: list[Copy], coming: Opened | None, origin: str,
    ) -> tuple[object, ...]:  # fmt: skip
        """Replace the bench by the one that was opened; the replaced work joins the copies to resume.

        Its edits come when a run of the former bench has ended (`LabelTab.coming`), which would overwrite them.
        """
        if coming is None or coming.session.token == session.token:  # nothing was opened; this is there already
            return tuple([gr.skip()] * 9)
        found = aside(session, painted, track, found, coming, kept, origin)
        self.logic.turns.leave(session.token)
        new = coming.session
        shown = (new, coming.fitted, None, coming.painter, coming.line, new.model)
        return *shown, found, coming.origin, new.token

    def _offer(self, found: list[Copy]) -> gr.Button:
        return offer(found, self.services.studio.default_model() if found else "")

    def _wire_strokes(self) -> None:
        at, logic = self.at, self.logic
        kept = on(at.painter.input, logic.keep, [self.session, at.painter], [self.session], trigger_mode="multiple",
                  **CHANGES)  # fmt: skip
        self.store(kept.then)  # not after the fit, which may fail, as where a GPU's quota is used up
        self._learn(at.painter.submit, trigger_mode="always_last")  # at the same time
        self._overview(on(at.fit.click, self.bench.fit, self.now, self.fits, **self.quiet))
        self._learn(at.live.input)
        on(at.live.input, lambda live: gr.Button(visible=not live), [at.live], [at.fit], **self.quick)
        self._see(at.view.input, **LAST)
        for moved in (
            on(at.strip.select, logic.choose, self.now, [at.painter], trigger_mode="multiple", **self.quiet),
            on(at.next_one.click, logic.next_one, [*self.now, self.suggested], [at.painter], **self.quiet),
        ):
            self._overview(
                on(moved.then, logic.refit, [*self.now, at.live], self.fits, trigger_mode="always_last", **self.quiet)
            )

    def _wire_images(self) -> None:
        at, logic, goal = self.at, self.logic, gr.State(None)  # the key of the image to show
        asked, slow = [*self.now, at.seeds, at.psi], {**self.short, "show_progress_on": at.painter}
        suggested = [self.session, at.painter, at.psi]
        at.worth.click(None, None, [at.line], js=busy(), api_visibility="private")
        worth = on(at.worth.click, logic.suggest, suggested, [at.seeds, at.line], **self.long, show_progress="hidden")
        on(worth.failure, not_started, [at.line], [at.line], **self.quick)
        drawn, changed, moved = Signal(), Signal(), [self.session, goal]
        useful = drawn.after(worth.success, logic.draw, asked, [self.fresh], **slow)
        on(useful.failure, lambda: show.status("No images were added."), [], [at.line], **self.quick)
        drawn.after(at.load.click, logic.draw, asked, [self.fresh], **slow)
        drawn.after(at.seeds.submit, logic.draw, asked, [self.fresh], **slow)
        drawn.after(at.more.click, logic.more, asked, [self.fresh, at.seeds], **slow)
        changed.after(drawn.change, logic.join, [*self.now, self.fresh], moved, **CHANGES)
        changed.after(at.clear.click, logic.clear, self.now, moved, **CHANGES)
        changed.after(at.remove.click, logic.remove, self.now, moved, **CHANGES)
        changed.after(at.back.click, logic.back, self.now, [self.session, self.fitted, goal], **CHANGES)
        at.editor.wire(self.now, [self.session, self.fitted, goal], changed, CHANGES)
        self._present(partial(gr.on, [changed.change, self.arrived.change]))
        self.store(changed.change)
        reached = on(changed.change, logic.show, [*self.now, goal], [at.painter], **self.quiet, **LAST)
        self._learn(reached.then, trigger_mode="always_last")
        on(at.editor.which.input, at.editor.chosen, [self.session, at.editor.which], at.editor.edited, **self.quick)

    def _present(self, register: Callable) -> None:
        """Refresh the lists of categories and the undo button."""
        at = self.at

        def present(session: Session, which: int | None) -> tuple[object, ...]:
            return *at.editor.choices(session, which), gr.Button(interactive=bool(session.past))

        shown = [*at.editor.lists, at.back]
        on(register, present, [self.session, at.editor.which], shown, **self.quick, **LAST)

    def _wire_files(self) -> None:
        at, quick = self.at, self.quick
        for saved in (
            on(at.make.click, lambda *v: gr.File(self.bench.extractor_file(*v), visible=True),
               [self.session, self.fitted], [at.file], **quick),
            on(at.save.click, lambda *v: gr.File(self.projects.save(*v), visible=True),
               [*self.now, self.track, self.kept], [at.file], **quick),
        ):  # fmt: skip
            saved.success(None, [at.file], None, js=DOWNLOAD, api_visibility="private")

    def _learn(self, register: Callable, **more: object) -> None:
        """Fit if Live is on, then segment all images."""
        self._overview(on(register, self.logic.live, [*self.now, self.at.live], self.fits, **more, **self.quiet))

    def _overview(self, source: object) -> None:
        """Segment all images."""
        self._see(source.then, trigger_mode="always_last")

    def store(self, register: Callable) -> None:
        """Store a copy of the work in the browser."""
        what = [self.session, self.at.painter, self.track, self.origin, self.kept]
        copied = on(register, store, what, [self.at.copy], trigger_mode="always_last", **self.quick)
        copied.success(None, [self.at.copy], None, js=WRITE, api_visibility="private")

    def _see(self, register: Callable, **more: object) -> None:
        at = self.at
        shown = [at.strip, at.sure, at.next_one, self.suggested]
        overview = latest(self.logic.turns, "overview", self.bench.overview, len(shown))
        on(register, overview, [*self.now, at.view], shown, **more, **self.quiet)


def build(services: Services, model: gr.Dropdown, blocks: gr.Blocks) -> LabelTab:
    """Lay out the tab and register its events."""
    wiring = _Wiring(services, _Layout(services))
    wiring.wire(model, blocks)
    return LabelTab(
        wiring.session,
        wiring.fitted,
        wiring.track,
        wiring.kept,
        wiring.arrived,
        wiring.coming,
        wiring.store,
        wiring.begun,
    )


def _opening(opens: Callable) -> Callable:
    """A handler that holds what `opens` returns, an `Opened`, until `_adopt`: the visitor may paint meanwhile.

    If it returns None, the list of generators is reset to the current one, and what waits there still does. If it
    raises, nothing changes.
    """

    def handler(session: Session, *given: object) -> tuple[object, ...]:
        opened = opens(session, *given)
        return (gr.skip(), session.model) if opened is None else (opened, gr.skip())

    return handler
