"""Building blocks shared by the network families: scaled linear layers, the FIR filter of StyleGAN2, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from linsem.device import own_modes

SQRT2 = math.sqrt(2.0)


def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Normal numbers of standard deviation `scale`, for initialisation.

    On the meta device none are drawn: arithmetic there loads torch's compiler, which costs a second and 100 MB.
    """
    empty = torch.empty(shape)
    return empty if empty.is_meta else empty.normal_() * scale


def pixel_norm(x: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Divide each position by the root mean square of its channels (dim 1)."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def leaky(x: torch.Tensor, gain: float = SQRT2, clamp: float | None = None) -> torch.Tensor:
    """Leaky ReLU with slope 0.2, a gain, and an optional clamp to ±clamp."""
    x = F.leaky_relu(x, 0.2)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def fir_kernel(gain: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The separable [1, 3, 3, 1] filter as (4, 4), summing to `gain`."""
    return binomial(4, gain, dtype, device)


@lru_cache(maxsize=64)
def binomial(size: int, gain: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The separable filter of binomial coefficients, (size, size), summing to `gain`; do not change it in place.

    Made once: to copy a new one to a GPU waits there for everything before it, in each layer.
    """
    with own_modes():  # kept beyond the caller's
        taps = torch.tensor([float(math.comb(size - 1, k)) for k in range(size)])
        kernel = taps[:, None] * taps[None, :]
        return (kernel * (gain / kernel.sum())).to(dtype).to(device)


def fir(x: torch.Tensor, pad: int, gain: float = 1.0, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Depthwise [1, 3, 3, 1] filter of (N, C, H, W), padded by `pad` zeros, plus a bias (C,)."""
    kernel = fir_kernel(gain, x.dtype, x.device).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, bias, padding=pad, groups=x.shape[1])


def upsample2(x: torch.Tensor) -> torch.Tensor:
    """Double the size of (N, C, H, W): zero insertion, then the filter with gain 4 (StyleGAN2's `upsample2d`)."""
    channels = x.shape[1]
    kernel = fir_kernel(4.0, x.dtype, x.device).expand(channels, 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


class LinearMap(torch.autograd.Function):
    """`LinearMap.apply(x, run, adjoint)` is run(x) for a linear map `run`, with the gradient adjoint(gradient).

    x is not kept for the backward pass: autograd keeps the input of a convolution, which only the gradient of the
    kernel needs, even if the kernel is frozen.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        run: Callable[[torch.Tensor], torch.Tensor],
        adjoint: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Apply the map."""
        ctx.adjoint = adjoint
        return run(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The gradient of x."""
        return ctx.adjoint(gradient), None, None


class Linear(nn.Module):
    """Fully connected layer with a runtime gain: y = x (W g / sqrt(in))^T + b g, optionally activated.

    `lr_multiplier` is g; `bias_init` is the initial value of the *scaled* bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(out_features, in_features, scale=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in) to (N, out)."""
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        y = torch.addmm(bias, x, (self.weight * self.weight_gain).t())
        return leaky(y) if self.activate else y
