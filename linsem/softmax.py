"""L2-regularised softmax regression, the convex problem of a linear extractor, and the choice of its ridge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from linsem.calibrate import temperature_of
from linsem.curvature import Preconditioner, evened

EQUAL = 0.01  # relative tolerance: a ridge whose loss is within it counts as equally good


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows x (n, D) float32, labels y (n,) int64 in 0..classes-1, and weights (n,) that sum to one.

    Weights of shape (m, n) stand for m problems on the same rows, with solutions (m * classes, D + 1); they are solved
    together, so that the rows are read once for all.
    """

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    classes: int

    @property
    def weights(self) -> torch.Tensor:
        """The weights as (m, n), also of a single problem."""
        return self.weight.reshape(-1, len(self.y))

    def part(self, chosen: torch.Tensor) -> Problem:
        """The problem restricted to some rows, (n,) bool or indices, with weights summing to one; for m = 1 only."""
        rows = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen
        weight = self.weight[rows]
        return Problem(self.x.index_select(0, rows), self.y[rows], weight / weight.sum().clamp_min(1e-12), self.classes)

    def start(self) -> torch.Tensor:
        """Initial theta (m * classes, D + 1): zeros, except for the bias (last column), each class's log share."""
        theta = self.x.new_zeros(len(self.weights) * self.classes, self.x.shape[1] + 1)
        share = theta.new_zeros(len(self.weights), self.classes).index_add_(1, self.y, self.weights)
        theta[:, -1] = (share.flatten() + 1e-4).log()
        return theta


