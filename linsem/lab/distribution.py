"""Distances between sets of feature vectors: the Fréchet distance, and precision and recall by neighbours."""

from __future__ import annotations

import torch

_CHUNK = 500


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """The squared Fréchet distance between Gaussians fitted to (N, D) and (M, D) (Heusel et al., 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), in float64, by eigenvalues.
    """
    first, second = _checked(first, second, least=2)
    root, other = _root(_cov(first)), _cov(second)
    between = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    spread = first.var(dim=0).sum() + second.var(dim=0).sum()
    return max(0.0, ((first.mean(0) - second.mean(0)).square().sum() + spread - 2 * between).item())


def precision_recall(generated: torch.Tensor, real: torch.Tensor, k: int = 3) -> tuple[float, float]:
    """Precision, the share of generated vectors (N, D) within the real manifold, and recall, the converse.

    A set's manifold is the union of balls around its members, each with the distance to its k-th neighbour as radius
    (Kynkäänniemi et al., 2019).
    """
    generated, real = _checked(generated, real, least=k + 1)
    return _within(generated, real, k), _within(real, generated, k)


def _within(queries: torch.Tensor, members: torch.Tensor, k: int) -> float:
    """The share of queries that lie in the ball of some member."""
    radii = torch.cat([torch.cdist(part, members).kthvalue(k + 1, dim=1).values for part in members.split(_CHUNK)])
    inside = [(torch.cdist(part, members) <= radii).any(dim=1) for part in queries.split(_CHUNK)]
    return torch.cat(inside).double().mean().item()


def _cov(features: torch.Tensor) -> torch.Tensor:
    """The covariance (D, D) of (N, D), also of single numbers, for which torch gives one without dimensions."""
    return torch.atleast_2d(features.T.cov())


def _root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _checked(first: torch.Tensor, second: torch.Tensor, least: int) -> tuple[torch.Tensor, torch.Tensor]:
    for features in (first, second):
        if features.ndim != 2 or features.shape[1] != first.shape[1] or len(features) < least:
            shapes = tuple(first.shape), tuple(second.shape)
            raise ValueError(f"features: expected (N, D) and (M, D), at least {least} each, got {shapes}")
    return first.double(), second.double()
