"""How the work begins: where the networks run, and what is done before the first visitor comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from linsem.studio import Studio


def preload(studio: Studio, tell: Callable[[str], None] = print) -> str | None:
    """Load the default generator and run it once, so that the first visitor does not wait. Returns its id."""
    try:
        model = studio.default_model()
        studio.generator(model)
        studio.shipped(model)
        if studio.device.type == "cpu":  # on ZeroGPU the main process may load, but not compute
            studio.draw(model, (1,), 0.7)
    except ValueError as error:
        tell(f"linsem: {error}")
        return None
    return model


def warm() -> None:
    """Load what torch loads when something is first optimised, which takes a second: no first stroke shall wait."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def precision_of(name: str) -> torch.dtype:
    """What `LINSEM_PRECISION` names; raises ValueError."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ValueError(f"LINSEM_PRECISION: expected {' or '.join(known)}, got {name[:40]!r}")
    return known[name]


def device_of(name: str) -> torch.device:
    """What `LINSEM_DEVICE` names; raises ValueError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"LINSEM_DEVICE: expected auto, cpu or cuda, got {name[:40]!r}") from error
