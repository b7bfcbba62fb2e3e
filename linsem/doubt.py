"""Withdraw guesses that the other images contradict: labels spread from strokes that a fit without their image rejects.

A stroke spreads over one colour (`linsem.spread`), and where a nose hardly differs from the cheek it leaks over the
face. The labels of the other images are independent of that mistake. They may withdraw a guess but never add one: their
confident predictions are often wrong just where the strokes left a gap. If they do not recognise even the strokes of a
category on an image, such as the only hat among eight, they are not asked about it there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from linsem.curvature import Preconditioner, evened
from linsem.softmax import Problem, logits_of, solved

FOLDS = 8  # cross-validation folds: an image each, or several together
ROWS = 2_000  # used by the fits, besides those painted on the images with guesses
ITERATIONS, AGAIN = 16, 1  # from a cold start, and of one of the last solutions of the same images
KNOWN = 0.1  # mean probability at the strokes of a category below which a fit does not know it
SHARE = 0.3  # of the probability at the strokes: guesses with less are withdrawn


@dataclass(frozen=True, eq=False)
class Outside:
    """For each of some parts the solution `theta` (classes, D + 1) on the rows outside it, and how to go on from them.

    `parts` are their numbers. `even` preconditioned them, and `turn` is the place of the part that was solved last, -1
    if all were.
    """

    parts: tuple[int, ...]
    theta: tuple[torch.Tensor, ...]
    even: Preconditioner
    turn: int = -1

    @property
    def nbytes(self) -> int:
        """The memory it takes."""
        return sum(each.nbytes for each in self.theta) + self.even.nbytes


@torch.no_grad()
def doubted(
    problem: Problem,
    image: torch.Tensor,
    guessed: torch.Tensor,
    ridge: float,
    last: Outside | None = None,
) -> tuple[torch.Tensor, Outside | None]:
    """Which rows are doubted, (n,) bool: a subset of `guessed` (n,) bool; `image` (n,) int64 is each row's image.

    The solutions that decide it come along, None if there are none. From `last`, those for the same images and classes
    before a stroke, one of them goes on, in turn: a stroke hardly changes them, and least the one outside its image.
    """
    nothing = torch.zeros_like(guessed)
    number = (torch.bincount(image) > 0).cumsum(0) - 1  # of each image among those that have rows
    fold = number[image] % FOLDS
    parts = torch.bincount(fold[guessed]).nonzero()[:, 0]
    if len(parts) == 0 or not fold.any():  # no guesses, or no other images
        return nothing, None
    used = ~guessed & (torch.bincount(image[guessed], minlength=len(number)) > 0)[image]
    used[:: -(-len(used) // ROWS)] = True
    used |= _first_of_each(image)  # so that each part has rows outside it to fit to
    found = _outside(problem.part(used), fold[used], parts, ridge, last)
    if not all(bool(torch.isfinite(theta).all()) for theta in found.theta):
        return nothing, None
    probability = torch.zeros_like(problem.weight)
    of, runs = fold.unique_consecutive(return_counts=True)  # views of the rows, which would take long to copy
    pieces = zip(of.tolist(), *(each.split(runs.tolist()) for each in (problem.x, problem.y, probability)), strict=True)
    for part, x, y, out in pieces:
        if part in found.parts:
            theta = found.theta[found.parts.index(part)]
            logits = logits_of(theta, x).t().contiguous()  # a softmax over short rows takes ten times as long
            out.copy_(logits.softmax(0).gather(0, y[None])[0])
    cell = image * problem.classes + problem.y
    painted = probability.new_zeros(2, int(cell.max()) + 1)
    painted[0].index_add_(0, cell[~guessed], probability[~guessed])
    painted[1].index_add_(0, cell[~guessed], torch.ones_like(probability[~guessed]))
    recognised = painted[0] / painted[1].clamp_min(1)
    return guessed & (recognised > KNOWN)[cell] & (probability < SHARE * recognised[cell]), found


def _first_of_each(image: torch.Tensor) -> torch.Tensor:
    """(n,) bool: the first row of each image (n,)."""
    rows = torch.arange(len(image), device=image.device)
    first = rows.new_full((int(image.max()) + 1,), len(image)).scatter_reduce(0, image, rows, "amin")
    return rows == first[image]


def _outside(problem: Problem, fold: torch.Tensor, parts: torch.Tensor, ridge: float, last: Outside | None) -> Outside:
    """The solutions outside each part, all of them solved together or, from the last ones, one of them."""
    name = tuple(parts.tolist())
    if last is None or last.parts != name:
        many = _without(problem, fold, parts)
        even = evened(problem.x, many.weight.mean(0), ridge)
        theta = solved(many, ridge, ITERATIONS, even=even)
        return Outside(name, theta.split(problem.classes), even)
    turn, theta = (last.turn + 1) % len(parts), list(last.theta)
    one = _without(problem, fold, parts[turn : turn + 1])
    theta[turn] = solved(one, ridge, AGAIN, theta[turn], even=last.even)
    return Outside(name, tuple(theta), last.even, turn)


def _without(problem: Problem, fold: torch.Tensor, parts: torch.Tensor) -> Problem:
    """A problem for each of some parts, on the rows outside it."""
    weight = problem.weight * (fold != parts[:, None])
    return replace(problem, weight=weight / weight.sum(1, keepdim=True))
