"""Start points for edits: the image's latent moved along directions estimated from the generator's samples.

Gradients alone often miss the way from hair to a hat. Over a bank of labelled seeds, the share of a wish that a sample
meets is a function of its w, and regressing w on that share gives the direction in which the wish comes true and little
else changes (compare the boundaries of InterFaceGAN, Shen et al., CVPR 2020; here there is one for each wish, including
its position, and no classifier). The samples also give the principal directions of w: an optimisation confined to them
changes the image's content rather than fooling the extractor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem import steer as loop
from linsem.bank import Bank, check_bank
from linsem.device import own_modes
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.generator import Generator, mapped
from linsem.pixels import IGNORE, resize_labels

STRENGTHS = (0.5, 1.0, 1.5, 2.0)  # multiples of the step that, by the regression, fulfils the wish
TOP = 0.03  # of the bank: samples that meet the wish best, whose mean is a start of its own
TOGETHER_LR = 0.1  # in standard deviations of the samples' w
PART = 512  # label maps that are compared with a wish at a time
NEVER = 2.0  # an agreement that cannot be reached: the loop runs as long as the loss falls
LEAST_VARIANCE = 1e-4  # relative to the largest: directions of smaller variance are dropped
MOST_SQUARE = 1024  # numbers of w, or else samples, of which the covariance is computed
LEAST_SPREAD = 1e-12  # absolute: with psi 0 all samples are the same image, and there is no direction


@dataclass(frozen=True, eq=False)
class Atlas:
    """w (N, w_dim) and labels (N, h, w) of the samples of a bank, and the principal directions of w.

    `basis` (D, w_dim) has as rows the directions, scaled so that a unit coordinate is one standard deviation of w;
    `generator_id` is that of the generator, `categories` are the names of the labels (None: unknown), and `label` is
    what a conditional generator drew. Of a generator whose `map` gives each layer a w of its own, w and the directions
    are those of all layers, one after the other: (N, num_ws * w_dim), (D, num_ws * w_dim).
    """

    w: torch.Tensor
    labels: np.ndarray
    basis: torch.Tensor
    generator_id: str | None = None
    categories: tuple[str, ...] | None = None
    label: int | None = None


@own_modes()
def make_atlas(generator: Generator, bank: Bank) -> Atlas:
    """An atlas from a bank of at least two seeds of this generator; raises InputError."""
    check_bank(bank, generator, least=2)  # of one there is no variance
    with torch.no_grad():
        ws = mapped(generator, bank.seeds, bank.psi)
    if not torch.isfinite(ws).all():
        raise InputError("bank: the generator gives numbers that are not finite for its seeds")
    w = ws[:, 0] if bool((ws == ws[:, :1]).all()) else ws.flatten(1)
    spread, vectors = _principal(w.double())
    own = spread > (LEAST_VARIANCE * spread.max()).clamp_min(LEAST_SPREAD)
    basis = (vectors[:, own] * spread[own].sqrt()).T.to(w.dtype)
    label = getattr(generator, "label", None)
    return Atlas(w, bank.labels, basis, getattr(generator, "id", None), bank.categories, label)


def _principal(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The variances (D,) along the principal directions of w (N, d), and the directions (d, D)."""
    if w.shape[1] <= MOST_SQUARE:
        return torch.linalg.eigh(torch.atleast_2d(torch.cov(w.T)))
    few = w[:MOST_SQUARE] - w[:MOST_SQUARE].mean(0)
    values, vectors = torch.linalg.eigh(few @ few.T)  # of so many samples at most, which span the rest closely
    return values / (len(few) - 1), (few.T @ vectors) / values.clamp_min(1e-30).sqrt()


def starts(atlas: Atlas, ws: torch.Tensor, wished: np.ndarray, weight: np.ndarray) -> torch.Tensor:
    """Candidates (C, num_ws, w_dim): ws itself, ws moved by each strength, and ws moved towards the best of the bank.

    Args:
        atlas: of the generator to which ws belongs.
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
    here = ws.mean(0) if len(middle) == ws.shape[1] else ws.flatten()
    lacking = (towards.norm() - (here - middle) @ unit).clamp_min(0)
    moves = [0 * slope, *(strength * slope for strength in STRENGTHS), lacking * unit, 1.3 * lacking * unit]
    return ws[None] + torch.stack(moves).unflatten(1, (-1, ws.shape[1]))


def share_met(labels: np.ndarray, wished: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N,) float: the weighted share of the wish that label maps (N, h, w), which may be smaller, already meet."""
    height, width = labels.shape[1:]
    small = resize_labels(wished, (height, width))
    rows = ((np.arange(height) + 0.5) * wished.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * wished.shape[1] / width).astype(int)
    counted = np.where(small == IGNORE, 0.0, weight[np.ix_(rows, columns)])
    parts = np.split(labels, range(PART, len(labels), PART))  # the products take eight times the labels' memory
    met = np.concatenate([((part == small) * counted).sum((1, 2)) for part in parts])
    return (met / max(counted.sum(), 1e-8)).astype(np.float32)


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
    """The latent loop in two halves: first an offset in a basis (mostly one for all layers), then the ws of each layer.

    The first half changes the content of the image before the second can exploit the extractor's errors.

    Args:
        start: ws (N, num_ws, w_dim).
        basis: as of an atlas; None: no first half.
        steps: moves of both halves together.
        lr: of the second half; the first uses `TOGETHER_LR`, in units of the basis.
        weights: of the terms; in the first half `close` is 0.
        prior: `weights.prior` of the first half, in units of the basis.
        best_only: continue the second half from the best sample alone.
        options: as of `linsem.steer.steer`.
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
        if step.done or step.index or not again:  # the second half starts at the last step of the first
            yield replace(step, index=first + step.index, total=steps)
