"""What the tab Label does at each event, as functions of values; `linsem.ui.label` lays it out and wires it."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from linsem.errors import InputError
from linsem.pixels import IGNORE
from linsem.seeds import format_seeds, next_seeds
from linsem.session import Fitted, Session, remove_picture, rename_fitted, set_labels, undo
from linsem.ui import show
from linsem.ui.bench import Bench, absorb, shown, usable
from linsem.ui.canvas import PainterLabels
from linsem.ui.errors import said
from linsem.ui.services import Services

START = "Paint strokes of two categories, and the segmentation appears here and on all images."


class Labelling:
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
        except (InputError, gr.Error) as error:
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
        kept = len(absorb(session, painted).labelled)
        count = max(1, min(8, self.services.settings.max_pictures - kept))
        seeds = format_seeds(next_seeds(session.last_seed, count))
        return (*self.add(session, fitted, painted, seeds, psi), seeds)

    def clear(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        session = absorb(session, painted)
        index = shown(session, painted)
        session = set_labels(session, index, session.pictures[index].labels * 0 + IGNORE)
        return session, self.bench.show_picture(session, fitted, index)

    def remove(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        session = absorb(session, painted)
        index = shown(session, painted)
        session = remove_picture(session, index)
        return session, self.bench.show_picture(session, fitted, index)

    def back(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """Undo, and show the picture that got something back; what is fitted follows the names, as they do."""
        before = absorb(session, painted)
        session = undo(before, self.services.settings.max_pictures)
        changed = [i for i, picture in enumerate(session.pictures) if before.find(picture.key) is None]
        index = changed[0] if len(changed) == 1 else shown(before, painted)
        fitted = rename_fitted(fitted, session.categories)
        return session, fitted, self.bench.show_picture(session, fitted, index)
