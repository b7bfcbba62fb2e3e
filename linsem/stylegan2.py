"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020; the skip architecture).

Parameter names are those of NVIDIA's PyTorch release, so `linsem.checkpoints` maps every other dialect to them. The
modulation is unfused: scale the input, convolve with shared weights, scale the output; this equals the grouped
convolution of the paper and is as fast or faster on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops
from linsem.generator import Layer, seeded

NOISE_MODES = ("const", "random", "none")


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


class StyledConv(nn.Module):
    """One synthesis layer: modulated 3x3 convolution (doubling the size if `up`), noise, bias, leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, size: tuple[int, int], *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = ops.Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3).normal_())
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(size))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """x (N, I, h, w), w (N, w_dim), noise (H, W), (N, 1, H, W) or None to (N, O, H, W)."""
        style = self.affine(w)
        squared = self.weight.square().sum(dim=(2, 3))  # (O, I)
        demodulation = (style.square() @ squared.t() + 1e-8).rsqrt()
        x = x * style.to(x.dtype)[:, :, None, None]
        x = self.convolve(x)
        x = x * demodulation.to(x.dtype)[:, :, None, None]
        if noise is not None:
            x = x + (noise * self.noise_strength).to(x.dtype)
        return ops.leaky(x + self.bias.to(x.dtype)[:, None, None], clamp=self.clamp)

    def convolve(self, x: torch.Tensor) -> torch.Tensor:
        """The shared-weight convolution, with the doubling and its filter."""
        weight = self.weight.to(x.dtype)
        if not self.up:
            return F.conv2d(x, weight, padding=1)
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return ops.fir(x, (1, 1), gain=4.0)


class ToRGB(nn.Module):
    """1x1 modulated convolution to colours, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None, img_channels: int = 3) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = ops.Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.empty(img_channels, in_channels, 1, 1).normal_())
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """x (N, I, H, W), w (N, w_dim) to (N, 3, H, W) in float32."""
        style = self.affine(w) * self.gain
        x = F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype)).float()
        x = x + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """All layers of one resolution: (conv0 doubling,) conv1, torgb."""

    def __init__(self, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        scale = 2**index
        size = (config.const_size[0] * scale, config.const_size[1] * scale)
        out = config.channels[index]
        if index == 0:
            self.const = nn.Parameter(torch.randn(out, *size))
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
                x = block.conv0(x, ws[:, first], _noise(block.conv0, noise_mode, noise_seeds, first))
                features.append(x)
            if 2 * index <= last:
                x = block.conv1(x, ws[:, 2 * index], _noise(block.conv1, noise_mode, noise_seeds, 2 * index))
                features.append(x)
            if image and 2 * index <= last:
                colors = block.torgb(x, ws[:, 2 * index + 1])
                rgb = colors if rgb is None else ops.upsample2(rgb) + colors
        return rgb, features


def _noise(layer: StyledConv, mode: str, seeds: Sequence[int] | None, index: int) -> torch.Tensor | None:
    """(H, W), (N, 1, H, W) or None. Random noise follows from each sample's own seed and the layer's index."""
    if mode == "none":
        return None
    if mode == "const":
        return layer.noise_const
    size = tuple(layer.noise_const.shape)
    rows = [torch.randn((1, *size), generator=seeded(int(s) * 64 + index)) for s in seeds]
    return torch.stack(rows).to(layer.noise_const.device)


class StyleGAN2(nn.Module):
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

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.mapping.w_avg.device

    def map(
        self, z: torch.Tensor, psi: float = 1.0, *, cutoff: int | None = None, c: torch.Tensor | None = None
    ) -> torch.Tensor:
        """z (N, z_dim) to ws (N, num_ws, w_dim); with psi != 1 those below `cutoff` (None: all) move to the mean w.

        `c` (N, c_dim) is the label of a conditional net (default: zeros).
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z: expected (N, {self.z_dim}), got {tuple(z.shape)}")
        if c is not None and tuple(c.shape) != (len(z), self.config.c_dim):
            raise ValueError(f"c: expected ({len(z)}, {self.config.c_dim}), got {tuple(c.shape)}")
        w = self.mapping(z, c)
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if psi == 1:
            return ws
        head = self.mapping.w_avg.lerp(ws[:, :cutoff], psi)
        return head if cutoff is None else torch.cat([head, ws[:, cutoff:]], dim=1)

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
        _check_ws(ws, self.num_ws, self.w_dim)
        last = _check_last(last_layer, len(self.layers), image)
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode: expected one of {', '.join(NOISE_MODES)}, got {noise_mode!r}")
        if noise_mode == "random" and (noise_seeds is None or len(noise_seeds) != len(ws)):
            raise ValueError(f"noise_seeds: expected one a sample ({len(ws)}) with noise_mode='random'")
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


def _check_ws(ws: torch.Tensor, num_ws: int, w_dim: int) -> None:
    if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim):
        raise ValueError(f"ws: expected (N, {num_ws}, {w_dim}), got {tuple(ws.shape)}")


def _check_last(last_layer: int | None, count: int, image: bool) -> int:
    last = count - 1 if last_layer is None else last_layer
    if not 0 <= last < count:
        raise ValueError(f"last_layer: expected 0..{count - 1}, got {last_layer}")
    if image and last != count - 1:
        raise ValueError(f"last_layer: the image needs all {count} layers, got last_layer={last_layer} with image=True")
    return last
