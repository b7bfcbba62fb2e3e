"""The one error of this package."""

from __future__ import annotations

from linsem.errors import InputError


class CheckpointError(InputError):
    """A file is not a generator checkpoint that can be read here; the message is one sentence that says why."""
