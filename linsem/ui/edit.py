"""The Edit tab: repaint labels and watch the image follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import gradio as gr

from linsem.errors import InputError
from linsem.session import Fitted, Session
from linsem.track import Track, goes_on, known_track, turned
from linsem.ui import show
from linsem.ui.canvas import PainterLabels
from linsem.ui.edit_layout import EditLayout
from linsem.ui.editing import READY, Editing
from linsem.ui.errors import refused, said
from linsem.ui.events import ALWAYS, CHANGES, LAST, Signal, busy, not_started, on, stopped, stopping
from linsem.ui.label import LabelTab
from linsem.ui.services import Services
from linsem.ui.strokes import with_strokes
from linsem.ui.thumbs import Strip

# The tab may have only just been opened: wait for its layout.
SHOW = "() => { setTimeout(() => document.querySelector('#edit-painter')?.scrollIntoView({block: 'start'}), 400); }"
# On a phone the progress of a run is below the painter; the button to stop it stays in view.
REVEAL = """() => {
  if (innerWidth < 700) setTimeout(() => document.querySelector("#edit-run")?.scrollIntoView({block: "start"}), 100);
}"""
READING = show.status("Reading the image ...", "busy")


@dataclass(frozen=True, eq=False)
class EditTab:
    """What other tabs need to send an image here: an event of theirs outputs `wanted`, gives the signal `came`, and
    cancels what is `going`.
    """

    wanted: gr.State
    came: Signal
    logic: Editing
    going: list


@dataclass(frozen=True)
class _Asked:
    """Which image was chosen to be edited, and in which turn."""

    which: tuple
    turn: int


class _Wiring:
    """The events of this tab."""

    def __init__(self, services: Services, logic: Editing, bench: LabelTab, at: EditLayout) -> None:
        self.services, self.logic, self.bench, self.track, self.at = services, logic, bench, bench.track, at
        self.who = [bench.session, bench.fitted]
        # The name of the track that the tab shows, and how often everything that shows it had to be drawn anew: a state
        # whose change draws it, because the painter must be no output of what leaves it as it is (Gradio would forget
        # its options).
        self.shown, self.drawn = gr.State(""), gr.State(0)
        # A run has a state of its own, since a last frame may come after another image has been chosen; and that image
        # waits in one until the run has ended.
        self.made, self.wanted, self.came = gr.State(None), gr.State(None), Signal()
        self.kept = bench.kept  # these come back when their images are chosen again
        self.visited = gr.State(None)  # what `visit` found, which `arrived` takes over unless the track has changed
        self.settle = (
            [self.track, at.painter],
            [at.painter, at.slider, at.undo, at.redo, at.lacking, at.gone, *at.files, self.shown],
        )
        self.changed = [self.track, at.frames, at.line]
        self.busy = [at.run, at.add, at.remove, at.undo, at.redo, at.stop]
        self.quiet = {**services.short, "show_progress": "hidden"}

    def wire(self, tab: gr.Tab) -> None:
        """Register all events."""
        at, logic, who, quiet = self.at, self.logic, self.who, self.quiet
        self._wire_runs()
        on(self.drawn.change, self.settled, *self.settle, **quiet)
        self._open(tab.select)
        other = on(
            at.reader.radio.input, at.reader.choose, [who[0], at.reader.radio], [who[0]], cancels=self.going,
            **CHANGES, **LAST,
        )  # fmt: skip
        self.idle(self._open(other.then).then)
        for begins, note, given, take in (
            ([at.strip.select], self._noting(lambda event: event.value), [], logic.from_bench),
            ([at.shelf.select], self._noting(lambda event: int(event.index)), [], logic.from_example),
            ([at.take.click, at.seed.submit], self._seed_and_psi, [at.seed, at.psi], logic.from_seed),
        ):
            # Noted at once, and read afterwards: an event that waits for the one before it is sent without its data.
            asked = gr.State(None)
            noted = on(
                partial(gr.on, begins), note, [who[0], *given], [asked, at.line], trigger_mode="multiple", **ALWAYS
            )
            known = [*who, asked, self.track, self.kept]
            taken = self.came.after(noted.then, self._taking(take), known, [self.wanted], **quiet, **LAST)
            on(taken.failure, lambda now: self._look(now)[1], [self.track], [at.line], **quiet)
            # Gradio cancels on events of components only, never on one that follows another.
            gr.on(begins, None, None, None, cancels=self.going, api_visibility="private")
        self._arrive()
        for button, by in ((at.undo, -1), (at.redo, 1)):
            moved = on(
                button.click, lambda now, painted, by=by: logic.move(now, painted, by), [self.track, at.painter],
                self.changed, **quiet,
            )  # fmt: skip
            # Without the painter: strokes stay on the state that they were painted on (`Editing.move`).
            shown = on(moved.then, lambda now: self.settled(now, None), [self.track], self.settle[1], **quiet, **LAST)
            self.bench.store(shown.then)

    def _open(self, register: Callable) -> object:
        """Refresh everything shown, when the tab is opened or another extractor is chosen."""
        known = [*self.who, self.track, self.at.painter]
        asked = [self.track, self.visited, self.shown, self.drawn]
        for _ in range(2):  # again, should the end of a run have come in between
            found = on(register, self.visit, known, [self.visited], **self.quiet, **LAST)
            opened = on(found.success, self.arrived, asked, [*self.changed, self.drawn], **ALWAYS, **LAST)
            register = opened.then
        self._mark(opened.then)
        on(opened.then, self.at.reader.look, self.who, self.at.reader.parts, **self.quiet, **LAST)
        return opened

    def _mark(self, register: Callable) -> None:
        """Mark the image being edited in both strips, whatever was clicked there before."""

        def marked(session: Session, fitted: Fitted | None, now: Track | None) -> tuple[object, ...]:
            shelf = self.logic.shelf(session, fitted, now)
            return gr.Column(visible=bool(shelf.items)), shelf, self.logic.strip(session, now)

        shown = [self.at.offered, self.at.shelf, self.at.strip]
        on(register, marked, [*self.who, self.track], shown, **self.quiet, **LAST)

    def _wire_runs(self) -> None:
        at, long = self.at, {**self.services.long, "show_progress": "hidden"}
        wishes = [self.track, at.painter, at.steps, at.everywhere, at.colored, at.color, at.lacking, at.gone]
        buttons = [at.run.click, at.add.click, at.remove.click]
        # In the browser, and before the run: a later listener of the same click would wait for the run to end.
        started = busy(False, False, False, False, False, True)
        gr.on(buttons, None, None, [*self.busy, at.line], js=started, api_visibility="private")
        gr.on(buttons, None, None, None, js=REVEAL, api_visibility="private")
        made = [self.made, at.frames, at.line]
        run = on(partial(gr.on, buttons), self._begin, [*self.who, *wishes], made, **long)
        self.going = [run]
        # Also of a run that was ended by other labels, whose last frame tells of a step.
        settled = self._settle_after(self._adopt(run.then).then)
        self.bench.store(settled.then)
        # A failed run does not trigger `then`; its last frame says why it failed.
        self._settle_after(self._adopt(run.failure).then, line=False)
        on(run.failure, not_started, [at.line], [at.line], **ALWAYS)
        ended = at.stop.click(None, None, at.stop, js=stopping(), cancels=self.going, api_visibility="private")
        self._settle_after(self._adopt(ended.then).then)

    def _begin(
        self, session: Session, fitted: Fitted | None, track: Track | None, event: gr.EventData,
        painted: PainterLabels | None, steps: float, everywhere: bool, colored: bool, color: str,
        lacking: int | None, gone: int | None,
    ) -> Iterator:  # fmt: skip
        """The run of the button that was pressed."""
        at, logic = self.at, self.logic
        known = {
            at.run.elem_id: (logic.run, (painted, steps, everywhere, colored, color)),
            at.add.elem_id: (logic.add, (painted, lacking, steps)),
            at.remove.elem_id: (logic.remove, (painted, gone, steps)),
        }
        pressed = getattr(event.target, "elem_id", None)  # not the object: once it was switched off, it is another one
        if pressed not in known:
            raise InputError(f"expected one of the buttons {', '.join(known)}, got {pressed}")
        runs, asked = known[pressed]
        yield from self._current(runs)(session, fitted, track, *asked)

    def _current(self, runs: Callable) -> Callable:
        """A run from the track as the current extractor reads it; refused while the page does not show that yet.

        What went wrong is said beside the button too, where it stays.
        """

        def begin(session: Session, fitted: Fitted | None, track: Track | None, *asked: object) -> Iterator:
            try:
                now = self.logic.visit(session, fitted, track)
                if track is None or now.name != track.name:
                    raise InputError("this image is still being read: wait a moment, then press again")
                yield from runs(now, *asked)
            except Exception as error:  # not of Stop: then this generator is closed
                told = said(error)
                yield gr.skip(), gr.skip(), refused(told)
                raise told from None

        return begin

    def _adopt(self, register: Callable) -> object:
        """Take over what a run has made, unless another image has been chosen since; read as the track is by now."""
        return on(register, self.adopt, [self.track, self.made], [self.track], **ALWAYS)

    def idle(self, after: Callable) -> None:
        """Set which buttons are enabled after a run, however it ended."""

        def states(now: Track | None) -> list[gr.Button]:
            position, last = (now.position, len(now.points) - 1) if now else (0, 0)
            free = (True, True, True, position > 0, position < last)
            return [*(gr.Button(interactive=each) for each in free), stopped()]

        on(after, states, [self.track], self.busy, **ALWAYS, **LAST)

    def _arrive(self) -> None:
        """Show the image that came, and scroll it into view."""
        begun = [self.at.chooser, self.at.line]  # what is shown is of the image before until all of it has come
        ended = on(self.came.change, lambda: (gr.Accordion(open=False), READING), [], begun, **ALWAYS)
        for _ in range(2):  # again, should the end of the run have come in between
            known = [self.wanted, self.track, self.kept, self.at.painter]
            ended = on(ended.then, _turned, known, [self.track, self.kept], **ALWAYS)
        self._mark(self._settle_after(ended.then).then)
        self.came.change(None, None, None, js=SHOW, api_visibility="private")

    def _settle_after(self, register: Callable, line: bool = True) -> object:
        """Refresh everything that shows the track, and the buttons, after it has changed; the line only if asked to."""
        at, how = self.at, {**self.quiet, **LAST}
        if line:
            looked = on(register, self._look, [self.track], [at.frames, at.line], **how)
        else:
            looked = on(register, lambda now: self._look(now)[0], [self.track], [at.frames], **how)
        settled = on(looked.then, self.settled, *self.settle, **self.quiet, **LAST)
        self.idle(settled.then)
        return settled

    def _look(self, now: Track | None) -> tuple[Strip, str]:
        return self.logic.look(now) if now else (Strip(()), show.status(READY))

    def _noting(self, which: Callable) -> Callable:
        """A handler that gives what was chosen, and a line."""

        def noted(session: Session, event: gr.SelectData) -> tuple[_Asked, str]:
            return _Asked((which(event),), self.services.turns.take(session.token, "edit")), READING

        return noted

    def _seed_and_psi(self, session: Session, seed: float, psi: float) -> tuple[_Asked, str]:
        return _Asked((seed, psi), self.services.turns.take(session.token, "edit")), READING

    def _taking(self, take: Callable) -> Callable:
        """The image that was noted, with the edits that were made of it before, if they are kept.

        None if another one was chosen while it was read.
        """

        def taken(
            session: Session, fitted: Fitted | None, asked: _Asked, now: Track | None, kept: tuple[Track, ...]
        ) -> Track | None:
            begun = take(session, fitted, *asked.which)
            known = known_track(begun, [each for each in (now, *kept) if each is not None])
            found = begun if known is None else self.logic.read(known, begun.extractor)
            return found if self.services.turns.is_last(session.token, "edit", asked.turn) else None

        return taken

    def settled(self, now: Track | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """The values of `Editing.settle`, and which track they are of."""
        if now is None:  # the generator has no extractor, say
            return (*self.logic.nothing(), "")
        return (*self.logic.settle(now, painted), now.name)

    def adopt(self, now: Track | None, made: Track | None) -> Track | dict:
        return self.logic.read(made, now.extractor) if goes_on(now, made) else gr.skip()

    def visit(
        self, session: Session, fitted: Fitted | None, now: Track | None, painted: PainterLabels | None = None
    ) -> tuple[object, ...]:
        """The track, what it is for the current extractor, which may take a second to tell, and what went wrong.

        Of other categories it is another track, which takes over what is painted.
        """
        try:
            found = self.logic.visit(session, fitted, now)
            if now is not None and found.root == now.root and found.name != now.name:
                found = self.logic.visit(session, fitted, with_strokes(now, painted))
            return now, found, ""
        except InputError as error:
            return now, None, str(error)

    def arrived(
        self, now: Track | None, visited: tuple[Track | None, Track | None, str], shown: str, drawn: int
    ) -> tuple[object, ...]:
        """The track that was visited, and whether to draw it, unless it is shown already: strokes are kept.

        Nothing if the track is another than it was before the visit: what changed it shows it.
        """
        before, found, error = visited
        if now is not before or (found is now and found is not None and found.name == shown):
            return gr.skip(), gr.skip(), gr.skip(), drawn
        if found is None:
            return None, Strip(()), show.status(error, "bad"), drawn + 1
        return found, *self.logic.look(found), drawn + 1


def _turned(
    wanted: Track | None, now: Track | None, kept: tuple[Track, ...], painted: PainterLabels | None = None
) -> tuple[object, object]:
    """As `turned`; strokes stay with the image that they were painted on. Nothing if none is wanted any more."""
    if wanted is None:
        return gr.skip(), gr.skip()
    return turned(wanted, None if now is None else with_strokes(now, painted), kept)


def build(services: Services, bench: LabelTab, tab: gr.Tab) -> EditTab:
    """Lay out the tab and register its events."""
    logic = Editing(services)
    wiring = _Wiring(services, logic, bench, EditLayout(services))
    wiring.wire(tab)
    return EditTab(wiring.wanted, wiring.came, logic, wiring.going)
