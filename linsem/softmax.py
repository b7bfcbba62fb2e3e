"""Penalised softmax regression: the convex problem at the heart of a linear extractor, and how strong its prior is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Problem:
    """Rows x (n, D) float32, labels y (n,) int64 in 0..classes-1, weights (n,) that sum to one."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    classes: int

    def part(self, chosen: torch.Tensor) -> Problem:
        """Some of the rows, (n,) bool or indices; their weights sum to one again."""
        weight = self.weight[chosen]
        return Problem(self.x[chosen], self.y[chosen], weight / weight.sum().clamp_min(1e-12), self.classes)

    def start(self) -> torch.Tensor:
        """Zeros (classes, D + 1), but for the last column, the bias, which holds each class's log share."""
        theta = self.x.new_zeros(self.classes, self.x.shape[1] + 1)
        share = theta.new_zeros(self.classes).index_add_(0, self.y, self.weight)
        theta[:, -1] = (share + 1e-4).log()
        return theta


def logits_of(theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(classes, D + 1) and (n, D) to (n, classes)."""
    return torch.addmm(theta[:, -1], x, theta[:, :-1].t())


def solve(
    theta: torch.Tensor, problem: Problem, ridge: float, iterations: int, *, every: int = 10, tolerance: float = 1e-4
) -> Iterator[tuple[int, float]]:
    """Minimise mean cross-entropy + ridge / 2 |theta|^2 (not on the bias) by L-BFGS, in place.

    Yields (iterations done, loss) about every `every` iterations; ends early when the loss falls by less than
    `tolerance` of itself within that many. `theta` (classes, D + 1) is the start and the solution. The gradient is
    written out: it is two matrix products, and autograd would add copies of both.
    """
    grad = torch.zeros_like(theta)
    theta.grad = grad
    solver = torch.optim.LBFGS(
        [theta], lr=1, max_iter=every, max_eval=every * 5 // 4 + 1, history_size=12, line_search_fn="strong_wolfe",
        tolerance_grad=1e-8, tolerance_change=1e-10,
    )  # fmt: skip
    rows = torch.arange(len(problem.y), device=theta.device)

    @torch.no_grad()
    def closure() -> torch.Tensor:
        logp = F.log_softmax(logits_of(theta, problem.x), dim=1)
        loss = -(logp[rows, problem.y] * problem.weight).sum() + ridge / 2 * theta[:, :-1].square().sum()
        error = logp.exp_()
        error[rows, problem.y] -= 1
        error *= problem.weight[:, None]
        torch.mm(error.t(), problem.x, out=grad[:, :-1])
        grad[:, :-1].add_(theta[:, :-1], alpha=ridge)
        torch.sum(error, dim=0, out=grad[:, -1])
        return loss

    before = float("inf")
    for done in range(every, iterations + every, every):
        loss = float(solver.step(closure))
        yield min(done, iterations), loss
        if before - loss < tolerance * abs(loss):
            return
        before = loss


def solved(problem: Problem, ridge: float, iterations: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """The solution itself, from `start` (which is not changed) or from the class shares."""
    theta = problem.start() if start is None else start.clone()
    for _ in solve(theta, problem, ridge, iterations):
        pass
    return theta


@dataclass(frozen=True)
class Choice:
    """What cross-validation chose: the ridge, each candidate's held-out loss, and the held-out logits with it."""

    ridge: float
    losses: tuple[float, ...]
    logits: torch.Tensor
    rows: torch.Tensor


def cross_validate(
    problem: Problem, groups: torch.Tensor, ridges: Sequence[float], *, folds: int = 4, iterations: int = 20
) -> Choice:
    """Choose among `ridges` by the cross-entropy on groups that were left out; groups (n,) int64, at least two.

    From the strongest to the weakest, each begun from the last, so that a path costs little more than its end. A class
    that only the left-out groups have cannot be known there: its pixels do not count.
    """
    fold_of = groups % min(folds, int(groups.max()) + 1)
    ordered = sorted(ridges, reverse=True)
    losses = torch.zeros(len(ordered), dtype=torch.float64)
    kept: list[list[torch.Tensor]] = [[] for _ in ordered]
    rows = []
    for fold in fold_of.unique().tolist():
        out = (fold_of == fold).nonzero()[:, 0]
        train = problem.part((fold_of != fold).nonzero()[:, 0])
        known = torch.bincount(train.y, minlength=problem.classes) > 0
        out = out[known[problem.y[out]]]
        if len(out) == 0 or int(known.sum()) < 2:
            continue
        rows.append(out)
        theta = train.start()
        for i, ridge in enumerate(ordered):
            theta = solved(train, ridge, iterations, theta)
            logits = logits_of(theta, problem.x[out])
            kept[i].append(logits)
            loss = F.cross_entropy(logits, problem.y[out], reduction="none") * problem.weight[out]
            losses[i] += float(loss.sum())
    if not rows:
        middle = ordered[len(ordered) // 2]
        empty = problem.y[:0]
        return Choice(middle, (float("nan"),) * len(ordered), problem.x.new_zeros(0, problem.classes), empty)
    best = int(losses.argmin())
    return Choice(ordered[best], tuple(losses.tolist()), torch.cat(kept[best]), torch.cat(rows))
