"""PGGAN in plain PyTorch (progressive growing; Karras et al., ICLR 2018), frozen, as a `linsem.Generator`.

Layer l works at 4 * 2**(l // 2) pixels: convolution, bias, leaky ReLU, pixel norm; even layers first double the size
(layer 0 is fully connected). There is no mapping network, no noise and no truncation. There is one feature map per
resolution, from its second layer, taken either before the pixel norm ("activation", as in the paper's reference
implementation) or after it ("normalized", what the next layer sees).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops
from linsem.errors import InputError
from linsem.generator import Layer, check_last_layer, freeze
from linsem.stylegan import ToRGB, double

TAPS = ("activation", "normalized")


@dataclass(frozen=True)
class PGGANConfig:
    """The shapes, and where the features are taken. `channels[k]` belongs to 4 * 2**k pixels."""

    channels: tuple[int, ...]
    z_dim: int = 512
    tap: str = "activation"

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        side = 4 * 2 ** (len(self.channels) - 1)
        return side, side


class DenseLayer(nn.Module):
    """The first layer, from z to a 4x4 map; weight[o, i, y, x] connects z[i] to channel o at (y, x)."""

    def __init__(self, z_dim: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(ops.normal(out, z_dim, 4, 4))
        self.bias = nn.Parameter(torch.zeros(out))
        self.gain = ops.SQRT2 / (4 * math.sqrt(z_dim))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, z_dim) to (N, O, 4, 4), activated, not normalised."""
        x = F.conv_transpose2d(z[:, :, None, None], (self.weight * self.gain).transpose(0, 1), self.bias)
        return ops.leaky(x, gain=1)


class ConvLayer(nn.Module):
    """A 3x3 convolution, after nearest-neighbour upsampling if `up`."""

    def __init__(self, into: int, out: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(ops.normal(out, into, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out))
        self.gain = ops.SQRT2 / math.sqrt(9 * into)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, I, h, w) to (N, O, H, W), activated, not normalised."""
        weight = self.weight * self.gain
        x = double(x, weight) if self.up else F.conv2d(x, weight, padding=1)
        return ops.leaky(x + self.bias[:, None, None], gain=1)


class PGGAN(nn.Module):
    """The generator. Implements `linsem.generator.Generator` with a single w, which is z itself."""

    def __init__(self, config: PGGANConfig, id: str = "", categories: tuple = ()) -> None:
        super().__init__()
        if config.tap not in TAPS:
            raise InputError(f"tap: expected one of {', '.join(TAPS)}, got {config.tap!r}")
        self.config, self.id, self.categories = config, id, tuple(categories)
        self.size = config.size
        self.z_dim = self.w_dim = config.z_dim
        self.num_ws = 1
        self.layers = tuple(Layer(c, 4 * 2**k, 4 * 2**k, last_w=0) for k, c in enumerate(config.channels))
        self.layer0 = DenseLayer(config.z_dim, config.channels[0])
        for index in range(1, 2 * len(config.channels)):
            out = config.channels[index // 2]
            into = out if index % 2 else config.channels[index // 2 - 1]
            self.add_module(f"layer{index}", ConvLayer(into, out, up=index % 2 == 0))
        self.torgb = ToRGB(config.channels[-1])
        freeze(self)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.layer0.bias.device

    def map(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        """Map z (N, z_dim) to ws (N, 1, z_dim), without truncation.

        Only the direction of z matters, so `psi`, which scales it, has no effect (except 0, which leaves no direction).
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise InputError(f"z: expected (N, {self.z_dim}), got {tuple(z.shape)}")
        return z.float()[:, None] if psi == 1 else (psi * z.float())[:, None]

    def synthesize(
        self, ws: torch.Tensor, *, image: bool = True, last_layer: int | None = None
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Turn ws (N, 1, z_dim) into the image (N, 3, H, W), nominally in [-1, 1], and a feature map per resolution."""
        if ws.ndim != 3 or ws.shape[1:] != (1, self.w_dim):
            raise InputError(f"ws: expected (N, 1, {self.w_dim}), got {tuple(ws.shape)}")
        last = check_last_layer(last_layer, len(self.layers), image)
        x, features = ops.pixel_norm(ws[:, 0].float()), []
        for index in range(2 * last + 2):
            activation = getattr(self, f"layer{index}")(x)
            x = ops.pixel_norm(activation)
            if index % 2:
                features.append(activation if self.config.tap == "activation" else x)
        return (self.torgb(x) if image else None), features
