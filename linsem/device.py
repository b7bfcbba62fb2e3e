"""Where the networks run and how exactly, as the settings name it."""

from __future__ import annotations

import torch


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
