"""How the page registers its events: errors become sentences, and no program sees them as endpoints."""

from __future__ import annotations

from collections.abc import Callable

from linsem.ui.errors import in_words


def on(register: Callable, function: Callable, inputs: list, outputs: list, **more: object) -> object:
    """Have `function` called at an event like `button.click`; returns what its followers hang on."""
    return register(in_words(function), inputs, outputs, api_visibility="private", **more)
