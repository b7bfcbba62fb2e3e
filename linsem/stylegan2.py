"""StyleGAN2 in plain PyTorch (Karras et al., CVPR 2020; the skip architecture).

Parameter names follow NVIDIA's PyTorch release, and `linsem.checkpoints` maps every other dialect to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from linsem import ops
from linsem.generator import Layer
from linsem.styled import Styled, noise_of
from linsem.stylegan2_layers import StyledConv, ToRGB


@dataclass(frozen=True)
class StyleGAN2Config:
    """Everything that determines the shapes. Block k has `channels[k]` at 2**k times `const_size`."""

    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_width: int | None = None  # of the hidden layers; None: w_dim
    const_size: tuple[int, int] = (4, 4)  # (4, 2) for networks whose images are twice as high as wide
    conv_clamp: float | None = None
    normalize_z: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        scale = 2 ** (len(self.channels) - 1)
        return self.const_size[0] * scale, self.const_size[1] * scale

    @property
    def num_ws(self) -> int:
        """The number of styles: one for each layer and one for the last toRGB."""
        return 2 * len(self.channels)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The heights of the blocks, which also name them."""
        return tuple(self.const_size[0] * 2**k for k in range(len(self.channels)))


class Mapping(nn.Module):
    """The mapping network from z (and a label) to w: normalisation and fully connected layers; holds the mean w."""

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
        """Map z (N, z_dim) and, for a conditional network, c (N, c_dim) to w (N, w_dim), not truncated."""
        x = ops.pixel_norm(z.float()) if self.config.normalize_z else z.float()
        if self.config.c_dim > 0:
            if c is None:
                c = torch.zeros(len(z), self.config.c_dim, device=z.device)
            x = torch.cat([x, ops.pixel_norm(self.embed(c.float()))], dim=1)
        for i in range(self.config.mapping_layers):
            x = getattr(self, f"fc{i}")(x)
        return x


class Block(nn.Module):
    """All layers of one resolution: conv0 (upsampling, from the second block on), conv1, torgb."""

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
    """The synthesis network from ws to image and features. Feature l is the output of the l-th styled convolution."""

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
        """See `StyleGAN2.synthesize`. The image is that of the last block computed."""

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
    """The generator: mapping, truncation and synthesis. Implements `linsem.generator.Generator`.

    `dtype` runs the synthesis in another precision (torch.bfloat16: faster on processors with native support, at about
    one per cent of error); the image and the features returned are float32 regardless.
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
        """Store every kernel in the memory format in which it is read; values and shapes stay. Returns the network."""
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
        """Turn ws (N, num_ws, w_dim) into the image (N, 3, H, W), nominally in [-1, 1], and the list of features.

        `noise_mode` is "const" (the network's own noise), "none", or "random", which needs one of `noise_seeds` per
        sample and so does not depend on the batch.
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
