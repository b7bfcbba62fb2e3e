"""Renames the tensors of other formats by lists of rules, one tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.layouts import same
from linsem.errors import InputError

MAX_BLOCK = 16  # no network has more; bounds the powers of two that come from numbers in names
Transform = Callable[[torch.Tensor], torch.Tensor]
Target = str | Callable[[re.Match], str] | None
Rule = tuple[str, Target, Transform]
"""A pattern of a whole name, our name for it (a template, a function of the match, or None: not needed) and what is
done to the tensor."""


def conv_of(index: int, inner: str) -> str:
    """The name in `linsem` of a part of StyleGAN2's styled convolution number `index`, from 0."""
    return f"synthesis.b{4 * 2 ** min((index + 1) // 2, MAX_BLOCK)}.conv{0 if index % 2 else 1}.{inner}"


def torgb_of(index: int, inner: str) -> str:
    """The name in `linsem` of a part of StyleGAN2's toRGB layer number `index`, from 0."""
    return f"synthesis.b{4 * 2 ** min(index, MAX_BLOCK)}.torgb.{inner}"


def numbered(name: Callable[[int, str], str], inner: str) -> Callable[[re.Match], str]:
    """A target for patterns whose first group is the index for `conv_of` or `torgb_of`."""
    return lambda match: name(int(match[1]), inner)


def check_fir(x: torch.Tensor) -> torch.Tensor:
    """Raise unless a resampling filter is [1, 3, 3, 1], which the networks of `linsem` build themselves."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = taps if x.ndim == 1 else taps[:, None] * taps[None, :]
    total = x.sum()
    if x.ndim == 4:
        expected = expected.expand_as(x)
    if x.shape[-1] != 4 or not torch.allclose(x / total, expected / expected.sum(), atol=1e-4):
        raise InputError("expected the filter [1, 3, 3, 1]")
    return x


def check_zero(x: torch.Tensor) -> torch.Tensor:
    """Raise unless the level of detail of a progressively grown network is 0: trained up to its full size."""
    if float(x.reshape(-1)[0]) != 0:
        raise InputError("expected 0: the network has not been trained up to its full size")
    return x


def rename(
    table: Mapping[str, Any], rules: Iterable[Rule], decode: Callable[[str, Any], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Rename and convert the entries of `table`; `decode(name, value)` returns the float32 tensor of an entry.

    Raises `CheckpointError` for a name that no rule covers, for two names with the same target, and for a tensor that
    does not have the shape that its rule expects.
    """
    compiled = [(re.compile(pattern), target, transform) for pattern, target, transform in rules]
    state: dict[str, torch.Tensor] = {}
    for name, value in table.items():
        target, transform = _rule_for(name, compiled)
        if target is None and transform is same:
            continue
        tensor = decode(name, value)
        try:
            result = transform(tensor)
        except (RuntimeError, ValueError, IndexError) as error:
            raise CheckpointError(f"{name}: {tuple(tensor.shape)} is not what is expected here ({error})") from error
        if target is None:
            continue
        if target in state:
            raise CheckpointError(f"{name}: there is another tensor for {target}")
        state[target] = result
    return state


def _rule_for(name: str, compiled: list[tuple[re.Pattern, Target, Transform]]) -> tuple[str | None, Transform]:
    for pattern, target, transform in compiled:
        match = pattern.fullmatch(name)
        if match:
            return (match.expand(target) if isinstance(target, str) else target and target(match)), transform
    raise CheckpointError(f"{name[:120]}: no known network of this format has such a tensor")
