"""What the Edit tab is made of; `linsem.ui.edit` connects it to its actions."""

from __future__ import annotations

import gradio as gr

from linsem.ui import show
from linsem.ui.canvas import LabelPainter
from linsem.ui.compare import Compare
from linsem.ui.editing import READY, Editing
from linsem.ui.first import first_categories
from linsem.ui.reader import Reader
from linsem.ui.services import Services, reach
from linsem.ui.thumbs import Thumbs

HINT = (
    "Paint what should be there, such as hair, a hat or glasses, as a whole shape, then press Run; or choose what to "
    "add or to remove. The image changes to match; the rest stays much as it is."
)


class EditLayout:
    """The components, laid out on creation."""

    def __init__(self, services: Services) -> None:
        gr.HTML(show.hint(HINT))
        with gr.Accordion("Choose an image", open=True, elem_id="edit-choose") as self.chooser:
            self._choose()
        self.reader = Reader(services, "edit", Editing(services).examples)
        with gr.Row(equal_height=False):
            with gr.Column(scale=12, min_width=340):
                self.painter = LabelPainter(
                    categories=first_categories(services), label="Image to edit", elem_id="edit-painter", max_width=460,
                    views=("prediction",), opacity=0.55,
                )  # fmt: skip
            with gr.Column(scale=8, min_width=330):
                self._run()
                with gr.Accordion("Options", open=False):
                    self._options(services.settings.max_steps)
                with gr.Accordion("Edit another seed", open=False, elem_id="edit-any"):
                    self._any()

    def _choose(self) -> None:
        with gr.Row(elem_classes="ls-tight", equal_height=False):
            with gr.Column(scale=3, min_width=300, elem_classes="ls-scroll", visible=False) as self.offered:
                gr.HTML("<small>Examples, painted already</small>")
                self.shelf = Thumbs(label="Examples, painted already", elem_id="edit-examples")
            with gr.Column(scale=5, min_width=300, elem_classes="ls-scroll"):
                gr.HTML("<small>Images of the tab Label</small>")
                self.strip = Thumbs(
                    label="Images of the tab Label", empty="The images of the tab Label appear here.",
                    elem_id="edit-strip",
                )  # fmt: skip

    def _any(self) -> None:
        with gr.Row(elem_classes="ls-tight ls-end"):
            self.seed = gr.Number(12, label="Seed", elem_id="edit-seed", scale=1, min_width=110)
            self.psi = gr.Slider(0, 1.2, 0.7, step=0.05, label="Variety (psi)", scale=2, min_width=170)
            self.take = gr.Button("Edit this seed", elem_id="edit-take", scale=1, min_width=120)

    def _run(self) -> None:
        with gr.Row(elem_classes="ls-tight"):
            self.run = gr.Button("Run", variant="primary", elem_id="edit-run", min_width=74)
            self.stop = gr.Button("Stop", interactive=False, elem_id="edit-stop", min_width=74)
        self._whole()
        self.line = gr.HTML(show.status(READY), elem_id="edit-status")
        self.frames = Thumbs(
            label="Before and now", empty="The result appears here.", size=190, still=True, elem_id="edit-frames"
        )
        self.slider = Compare(elem_id="edit-slider")
        with gr.Row(elem_classes="ls-tight"):
            self.undo = gr.Button("Undo edit", size="sm", interactive=False, elem_id="edit-undo", min_width=100)
            self.redo = gr.Button("Redo edit", size="sm", interactive=False, elem_id="edit-redo", min_width=100)
        with gr.Row(elem_classes="ls-tight"):
            self.files = [
                gr.DownloadButton(f"Download {name}", size="sm", interactive=False, min_width=110)
                for name in ("image", "labels", "latent")
            ]

    def _whole(self) -> None:
        """What needs no painting."""
        with gr.Row(elem_classes="ls-tight ls-beside"):
            self.lacking = gr.Dropdown([], label="What to add", elem_id="edit-lacking", scale=4, min_width=200)
            self.add = gr.Button("Add", elem_id="edit-add", scale=1, min_width=84)
        with gr.Row(elem_classes="ls-tight ls-beside"):
            self.gone = gr.Dropdown([], label="What to remove", elem_id="edit-gone", scale=4, min_width=200)
            self.remove = gr.Button("Remove", elem_id="edit-remove", scale=1, min_width=84)

    def _options(self, most: int) -> None:
        self.steps = gr.Slider(**reach(5, most, 50, 5), label="Maximum steps", elem_id="edit-steps")
        self.everywhere = gr.Checkbox(False, label="The whole image may change, not only around my strokes")
        with gr.Row(elem_classes="ls-tight"):
            self.colored = gr.Checkbox(False, label="Where I paint, ask for this colour too", scale=2)
            self.color = gr.ColorPicker("#d1495b", label="Colour", scale=1, min_width=80)