def logits_of(theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Logits (n, K) of theta (K, D + 1) and rows (n, D)."""
    return torch.addmm(theta[:, -1], x, theta[:, :-1].t())


def solve(
    theta: torch.Tensor,
    problem: Problem,
    ridge: float,
    iterations: int,
    *,
    every: int = 8,
    tolerance: float = 2e-3,
    even: Preconditioner | None = None,
) -> Iterator[tuple[int, float]]:
    """Minimise mean cross-entropy + ridge / 2 |theta|^2 (bias excluded) by L-BFGS, in place.

    Yields (iterations done, loss) every `every` iterations; stops early when the loss falls by less than `tolerance`,
    relative, within that many. `theta` (m * classes, D + 1) is the initial value and becomes the solution; several
    problems are solved as their sum, with a common step length. The gradient is written out: it takes two matrix
    products, and autograd would hold copies of both. `even` preconditions the problem (default: `evened` of its rows),
    since the features of neighbouring layers are strongly correlated; this changes the path, not the solution.
    """
    weight = problem.weights
    even = evened(problem.x, weight.mean(0), ridge) if even is None else even
    moved = even.moved(theta)
    moved.grad = torch.zeros_like(theta)
    grad = torch.empty_like(theta)
    solver = torch.optim.LBFGS(
        [moved], lr=1, max_iter=every, max_eval=every * 5 // 4 + 1, history_size=12, line_search_fn="strong_wolfe",
        tolerance_grad=1e-8, tolerance_change=1e-10,
    )  # fmt: skip
    own = theta.new_zeros(problem.classes, len(problem.y)).scatter_(0, problem.y[None], 1)
    at, known = torch.full_like(moved, torch.nan), theta.new_zeros(())

    @torch.no_grad()
    def closure() -> torch.Tensor:
        nonlocal known
        if torch.equal(moved, at):  # a line search mostly ends where it looked last, and the next one begins there
            return known
        at.copy_(moved)
        even.back(moved, theta)
        logits = logits_of(theta, problem.x).t().contiguous()  # a softmax over short rows takes ten times as long
        logp = F.log_softmax(logits.unflatten(0, (len(weight), -1)), dim=1)
        theirs = logp.gather(1, problem.y.expand(len(weight), 1, -1))[:, 0]
        loss = -(theirs * weight).sum() + ridge / 2 * theta[:, :-1].square().sum()
        error = logp.exp_().sub_(own).mul_(weight[:, None]).flatten(0, 1)
        torch.add(_product(error, problem.x), theta[:, :-1], alpha=ridge, out=grad[:, :-1])
        torch.sum(error, dim=1, out=grad[:, -1])
        even.gradient(grad, moved.grad)
        known = loss
        return loss

    before = float("inf")
    for done in range(every, iterations + every, every):
        solver.param_groups[0]["max_iter"] = every - max(done - iterations, 0)  # the last round may be shorter
        solver.step(closure)
        loss = float(closure())  # and so theta is the accepted point
        yield min(done, iterations), loss
        if before - loss < tolerance * abs(loss):
            return
        before = loss


def _product(error: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(K, n) times (n, D), split over the threads: BLAS would use one thread for a product of this shape."""
    threads = torch.get_num_threads() if x.device.type == "cpu" else 1
    even = len(x) // threads * threads
    parts = error[:, :even].unflatten(1, (threads, -1)).transpose(0, 1)
    product = torch.bmm(parts, x[:even].unflatten(0, (threads, -1))).sum(0)
    return product if even == len(x) else product.addmm_(error[:, even:], x[even:])


def solved(
    problem: Problem,
    ridge: float,
    iterations: int,
    start: torch.Tensor | None = None,
    *,
    even: Preconditioner | None = None,
) -> torch.Tensor:
    """The solution, from `start` (left unchanged) or from the class shares; `even` as in `solve`."""
    theta = problem.start() if start is None else start.clone()
    for _ in solve(theta, problem, ridge, iterations, even=even):
        pass
    return theta


@dataclass(frozen=True, eq=False)
class Choice:
    """The choice of cross-validation: the ridge, its held-out loss, all candidates' losses, and the held-out logits."""

    ridge: float
    loss: float
    losses: tuple[float, ...]
    logits: torch.Tensor
    rows: torch.Tensor


def cross_validate(
    problem: Problem,
    groups: torch.Tensor,
    ridges: Sequence[float],
    *,
    folds: int = 3,
    iterations: int = 8,
    even: bool = True,
) -> Choice:
    """Choose the strongest of `ridges` whose held-out loss (`_missed`) is within `EQUAL` of the best.

    `groups` (n,) int64, at least two, are left out together. With `even` each class counts the same; otherwise the
    weights are used as they are, and the loss is the one that is fitted.

    The ridges are solved from strongest to weakest, each warm-started from the last, so that a path costs little more
    than its end. Classes that occur only in the left-out groups cannot be predicted, and their pixels do not count.
    """
    fold_of = groups % min(folds, int(groups.max()) + 1)
    ordered = sorted(ridges, reverse=True)
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
            kept[i].append(logits_of(theta, problem.x[out]))
    if not rows:
        middle = ordered[len(ordered) // 2]
        empty = problem.y[:0]
        unknown = (float("nan"),) * len(ordered)
        return Choice(middle, float("inf"), unknown, problem.x.new_zeros(0, problem.classes), empty)
    chosen = torch.cat(rows)
    logits = [torch.cat(each) for each in kept]
    y, weight = problem.y[chosen], problem.weight[chosen]
    if even:
        losses = [_missed(each, y, _evenly(weight, y, problem.classes)) for each in logits]
    else:
        losses = [_entropy(each, y, weight) for each in logits]
    best = next(i for i, loss in enumerate(losses) if loss <= (1 + EQUAL) * min(losses))
    return Choice(ordered[best], losses[best], tuple(losses), logits[best], chosen)


def _missed(logits: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> float:
    """The cross-entropy of logits (n, K) at their best temperature.

    Overconfidence is not held against a fit: its probabilities are softened afterwards.
    """
    return _entropy(logits / temperature_of(logits, y, weight), y, weight)


def _entropy(logits: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> float:
    return float((F.cross_entropy(logits, y, reduction="none") * weight).sum() / weight.sum())


def _evenly(weight: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    """Reweight so that each class that occurs counts the same.

    Weighted by pixels, large areas such as walls would decide, and the chosen prior would lose eyes and mouths.
    """
    return weight / weight.new_zeros(classes).index_add_(0, y, weight)[y].clamp_min(1e-12)


def common_shares(logits: torch.Tensor, before: torch.Tensor, rounds: int = 10) -> torch.Tensor:
    """Estimate the class shares (K,) of rows from logits (n, K) of a classifier trained with the shares `before` (K,).

    The EM algorithm of Saerens et al. (2002): correct the probabilities by the shares, average them to get new shares,
    and repeat.
    """
    probabilities, shares = logits.softmax(1), before
    for _ in range(rounds):
        corrected = probabilities * (shares / before)
        shares = (corrected / corrected.sum(1, keepdim=True)).mean(0)
    return shares
