"""The discriminator of StyleGAN2: residual blocks, minibatch standard deviation, one logit."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops


class _Conv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, down: bool = False, linear: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = None if linear else nn.Parameter(torch.zeros(out_channels))
        self.gain = 1 / math.sqrt(in_channels * kernel * kernel)
        self.down = down

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        weight = (self.weight * (self.gain * scale)).to(x.dtype)
        if self.down:
            x = F.avg_pool2d(x, 2)  # flat drawings need no finer filter
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.bias is None:
            return x
        return ops.leaky(x + self.bias.to(x.dtype)[:, None, None], gain=ops.SQRT2 * scale)


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = _Conv(in_channels, in_channels, 3)
        self.conv1 = _Conv(in_channels, out_channels, 3, down=True)
        self.skip = _Conv(in_channels, out_channels, 1, down=True, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv1(self.conv0(x), math.sqrt(0.5)) + self.skip(x, math.sqrt(0.5))


class Discriminator(nn.Module):
    """Image (N, 3, R, R) in [-1, 1] to one logit each; `channels[k]` belongs to resolution 4 * 2**k."""

    def __init__(self, channels: tuple[int, ...], group: int = 8) -> None:
        super().__init__()
        self.group = group
        self.from_rgb = _Conv(3, channels[-1], 1)
        self.blocks = nn.ModuleList(_Block(channels[k], channels[k - 1]) for k in range(len(channels) - 1, 0, -1))
        self.last = _Conv(channels[0] + 1, channels[0], 3)
        self.dense = ops.Linear(channels[0] * 16, channels[0], activate=True)
        self.out = ops.Linear(channels[0], 1)

    def forward(self, image: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """(N, 3, R, R) to (N,) float32."""
        x = self.from_rgb(image.to(dtype).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        x = self.last(torch.cat([x, self._spread(x)], dim=1))
        return self.out(self.dense(x.flatten(1).float()))[:, 0]

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """The standard deviation over each group of samples, averaged, as one more channel (N, 1, h, w)."""
        count, _, height, width = x.shape
        group = math.gcd(self.group, count)
        y = x.float().reshape(group, -1, *x.shape[1:])
        y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        return y.repeat(group)[:, None, None, None].expand(-1, 1, height, width).to(x.dtype)
