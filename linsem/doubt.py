"""Withdraw guesses that the other images contradict: labels spread from strokes that a fit without their image rejects.

A stroke spreads over one colour (`linsem.spread`), and where a nose hardly differs from the cheek it leaks over the
face. The labels of the other images are independent of that mistake. They may withdraw a guess but never add one: their
confident predictions are often wrong just where the strokes left a gap. If they do not recognise even the strokes of a
category on an image, such as the only hat among eight, they are not asked about it there.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from linsem.rows import Solutions
from linsem.softmax import Problem, logits_of, solved

FOLDS = 8  # cross-validation folds: an image each, or several together
ROWS = 2_000  # used by the fits, besides those painted on the images with guesses
ITERATIONS, AGAIN = 16, 2  # from a cold start, and from the last solution of the same images
KNOWN = 0.1  # mean probability at the strokes of a category below which a fit does not know it
SHARE = 0.3  # of the probability at the strokes: guesses with less are withdrawn


@torch.no_grad()
def doubted(
    problem: Problem,
    image: torch.Tensor,
    guessed: torch.Tensor,
    ridge: float,
    last: Solutions | None = None,
) -> torch.Tensor:
    """Which rows are doubted, (n,) bool: a subset of `guessed` (n,) bool; `image` (n,) int64 is each row's image.

    `last` caches the solutions, for the same images and classes, as warm starts that shorten the wait after a stroke.
    """
    fold = image.unique(return_inverse=True)[1] % FOLDS
    parts = fold[guessed].unique()
    if len(parts) == 0 or not fold.any():  # no guesses, or no other images
        return torch.zeros_like(guessed)
    used = ~guessed & torch.isin(image, image[guessed])
    used[:: -(-len(used) // ROWS)] = True
    used |= _first_of_each(image)  # so that each part has rows outside it to fit to
    last = {} if last is None else last
    theta = _without(problem, fold, parts, used, ridge, last.get(tuple(parts.tolist())))
    if not bool(torch.isfinite(theta).all()):
        return torch.zeros_like(guessed)
    last[tuple(parts.tolist())] = theta
    probability = torch.zeros_like(problem.weight)
    for part, each in zip(parts, theta.split(problem.classes), strict=True):
        rows = (fold == part).nonzero()[:, 0]
        probability[rows] = logits_of(each, problem.x[rows]).softmax(1).gather(1, problem.y[rows, None])[:, 0]
    cell = image * problem.classes + problem.y
    painted = probability.new_zeros(2, int(cell.max()) + 1)
    painted[0].index_add_(0, cell[~guessed], probability[~guessed])
    painted[1].index_add_(0, cell[~guessed], torch.ones_like(probability[~guessed]))
    recognised = painted[0] / painted[1].clamp_min(1)
    return guessed & (recognised > KNOWN)[cell] & (probability < SHARE * recognised[cell])


def _first_of_each(image: torch.Tensor) -> torch.Tensor:
    """(n,) bool: the first row of each image (n,)."""
    first = torch.zeros_like(image, dtype=torch.bool)
    where = image.unique(return_inverse=True)[1]
    rows = torch.arange(len(image), device=image.device)
    first[torch.full_like(rows[: int(where.max()) + 1], len(image)).scatter_reduce(0, where, rows, "amin")] = True
    return first


def _without(
    problem: Problem, fold: torch.Tensor, parts: torch.Tensor, used: torch.Tensor, ridge: float,
    start: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """(parts * classes, D + 1): for each part the solution on the used rows outside it, solved together."""
    some = problem.part(used)
    weight = some.weight * (fold[used] != parts[:, None])
    many = replace(some, weight=weight / weight.sum(1, keepdim=True))
    return solved(many, ridge, ITERATIONS if start is None else AGAIN, start, brief=start is not None)
