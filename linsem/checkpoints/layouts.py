"""From the layouts of a dialect to our own: what is done to one tensor."""

from __future__ import annotations

import torch

from linsem.errors import InputError


def same(x: torch.Tensor) -> torch.Tensor:
    """As it is."""
    return x


def first(x: torch.Tensor) -> torch.Tensor:
    """Without its leading axis, which must be 1."""
    if x.ndim == 0 or x.shape[0] != 1:
        raise InputError("expected a leading axis of 1")
    return x[0]


def plane(x: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W) to (H, W)."""
    return first(first(x))


def scalar(x: torch.Tensor) -> torch.Tensor:
    """One number, of whatever shape, to a tensor without axes."""
    return x.reshape(())


def flat(x: torch.Tensor) -> torch.Tensor:
    """To one axis."""
    return x.reshape(-1)


def one_row(x: torch.Tensor) -> torch.Tensor:
    """(rows, width), all of whose rows are the same, to (width,); of any other shape to one axis."""
    return x[0] if x.ndim == 2 and len(x) and bool((x == x[0]).all()) else x.reshape(-1)


def transposed(x: torch.Tensor) -> torch.Tensor:
    """(in, out) to (out, in)."""
    return x.permute(1, 0)


def plus_one(x: torch.Tensor) -> torch.Tensor:
    """A bias that is stored without the 1 that it starts from."""
    return x + 1


def hwio(x: torch.Tensor) -> torch.Tensor:
    """TensorFlow's (kh, kw, in, out) to (out, in, kh, kw)."""
    return x.permute(3, 2, 0, 1)


def turned(x: torch.Tensor) -> torch.Tensor:
    """(out, in, kh, kw) with the kernel turned by 180 degrees."""
    return x.flip(2, 3)


def turned_hwio(x: torch.Tensor) -> torch.Tensor:
    """Both of the above."""
    return turned(hwio(x))
