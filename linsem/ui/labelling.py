"""The event handlers of the Label tab, as functions of values; `linsem.ui.label` connects them to components."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import gradio as gr

from linsem.errors import InputError
from linsem.pixels import IGNORE
from linsem.seeds import format_seeds, next_seeds
from linsem.session import Fitted, Session, remove_picture, rename_fitted, set_labels, undo
from linsem.ui import show
from linsem.ui.bench import POOL, Bench, Fresh, absorb, shown, usable
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.errors import said
from linsem.ui.examples import example_project
from linsem.ui.opened import Opened
from linsem.ui.services import Services

AGAIN = 2.0  # seconds after a warning in which the same one is not given again
START = "Draw strokes in two categories to see the segmentation."


class Labelling:
    """Handlers of component values; none returns an unchanged state, so that a slow one never restores an old value."""

    def __init__(self, services: Services) -> None:
        self.services, self.bench, self.turns = services, Bench(services), services.turns
        self._refused = ("", "", 0.0)  # the last generator that could not be had: for whom, which, and when

    def begin(self, model: str) -> tuple[object, ...]:
        session = self.bench.begin(model)
        return session, None, self.bench.show_picture(session, None, 0), show.status(START)

    def switch(self, model: str, session: Session) -> Opened | None:
        """Switch to another generator; returns None if it is unavailable (with a warning) or the current one.

        The list also fires its event with the current one when it merely loses focus, and twice for one click.
        """
        if model == session.model:
            return None
        try:
            begun, fitted, state, _ = self.begin(model)
        except (InputError, gr.Error) as error:
            before, self._refused = self._refused, (session.token, model, time.monotonic())
            if before[:2] != self._refused[:2] or self._refused[2] - before[2] > AGAIN:
                gr.Warning(not_had(said(error).message, session.model))
            return None
        return Opened(begun, fitted, None, state, show.status(f"This is {model}. {START}"))

    def arrived(self, session: Session) -> tuple[object, ...]:
        """The seeds of a new bench, and whether to offer an example project for its generator."""
        seeds = [picture.seed for picture in session.pictures if picture.seed is not None]
        return format_seeds(seeds), gr.Button(visible=example_project(session.model) is not None)

    def keep(self, session: Session, painted: PainterLabels | None) -> Session | dict:
        kept = absorb(session, painted)
        return gr.skip() if kept is session else kept

    def live(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, live: bool
    ) -> tuple[object, ...]:
        if not live:
            return gr.skip(), gr.skip(), show.status("Live is off: press Learn now when you are ready.")
        return self.bench.fit(session, fitted, painted)

    def choose(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, event: gr.SelectData
    ) -> PainterState | dict:
        """The painter with another image; not the session, which `keep` stores: a stroke may have ended meanwhile."""
        return self._open(session, fitted, painted, event.value)

    def next_one(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, suggested: str | None
    ) -> PainterState | dict:
        return self._open(session, fitted, painted, suggested)

    def _open(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, key: object
    ) -> PainterState | dict:
        """The image with this key, or the one shown if it is not there any more; nothing if another is on its way."""
        session = absorb(session, painted)
        index = session.find(key)
        return self._picture(session, fitted, shown(session, painted) if index is None else index)

    def _picture(self, session: Session, fitted: Fitted | None, index: int) -> PainterState | dict:
        turn = self.turns.take(session.token, "picture")
        state = self.bench.show_picture(session, fitted, index)
        return state if self.turns.is_last(session.token, "picture", turn) else gr.skip()

    def refit(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, live: bool
    ) -> tuple[object, ...]:
        """After another image is chosen: fit if there are strokes newer than the fit, and show the prediction.

        Even an existing fit is shown again, because it may have arrived while the image was being loaded.
        """
        session = absorb(session, painted)
        if live and session.labelled and (fitted is None or fitted.version != session.version):
            return self.bench.fit(session, fitted, painted)
        if not usable(session, fitted):
            return gr.skip(), gr.skip(), gr.skip()
        state = self.bench.show_picture(session, fitted, shown(session, painted))
        return gr.skip(), replace(state, opens=False), gr.skip()

    def first_fit(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """After a project is loaded: fit, unless it has an extractor; a successful fit keeps the status line."""
        if fitted is not None or not session.labelled:
            return gr.skip(), gr.skip(), gr.skip()
        fitted, state, line = self.bench.fit(session, fitted, painted)
        return fitted, state, gr.skip() if isinstance(fitted, Fitted) else line

    def suggest(self, session: Session, painted: PainterLabels | None, psi: float) -> Iterator[tuple[object, object]]:
        """Suggest seeds of images worth labelling, with a status line in the meantime."""
        turn = self.turns.take(session.token, "suggest")
        yield gr.skip(), show.status(f"Looking through {POOL} images for the most useful ones ...", "busy")
        try:
            seeds = self.bench.suggested(session, painted, psi)
        except Exception:
            yield gr.skip(), show.status("No images were suggested.")
            raise
        if not self.turns.is_last(session.token, "suggest", turn):  # they would be drawn on the bench that has come
            raise InputError("other images have come meanwhile, so none were suggested")
        yield seeds, gr.skip()

    def draw(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, seeds: str, psi: float
    ) -> Fresh:
        return self.bench.fresh(session, fitted, painted, seeds, psi)

    def more(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, seeds: str, psi: float
    ) -> tuple[Fresh, str]:
        """Draw the seeds that follow the largest one on the bench."""
        kept = len(absorb(session, painted).labelled)
        count = max(1, min(8, self.services.settings.max_pictures - kept))
        seeds = format_seeds(next_seeds(session.last_seed, count))
        return self.draw(session, fitted, painted, seeds, psi), seeds

    # What changes the bench returns it at once, and the key of the image to show, which `show` may have to read first:
    # strokes that are kept meanwhile would be lost with a session that came after them.

    def join(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, fresh: Fresh | None
    ) -> tuple[object, ...]:
        """Put what `draw` or `more` drew on the bench, and go to the first of it."""
        if fresh is None or fresh.token != session.token:  # another bench came meanwhile
            return gr.skip(), None
        joined = self.bench.join(session, painted, fresh)
        kept = len(absorb(session, painted).labelled)
        return joined, joined.pictures[kept if len(joined.pictures) > kept else 0].key

    def clear(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[Session, str]:
        session, index = _there(session, painted)
        session = set_labels(session, index, session.pictures[index].labels * 0 + IGNORE)
        return session, session.pictures[index].key

    def remove(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[Session, str]:
        session, index = _there(session, painted)
        session = remove_picture(session, index)
        return session, session.pictures[min(index, len(session.pictures) - 1)].key

    def back(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None
    ) -> tuple[Session, Fitted | None, str]:
        """Undo, and go to the image that was restored; the categories of the fit are renamed accordingly."""
        before = absorb(session, painted)
        session = undo(before, self.services.settings.max_pictures)
        changed = [i for i, picture in enumerate(session.pictures) if before.find(picture.key) is None]
        index = changed[0] if len(changed) == 1 else min(shown(before, painted), len(session.pictures) - 1)
        return session, rename_fitted(fitted, before, session), session.pictures[index].key

    def show(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, goal: str | None
    ) -> PainterState | dict:
        """The image with the key `goal`, if there is one."""
        session = absorb(session, painted)
        index = session.find(goal)
        return gr.skip() if index is None else self._picture(session, fitted, index)


def _there(session: Session, painted: PainterLabels | None) -> tuple[Session, int]:
    """The session with what is painted, and the position of the image that the painter shows; refuses a former one."""
    session = absorb(session, painted)
    if painted is not None and session.find(painted.key) is None:
        raise InputError("the image is about to change: wait a moment, then press again")
    return session, shown(session, painted)


def not_had(reason: str, here: str) -> str:
    """Why a generator is unavailable, and which one stays loaded."""
    if "no connection to" in reason.lower():
        reason = "This generator could not be downloaded: no connection to huggingface.co."
    return f"{reason} You still have {here}." if here else reason
