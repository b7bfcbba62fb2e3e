"""Coordinates in which a ridge is a sensible prior: each layer's principal directions, scaled by their own variance.

What the generator's features say without any label: which directions of a layer vary together, and which hardly at
all. A direction with variance v gets the coordinate x v^((power - 1) / 2): with power 1 the ridge acts on the features
as they are (and leans on directions of large variance), with power 0 on whitened ones (and treats all alike). A
direction whose variance is below `floor` of the layer's mean carries nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from linsem.generator import Layer

POSITIONS = 4  # of a map, for each direction that is kept of it


@dataclass(frozen=True, eq=False)
class Basis:
    """`mean` (D,), and for each layer its directions (c, r), already scaled, and their inverse (r, c).

    `variance` (R,) is that of each coordinate with power 1; `power` is the one that the directions are scaled by.
    """

    mean: torch.Tensor
    forward: tuple[torch.Tensor, ...]
    backward: tuple[torch.Tensor, ...]
    variance: torch.Tensor
    power: float

    @property
    def channels(self) -> list[int]:
        """Of each layer, before."""
        return [f.shape[0] for f in self.forward]

    def factors(self, power: float) -> torch.Tensor:
        """(R,) what this basis's coordinates are to be multiplied by to be those of another power."""
        return self.variance ** ((power - self.power) / 2)

    def with_power(self, power: float) -> Basis:
        """The same directions, scaled by another power."""
        parts = self.factors(power).split([f.shape[1] for f in self.forward])
        forward = tuple(f * part for f, part in zip(self.forward, parts, strict=True))
        backward = tuple(b / part[:, None] for b, part in zip(self.backward, parts, strict=True))
        return Basis(self.mean, forward, backward, self.variance, power)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (n, D) of raw features to (n, R)."""
        blocks = zip(x.split(self.channels, dim=1), self.mean.split(self.channels), self.forward, strict=True)
        return torch.cat([(part - mean) @ f for part, mean, f in blocks], dim=1)

    def to_raw(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A solution (K, R + 1) to a matrix (K, D) and a bias (K,) that read raw features."""
        parts = theta[:, :-1].split([f.shape[1] for f in self.forward], dim=1)
        matrix = torch.cat([part @ f.t() for part, f in zip(parts, self.forward, strict=True)], dim=1)
        return matrix, theta[:, -1] - matrix @ self.mean

    def from_raw(self, matrix: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """The nearest solution (K, R + 1) to a matrix (K, D) and bias that read raw features."""
        parts = zip(matrix.split(self.channels, dim=1), self.backward, strict=True)
        theta = torch.cat([part @ b.t() for part, b in parts], dim=1)
        return torch.cat([theta, (bias + matrix @ self.mean)[:, None]], dim=1)


def fit_basis(
    x: torch.Tensor,
    channels: Sequence[int],
    *,
    power: float = 1.0,
    rank: int | Sequence[int] | None = None,
    floor: float = 1e-4,
) -> Basis:
    """The basis of rows x (n, D), whose columns are layers of the given channels.

    Layers are brought to the same mean variance first, since only their number of channels should count. `rank` is
    the most directions that a layer may keep, or that each of them may (None: all).
    """
    mean = x.mean(0)
    forward, backward, variances = [], [], []
    ranks = channels if rank is None else [rank] * len(channels) if isinstance(rank, int) else rank
    for part, center, most in zip(x.split(list(channels), dim=1), mean.split(list(channels)), ranks, strict=True):
        centred = part - center
        covariance = centred.t() @ centred / len(x)
        unit = float(covariance.diagonal().mean()) + 1e-12
        values, vectors = torch.linalg.eigh(covariance / unit)
        keep = values > floor
        keep[: max(len(values) - most, 0)] = False
        keep[-1] = True
        values, vectors = values[keep].clamp_min(1e-12), vectors[:, keep]
        scale = values ** ((power - 1) / 2) / unit**0.5
        forward.append(vectors * scale)
        backward.append((vectors / scale).t().contiguous())
        variances.append(values)
    return Basis(mean, tuple(forward), tuple(backward), torch.cat(variances), power)


def ranks_of(layers: Sequence[Layer], rank: int | None) -> list[int] | None:
    """`rank` for each layer, but less for small maps; None stays None.

    The few positions of a map of 4 x 4 tell few directions apart, and others than these tell an image from the others
    and not what is in it.
    """
    return None if rank is None else [max(min(rank, each.height * each.width // POSITIONS), 1) for each in layers]
