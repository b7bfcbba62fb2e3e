"""Preconditioners for softmax regression: a linear change of coordinates in which the Hessian is close to isotropic.

Averaged over the classes, the Hessian is about p (1 - p) times the second moments of the rows, plus the ridge; one
constant stands for p (1 - p) (Böhning's bound of 1992 has this form). Features of neighbouring layers are strongly
correlated, so the problem is ill-conditioned, and the full second moments save most of the iterations. They cost as
much as about ten iterations, though, on as few rows as a stroke has; there, a diagonal preconditioner is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_USUAL, _MOST = 0.1, 0.02  # p (1 - p) of pixels worth labelling, and of all pixels, most of which are easy
_ROWS = 4000  # used for the moments, at most
_WORTH = 4  # rows per coordinate from which the full preconditioner pays off
_BRIEFLY = 8  # rows per coordinate that are used for the moments where few iterations follow


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Diagonal preconditioner: each coordinate is divided by `scale` (D + 1,), its curvature to the power of -1/2."""

    scale: torch.Tensor

    @property
    def nbytes(self) -> int:
        """The memory it takes."""
        return self.scale.nbytes

    def moved(self, theta: torch.Tensor) -> torch.Tensor:
        """theta (K, D + 1) in preconditioned coordinates."""
        return theta / self.scale

    def back(self, moved: torch.Tensor, out: torch.Tensor) -> None:
        """theta from preconditioned coordinates, into `out`."""
        torch.mul(moved, self.scale, out=out)

    gradient = back


@dataclass(frozen=True, eq=False)
class Full:
    """Full preconditioner: theta @ root, the Cholesky factor of the curvature; `root`, `inverse` (D + 1, D + 1)."""

    root: torch.Tensor
    inverse: torch.Tensor

    @property
    def nbytes(self) -> int:
        """The memory it takes."""
        return self.root.nbytes + self.inverse.nbytes

    def moved(self, theta: torch.Tensor) -> torch.Tensor:
        """theta (K, D + 1) in preconditioned coordinates."""
        return theta @ self.root

    def back(self, moved: torch.Tensor, out: torch.Tensor) -> None:
        """theta from preconditioned coordinates, into `out`."""
        torch.mm(moved, self.inverse, out=out)

    def gradient(self, gradient: torch.Tensor, out: torch.Tensor) -> None:
        """The gradient in preconditioned coordinates, into `out`, from that with respect to theta."""
        torch.mm(gradient, self.inverse.t(), out=out)


Preconditioner = Diagonal | Full


@torch.no_grad()
def evened(x: torch.Tensor, weight: torch.Tensor, ridge: float, *, brief: bool = False) -> Preconditioner:
    """The preconditioner for rows x (n, D) with weights (n,) that sum to one.

    theta (K, D + 1) has the bias in its last column. With `brief`, for few iterations, fewer of the rows are used.
    """
    if len(x) < _WORTH * x.shape[1]:
        return diagonal(x, weight, ridge)
    return full(x, weight, ridge, min(_ROWS, _BRIEFLY * x.shape[1]) if brief else _ROWS)


def diagonal(x: torch.Tensor, weight: torch.Tensor, ridge: float) -> Diagonal:
    """The preconditioner of the variances."""
    mean = weight @ x
    variance = (weight @ x.square() - mean.square()).clamp_min(0)
    curvature = torch.cat([_USUAL * variance + ridge, variance.new_full((1,), _USUAL)])
    return Diagonal(curvature.clamp_min(1e-8).rsqrt())


def full(x: torch.Tensor, weight: torch.Tensor, ridge: float, rows: int = _ROWS) -> Full:
    """The preconditioner of all second moments, including those with the constant (the bias), of some of the rows."""
    step = -(-len(x) // rows)
    x, weight = x[::step], weight[::step] / weight[::step].sum()
    x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    curvature = (x * (_MOST * weight)[:, None]).t() @ x
    on_it = curvature.diagonal()
    on_it[:-1] += ridge
    on_it += 1e-3 * on_it.mean()  # regularises directions that the few rows do not cover
    root = torch.linalg.cholesky(curvature)
    unit = torch.eye(len(root), device=root.device, dtype=root.dtype)
    return Full(root, torch.linalg.solve_triangular(root, unit, upper=False))
