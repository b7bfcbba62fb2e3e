"""Registration of the page's events: errors become messages, and the events are hidden from the API."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from linsem.ui.errors import in_words

# Disables the start button and enables Stop during a long run. It runs in the browser and must be registered before the
# run: a later listener of the same click would wait for the run to end.
BUSY = "() => [false, true].map((on) => ({__type__: 'update', interactive: on}))"
# For what shows a state: an event while it is at work is not lost (unless that work fails), but comes without its data.
LAST = {"trigger_mode": "always_last"}
ALWAYS = {"concurrency_limit": None, "show_progress": "hidden"}  # for quick handlers, which never wait for others


def on(register: Callable, function: Callable, inputs: list, outputs: list, **more: object) -> object:
    """Call `function` on an event such as `button.click`; returns the event, for chaining."""
    return register(in_words(function), inputs, outputs, api_visibility="private", **more)


def idle() -> tuple[gr.Button, gr.Button]:
    """The states of the start button and Stop after a run, however it ended."""
    return gr.Button(interactive=True), gr.Button(interactive=False)
