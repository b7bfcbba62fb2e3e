"""Choose the images to label next: those whose parts are least like anything labelled already.

An image is represented by some of its pixels, in a basis (`linsem.basis`) of the layers from 8 to 32 px, which
determine its content; later layers determine its colours. A pixel's gap is its squared distance to the nearest pixel of
a labelled or chosen image, and counts less the more pixels resemble it. Images are chosen greedily, each time the one
that closes most of the gaps of all images: one with a part that several images have and no labelled one shows. This is
a core set (Sener & Savarese, ICLR 2018) of pixels rather than images, since a hat is a small part of its image.

The extractor's uncertainty is not used: it is high at the borders of known parts, and low on a hat mistaken for hair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch

from linsem.arguments import number, whole_number
from linsem.basis import fit_basis
from linsem.device import own_modes
from linsem.errors import InputError
from linsem.extractor import Extractor, check_fits
from linsem.gather import gather, random_pixels
from linsem.generator import Generator, check_features, check_generator, check_seeds, checked_pass, mapped, seeded

PIXELS = 160  # sampled per image
TARGETS = 10_000  # of the pixels of all images: those whose gaps are closed,
CROWD = 2_500  # those that measure how common a pixel is,
BASIS_IMAGES, BASIS_PIXELS = 64, 2_500  # and those that the basis is computed from
SIZES = (8, 32)  # the layers used, by their size
RANK, POWER = 48, 0.5  # of the basis
NEAR = 1 / 8  # of the median squared distance: the scale of similarity between pixels
_PART = 4_096  # pixels compared with the crowd at a time


@own_modes()
def suggest_next(
    generator: Generator,
    extractor: Extractor | None,
    seeds: Sequence[int],
    count: int = 4,
    *,
    psi: float = 0.7,
    labelled: torch.Tensor | Sequence[Any] | None = None,
) -> list[int]:
    """The `count` of `seeds` to label next, the most useful first; ties are broken by the order of `seeds`.

    `labelled` (n, num_ws, w_dim), or a list of arrays or tensors, are the images already labelled. The extractor, if
    given, is only checked to be of this generator. Raises InputError if seeds are repeated or too few.
    """
    check_generator(generator)
    seeds = list(check_seeds(seeds))
    if len(set(seeds)) != len(seeds):
        raise InputError(f"seeds: expected each once, got {len(seeds) - len(set(seeds))} repetitions")
    count = whole_number("count", count, 1)
    if count > len(seeds):
        raise InputError(f"count: expected at most the {len(seeds)} seeds, got {count}")
    psi = number("psi", psi)
    if extractor is not None:
        check_fits(extractor, generator)
    with torch.no_grad():
        ws = torch.cat([mapped(generator, [s], psi) for s in seeds])
    before = 0
    labelled = list(labelled) if isinstance(labelled, Iterator) else labelled
    if labelled is not None and (not isinstance(labelled, Iterable) or len(labelled)):
        try:
            labelled = torch.stack([torch.as_tensor(each) for each in labelled])
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"labelled: expected the ws of images, of one shape each: {error}") from None
        if labelled.shape[1:] != ws.shape[1:]:
            raise InputError(f"labelled: expected (n, {ws.shape[1]}, {ws.shape[2]}), got {tuple(labelled.shape)}")
        if not bool(torch.isfinite(labelled).all()):
            raise InputError("labelled: expected finite numbers, got others among them")
        ws, before = torch.cat([labelled.to(ws), ws]), len(labelled)
    names = [f"labelled image {i + 1}" for i in range(before)] + [f"seed {seed}" for seed in seeds]
    places = looked_at(generator, ws, names=names)
    return [seeds[i - before] for i in covering(places, rarity(places), count, range(before))]


@own_modes()
def least_like(
    generator: Generator,
    ws: torch.Tensor,
    labelled: Sequence[int],
    features_of: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
) -> int | None:
    """The position in ws (n, num_ws, w_dim) of the image to label next, besides `labelled`; None if none is left.

    `features_of` maps one ws to its features (default: a pass of the generator).
    """
    known = sorted(set(labelled))
    if known and not 0 <= known[0] <= known[-1] < len(ws):
        raise InputError(f"labelled: expected positions in 0..{len(ws) - 1}, got {known}")
    if len(known) == len(ws):
        return None
    places = looked_at(generator, ws, features_of)
    return covering(places, rarity(places), 1, known)[0]


def covering(places: torch.Tensor, weight: torch.Tensor, count: int, known: Sequence[int] = ()) -> list[int]:
    """Greedily choose `count` images of pixels (n, p, D), each time the one that closes most of the weighted gaps.

    A pixel's gap is its squared distance to the nearest pixel of an image in `known` or chosen before, or to zero if
    there is none; weight (n, p) is how much it counts.
    """
    some = _some(weight.numel(), TARGETS, places.device)
    targets, weight = places.flatten(0, 1)[some], weight.flatten()[some]
    norms = targets.square().sum(1)
    apart = torch.stack([_nearest(each, targets, norms) for each in places])
    taken, known = [], list(known)
    gap = apart[known].min(0).values if known else norms
    for _ in range(count):
        gain = (gap - apart).clamp_min(0) @ weight
        gain[known + taken] = -1
        taken.append(int(gain.argmax()))
        gap = torch.minimum(gap, apart[taken[-1]])
    return taken


def _nearest(pixels: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """(m,) squared distances of targets (m, D), with squared norms (m,), to the nearest pixel (p, D)."""
    less = torch.addmm(pixels.square().sum(1, keepdim=True), pixels, targets.t(), alpha=-2)
    return (less.min(0).values + norms).clamp_min_(0)


@torch.no_grad()
def looked_at(
    generator: Generator,
    ws: torch.Tensor,
    features_of: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
    names: Sequence[str] | None = None,
) -> torch.Tensor:
    """Sampled pixels of the images of ws (n, num_ws, w_dim), in basis coordinates (n, p, D); errors use the names."""
    layers = _telling(generator)
    rows = _rows(generator, layers, ws, features_of, names or [f"image {i + 1}" for i in range(len(ws))])
    first = list(islice(rows, BASIS_IMAGES))
    x = torch.cat(first)
    some = _some(len(x), BASIS_PIXELS, x.device)
    basis = fit_basis(x[some], [generator.layers[i].channels for i in layers], power=POWER, rank=RANK)
    return torch.stack([basis.project(x) for x in chain(first, rows)])


def _rows(
    generator: Generator, layers: tuple[int, ...], ws: torch.Tensor, features_of: Callable | None, names: Sequence[str]
) -> Iterator[torch.Tensor]:
    """The raw features (p, C) of sampled pixels of each image, at the same positions for all."""
    size = tuple(generator.size)
    pick = random_pixels(size, PIXELS, 0)
    for name, each in zip(names, ws, strict=True):
        if features_of is None:
            _, features = checked_pass(generator, each[None].to(generator.device), image=False, last_layer=layers[-1])
        else:
            features = features_of(each)
            check_features(generator, features, layers[-1])
        x = gather(features, layers, pick, size)
        if not math.isfinite(float(x.sum())):  # a single non-finite number makes the sum non-finite
            raise InputError(f"{name} of {generator.id!r}: its features hold numbers that are not finite")
        yield x


def rarity(places: torch.Tensor) -> torch.Tensor:
    """The rarity (n, p) of pixels (n, p, D): one over the share of the others that resemble each."""
    flat = places.flatten(0, 1)
    some = _some(len(flat), CROWD, flat.device)
    crowd = flat[some]
    near = NEAR * torch.cdist(crowd, crowd).square_().median().clamp_min(1e-6)
    alike = [torch.cdist(part, crowd).square_().div_(-near).exp_().sum(1) for part in flat.split(_PART)]
    found, others = torch.cat(alike), flat.new_full((len(flat),), float(len(crowd)))
    found[some] -= 1  # a pixel of the crowd does not count itself
    others[some] -= 1
    return (others.clamp_min(1) / found.clamp_min(1)).view(places.shape[:2])


def _some(count: int, most: int, device: torch.device) -> torch.Tensor:
    """At most `most` of 0..count-1, random but fixed; regular steps would always pick the same positions."""
    return torch.randperm(count, generator=seeded(0), device="cpu")[:most].sort().values.to(device)


def _telling(generator: Generator) -> tuple[int, ...]:
    """The layers from 8 to 32 px, or all layers if there are none."""
    low, high = SIZES
    sides = [(layer.height, layer.width) for layer in generator.layers]
    chosen = tuple(i for i, side in enumerate(sides) if low <= min(side) and max(side) <= high)
    return chosen or tuple(range(len(generator.layers)))
