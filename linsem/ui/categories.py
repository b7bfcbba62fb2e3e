"""The category editor: add, rename, recolour, merge, delete."""

from __future__ import annotations

import re
from collections.abc import Callable

import gradio as gr

from linsem.session import (
    Fitted,
    Session,
    add_category,
    change_category,
    delete_category,
    merge_categories,
    rename_fitted,
)
from linsem.ui.bench import Bench, absorb, shown
from linsem.ui.canvas import PainterLabels
from linsem.ui.services import Services

_RGB = re.compile(r"rgba?\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)")


class CategoryEditor:
    """An accordion of the tab Label."""

    def __init__(self, services: Services) -> None:
        with gr.Accordion("Categories: add, rename, recolour, merge, delete", open=False, elem_id="categories"):
            with gr.Row(elem_classes="ls-tight"):
                self.name = gr.Textbox(label="Name", max_length=64, elem_id="category-name", scale=2, min_width=120)
                self.color = gr.ColorPicker("#e76f51", label="Colour", scale=1, min_width=70)
                self.add = gr.Button("Add", size="sm", elem_id="category-add", scale=1, min_width=70)
            with gr.Row(elem_classes="ls-tight"):
                self.which = gr.Dropdown([], label="Category", elem_id="category-which", scale=2, min_width=120)
                self.change = gr.Button("Give it this name and colour", size="sm", scale=2, min_width=120)
                self.delete = gr.Button("Delete", size="sm", variant="stop", scale=1, min_width=70)
            with gr.Row(elem_classes="ls-tight"):
                self.into = gr.Dropdown([], label="Merge it into", scale=2, min_width=120)
                self.merge = gr.Button("Merge", size="sm", scale=1, min_width=70)
        self.lists = [self.which, self.into]

    @staticmethod
    def choices(session: Session) -> tuple[gr.Dropdown, gr.Dropdown]:
        """The present categories in both lists, by their position."""
        rows = [(category.name, k) for k, category in enumerate(session.categories)]
        return gr.Dropdown(rows, value=None), gr.Dropdown(rows, value=None)

    def wire(self, event: Callable, now: list, outputs: list, bench: Bench, queue: dict, after: Callable) -> None:
        """Each button changes the session, and what is fitted follows."""

        def finish(before: Session, after: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple:
            fitted = rename_fitted(fitted, after.categories)
            return after, fitted, bench.show_picture(after, fitted, shown(before, painted)), *self.choices(after)

        def add(session: Session, fitted: Fitted | None, painted: PainterLabels | None, name: str, color: str) -> tuple:
            session = absorb(session, painted)
            taken = {category.color for category in session.categories}
            color = hex_color(color)
            return finish(session, add_category(session, name, None if color in taken else color), fitted, painted)

        def change(
            session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None, name: str,
            color: str,
        ) -> tuple:  # fmt: skip
            session = absorb(session, painted)
            which = -1 if which is None else int(which)
            name = name.strip() or (session.categories[which].name if which >= 0 else "")
            return finish(session, change_category(session, which, name, hex_color(color)), fitted, painted)

        def delete(session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None) -> tuple:
            session = absorb(session, painted)
            return finish(session, delete_category(session, -1 if which is None else int(which)), fitted, painted)

        def merge(
            session: Session, fitted: Fitted | None, painted: PainterLabels | None, which: int | None,
            into: int | None,
        ) -> tuple:  # fmt: skip
            session = absorb(session, painted)
            pair = [-1 if each is None else int(each) for each in (which, into)]
            return finish(session, merge_categories(session, *pair), fitted, painted)

        outputs = [*outputs, *self.lists]
        for button, function, inputs in (
            (self.add, add, [self.name, self.color]),
            (self.change, change, [self.which, self.name, self.color]),
            (self.delete, delete, [self.which]),
            (self.merge, merge, [self.which, self.into]),
        ):
            after(event(button.click, function, [*now, *inputs], outputs, **queue))


def hex_color(color: str | None) -> str:
    """What a colour picker gives ("#rrggbb" or "rgba(...)") as "#rrggbb"."""
    match = _RGB.match(color or "")
    if match is None:
        return (color or "").lower()
    return "#" + "".join(f"{min(max(round(float(part)), 0), 255):02x}" for part in match.groups())
