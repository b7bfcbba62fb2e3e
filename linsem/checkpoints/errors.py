"""The only exception of this package."""

from __future__ import annotations

from linsem.errors import InputError


class CheckpointError(InputError):
    """A file is not a readable generator checkpoint; the message is one sentence that says why."""
