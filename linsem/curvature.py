"""Coordinates in which the curvature of a softmax regression is about even: in them a solver needs fewer iterations.

For all classes alike the curvature is about the second moments of the rows, times p (1 - p), for which one number
stands, + ridge (Boehning's bound of 1992 has this form). Features of neighbouring layers say much the same, so that
the loss is a long valley in theirs, and most of the way along it is saved by all of the moments. They cost as much as
some ten iterations, though, on no more rows than a stroke has; there the variances alone have to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_USUAL, _MOST = 0.1, 0.02  # p (1 - p) of pixels worth painting, and of all pixels, most of which are easy
_ROWS = 4000  # that the moments are taken of
_WORTH = 4  # rows for each coordinate, from which on all of the moments are worth their cost


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Each coordinate divided by `scale` (D + 1,), the inverse root of its curvature."""

    scale: torch.Tensor

    def moved(self, theta: torch.Tensor) -> torch.Tensor:
        """(K, D + 1) of these coordinates."""
        return theta / self.scale

    def back(self, moved: torch.Tensor, out: torch.Tensor) -> None:
        """From them."""
        torch.mul(moved, self.scale, out=out)

    gradient = back


@dataclass(frozen=True, eq=False)
class Full:
    """theta @ root, the Cholesky factor of the curvature; `root` and its `inverse` (D + 1, D + 1)."""

    root: torch.Tensor
    inverse: torch.Tensor

    def moved(self, theta: torch.Tensor) -> torch.Tensor:
        """(K, D + 1) of these coordinates."""
        return theta @ self.root

    def back(self, moved: torch.Tensor, out: torch.Tensor) -> None:
        """From them."""
        torch.mm(moved, self.inverse, out=out)

    def gradient(self, gradient: torch.Tensor, out: torch.Tensor) -> None:
        """From a gradient by theta to that by the coordinates."""
        torch.mm(gradient, self.inverse.t(), out=out)


@torch.no_grad()
def evened(x: torch.Tensor, weight: torch.Tensor, ridge: float) -> Diagonal | Full:
    """Of rows x (n, D) and weights (n,) that sum to one; theta (K, D + 1) has the bias in its last column."""
    return full(x, weight, ridge) if len(x) >= _WORTH * x.shape[1] else diagonal(x, weight, ridge)


def diagonal(x: torch.Tensor, weight: torch.Tensor, ridge: float) -> Diagonal:
    """By the variances."""
    mean = weight @ x
    variance = (weight @ x.square() - mean.square()).clamp_min(0)
    curvature = torch.cat([_USUAL * variance + ridge, variance.new_full((1,), _USUAL)])
    return Diagonal(curvature.clamp_min(1e-8).rsqrt())


def full(x: torch.Tensor, weight: torch.Tensor, ridge: float) -> Full:
    """By all second moments, those with the constant among them."""
    step = -(-len(x) // _ROWS)
    x, weight = x[::step], weight[::step] / weight[::step].sum()
    x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    curvature = (x * (_MOST * weight)[:, None]).t() @ x
    on_it = curvature.diagonal()
    on_it[:-1] += ridge
    on_it += 1e-3 * on_it.mean()  # of some directions few rows say nothing
    root = torch.linalg.cholesky(curvature)
    unit = torch.eye(len(root), device=root.device, dtype=root.dtype)
    return Full(root, torch.linalg.solve_triangular(root, unit, upper=False))
