"""Registration of the page's events: errors become messages, and the events are hidden from the API."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable

import gradio as gr

from linsem.ui import show
from linsem.ui.errors import in_words

WAITING = show.status("Waiting to start ...", "busy")
STOP, STOPPING = "Stop", "Stopping ..."
# For what shows a state: an event while it is at work is not lost (unless that work fails), but comes without its data.
LAST = {"trigger_mode": "always_last"}
ALWAYS = {"concurrency_limit": None, "show_progress": "hidden"}  # for quick handlers, which never wait for others
# For quick handlers that change the session: one at a time, since each returns a whole new one, made from the one that
# there was when it began. What another one changed meanwhile would be lost.
CHANGES = {"concurrency_id": "bench", "concurrency_limit": 1, "show_progress": "hidden"}


def on(register: Callable, function: Callable, inputs: list, outputs: list, **more: object) -> object:
    """Call `function` on an event such as `button.click`; returns the event, for chaining.

    Of hidden progress nothing is told to the outputs. Whenever any event begins, yields or ends, the browser tells all
    outputs that were ever told before, and for each of them searches the whole page and copies its value.
    """
    if more.get("show_progress") == "hidden":
        more.setdefault("show_progress_on", [])
    return register(in_words(function), inputs, outputs, api_visibility="private", **more)


class Signal:
    """A state that changes whenever one of several events has succeeded, so that what follows them is registered once.

    It follows `change`. The more events a page has, the longer it takes to open.
    """

    def __init__(self) -> None:
        self._state, self._count = gr.State(0), itertools.count(1)
        self.change = self._state.change

    def after(self, register: Callable, function: Callable, inputs: list, outputs: list, **more: object) -> object:
        """As `on`, for a handler that is no generator."""

        @functools.wraps(function)
        def call(*given: object, **event: object) -> tuple[object, ...]:
            found = function(*given, **event)
            return (*(found if len(outputs) > 1 else (found,)), next(self._count))

        return on(register, call, inputs, [*outputs, self._state], **more)


def busy(*enabled: bool) -> str:
    """A script that sets which buttons are enabled during a long run, and a line that says that it may have to wait.

    It runs in the browser and must be registered before the run: a later listener of the same click would wait for the
    run to end.
    """
    updates = [{"interactive": on} for on in enabled] + [{"value": WAITING}]
    return f"() => {json.dumps([{'__type__': 'update'} | each for each in updates])}"


def stopping() -> str:
    """A script for Stop, which shows that it was heard: the step under way is still finished.

    Not on the line of the run, which the frames that are on their way overwrite.
    """
    return f"() => ({json.dumps({'__type__': 'update', 'interactive': False, 'value': STOPPING})})"


def stopped() -> gr.Button:
    """Stop when nothing is left to be stopped."""
    return gr.Button(STOP, interactive=False)


def not_started(line: str) -> object:
    """The line after a failure: one that still waits was refused by the queue."""
    return show.status("Not started.") if line == WAITING else gr.skip()


def idle() -> tuple[gr.Button, gr.Button]:
    """The states of the start button and Stop after a run, however it ended."""
    return gr.Button(interactive=True), stopped()
