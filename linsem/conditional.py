"""Semantic-conditional sampling (paper §4, SCS): images that match a layout.

Candidates are generated and labelled once, in batches, as a *bank* of seeds; a layout is matched against the bank in
milliseconds; the best starts whose images differ from each other are then optimised together in the latent loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from linsem import steer as loop
from linsem.arguments import array, number, whole_number
from linsem.bank import Bank, Banks, bank_key, cached_bank, check_bank, iter_bank, make_bank
from linsem.candidates import DIVERSITY, choose_starts, rank_starts
from linsem.device import without_autocast
from linsem.extractor import Extractor, check_fits, findable
from linsem.generator import Generator, batches, check_finite, checked_pass, fitting, mapped
from linsem.jump import make_atlas, together_then_apart
from linsem.pixels import IGNORE, resize_labels
from linsem.seeds import MAX_SEED
from linsem.swap import COLOR, GIVEN_UP, check_look, color_wish, with_look
from linsem.wish import category_weight

__all__ = [
    "Bank", "Banks", "LayoutError", "SampleResult", "SampleStep", "bank_key", "cached_bank", "category_weight",
    "choose_starts", "iter_bank", "iter_sample", "make_bank", "rank_starts", "sample", "score",
]  # fmt: skip

CANDIDATES = 200
STEPS, LR = 24, 0.05  # more of either raise the agreement little, and the results get more alike
LEAST_BANK = 32  # seeds from which the principal directions of w can be estimated
# A layout may ask for what the generator cannot draw, as one painted by hand does. What cannot be met must not pull on
# without end, away from everything that the generator draws.
WEIGHTS = loop.Weights(agree=1.0, close=1.5e-3, bound=0.7)
PRIOR = 3e-3  # of the first half, in units of the bank's w
RESEMBLES = 0.25  # the least score of a start that resembles its layout: images reach 0.4 and more


class LayoutError(loop.SteerError):
    """A layout that cannot be sampled; the message says why."""


@dataclass(frozen=True, eq=False)
class SampleResult:
    """A sampled image (3, H, W) in [-1, 1], its labels (H, W) uint8 and its ws (num_ws, w_dim) on the CPU.

    `score` in [0, 1] is the mean IoU with the layout over its categories, by the extractor; `seed` is that of the
    start.
    """

    image: torch.Tensor
    labels: np.ndarray
    ws: torch.Tensor
    score: float
    seed: int


@dataclass(frozen=True, eq=False)
class SampleStep:
    """The state of sampling: `index` of `total` moves (0: the starts), and the results so far, best first.

    `nearest` is the best score in the bank before any move; None until the bank is complete, or if nothing of the
    layout remains at the bank's smaller size. `note` names the categories of the layout of which the extractor saw no
    labelled pixel, and which are therefore left out; else it is "".
    """

    index: int
    total: int
    results: tuple[SampleResult, ...]
    nearest: float | None = None
    note: str = ""


def far_off(nearest: float | None, candidates: int) -> str:
    """A sentence for a layout that none of the candidates resembles, else ""."""
    if nearest is None or nearest >= RESEMBLES:
        return ""
    return f"No image of {candidates} resembles this layout: the nearest reaches {nearest:.2f}."


def sample(
    generator: Generator, extractor: Extractor, layout: np.ndarray, count: int = 4, **options: object
) -> tuple[SampleResult, ...]:
    """Sample images for a layout: the results of the last step of `iter_sample`, best first."""
    *_, last = iter_sample(generator, extractor, layout, count, **{"draw_every": 10_000, **options})
    return last.results


@without_autocast
def iter_sample(
    generator: Generator,
    extractor: Extractor,
    layout: np.ndarray,
    count: int = 4,
    *,
    candidates: int = CANDIDATES,
    steps: int = STEPS,
    seed: int = 0,
    psi: float = 1.0,
    lr: float = LR,
    bank: Bank | None = None,
    diversity: float = DIVERSITY,
    draw_every: int = 1,
    weights: loop.Weights = WEIGHTS,
    banks: Banks | None = None,
    look: int | None = None,
) -> Iterator[SampleStep]:
    """Sample images that match a layout, yielding the results at the starts and after each move.

    Args:
        layout: (H, W) uint8 of any size, 255 = free.
        count: number of results.
        candidates: seeds `seed`..`seed + candidates - 1` are tried, unless a `bank` is given.
        steps: moves of the latent loop.
        seed, psi: first seed of the bank, and its truncation.
        lr: learning rate of the loop's second half (`linsem.jump.together_then_apart`).
        bank: candidates made earlier.
        diversity: how much the starts shall differ (`choose_starts`).
        draw_every: draw the results at the starts, every so many moves and at the end; steps in between repeat the
            last.
        weights: of the loop's terms.
        banks: a cache that keeps the bank for the next call.
        look: a seed whose colours the results take on, as far as their layouts allow (`linsem.swap`).

    While the bank is made, steps without results are yielded (index 0), and while the styles of another look are tried,
    steps that repeat the last results, so that the caller can stop.
    """
    count = whole_number("count", count, 1, 64, error=LayoutError)
    candidates = whole_number("candidates", candidates, count, 100_000, error=LayoutError)
    layout, note = _checked(generator, extractor, layout)
    check_look(look)
    steps, lr, weights = loop.check_options(steps, lr, weights)
    draw_every = whole_number("draw_every", draw_every, 1, error=LayoutError)
    diversity = number("diversity", diversity, error=LayoutError)
    if bank is not None:
        check_bank(bank, generator, extractor)
        if len(bank.seeds) < count:
            raise LayoutError(f"count: expected at most the {len(bank.seeds)} seeds of the bank, got {count}")
    else:
        psi, seeds = number("psi", psi, 0, 2, error=LayoutError), _candidates(seed, candidates)
        grow = iter_bank if banks is None else banks.grow
        for grown in grow(generator, extractor, seeds, psi=psi):
            bank = grown
            yield SampleStep(0, steps, (), None, note)
    scores = rank_starts(bank, layout)
    nearest = float(scores.max()) if (resize_labels(layout, bank.labels.shape[1:]) != IGNORE).any() else None
    chosen = choose_starts(bank, layout, count, diversity=diversity, scores=scores)
    seeds = [bank.seeds[i] for i in chosen]
    with torch.no_grad():
        start = mapped(generator, seeds, bank.psi)
    wish = loop.Wish(layout, weight=category_weight(layout))
    if look is not None:
        color, much = color_wish(generator, extractor, look, bank.psi, layout)
        wish, weights = replace(wish, color=color, color_weight=much), replace(weights, color=weights.color or COLOR)
    basis = make_atlas(generator, bank).basis if len(bank.seeds) >= LEAST_BANK else None
    basis = None if basis is None or len(basis) == 0 else basis  # all samples are one image
    results: tuple[SampleResult, ...] = ()
    least: _Scored | None = None  # what no sample falls below
    for step in together_then_apart(
        generator, extractor, start, wish, basis, steps=steps, lr=lr, weights=weights, prior=PRIOR, patience=20
    ):
        now = _scored(step, layout)
        now = now if least is None else _never_below(least, now, 0.0 if look is None else GIVEN_UP)
        least = now if least is None or look is None else least
        if step.done and look is not None:
            bear = np.maximum(least.scores, now.scores) - GIVEN_UP
            agreed, last = partial(score, layout=layout), now.step
            for ws, image, labels in with_look(generator, extractor, last.ws, look, bank.psi, agreed, bear):
                yield SampleStep(step.index, steps, results, nearest, note)  # so that the caller can stop
                now = _scored(replace(last, ws=ws, image=image, labels=labels), layout)
        if step.done or step.index % draw_every == 0:
            results = _results(generator, now, seeds)
        yield SampleStep(step.index, steps, results, nearest, note)


def _candidates(seed: int, count: int) -> range:
    """The seeds from `seed` on; raises `LayoutError`."""
    seed = whole_number("seed", seed, 0, MAX_SEED, error=LayoutError)
    if seed + count - 1 > MAX_SEED:
        raise LayoutError(f"seed: expected {count} seeds in 0..{MAX_SEED}, got {seed} and what follows it")
    return range(seed, seed + count)


@dataclass(frozen=True, eq=False)
class _Scored:
    """A step of the loop, with the score of each sample (N,)."""

    step: loop.SteerStep
    scores: np.ndarray


def _scored(step: loop.SteerStep, layout: np.ndarray) -> _Scored:
    return _Scored(step, np.array([score(labels, layout) for labels in step.labels]))


def _never_below(before: _Scored, now: _Scored, given_up: float) -> _Scored:
    """What is now, with samples that match the layout less than before, by more than `given_up`, replaced by those.

    The loop minimises the loss, which is not the score.
    """
    worse, then, step = now.scores < before.scores - given_up, before.step, now.step
    if not worse.any():
        return now
    where = torch.from_numpy(worse).to(step.ws.device)
    ws = torch.where(where[:, None, None], then.ws, step.ws)
    image = None if step.image is None else torch.where(where[:, None, None, None], then.image, step.image)
    labels = np.where(worse[:, None, None], then.labels, step.labels)
    return _Scored(replace(step, ws=ws, image=image, labels=labels), np.where(worse, before.scores, now.scores))


def _results(generator: Generator, now: _Scored, seeds: list[int]) -> tuple[SampleResult, ...]:
    step = now.step
    image = _draw(generator, step.ws) if step.image is None else step.image
    check_finite([image], seeds, generator.id, "pixels")
    results = (
        SampleResult(image[i].cpu(), step.labels[i], step.ws[i].cpu(), float(now.scores[i]), seeds[i])
        for i in range(len(seeds))
    )
    return tuple(sorted(results, key=lambda each: -each.score))


@torch.no_grad()
def _draw(generator: Generator, ws: torch.Tensor) -> torch.Tensor:
    """The images of ws (N, num_ws, w_dim), in as many passes as memory requires."""
    return torch.cat([checked_pass(generator, ws[part])[0] for part in batches(len(ws), fitting(generator, len(ws)))])


def score(labels: np.ndarray, layout: np.ndarray) -> float:
    """The mean IoU of labels (H, W) uint8 with a layout, over the layout's categories and where it is not free."""
    asked = layout != IGNORE
    pairs = (layout[asked].astype(np.int64) << 8) | labels[asked]
    both = np.bincount(pairs, minlength=1 << 16).reshape(256, 256)
    wanted, found, met = both.sum(1), both.sum(0), both.diagonal()
    named = wanted > 0
    return float(np.mean((met / np.maximum(wanted + found - met, 1))[named]))


