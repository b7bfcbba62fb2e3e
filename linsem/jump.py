"""Where an edit may start: the image's latent, moved along what the generator's own samples tell about the wish.

A hat does not appear in small steps: no gradient leads from hair to it. But over a bank of labelled seeds the share of
a wish that a sample meets is a function of its w, and the regression of w on that share is the direction in which the
wish comes true and little else does (compare the boundaries of InterFaceGAN, Shen et al., CVPR 2020; here there is one
for each wish, with its place, and no classifier). The same samples say which directions of w are the generator's own:
an optimisation that keeps to them changes what is drawn, not what the extractor is fooled by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem import steer as loop
from linsem.bank import Bank
from linsem.extractor import Extractor
from linsem.generator import Generator, seed_z
from linsem.pixels import IGNORE, resize_labels

STRENGTHS = (0.5, 1.0, 1.5, 2.0)  # of the step that, by the regression, fulfils the wish
TOP = 0.03  # the share of the bank whose mean is a start of its own
TOGETHER_LR = 0.1  # in standard deviations of what the generator's samples vary in
NEVER = 2.0  # an agreement that is never reached: it goes on as long as the loss falls
LEAST_VARIANCE = 1e-4  # of the largest: what varies less is not the generator's own
LEAST_SPREAD = 1e-12  # where all samples are the same image, as with psi 0, no direction is


@dataclass(frozen=True, eq=False)
class Atlas:
    """w (N, w_dim) and labels (N, h, w) of the samples of a bank, and the directions in which w varies.

    `basis` (D, w_dim): unit variance of a coordinate is a standard deviation of w along its direction.
    """

    w: torch.Tensor
    labels: np.ndarray
    basis: torch.Tensor


def make_atlas(generator: Generator, bank: Bank) -> Atlas:
    """From a bank of at least two seeds."""
    with torch.no_grad():
        w = generator.map(seed_z(generator, bank.seeds), bank.psi)[:, 0]
    spread, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(w.double().T)))
    own = spread > (LEAST_VARIANCE * spread[-1]).clamp_min(LEAST_SPREAD)
    basis = (vectors[:, own] * spread[own].sqrt()).T.to(w.dtype)
    return Atlas(w, bank.labels, basis)


def starts(atlas: Atlas, ws: torch.Tensor, wished: np.ndarray, weight: np.ndarray) -> torch.Tensor:
    """Candidates (C, num_ws, w_dim): ws itself, then ws moved by each strength, then towards the best of the bank.

    Args:
        atlas: of the generator that ws is a latent of.
        ws: (num_ws, w_dim).
        wished: (H, W) uint8 labels, 255 = no wish.
        weight: (H, W) float >= 0, how much each wished pixel counts.
    """
    met = torch.from_numpy(share_met(atlas.labels, wished, weight)).to(atlas.w)
    middle = atlas.w.mean(0)
    slope = ((met - met.mean())[:, None] * (atlas.w - middle)).mean(0) / met.var(correction=0).clamp_min(1e-6)
    best = met.topk(max(2, round(TOP * len(met)))).indices
    towards = atlas.w[best].mean(0) - middle
    unit = towards / towards.norm().clamp_min(1e-8)
    lacking = (towards.norm() - (ws.mean(0) - middle) @ unit).clamp_min(0)
    moves = [0 * slope, *(strength * slope for strength in STRENGTHS), lacking * unit, 1.3 * lacking * unit]
    return ws[None] + torch.stack(moves)[:, None]


def share_met(labels: np.ndarray, wished: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N,) float: the weighted share of the wish that label maps (N, h, w), which may be smaller, already show."""
    height, width = labels.shape[1:]
    small = resize_labels(wished, (height, width))
    rows = ((np.arange(height) + 0.5) * wished.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * wished.shape[1] / width).astype(int)
    counted = np.where(small == IGNORE, 0.0, weight[np.ix_(rows, columns)])
    return (((labels == small) * counted).sum((1, 2)) / max(counted.sum(), 1e-8)).astype(np.float32)


def together_then_apart(
    generator: Generator,
    extractor: Extractor,
    start: torch.Tensor,
    wish: loop.Wish,
    basis: torch.Tensor | None,
    *,
    steps: int,
    lr: float,
    weights: loop.Weights,
    prior: float = 0.0,
    best_only: bool = False,
    **options: object,
) -> Iterator[loop.SteerStep]:
    """The latent loop, whose first half moves all layers alike along a basis (None: there is no such half).

    So the image changes in what it shows before it changes in how the extractor takes it. In the first half `lr` is
    `TOGETHER_LR` and `weights.prior` is `prior`, both in units of the basis, and `weights.close` does not count; with
    `best_only` the second half goes on from the best of the samples alone. Options as of `steer`.
    """
    first, again = 0, False
    if basis is not None and steps > 1:
        alike = replace(weights, close=0.0, prior=prior)
        for step in loop.steer(
            generator, extractor, start, wish, space=basis, steps=steps // 2, lr=TOGETHER_LR, weights=alike, **options
        ):
            yield replace(step, total=steps, done=False)
        first, start, again = step.index, step.ws, True
        start = start[[int(step.loss.argmin())]] if best_only else start
    for step in loop.steer(
        generator, extractor, start, wish, lr=lr, steps=steps - first, weights=weights, **options
    ):  # fmt: skip
        if step.done or step.index or not again:  # its start is the last step of the first half
            yield replace(step, index=first + step.index, total=steps)
