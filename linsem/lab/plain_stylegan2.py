"""A plain implementation of StyleGAN2's synthesis, as a baseline for the speed of `linsem.stylegan2`.

Modulated convolutions are grouped convolutions with one weight per sample; upsampling is zero insertion, padding and a
two-dimensional FIR filter; nothing is shared or skipped (Karras et al., CVPR 2020, section 2 and appendix B).

Compared with NVIDIA's own: `stylegan2-ada-pytorch` with its reference operations and the same weights (config-f, 256
px, float32, two CPU threads, side by side in one run) took 0.85 to 0.98 of its time for one image and 0.89 for four.
How many times longer it takes than `linsem.stylegan2` is measured by `linsem.lab.bench`, on weights in their default
memory format, since the other's would slow it down.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from linsem.ops import SQRT2
from linsem.stylegan2 import Block, StyledConv, StyleGAN2, ToRGB


def synthesize(network: StyleGAN2, ws: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Image (N, 3, H, W) and features of ws (N, num_ws, w_dim), with the network's weights and constant noise."""
    features: list[torch.Tensor] = []
    x, image = None, None
    for index, resolution in enumerate(network.config.resolutions):
        block: Block = getattr(network.synthesis, f"b{resolution}")
        if index == 0:
            x = block.const[None].repeat(len(ws), 1, 1, 1)
        else:
            x = layer(block.conv0, x, ws[:, 2 * index - 1])
            features.append(x)
        x = layer(block.conv1, x, ws[:, 2 * index])
        features.append(x)
        colors = to_rgb(block.torgb, x, ws[:, 2 * index + 1])
        image = colors if image is None else upsample(image) + colors
    return image, features


def layer(module: StyledConv, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """One styled layer: (N, I, h, w) to (N, O, H, W)."""
    style = module.affine(w)
    weight = module.weight[None] * style[:, None, :, None, None]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = grouped(x, weight, up=module.up) + module.noise_const * module.noise_strength
    x = F.leaky_relu(x + module.bias[None, :, None, None], 0.2) * SQRT2
    return x if module.clamp is None else x.clamp(-module.clamp, module.clamp)


def to_rgb(module: ToRGB, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """(N, I, H, W) to (N, 3, H, W)."""
    style = module.affine(w) * module.gain
    x = grouped(x, module.weight[None] * style[:, None, :, None, None], up=False) + module.bias[None, :, None, None]
    return x if module.clamp is None else x.clamp(-module.clamp, module.clamp)


def grouped(x: torch.Tensor, weight: torch.Tensor, *, up: bool) -> torch.Tensor:
    """Convolve x (N, I, h, w) with weights (N, O, I, k, k), one group per sample."""
    count, out, into, kernel, _ = weight.shape
    x = x.reshape(1, count * into, *x.shape[2:])
    if not up:
        x = F.conv2d(x, weight.reshape(count * out, into, kernel, kernel), padding=kernel // 2, groups=count)
        return x.reshape(count, out, *x.shape[2:])
    transposed = weight.transpose(1, 2).reshape(count * into, out, kernel, kernel)
    x = F.conv_transpose2d(x, transposed, stride=2, groups=count)
    return fir(x.reshape(count, out, *x.shape[2:]), (1, 1))


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Zero insertion, then the filter: (N, C, H, W) to (N, C, 2H, 2W)."""
    count, channels, height, width = x.shape
    x = F.pad(x.reshape(count, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    return fir(x.reshape(count, channels, 2 * height, 2 * width), (2, 1))


def fir(x: torch.Tensor, pad: tuple[int, int]) -> torch.Tensor:
    """The depthwise 4 x 4 filter with gain 4."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = taps[:, None] * taps[None, :] / taps.sum().square() * 4
    channels = x.shape[1]
    x = F.pad(x, (*pad, *pad))
    return F.conv2d(x, kernel.expand(channels, 1, 4, 4), groups=channels)
