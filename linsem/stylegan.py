"""StyleGAN in plain PyTorch (Karras et al., CVPR 2019), frozen, as a `linsem.Generator`.

Layer l works at 4 * 2**(l // 2) pixels and takes style l: even layers double the size (layer 0 is the learned
constant), odd ones do not. The features are those used in the paper: one per resolution, after the style of its second
layer. Convolution weights are stored for "nearest-neighbour upsampling, then convolution"; the fused form of the
published networks (from 128 pixels) is the same operation with its kernel rotated by 180 degrees, which the readers
undo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops
from linsem.generator import Layer, freeze
from linsem.styled import Styled, noise_of


@dataclass(frozen=True)
class StyleGANConfig:
    """Everything that determines the shapes. `channels[k]` belongs to the resolution 4 * 2**k."""

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_width: int | None = None  # of the hidden layers; None: w_dim
    normalize_z: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        side = 4 * 2 ** (len(self.channels) - 1)
        return side, side

    @property
    def num_ws(self) -> int:
        """The number of styles, one per layer."""
        return 2 * len(self.channels)


def double(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Nearest-neighbour upsampling and a 3x3 convolution (padding 1), as one transposed 4x4 convolution.

    x (N, I, h, w), weight (O, I, 3, 3) to (N, O, 2h, 2w). Each input pixel becomes a 2x2 patch, so the kernel seen from
    the input is the sum of the four shifts of the (rotated) 3x3 kernel: a quarter of the products, and no upsampled
    map.
    """
    kernel = F.pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    kernel = kernel[:, :, 1:, 1:] + kernel[:, :, :-1, 1:] + kernel[:, :, 1:, :-1] + kernel[:, :, :-1, :-1]
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def blur(x: torch.Tensor) -> torch.Tensor:
    """Depthwise [1, 2, 1] filter of (N, C, H, W), padding 1."""
    kernel = ops.binomial(3, 1.0, x.dtype, x.device).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class Mapping(nn.Module):
    """The mapping network from z (and a label) to w: normalisation and fully connected layers; holds the mean w.

    Unlike in StyleGAN2, the gain of sqrt(2) is applied to the weights, so it does not scale the bias.
    """

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        self.config = config
        features = config.z_dim
        if config.c_dim > 0:
            self.label_weight = nn.Parameter(ops.normal(config.c_dim, config.z_dim))
            features += config.z_dim
        for i in range(config.mapping_layers):
            width = config.w_dim if i == config.mapping_layers - 1 else config.mapping_width or config.w_dim
            layer = ops.Linear(features, width, lr_multiplier=0.01)
            layer.weight_gain *= ops.SQRT2
            self.add_module(f"fc{i}", layer)
            features = width
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        """Map z (N, z_dim) and, for a conditional network, c (N, c_dim) to w (N, w_dim), not truncated."""
        x = z.float()
        if self.config.c_dim > 0:
            if c is None:
                c = torch.zeros(len(z), self.config.c_dim, device=z.device)
            x = torch.cat([x, c.float() @ self.label_weight], dim=1)
        x = ops.pixel_norm(x) if self.config.normalize_z else x
        for i in range(self.config.mapping_layers):
            x = ops.leaky(getattr(self, f"fc{i}")(x), gain=1)
        return x


class StyledLayer(nn.Module):
    """One layer: (constant | upsampling convolution and blur | convolution), noise, bias, leaky ReLU, AdaIN."""

    def __init__(self, into: int | None, out: int, w_dim: int, side: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        if into is None:
            self.const = nn.Parameter(torch.ones(out, side, side))
        else:
            self.weight = nn.Parameter(ops.normal(out, into, 3, 3))
            self.gain = ops.SQRT2 / math.sqrt(9 * into)
        self.bias = nn.Parameter(torch.zeros(out))
        self.noise_weight = nn.Parameter(torch.zeros(out))
        self.register_buffer("noise_const", ops.normal(side, side))
        self.style = ops.Linear(w_dim, 2 * out)

    def forward(self, x: torch.Tensor | None, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """x (N, I, h, w) or None for the constant, w (N, w_dim), noise (H, W), (N, 1, H, W) or None to (N, O, H, W)."""
        x = self.const.expand(len(w), -1, -1, -1) if x is None else self.convolve(x)
        if noise is not None:
            x = x + noise * self.noise_weight[:, None, None]
        x = ops.leaky(x + self.bias[:, None, None], gain=1)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x * (x.square().mean(dim=(2, 3), keepdim=True) + 1e-8).rsqrt()
        scale, shift = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return x * (scale + 1) + shift

    def convolve(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution, including upsampling and blur."""
        weight = self.weight * self.gain
        return blur(double(x, weight)) if self.up else F.conv2d(x, weight, padding=1)


class ToRGB(nn.Module):
    """A 1x1 convolution from the last map to colours."""

    def __init__(self, into: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(ops.normal(3, into, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1 / math.sqrt(into)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, I, H, W) to (N, 3, H, W)."""
        return F.conv2d(x, self.weight * self.gain, self.bias)


class Synthesis(nn.Module):
    """The layers and the last toRGB; those of coarser resolutions are only used in progressive training."""

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        for index in range(config.num_ws):
            block = index // 2
            out = config.channels[block]
            into = None if index == 0 else out if index % 2 else config.channels[block - 1]
            layer = StyledLayer(into, out, config.w_dim, 4 * 2**block, up=index % 2 == 0)
            self.add_module(f"layer{index}", layer)
        self.torgb = ToRGB(config.channels[-1])


class StyleGAN(Styled):
    """The generator: mapping, truncation and synthesis. Implements `linsem.generator.Generator`."""

    def __init__(self, config: StyleGANConfig, id: str = "", categories: tuple = ()) -> None:
        super().__init__()
        self.config, self.id, self.categories = config, id, tuple(categories)
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
        self.size = config.size
        self.z_dim, self.w_dim, self.num_ws = config.z_dim, config.w_dim, config.num_ws
        self.layers = tuple(Layer(c, 4 * 2**k, 4 * 2**k, last_w=2 * k + 1) for k, c in enumerate(config.channels))
        freeze(self)

    def synthesize(
        self,
        ws: torch.Tensor,
        *,
        image: bool = True,
        last_layer: int | None = None,
        noise_mode: str = "const",
        noise_seeds: Sequence[int] | None = None,
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Turn ws (N, num_ws, w_dim) into the image (N, 3, H, W), nominally in [-1, 1], and the features.

        There is one feature map per resolution. `noise_mode` is "const" (the network's own noise), "none", or "random",
        which needs one of `noise_seeds` per sample.
        """
        last = self.checked_last(ws, image, last_layer, noise_mode, noise_seeds)
        x, features = None, []
        for index in range(2 * last + 2):
            layer = getattr(self.synthesis, f"layer{index}")
            x = layer(x, ws[:, index].float(), noise_of(layer.noise_const, noise_mode, noise_seeds, index))
            if index % 2:
                features.append(x)
        return (self.synthesis.torgb(x) if image else None), features
