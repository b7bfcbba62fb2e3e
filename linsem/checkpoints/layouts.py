"""Conversions of single tensors from the layouts of other formats."""

from __future__ import annotations

import torch

from linsem.errors import InputError


def same(x: torch.Tensor) -> torch.Tensor:
    """The tensor unchanged."""
    return x


def first(x: torch.Tensor) -> torch.Tensor:
    """Remove the leading axis, whose size must be 1."""
    if x.ndim == 0 or x.shape[0] != 1:
        raise InputError("expected a leading axis of 1")
    return x[0]


def plane(x: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W) to (H, W)."""
    return first(first(x))


def scalar(x: torch.Tensor) -> torch.Tensor:
    """A tensor with one element, of any shape, to a tensor without axes."""
    return x.reshape(())


def flat(x: torch.Tensor) -> torch.Tensor:
    """Flatten to one axis."""
    return x.reshape(-1)


def one_row(x: torch.Tensor) -> torch.Tensor:
    """(rows, width) with identical rows to (width,); anything else is flattened."""
    return x[0] if x.ndim == 2 and len(x) and bool((x == x[0]).all()) else x.reshape(-1)


def transposed(x: torch.Tensor) -> torch.Tensor:
    """(in, out) to (out, in)."""
    return x.permute(1, 0)


def plus_one(x: torch.Tensor) -> torch.Tensor:
    """Add the 1 from which a bias starts and without which it is stored."""
    return x + 1


def hwio(x: torch.Tensor) -> torch.Tensor:
    """TensorFlow's (kh, kw, in, out) to (out, in, kh, kw)."""
    return x.permute(3, 2, 0, 1)


def turned(x: torch.Tensor) -> torch.Tensor:
    """Rotate a kernel (out, in, kh, kw) by 180 degrees."""
    return x.flip(2, 3)


def turned_hwio(x: torch.Tensor) -> torch.Tensor:
    """`hwio`, with the kernel rotated by 180 degrees."""
    return turned(hwio(x))
