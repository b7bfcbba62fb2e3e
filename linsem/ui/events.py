"""How the page registers its events: errors become sentences, and no program sees them as endpoints."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from linsem.ui.errors import in_words

# While something long runs, the button that began it cannot be pressed, and Stop can. In the browser, and registered
# before the run: what is registered after it on the same click waits for its end.
BUSY = "() => [false, true].map((on) => ({__type__: 'update', interactive: on}))"
ALWAYS = {"concurrency_limit": None, "show_progress": "hidden"}  # for what is done at once, whatever is queued


def on(register: Callable, function: Callable, inputs: list, outputs: list, **more: object) -> object:
    """Have `function` called at an event like `button.click`; returns what its followers hang on."""
    return register(in_words(function), inputs, outputs, api_visibility="private", **more)


def idle() -> tuple[gr.Button, gr.Button]:
    """After the run, however it ended: the button that begins it, and Stop."""
    return gr.Button(interactive=True), gr.Button(interactive=False)
