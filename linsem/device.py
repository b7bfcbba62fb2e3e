"""The device and the precision of the networks, by the names used in the settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from linsem.errors import InputError


def precision_of(name: str) -> torch.dtype:
    """The dtype that `LINSEM_PRECISION` names; raises InputError."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        raise InputError(f"LINSEM_PRECISION: expected {' or '.join(known)}, got {name[:40]!r}")
    return known[name]


def device_of(name: str) -> torch.device:
    """The device that `LINSEM_DEVICE` names, set up to be as exact as a CPU; raises InputError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device (LINSEM_DEVICE): expected auto, cpu or cuda, got {name[:40]!r}") from error
    if not _is_here(device):
        had = f"expected {_those_here()}, got {name[:40]!r}, which cannot be had here"
        raise InputError(f"device (LINSEM_DEVICE): {had}")
    if device.type == "cuda":
        # By default torch lets cuDNN round the inputs of convolutions to 10 bits (TF32), and a seed would give another
        # image than on a CPU; some containers ask for the same of matrix products. Workers forked later inherit this.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return device


def _is_here(device: torch.device) -> bool:
    if device.type == "cuda":  # only counted, since a server that forks must not initialise CUDA before
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    try:
        # "meta" has no data to copy back, and "mps" no double precision, in which some sums are computed
        torch.zeros(1, dtype=torch.float64, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, TypeError):  # depends on the backend
        return False
    return True


def _those_here() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return " or ".join(["auto", "cpu", *(f"cuda:{k}" for k in range(count))])


@contextmanager
def own_modes() -> Iterator[None]:
    """Compute as the code inside says, whatever autocast, inference mode or default device the caller is in.

    Autocast would round what is kept; what is made in inference mode could never be differentiated, there or later;
    and what is made without naming a device is meant for the CPU.
    """
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def without_autocast(steps: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """Let a generator function compute in its `own_modes`; the caller's code between two steps keeps the caller's."""

    @functools.wraps(steps)
    def made(*args: object, **options: object) -> Iterator:
        inner = steps(*args, **options)
        while True:
            with own_modes():
                try:
                    step = next(inner)
                except StopIteration:
                    return
            yield step

    return made
