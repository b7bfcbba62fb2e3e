"""The base class of this package's errors about its input."""

from __future__ import annotations


class InputError(ValueError):
    """Invalid input; the message says in one sentence what was expected and what was given.

    User interfaces show the message as it is. Any other exception is a bug, here or in a user-defined generator, and is
    logged with its traceback instead.
    """
