"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020; the skip architecture).

Parameter names are those of NVIDIA's PyTorch release, so `linsem.checkpoints` maps every other dialect to them. The
modulation is unfused: scale the input, convolve with shared weights, scale the output; this equals the grouped
convolution of the paper and is faster on a CPU (`linsem.lab.bench`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops, winograd
from linsem.generator import Layer
from linsem.remembered import Remembered
from linsem.styled import Styled, noise_of


@dataclass(frozen=True)
class StyleGAN2Config:
    """All that decides the shapes. `channels[k]` belongs to block k, at 4 * 2**k times the constant's shape / 4."""

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_width: int | None = None  # of the hidden layers; None: w_dim
    const_size: tuple[int, int] = (4, 4)  # (4, 2) for nets whose images are twice as high as wide
    conv_clamp: float | None = None
    normalize_z: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        scale = 2 ** (len(self.channels) - 1)
        return self.const_size[0] * scale, self.const_size[1] * scale

    @property
    def num_ws(self) -> int:
        """Styles that the synthesis takes: one for each layer and one for the last toRGB."""
        return 2 * len(self.channels)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The heights of the blocks, which also name them."""
        return tuple(self.const_size[0] * 2**k for k in range(len(self.channels)))


class Mapping(nn.Module):
    """z (and a label) to w: normalise, then a stack of slow fully connected layers; keeps the mean w."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        features = config.z_dim
        if config.c_dim > 0:
            self.embed = ops.Linear(config.c_dim, config.w_dim)
            features += config.w_dim
        for i in range(config.mapping_layers):
            width = config.w_dim if i == config.mapping_layers - 1 else config.mapping_width or config.w_dim
            self.add_module(f"fc{i}", ops.Linear(features, width, lr_multiplier=0.01, activate=True))
            features = width
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        """z (N, z_dim) and, for a conditional net, c (N, c_dim) to w (N, w_dim), not truncated."""
        x = ops.pixel_norm(z.float()) if self.config.normalize_z else z.float()
        if self.config.c_dim > 0:
            if c is None:
                c = torch.zeros(len(z), self.config.c_dim, device=z.device)
            x = torch.cat([x, ops.pixel_norm(self.embed(c.float()))], dim=1)
        for i in range(self.config.mapping_layers):
            x = getattr(self, f"fc{i}")(x)
        return x


def _squares(weight: torch.Tensor) -> torch.Tensor:
    """(O, I): the sum of squares of each 3x3 kernel, in the order of the values, whatever that in memory is."""
    return weight.contiguous().square().sum(dim=(2, 3))


class StyledConv(nn.Module):
    """One synthesis layer: modulated 3x3 convolution (doubling the size if `up`), noise, bias, leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, size: tuple[int, int], *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = ops.Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(ops.normal(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", ops.normal(*size))
        self.squares, self.kernel = Remembered(_squares), Remembered(winograd.transformed)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """x (N, I, h, w), w (N, w_dim), noise (H, W), (N, 1, H, W) or None to (N, O, H, W).

        On large maps most of the time goes into memory that is touched for the first time. So what can be done in
        place is, the gain of the activation is moved into what is added up before it (leaky(g a) = g leaky(a)), and
        for one image, whose map is larger than the kernel, the kernel is scaled instead of the map. Wide layers are
        convolved with fewer multiplications (`linsem.winograd`).
        """
        style = self.affine(w)
        demodulation = (style.square() @ self.squares(self.weight).t() + 1e-8).rsqrt() * ops.SQRT2
        bias = (self.bias * ops.SQRT2).to(x.dtype)
        moves = torch.is_grad_enabled() and (x.requires_grad or style.requires_grad or self.weight.requires_grad)
        frozen = not moves and not self.weight.requires_grad
        if frozen and not self.up and winograd.fits(x, self.weight):
            x = winograd.convolve(x, self.kernel(self.weight), style, demodulation).add_(bias[:, None, None])
        elif len(x) == 1 and not moves and x[0, 0].numel() > 9 * len(bias):
            scale = demodulation[0, :, None] * style[0]
            x = self.convolve(x, (self.weight * scale[:, :, None, None]).to(x.dtype), bias)
        else:
            x = self.linear(x * style.to(x.dtype)[:, :, None, None])
            demodulation = demodulation.to(x.dtype)[:, :, None, None]
            x = x * demodulation if moves else x.mul_(demodulation)
            x = x.add_(bias[:, None, None])
        if noise is not None:
            x = x.add_((noise * (self.noise_strength * ops.SQRT2)).to(x.dtype))
        x = F.leaky_relu_(x, 0.2)
        if self.clamp is None:
            return x
        return x.clamp(-self.clamp, self.clamp) if moves else x.clamp_(-self.clamp, self.clamp)

    def linear(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution with the shared kernel; where that is frozen, nothing is kept for its gradient."""
        if x.requires_grad and not self.weight.requires_grad:
            return ops.LinearMap.apply(x, self.convolve, self.adjoint)
        return self.convolve(x)

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The convolution with one kernel for all, with the doubling and its filter, and a bias (O,) at the end."""
        weight = self.weight.to(x.dtype) if weight is None else weight
        if not self.up:
            return F.conv2d(x, weight, bias, padding=1)
        return ops.fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, 4.0, bias)

    def adjoint(self, gradient: torch.Tensor) -> torch.Tensor:
        """The transpose of `convolve`: (N, O, H, W) to (N, I, h, w)."""
        weight = self.weight.to(gradient.dtype)
        if not self.up:
            return F.conv_transpose2d(gradient, weight, padding=1)
        return F.conv2d(ops.fir(gradient, 2, 4.0), weight.transpose(0, 1), stride=2)

    def lay_out(self) -> None:
        """Store the kernel in the order in which the convolution reads it; its shape and its values stay."""
        weight = self.weight.data.transpose(0, 1) if self.up else self.weight.data
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight.data = weight.transpose(0, 1) if self.up else weight


class ToRGB(nn.Module):
    """1x1 modulated convolution to colours, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None, img_channels: int = 3) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = ops.Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(ops.normal(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """x (N, I, H, W), w (N, w_dim) to (N, 3, H, W) in float32."""
        style = self.affine(w) * self.gain
        weight = self.weight[:, :, 0, 0] * style[:, None]  # (N, 3, I): smaller than a scaled map
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view of a map in channels-last order
        x = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)).float().unflatten(1, x.shape[2:])
        x = (x + self.bias).permute(0, 3, 1, 2)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers of one resolution: (conv0 doubling,) conv1, torgb."""

    def __init__(self, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        scale = 2**index
        size = (config.const_size[0] * scale, config.const_size[1] * scale)
        out = config.channels[index]
        if index == 0:
            self.const = nn.Parameter(ops.normal(out, *size))
        else:
            into = config.channels[index - 1]
            self.conv0 = StyledConv(into, out, config.w_dim, size, up=True, clamp=config.conv_clamp)
        self.conv1 = StyledConv(out, out, config.w_dim, size, up=False, clamp=config.conv_clamp)
        self.torgb = ToRGB(out, config.w_dim, config.conv_clamp)


class Synthesis(nn.Module):
    """ws to image and features. Layer l is the output of the l-th styled convolution, coarse to fine."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        for index, resolution in enumerate(config.resolutions):
            self.add_module(f"b{resolution}", Block(config, index))

    def forward(
        self,
        ws: torch.Tensor,
        *,
        image: bool = True,
        last_layer: int | None = None,
        noise_mode: str = "const",
        noise_seeds: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """See `StyleGAN2.synthesize`. The image is that of the last block that was run."""

        def noise(layer: StyledConv, index: int) -> torch.Tensor | None:
            return noise_of(layer.noise_const, noise_mode, noise_seeds, index)

        ws = ws.float()
        features: list[torch.Tensor] = []
        rgb, x = None, None
        total = 2 * len(self.config.channels) - 1
        last = total - 1 if last_layer is None else last_layer
        for index, resolution in enumerate(self.config.resolutions):
            block = getattr(self, f"b{resolution}")
            first = max(2 * index - 1, 0)
            if first > last:
                break
            if index == 0:
                x = block.const.to(dtype).expand(len(ws), -1, -1, -1)
                x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = block.conv0(x, ws[:, first], noise(block.conv0, first))
                features.append(x)
            if 2 * index <= last:
                x = block.conv1(x, ws[:, 2 * index], noise(block.conv1, 2 * index))
                features.append(x)
            if image and 2 * index <= last:
                colors = block.torgb(x, ws[:, 2 * index + 1])
                rgb = colors if rgb is None else ops.upsample2(rgb) + colors
        return rgb, features


class StyleGAN2(Styled):
    """The generator: mapping, truncation, synthesis. Satisfies `linsem.generator.Generator`.

    `dtype` computes the synthesis in another precision (torch.bfloat16: faster where the processor has the units, at
    about one per cent of error); the image and the features that come out are float32 all the same.
    """

    def __init__(
        self, config: StyleGAN2Config, id: str = "", categories: tuple = (), dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.config, self.id, self.categories, self.dtype = config, id, tuple(categories), dtype
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
        self.size = config.size
        self.z_dim, self.w_dim, self.num_ws = config.z_dim, config.w_dim, config.num_ws
        self.layers = tuple(_layers(config))

    def lay_out(self) -> StyleGAN2:
        """Store every kernel in the order in which it is read; nothing else changes. Returns the network."""
        for module in self.modules():
            if isinstance(module, StyledConv):
                module.lay_out()
        return self

    def synthesize(
        self,
        ws: torch.Tensor,
        *,
        image: bool = True,
        last_layer: int | None = None,
        noise_mode: str = "const",
        noise_seeds: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """ws (N, num_ws, w_dim) to the image (N, 3, H, W), nominally in [-1, 1], and the list of features.

        `noise_mode` is "const" (the network's own noise), "none", or "random", which then follows from one of
        `noise_seeds` a sample, so that it does not depend on the batch.
        """
        last = self.checked_last(ws, image, last_layer, noise_mode, noise_seeds)
        rgb, features = self.synthesis(
            ws,
            image=image,
            last_layer=last,
            noise_mode=noise_mode,
            noise_seeds=noise_seeds,
            dtype=dtype or self.dtype,
        )
        return rgb, [x.float() for x in features]


def _layers(config: StyleGAN2Config) -> list[Layer]:
    layers = []
    for index, channels in enumerate(config.channels):
        size = (config.const_size[0] * 2**index, config.const_size[1] * 2**index)
        for last_w in [0] if index == 0 else [2 * index - 1, 2 * index]:
            layers.append(Layer(channels, *size, last_w))
    return layers
