"""Initialise a mapping network to decode codes: w is a random mixture of everything that a code determines.

A drawing's choices are thresholds of its code's coordinates (`linsem.lab.drawings`). Networks learn such steps slowly
from data, so three of the four layers are constructed: ramps at each threshold, steps, and one unit for each cell of
each table. The fourth is a random mixture. All layers are trained from there.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from linsem.lab import drawings
from linsem.ops import SQRT2
from linsem.stylegan2 import Mapping

RAMP = 0.05  # half the width of a ramp, in z
SPARE = 0.03  # the scale of the units that are not constructed
GAIN = 3.0
_SLOPE = 8.0


@torch.no_grad()
def construct(mapping: Mapping) -> None:
    """Construct the first three layers (in place) and set the mean w."""
    cuts, tables, through = _plan()
    layers = [mapping.fc0, mapping.fc1, mapping.fc2]
    rows = [_Rows(layer) for layer in layers]
    steps, passed = {}, {}
    for coordinate, cut in cuts:
        high = rows[0].add({coordinate: _SLOPE}, -_SLOPE * (cut - RAMP))
        low = rows[0].add({coordinate: _SLOPE}, -_SLOPE * (cut + RAMP))
        # a leaky unit's difference goes from 0.2 to 1 times its full height: rescale to 0..1
        height = 0.8 * SQRT2 * 2 * RAMP * _SLOPE
        steps[coordinate, cut] = rows[1].add({high: 1 / height, low: -1 / height}, -0.25)
    for coordinate in through:
        pair = [rows[0].add({coordinate: sign}, 0.0) for sign in (1.0, -1.0)]
        linear = 1 / (1.2 * SQRT2)
        passed[coordinate] = [rows[1].add({pair[0]: s * linear, pair[1]: -s * linear}, 0.0) for s in (1.0, -1.0)]
    for (first, first_cuts), (second, second_cuts) in tables:
        for row in _bins(steps, first, first_cuts):
            for column in _bins(steps, second, second_cuts):
                rows[2].add(_sum(row[0], column[0]), row[1] + column[1] - 1.0)
    for coordinate in through:
        pair = passed[coordinate]
        rows[2].add({pair[0]: 0.5, pair[1]: -0.5}, 0.0)
    for coordinate, cut in cuts:
        if coordinate in through:
            rows[2].add({steps[coordinate, cut]: 2 / SQRT2}, -1.0)
    for each in rows:
        each.layer.weight[each.next :] *= SPARE
    places = _places(tables)
    mapping.fc3.weight[:, :places] *= GAIN  # a cell is rarely 1, so its column needs a larger gain
    w = mapping(torch.randn(20000, mapping.config.z_dim, generator=torch.Generator().manual_seed(0)))
    mapping.fc3.weight /= w.std()
    mapping.w_avg.copy_(w.mean(0) / w.std())


@torch.no_grad()
def sharpen(mapping: Mapping, factor: float) -> None:
    """Narrow each ramp of a constructed mapping, trained or not, by a factor (in place).

    A ramp is the difference of two units of the first layer. Their difference is divided, and the weights reading it
    are multiplied, so nothing changes for codes outside the old ramps. Drawings have no images between two choices.
    """
    first, second = mapping.fc0, mapping.fc1
    for high in range(0, 2 * len(_plan()[0]), 2):
        pair = slice(high, high + 2)
        for parameter in (first.weight, first.bias):
            mean = parameter[pair].mean(dim=0, keepdim=True)
            parameter[pair] = mean + (parameter[pair] - mean) / factor
        mean = second.weight[:, pair].mean(dim=1, keepdim=True)
        second.weight[:, pair] = mean + (second.weight[:, pair] - mean) * factor


class _Rows:
    """Writes the units of a layer one after the other, in effective weights."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.layer, self.next = layer, 0

    def add(self, weights: dict[int, float], bias: float) -> int:
        """Write a unit and return its index."""
        index, self.next = self.next, self.next + 1
        self.layer.weight[index] = 0
        for source, weight in weights.items():
            self.layer.weight[index, source] = weight / self.layer.weight_gain
        self.layer.bias[index] = bias / self.layer.bias_gain
        return index


def _plan() -> tuple[list[tuple[int, float]], list[tuple[tuple[int, list[float]], tuple[int, list[float]]]], list[int]]:
    """All thresholds (coordinate, value); the tables' two coordinates with theirs; the coordinates used directly."""
    tables, start = [], 0
    for options in drawings.choices().values():
        rows, columns = drawings.table_shape(len(options))
        tables.append(((start, _quantiles(rows)), (start + 1, _quantiles(columns))))
        start += 2
    through = list(range(start, start + 10))
    cuts = [(c, v) for table in tables for c, values in table for v in values]
    cuts += [(start + 3, 0.675), (start + 4, 0.842), (start + 5, 0.842)]
    return cuts, tables, through


def _quantiles(count: int) -> list[float]:
    return [float(np.log(i / (count - i)) / 1.702) for i in range(1, count)]


def _bins(
    steps: dict[tuple[int, float], int], coordinate: int, cuts: list[float]
) -> list[tuple[dict[int, float], float]]:
    """For each interval of a coordinate, step units (and a constant) that sum to 1 inside and 0 outside."""
    found = []
    for i in range(len(cuts) + 1):
        weights = {}
        if i > 0:
            weights[steps[coordinate, cuts[i - 1]]] = 1 / SQRT2
        if i < len(cuts):
            weights[steps[coordinate, cuts[i]]] = -1 / SQRT2
        found.append((weights, 1.0 if i == 0 else 0.0))
    return found


def _sum(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    return {k: first.get(k, 0.0) + second.get(k, 0.0) for k in first.keys() | second.keys()}


def _places(tables: list) -> int:
    return sum((len(a[1]) + 1) * (len(b[1]) + 1) for a, b in tables)


def units_needed() -> int:
    """The width required by the construction."""
    cuts, tables, through = _plan()
    places = _places(tables)
    return max(2 * len(cuts) + 2 * len(through), places + len(through) + 3, math.ceil(len(cuts) + 2 * len(through)))
