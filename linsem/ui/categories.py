"""The category editor: add, rename, recolour, merge, delete."""

from __future__ import annotations

import html
from functools import partial

import gradio as gr

from linsem.categories import free_color
from linsem.session import (
    Fitted,
    Session,
    add_category,
    change_category,
    delete_category,
    merge_categories,
    rename_fitted,
)
from linsem.ui.bench import absorb, shown
from linsem.ui.canvas import PainterLabels
from linsem.ui.colors import hex_color
from linsem.ui.events import Signal
from linsem.ui.services import Services

UNDO = "Undo images and categories"
FIRST_COLOR = "#e76f51"


class CategoryEditor:
    """An accordion in the Label tab."""

    def __init__(self, services: Services) -> None:
        with gr.Accordion("Categories: add, rename, recolour, merge, delete", open=False, elem_id="categories"):
            with gr.Row(elem_classes="ls-tight", equal_height=True):
                self.new_name = _name("New category", "category-name")
                self.new_color = gr.ColorPicker(FIRST_COLOR, label="Colour", scale=1, min_width=110)
                self.add = gr.Button("Add", elem_id="category-add", scale=1, min_width=84)
            with gr.Row(elem_classes="ls-tight", equal_height=True):
                self.which = gr.Dropdown([], label="Change", elem_id="category-which", scale=2, min_width=130)
                self.name = _name("Name", "category-rename")
                self.color = gr.ColorPicker(FIRST_COLOR, label="Colour", scale=1, min_width=110)
            with gr.Row(elem_classes="ls-tight", equal_height=True):
                self.change = gr.Button("Save", elem_id="category-save", scale=1, min_width=84)
                self.delete = gr.Button("Delete", elem_id="category-delete", scale=1, min_width=84)
                self.into = gr.Dropdown([], label="Merge it into", elem_id="category-into", scale=2, min_width=130)
                self.merge = gr.Button("Merge", elem_id="category-merge", scale=1, min_width=84)
        self.edited = [self.name, self.color]
        self.lists = [self.which, self.into, *self.edited]

    def choices(self, session: Session, which: int | None) -> tuple[object, ...]:
        """The entries of both lists, valued by position, and the name and colour of the chosen category."""
        rows = [(category.name, k) for k, category in enumerate(session.categories)]
        which = which if which is not None and 0 <= which < len(rows) else None
        return gr.Dropdown(rows, value=which), gr.Dropdown(rows, value=None), *self.chosen(session, which)

    def chosen(self, session: Session, which: int | None) -> tuple[str, str]:
        """The name and the colour of the chosen category, for editing."""
        if which is None:
            return "", FIRST_COLOR
        return session.categories[which].name, session.categories[which].color

    def wire(self, now: list, outputs: list, changed: Signal, queue: dict) -> None:
        """Have each button change the session, the fit, and the key of the image to show, and give the signal."""

        def finish(
            before: Session, after: Session, fitted: Fitted | None, painted: PainterLabels | None, *ours: object
        ) -> tuple[object, ...]:
            fitted = rename_fitted(fitted, before, after)
            return after, fitted, after.pictures[shown(before, painted)].key, *ours

        def add(session: Session, fitted: Fitted | None, painted: PainterLabels | None, name: str, color: str) -> tuple:
            session = absorb(session, painted)
            taken = {category.color for category in session.categories}
            color = hex_color(color)
            more = add_category(session, name, None if color in taken else color)
            return finish(session, more, fitted, painted, "", gr.skip(), free_color(more.categories))

        def change(
            session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None, name: str,
            color: str,
        ) -> tuple:  # fmt: skip
            session = absorb(session, painted)
            changed = change_category(session, -1 if which is None else int(which), name, hex_color(color))
            return finish(session, changed, fitted, painted, gr.skip(), gr.skip(), gr.skip())

        def delete(session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None) -> tuple:
            session = absorb(session, painted)
            which = -1 if which is None else int(which)
            less = delete_category(session, which)
            gr.Info(farewell(session, which))
            return finish(session, less, fitted, painted, gr.skip(), None, gr.skip())

        def merge(
            session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None,
            into: int | None,
        ) -> tuple:  # fmt: skip
            session = absorb(session, painted)
            pair = [-1 if each is None else int(each) for each in (which, into)]
            return finish(session, merge_categories(session, *pair), fitted, painted, gr.skip(), None, gr.skip())

        outputs = [*outputs, self.new_name, self.which, self.new_color]
        named, renamed = [self.new_name, self.new_color], [self.which, *self.edited]
        for registers, function, inputs in (
            ([self.add.click, self.new_name.submit], add, named),
            ([self.change.click, self.name.submit], change, renamed),
            ([self.delete.click], delete, [self.which]),
            ([self.merge.click], merge, [self.which, self.into]),
        ):
            changed.after(partial(gr.on, registers), function, [*now, *inputs], outputs, **queue)


def farewell(session: Session, gone: int) -> str:
    """What to say of a category that is deleted: with it go its strokes."""
    name, pixels = session.categories[gone].name, sum(int((each.labels == gone).sum()) for each in session.pictures)
    painted = f" and the {pixels:,} px that were painted with it" if pixels else ""
    name = html.escape(repr(name), quote=False)  # Gradio takes it for HTML
    return f"Deleted {name}{painted}. {UNDO!r} brings it back."


def _name(label: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(label=label, max_length=64, max_lines=1, elem_id=elem_id, scale=2, min_width=130)
