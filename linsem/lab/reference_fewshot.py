"""The reference few-shot protocol (Xu & Zheng, §3.2, as in their code), reproduced as a baseline.

A linear extractor over all layers, without bias or layer weights; each layer goes through its 1x1 convolution, is
upsampled directly to the image's size, and the maps are added. 50 epochs of 128 single-image passes, the image being
step mod N, gradients accumulated over N passes; cross-entropy, Adam at 1e-3, divided by ten from epoch 20. All noise is
random, and redrawn for every image at each epoch's end; labels stay as they are given. In the tables they are those of
the image under the constant noise, not of a first draw; the shipped generators have no noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from linsem.extractor import Extractor
from linsem.fewshot import Annotation
from linsem.generator import Generator
from linsem.noise import has_noise, synthesize_noisy
from linsem.palette import Category

EPOCHS, PASSES, LR, DECAY_AT = 50, 128, 1e-3, 20
FAST = 1e-2  # not the protocol's rate, which leaves off far from the minimum where features are small
SEEDS = (19961116, 1997816, 1116, 816, 19980903)  # of the five repeats


@dataclass(frozen=True)
class ReferenceStep:
    """The state after an epoch: its index, the number of epochs, and its mean loss."""

    index: int
    total: int
    loss: float
    extractor: Extractor


def fit_reference(
    generator: Generator,
    annotations: Sequence[Annotation],
    categories: Sequence[Category],
    *,
    seed: int = SEEDS[0],
    epochs: int = EPOCHS,
    always_regenerate: bool = True,
    lr: float = LR,
) -> Extractor:
    """The extractor after the complete protocol; see `iter_reference`."""
    for step in iter_reference(
        generator, annotations, categories, seed=seed, epochs=epochs, always_regenerate=always_regenerate, lr=lr
    ):
        last = step
    return last.extractor


def iter_reference(
    generator: Generator,
    annotations: Sequence[Annotation],
    categories: Sequence[Category],
    *,
    seed: int = SEEDS[0],
    epochs: int = EPOCHS,
    always_regenerate: bool = True,
    lr: float = LR,
) -> Iterator[ReferenceStep]:
    """Run the protocol, yielding after each epoch. `annotations` are dense: it has no unlabelled pixels.

    If all noise strengths of a generator are zero, its features do not change between epochs. They are then kept with
    `always_regenerate=False`: the result is the same, but the time is not the protocol's.
    """
    count = len(annotations)
    heads = _initial(generator, len(categories), seed)
    optimizer = torch.optim.Adam(heads, lr=lr)
    targets = [torch.from_numpy(a.labels).long()[None].to(generator.device) for a in annotations]
    features = [_features(generator, a, seed + i) for i, a in enumerate(annotations)]
    noisy = has_noise(generator)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr if epoch < DECAY_AT else lr / 10
        total = 0.0
        for step in range(PASSES):
            i = step % count
            loss = F.cross_entropy(_forward(heads, features[i], tuple(targets[i].shape[-2:])), targets[i])
            (loss / count).backward()
            total += loss.item()
            if (epoch * PASSES + step + 1) % count == 0:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        if noisy or always_regenerate:
            base = seed + (epoch + 1) * count
            features = [_features(generator, a, base + i) for i, a in enumerate(annotations)]
        yield ReferenceStep(epoch + 1, epochs, total / PASSES, _extractor(generator, categories, heads))


def _initial(generator: Generator, classes: int, seed: int) -> list[torch.Tensor]:
    """One (K, C) head per layer, initialised like a convolution."""
    source = torch.Generator().manual_seed(seed)
    heads = []
    for layer in generator.layers:
        bound = 1 / math.sqrt(layer.channels)
        head = (torch.rand(classes, layer.channels, generator=source) * 2 - 1) * bound
        heads.append(head.to(generator.device).requires_grad_(True))
    return heads


@torch.no_grad()
def _features(generator: Generator, annotation: Annotation, seed: int) -> list[torch.Tensor]:
    return synthesize_noisy(generator, annotation.ws[None].to(generator.device), [seed])


def _forward(heads: Sequence[torch.Tensor], features: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """1x1 convolution and upsampling of each layer, and their plain sum."""
    total = None
    for head, x in zip(heads, features, strict=True):
        each = F.conv2d(x, head[:, :, None, None])
        each = F.interpolate(each, size=size, mode="bilinear", align_corners=True)
        total = each if total is None else total + each
    return total


def _extractor(generator: Generator, categories: Sequence[Category], heads: Sequence[torch.Tensor]) -> Extractor:
    weights = {f"layer{i}.weight": head.detach().clone() for i, head in enumerate(heads)}
    weights["bias"] = torch.zeros(len(categories), device=generator.device)
    every = tuple(range(len(generator.layers)))
    return Extractor("LSE", tuple(categories), every, generator.id, tuple(generator.size), weights)