def _checked(generator: Generator, extractor: Extractor, layout: np.ndarray) -> tuple[np.ndarray, str]:
    """The layout at the generator's size, without categories that are never predicted, and a note on these."""
    check_fits(extractor, generator)
    layout = array("layout", layout, error=LayoutError)
    if layout.ndim != 2 or layout.dtype.kind not in "ui":
        raise LayoutError(f"layout: expected labels (H, W), whole numbers, got {layout.shape} {layout.dtype}")
    known = layout[layout != IGNORE]
    if known.size == 0:
        raise LayoutError("the layout is empty: paint at least one category")
    if known.min() < 0 or known.max() >= len(extractor.categories):
        wrong = known.min() if known.min() < 0 else known.max()
        raise LayoutError(
            f"the layout has label {wrong}, but the extractor knows only {len(extractor.categories)} categories"
        )
    layout = layout.astype(np.uint8, copy=False)
    fitted = resize_labels(layout, tuple(generator.size))
    fitted, note = findable(extractor, fitted)
    if note and (fitted == IGNORE).all():
        raise LayoutError(f"nothing of the layout can be asked for: {note}; label some first")
    if (fitted == IGNORE).all():
        sizes = [f"{width} x {height}" for height, width in (layout.shape, fitted.shape)]
        raise LayoutError(
            f"what is painted is lost in resizing the layout from {sizes[0]} to {sizes[1]}: paint with a wider brush"
        )
    return fitted, note
