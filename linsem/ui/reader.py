"""The extractor that the Segment, Edit and Sample tabs use: the visitor's own, or the shipped one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import gradio as gr
import numpy as np

from linsem.categories import names_of
from linsem.errors import InputError
from linsem.extractor import Extractor, findable
from linsem.pixels import IGNORE
from linsem.session import Fitted, Session
from linsem.ui import show
from linsem.ui.bench import usable
from linsem.ui.errors import GONE
from linsem.ui.services import Services

MINE, SHIPPED = "Read with what I taught", "Read with the built-in labels"


def own_chosen(services: Services, session: Session, fitted: Fitted | None) -> bool:
    """Whether to use the visitor's own extractor: if there is one, unless the shipped one has been chosen."""
    built_in = session.built_in and services.studio.shipped(session.model) is not None
    return usable(session, fitted) and not built_in


def chosen_extractor(services: Services, session: Session, fitted: Fitted | None) -> Extractor:
    """The visitor's own extractor, or else the shipped one."""
    if not session.token:
        raise InputError(GONE)
    own = fitted.extractor if own_chosen(services, session, fitted) else None
    return services.studio.extractor(session.model, own)


class Reader:
    """The choice of extractor, and a line on what the chosen one has not learnt; each is shown only when needed."""

    def __init__(self, services: Services, name: str, examples: Callable[..., Sequence] | None = None) -> None:
        """`examples` are those that the tab offers a visitor, given the session and what is fitted."""
        self.services, self.examples = services, examples
        with gr.Row(elem_classes="ls-tight", visible=False) as self.row:
            self.radio = gr.Radio(
                [MINE, SHIPPED], value=MINE, label="Read with", container=False, visible=False, min_width=300,
                elem_id=f"{name}-reader",
            )  # fmt: skip
            self.line = gr.HTML("", visible=False, min_width=300, elem_id=f"{name}-missing")

    @property
    def parts(self) -> list[gr.blocks.Block]:
        """The components that `look` updates."""
        return [self.row, self.radio, self.line]

    def look(self, session: Session, fitted: Fitted | None) -> tuple[gr.Row, gr.Radio, gr.HTML]:
        """Updates for `parts`."""
        return looks(self.services, session, fitted, self.examples)

    @staticmethod
    def choose(session: Session, wanted: str) -> Session:
        """The session with the wanted choice."""
        return replace(session, built_in=wanted == SHIPPED)


def looks(
    services: Services, session: Session, fitted: Fitted | None, examples: Callable[..., Sequence] | None = None
) -> tuple[gr.Row, gr.Radio, gr.HTML]:
    """The row, the choice and the line, updated for this visitor."""
    own = own_chosen(services, session, fitted)
    shipped = services.studio.shipped(session.model)
    alone = shipped is not None and not usable(session, fitted)
    both = shipped is not None and not alone
    line = ""
    if alone and names_of(shipped.categories) != names_of(session.categories):
        line = show.status("The built-in labels have categories of their own; yours come once you have painted two.")
    if own and fitted.extractor.unknown:
        other = ", or read with the built-in labels" if both else ""
        if both and examples and len(examples(session, None)) > len(examples(session, fitted)):
            other += ", which the examples need"
        line = show.status(
            f"Not learnt yet: {', '.join(fitted.extractor.unknown)}. Label them in the tab Label{other}."
        )
    radio = gr.Radio(value=MINE if own else SHIPPED, visible=both)
    return gr.Row(visible=both or bool(line)), radio, gr.HTML(line, visible=bool(line))


def left_out(services: Services, extractor: Extractor, labels: np.ndarray, alone: bool = False) -> str:
    """A note on those categories in labels (H, W), 255 = free, that the extractor has not learnt, or "".

    Raises `InputError` if the labels ask for nothing else, unless `alone` allows that.
    """
    rest, note = findable(extractor, labels)
    if not note:
        return ""
    names = [extractor.categories[k].name for k in np.unique(labels[labels != rest])]
    many = len(names) > 1
    if (rest == IGNORE).all() and not alone:
        other = "" if services.studio.shipped(extractor.generator_id) is None else f', or choose "{SHIPPED}"'
        raise InputError(
            f"{_listed(names)} {'are' if many else 'is'} not learnt yet: label some in the tab Label first{other}"
        )
    were, them = ("were", "them") if many else ("was", "it")
    return f"Note: {_listed(names)} {were} left out, because you have not labelled {them} yet."


def all_known(extractor: Extractor, labels: np.ndarray) -> bool:
    """Whether the extractor has learnt every category that the labels ask for."""
    return not findable(extractor, labels)[1]


def _listed(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
