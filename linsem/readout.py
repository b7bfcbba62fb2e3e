"""The forward functions of the extractors, from features to per-pixel logits, and the shapes of their weights.

An LSE is S = sum_i up(T_i x_i) (paper, eq. 1). A 1x1 convolution commutes with linear upsampling (eq. 2), so logits are
computed at each layer's own resolution, maps of equal size are summed, and only then upsampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

from linsem import pixels
from linsem.errors import InputError

KINDS = ("LSE", "NSE-1", "NSE-2", "centroid")
SMALL = 64  # pixels a side: maps up to this size are upsampled together, by two matrix products
Weights = Mapping[str, torch.Tensor]  # keyed by the names of `weight_shapes`
READS = {"LSE": "weight", "centroid": "weight", "NSE-1": "conv0.weight", "NSE-2": "ext.weight"}  # applied to features


class ExtractorError(InputError):
    """A file that is not an extractor, or an extractor that does not fit the generator."""


def _fuse(maps: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Sum maps of equal size, upsample each sum directly to `size`, and add them."""
    by_size: dict[tuple[int, ...], torch.Tensor] = {}
    for each in maps:
        key = tuple(each.shape[-2:])
        by_size[key] = by_size[key] + each if key in by_size else each
    small = [each for key, each in by_size.items() if max(key) <= min(SMALL, min(size) - 1)]
    parts = [pixels.resize_logits(each, size) for key, each in by_size.items() if max(key) > min(SMALL, min(size) - 1)]
    if small:
        parts.append(_together(small, size))
    return sum(parts[1:], parts[0])


