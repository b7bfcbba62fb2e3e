"""Which images to label next: those that would move the extractor most, and that are unlike each other.

An image stands for the step that its labels would ask for, were they as the extractor believes (Ash et al., ICLR 2020,
*BADGE*): the sum over pixels of (most likely class - probabilities) times the features. It is long where the extractor
is unsure, and points where the image differs. Images are taken one by one, each time the one whose step leaves those
of all images nearest to one that is taken or labelled: so it stands for many, and for other ones than those before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from linsem.extractor import Extractor, check_fits
from linsem.gather import gather, random_pixels
from linsem.generator import Generator, seed_z, seeded

PIXELS = 256  # of each image that are looked at
DIRECTIONS = 24  # random ones that the features are looked at along
_BALANCE = 0.5  # the power of a category's share by which its pixels count less, as in a fit


def suggest_next(
    generator: Generator,
    extractor: Extractor,
    seeds: Sequence[int],
    count: int = 4,
    *,
    psi: float = 0.7,
    labelled: torch.Tensor | None = None,
) -> list[int]:
    """The `count` of `seeds` to label next, the most useful first.

    `labelled` (n, num_ws, w_dim) are images that have labels already: what is like them is passed over. Raises
    ValueError where seeds are repeated or too few.
    """
    seeds = [int(s) for s in seeds]
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected each once, got {len(seeds) - len(set(seeds))} repetitions")
    if not 1 <= count <= len(seeds):
        raise ValueError(f"count: expected 1..{len(seeds)} (the number of seeds), got {count}")
    check_fits(extractor, generator)
    with torch.no_grad():
        ws = torch.cat([generator.map(seed_z(generator, [s]), psi) for s in seeds])
    steps = torch.stack(list(steps_of(generator, extractor, ws)))
    known = [] if labelled is None else list(steps_of(generator, extractor, labelled))
    return [seeds[i] for i in covering(steps, count, known)]


def covering(steps: torch.Tensor, count: int, known: Sequence[torch.Tensor] = ()) -> list[int]:
    """Rows of (n, D), taken one by one: each time the one that leaves all rows nearest to something taken.

    A row's gap is its squared distance from the nearest of zero (an image that teaches nothing), `known` and what was
    taken before; the row that closes most of all gaps is next.
    """
    apart = torch.cdist(steps, steps, compute_mode="donot_use_mm_for_euclid_dist").square()
    gap = steps.square().sum(1)
    for each in known:
        gap = torch.minimum(gap, (steps - each).square().sum(1))
    taken: list[int] = []
    for _ in range(count):
        gain = (gap[:, None] - apart).clamp_min(0).sum(0)
        gain[taken] = -1
        taken.append(int(gain.argmax()))
        gap = torch.minimum(gap, apart[:, taken[-1]])
    return taken


@torch.no_grad()
def steps_of(generator: Generator, extractor: Extractor, ws: torch.Tensor) -> Iterator[torch.Tensor]:
    """The step (K * (DIRECTIONS + 1),) of each image of ws (n, num_ws, w_dim); a generator pass each."""
    channels = [generator.layers[i].channels for i in extractor.layers]
    random = torch.randn(sum(channels), DIRECTIONS, generator=seeded(0)).to(generator.device) / sum(channels) ** 0.5
    size = tuple(extractor.size)
    pick = random_pixels(size, PIXELS, 0)
    scale, share = None, None
    for each in ws:
        batch = each[None].to(generator.device)
        _, features = generator.synthesize(batch, image=False, last_layer=extractor.last_layer)
        probabilities = extractor.probabilities(features, size)[0].flatten(1).t()[torch.from_numpy(pick)]
        x = gather(features, extractor.layers, pick, size)
        if scale is None:  # of the first image: the same for all
            scale = torch.cat([part.square().mean().sqrt().expand(part.shape[1]) for part in x.split(channels, dim=1)])
            share = probabilities.mean(0).clamp_min(0.002)
        directions = torch.cat([torch.ones_like(x[:, :1]), (x / scale.clamp_min(1e-6)) @ random], dim=1)
        likely = probabilities.argmax(1)
        error = F.one_hot(likely, probabilities.shape[1]) - probabilities
        weight = share.pow(-_BALANCE)[likely]
        yield (error * weight[:, None]).t().mm(directions).flatten() / np.sqrt(len(pick))
