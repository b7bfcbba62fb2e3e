"""The layers of StyleGAN2: modulated convolutions, unfused (Karras et al., CVPR 2020, section 2 and appendix B).

Modulation scales the input, the convolution shares its weights over the batch, demodulation scales the output. This is
equivalent to the paper's grouped convolution and faster on a CPU (`linsem.lab.bench`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from linsem import ops, winograd
from linsem.remembered import Remembered


def _squares(weight: torch.Tensor) -> torch.Tensor:
    """(O, I): the sum of squares of each 3x3 kernel, in a summation order independent of the memory format."""
    return weight.contiguous().square().sum(dim=(2, 3))


class StyledConv(nn.Module):
    """One synthesis layer: modulated 3x3 convolution (with upsampling if `up`), noise, bias, leaky ReLU."""

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

        On large maps most of the time goes into touching fresh memory. So operations are done in place where possible;
        the gain of the activation is folded into the terms before it (leaky(g a) = g leaky(a)); and for a single image
        whose map is larger than the kernel, the kernel is scaled instead of the map. Wide layers are convolved with
        fewer multiplications (`linsem.winograd`).
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
        """The convolution with the shared kernel; if that is frozen, the input is not kept for the backward pass."""
        if x.requires_grad and not self.weight.requires_grad:
            return ops.LinearMap.apply(x, self.convolve, self.adjoint)
        return self.convolve(x)

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The convolution with one kernel for the batch, including upsampling and its filter, plus a bias (O,)."""
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
        """Store the kernel in the memory format in which the convolution reads it; shape and values are unchanged."""
        weight = self.weight.data.transpose(0, 1) if self.up else self.weight.data
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight.data = weight.transpose(0, 1) if self.up else weight


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colours, without demodulation."""

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
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view, if the map is channels-last
        x = torch.bmm(pixels, weight.to(x.dtype).transpose(1, 2)).float().unflatten(1, x.shape[2:])
        x = (x + self.bias).permute(0, 3, 1, 2)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