def _together(maps: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """The sum of maps (N, K, h, w) of several sizes, each upsampled to `size` as by `pixels.resize_logits`.

    Bilinear upsampling is a matrix product from either side. The left matrices are concatenated, so that one product
    serves all maps: upsampling them one by one took a seventh of a step of the latent loop.
    """
    (count, classes), (height, width) = maps[0].shape[:2], size
    wide = [x.reshape(-1, x.shape[-1]) @ _upsampling(x.shape[-1], width, x.device).T for x in maps]
    wide = [y.view(count * classes, x.shape[-2], width) for x, y in zip(maps, wide, strict=True)]
    rows = torch.cat(wide, dim=1)  # (N * K, all h, W)
    left = torch.cat([_upsampling(x.shape[-2], height, x.device) for x in maps], dim=1)  # (H, all h)
    return (left @ rows).view(count, classes, height, width)


@lru_cache(maxsize=64)
def _upsampling(count: int, size: int, device: torch.device) -> torch.Tensor:
    """(size, count): linear interpolation with aligned corners, as a matrix."""
    with torch.inference_mode(False), torch.no_grad():  # the cached result may be used under any grad mode
        eye = torch.eye(count, dtype=torch.float32, device=device)[None]
        return F.interpolate(eye, size=size, mode="linear", align_corners=True)[0].T.contiguous()


def _pointwise(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution, (K, C) by (N, C, h, w), whose gradient has the memory format of the features."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return torch.einsum("kc,nchw->nkhw", weight, x)
    return F.linear(x.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)


class _Pointwise(torch.autograd.Function):
    """The sum of 1x1 convolutions (K, C_i) of feature maps of one size, with frozen weights.

    The result is contiguous by class, the best format for upsampling and for a softmax over classes; the gradients are
    channels-last, like the features.
    """

    @staticmethod
    def forward(ctx: Any, weights: Sequence[torch.Tensor], *maps: torch.Tensor) -> torch.Tensor:
        """(N, C_i, h, w) each, channels-last in memory, to (N, K, h, w)."""
        ctx.weights = weights
        count, _, *size = maps[0].shape
        total = None
        for weight, x in zip(weights, maps, strict=True):
            rows = x.permute(0, 2, 3, 1).reshape(count, size[0] * size[1], x.shape[1]).transpose(1, 2)
            wide = weight.expand(count, -1, -1)
            total = torch.bmm(wide, rows) if total is None else total.baddbmm_(wide, rows)
        return total.view(count, len(weights[0]), *size)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of the feature maps."""
        count, classes, *size = gradient.shape
        by_pixel = gradient.reshape(count, classes, size[0] * size[1]).transpose(1, 2)
        return None, *(
            torch.bmm(by_pixel, weight.expand(count, -1, -1)).view(count, *size, weight.shape[1]).permute(0, 3, 1, 2)
            for weight in ctx.weights
        )


def forward_lse(weights: Weights, features: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """The sum of upsampled 1x1 convolutions, plus one bias per class."""
    by_size: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for i, x in enumerate(features):
        by_size.setdefault(tuple(x.shape[-2:]), []).append((weights[f"layer{i}.weight"], x))
    maps = [_read(*zip(*group, strict=True)) for group in by_size.values()]
    maps[0] = maps[0] + weights["bias"][:, None, None]  # added to the smallest map
    return _fuse(maps, size)


def _read(weights: Sequence[torch.Tensor], maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of 1x1 convolutions of feature maps of one size."""
    ordered = all(x.is_contiguous(memory_format=torch.channels_last) and x.device.type == "cpu" for x in maps)
    if ordered and not any(w.requires_grad for w in weights) and not torch.is_autocast_enabled("cpu"):
        return _Pointwise.apply(weights, *maps)
    total = None
    for weight, x in zip(weights, maps, strict=True):
        each = _pointwise(weight, x)
        total = each if total is None else total + each
    return total


def forward_nse1(weights: Weights, features: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Three 1x1 convolutions with ReLU per layer, summed with one mixing weight per layer."""
    maps = []
    for i, x in enumerate(features):
        for j in range(3):
            x = F.conv2d(x, weights[f"layer{i}.conv{j}.weight"], weights[f"layer{i}.conv{j}.bias"])
            x = F.relu(x) if j < 2 else x
        maps.append(x)
    share = _shares(weights["mix"])
    return _fuse([s * x for s, x in zip(share, maps, strict=True)], size)


def forward_nse2(weights: Weights, features: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """A decoder: a 3x3 convolution of each layer, added to the upsampled hidden map of the layers before it."""
    hidden = None
    for i, x in enumerate(features):
        new = F.relu(F.conv2d(x, weights[f"layer{i}.ext.weight"], weights[f"layer{i}.ext.bias"], padding=1))
        if hidden is not None:
            if hidden.shape[-2:] != new.shape[-2:]:
                hidden = F.interpolate(hidden, size=new.shape[-2:], mode="nearest")
            join = F.conv2d(hidden, weights[f"layer{i}.join.weight"], weights[f"layer{i}.join.bias"], padding=1)
            new = F.relu(join) + new
        hidden = new
    head = F.conv2d(hidden, weights["head.weight"], weights["head.bias"], padding=1)
    return pixels.resize_logits(head, size)


def _shares(mix: torch.Tensor) -> torch.Tensor:
    """The layers' mixing weights, softplus normalised to sum to one (uniform where `mix` is constant)."""
    return F.softplus(mix) / F.softplus(mix).sum()


FORWARD = {"LSE": forward_lse, "centroid": forward_lse, "NSE-1": forward_nse1, "NSE-2": forward_nse2}


def weight_shapes(kind: str, channels: Sequence[int], classes: int) -> dict[str, tuple[int, ...]]:
    """The name and shape of every weight of an extractor for layers with these channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, c in enumerate(channels):
        if kind in ("LSE", "centroid"):
            shapes[f"layer{i}.weight"] = (classes, c)
        elif kind == "NSE-1":
            middle = (c + classes) // 2
            for j, (into, out) in enumerate(((c, middle), (middle, middle), (middle, classes))):
                shapes[f"layer{i}.conv{j}.weight"], shapes[f"layer{i}.conv{j}.bias"] = (out, into, 1, 1), (out,)
        elif kind == "NSE-2":
            shapes[f"layer{i}.ext.weight"], shapes[f"layer{i}.ext.bias"] = (c, c, 3, 3), (c,)
            if i > 0:
                shapes[f"layer{i}.join.weight"], shapes[f"layer{i}.join.bias"] = (c, channels[i - 1], 3, 3), (c,)
        else:
            raise ExtractorError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind in ("LSE", "centroid"):
        shapes["bias"] = (classes,)
    elif kind == "NSE-1":
        shapes["mix"] = (len(channels),)
    else:
        shapes["head.weight"], shapes["head.bias"] = (classes, channels[-1], 3, 3), (classes,)
    return shapes


def initial_weights(kind: str, channels: Sequence[int], classes: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Initial weights, uniform by fan-in as in `torch.nn.Conv2d`; an LSE starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in weight_shapes(kind, channels, classes).items():
        if kind in ("LSE", "centroid") or name == "mix":
            weights[name] = torch.zeros(shape, dtype=torch.float32, device="cpu")
            continue
        source = shape if len(shape) > 1 else weight_shapes(kind, channels, classes)[name.replace("bias", "weight")]
        bound = 1 / math.sqrt(math.prod(source[1:]))
        weights[name] = (torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1) * bound
    return weights
