"""A basis in which a ridge is a sensible prior: each layer's principal directions, scaled by their variance.

It is computed without labels. A direction with variance v gets the coordinate x v^((power - 1) / 2): with power 1 the
ridge acts on the features as they are (and favours directions of large variance), with power 0 on whitened features
(and treats all alike). Directions whose variance is below `floor` of the layer's mean are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from linsem.generator import Layer

POSITIONS = 4  # of a map, per direction kept
CONSTANT = 1e-9  # of a layer's mean square: a variance below it is rounding


@dataclass(frozen=True, eq=False)
class Basis:
    """`mean` (D,), and for each layer its scaled directions (c, r) and their inverse (r, c).

    `variance` (R,) is that of each coordinate at power 1; `power` is the one that the directions are scaled by.
    """

    mean: torch.Tensor
    forward: tuple[torch.Tensor, ...]
    backward: tuple[torch.Tensor, ...]
    variance: torch.Tensor
    power: float

    @property
    def channels(self) -> list[int]:
        """The raw channels of each layer."""
        return [f.shape[0] for f in self.forward]

    def factors(self, power: float) -> torch.Tensor:
        """(R,) factors that convert coordinates of this basis to those of another power."""
        return self.variance ** ((power - self.power) / 2)

    def with_power(self, power: float) -> Basis:
        """The same directions, scaled by another power."""
        parts = self.factors(power).split([f.shape[1] for f in self.forward])
        forward = tuple(f * part for f, part in zip(self.forward, parts, strict=True))
        backward = tuple(b / part[:, None] for b, part in zip(self.backward, parts, strict=True))
        return Basis(self.mean, forward, backward, self.variance, power)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Project raw rows (n, D) to (n, R)."""
        blocks = zip(x.split(self.channels, dim=1), self.mean.split(self.channels), self.forward, strict=True)
        return torch.cat([(part - mean) @ f for part, mean, f in blocks], dim=1)

    def project_maps(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Project each layer's map (1, C, h, w) to (1, r, h, w), whose pixels are rows in memory."""
        return tuple(
            ((each[0].flatten(1).t().float() - mean) @ f).t().reshape(1, -1, *each.shape[2:])
            for each, mean, f in zip(features, self.mean.split(self.channels), self.forward, strict=True)
        )

    def to_raw(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert a solution (K, R + 1) to a matrix (K, D) and bias (K,) on raw features."""
        parts = theta[:, :-1].split([f.shape[1] for f in self.forward], dim=1)
        matrix = torch.cat([part @ f.t() for part, f in zip(parts, self.forward, strict=True)], dim=1)
        return matrix, theta[:, -1] - matrix @ self.mean

    def from_raw(self, matrix: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """The solution (K, R + 1) nearest to a matrix (K, D) and bias on raw features."""
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
    """The basis of rows x (n, D), whose columns are layers with the given channels.

    Layers are first scaled to equal mean variance, so that only their number of channels matters. A layer that is
    constant over all rows, such as a 1 x 1 map of a single image, tells no pixels apart and is not read. `rank` is the
    most directions kept per layer, one number for all or one each (None: all).
    """
    mean = x.mean(0)
    forward, backward, variances = [], [], []
    ranks = channels if rank is None else [rank] * len(channels) if isinstance(rank, int) else rank
    for part, center, most in zip(x.split(list(channels), dim=1), mean.split(list(channels)), ranks, strict=True):
        centred = part - center
        covariance = centred.t() @ centred / len(x)
        unit = float(covariance.diagonal().mean())
        if unit <= CONSTANT * float(part.square().mean()):
            forward.append(part.new_zeros(part.shape[1], 1))
            backward.append(part.new_zeros(1, part.shape[1]))
            variances.append(part.new_ones(1))
            continue
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
    """`rank` for each layer, reduced for small maps; None stays None.

    The few positions of, say, a 4 x 4 map determine few directions, and further ones identify the image rather than its
    content.
    """
    return None if rank is None else [max(min(rank, each.height * each.width // POSITIONS), 1) for each in layers]
