"""Builds frozen networks from checkpoints, checking every name and shape before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from linsem.checkpoints.checkpoint import Checkpoint, Config, check_config
from linsem.checkpoints.errors import CheckpointError
from linsem.generator import freeze
from linsem.pggan import PGGAN
from linsem.stylegan import StyleGAN
from linsem.stylegan2 import StyleGAN2

NETWORKS: dict[str, type[nn.Module]] = {"stylegan2": StyleGAN2, "stylegan": StyleGAN, "pggan": PGGAN}

Network = StyleGAN2 | StyleGAN | PGGAN


def build_network(checkpoint: Checkpoint, *, id: str = "", categories: tuple = ()) -> Network:
    """Build the frozen generator that a checkpoint describes, on the CPU in float32.

    Raises `CheckpointError` for a missing or unknown name, a wrong shape or a non-finite value; the message names the
    tensor, what was expected and what was found.
    """
    check_config(checkpoint.config)
    network = on_meta(checkpoint.family, checkpoint.config, id=id, categories=categories)
    state = check_state(checkpoint.state, network.state_dict())
    network.load_state_dict(state, strict=True, assign=True)
    freeze(network)
    return network.lay_out() if isinstance(network, StyleGAN2) else network


def on_meta(family: str, config: Config, **options: object) -> Network:
    """The network without data, so that a hostile configuration fails the shape check instead of exhausting memory."""
    with torch.device("meta"):
        return NETWORKS[family](config, **options)


def check_state(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` as contiguous float32; raises unless it has the names and shapes of `expected` and only finite values."""
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, expected)
    for name in expected:
        if not state[name].isfinite().all():
            raise CheckpointError(f"{name}: expected finite numbers, got NaN or infinity")
    return {name: state[name].detach().to("cpu", torch.float32).contiguous() for name in expected}


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise unless the names and shapes are exactly those of `expected`; values are not checked."""
    missing = [name for name in expected if name not in found]
    if missing:
        shape = tuple(expected[missing[0]].shape)
        raise CheckpointError(f"{missing[0]}: expected a tensor {shape}, got none{_others(len(missing))}")
    unknown = [name for name in found if name not in expected]
    if unknown:
        more = _others(len(unknown))
        raise CheckpointError(f"{unknown[0][:120]}: expected no such tensor, got {found[unknown[0]]}{more}")
    for name, target in expected.items():
        if found[name] != tuple(target.shape):
            raise CheckpointError(f"{name}: expected {tuple(target.shape)}, got {found[name]}")


def _others(count: int) -> str:
    return f" (and {count - 1} more like it)" if count > 1 else ""
