"""Preparations before the first user arrives."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from linsem.errors import InputError
from linsem.studio import Studio


def preload(studio: Studio, tell: Callable[[str], None] = print) -> str | None:
    """Load the default generator and run it once, so that the first user does not wait; returns its id."""
    try:
        model = studio.default_model()
        if studio.settings.model not in ("", model):
            wanted = studio.settings.model
            tell(f"linsem: LINSEM_MODEL: {wanted!r} is not available here; the page begins with {model!r}")
        studio.generator(model)
        studio.shipped(model)
        if not os.environ.get("SPACES_ZERO_GPU"):  # there the main process may load but not compute
            studio.draw(model, (1,), 0.7)
            # A GPU's linear algebra is loaded at its first use, which must not be by two threads at once.
            torch.linalg.cholesky(torch.eye(2, device=studio.device))
    except InputError as error:
        tell(f"linsem: {error}")
        return None
    return model


def warm() -> None:
    """Import what torch loads lazily at the first optimisation, so that no first stroke waits the second it takes."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
