"""The root of this package's own errors: what came in cannot be used, and the message is for whoever sent it."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used; one sentence says what was expected and what came.

    Doors show such a message as it is. Any other error is a mistake of ours, or of a generator that was plugged in,
    and is logged with its traceback instead.
    """
