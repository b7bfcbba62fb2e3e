"""A patch discriminator: the blur left by reconstruction is local, such as a line or the edge of a brow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = (48, 96, 128, 192)
_KERNELS = ((4, 2), (4, 2), (3, 1), (4, 2))  # size and stride; a logit has a receptive field of 42 px
DETAIL = 4.0


class Discriminator(nn.Module):
    """A discriminator from images (N, 3, R, R) in [-1, 1] to one logit per overlapping patch (Isola et al., 2017).

    Its input includes each pixel's difference from its surroundings: without it, the discriminator did not learn within
    hundreds of steps to tell a blurred image from an otherwise identical sharp one.
    """

    def __init__(self, channels: tuple[int, int, int, int] = CHANNELS) -> None:
        super().__init__()
        into = (6, *channels[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, padding=1)
            for a, b, (kernel, stride) in zip(into, channels, _KERNELS, strict=True)
        )
        self.out = nn.Conv2d(channels[-1], 1, 3, padding=1)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.out.weight, std=0.01)

    def forward(self, image: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """(N, 3, R, R) to (N, 1, R / 8, R / 8) float32."""
        around = F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
        x = torch.cat([image, DETAIL * (image - around)], dim=1)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu_(_convolve(layer, x), 0.2)
        return _convolve(self.out, x).float()


def _convolve(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A convolution in x's precision; the weights stay float32."""
    return F.conv2d(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.stride, layer.padding)
