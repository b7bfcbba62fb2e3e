"""Elimination of the pixels of a picture by nested dissection (George, 1973): joints of pieces, and dense algebra.

A piece is a rectangle of pixels, of which only those along its border, its ring, are left in the equations; they stand
in a dense matrix, with the right sides as further columns. Two neighbouring pieces share a line of pixels. Where they
are joined, their equations are added, and that line is eliminated. All pieces of a size are treated at once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

NOTHING = 1e-18  # its square is a normal number in single precision

Place = tuple[int, int]
Run = tuple[int, int, int, bool]  # first place in a piece, first place in the union, number, whether they run backwards


def ring_of(high: int, wide: int) -> list[Place]:
    """The border of a piece of (high + 1, wide + 1) pixels, clockwise from its first pixel."""
    top, right = [(0, c) for c in range(wide + 1)], [(r, wide) for r in range(1, high)]
    return [*top, *right, *[(high, wide - c) for _, c in top], *[(high - r, 0) for r, _ in right]]


# --- elimination -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Eliminated:
    """What is left of B pieces after e of their unknowns were eliminated.

    `ring` (B, n, n + K) are the equations of the n others, with K right sides. The eliminated ones are `constant`
    (B, e, K) less `share` (B, e, n) times those. The tensors may be overwritten where a piece changes.
    """

    ring: torch.Tensor
    share: torch.Tensor
    constant: torch.Tensor

    def put(self, where: torch.Tensor, others: Eliminated) -> None:
        """Overwrite the pieces at the indices `where`."""
        self.ring[where], self.share[where], self.constant[where] = others.ring, others.share, others.constant

    def all(self, found: torch.Tensor) -> torch.Tensor:
        """The values (B, e + n, K) of all unknowns, from those (B, n, K) that were left."""
        return torch.cat([torch.baddbmm(self.constant, self.share, found, alpha=-1), found], dim=1)


def eliminate(rows: torch.Tensor, rest: torch.Tensor) -> Eliminated:
    """Eliminate e unknowns of each of B symmetric systems.

    `rows` (B, e, e + n + K) are their equations, in the columns of themselves, of the n others and of the right sides;
    `rest` (B, n, n + K) are the others', in the columns of those and of the right sides, and is overwritten.
    """
    e, n = rows.shape[1], rest.shape[1]
    inverse = normal(torch.cholesky_inverse(torch.linalg.cholesky(rows[..., :e])))
    solution = normal(inverse @ rows[..., e:])
    ring = normal(rest.baddbmm_(rows[..., e : e + n].mT, solution, alpha=-1))
    return Eliminated(ring, solution[..., :n].contiguous(), solution[..., n:].contiguous())


def normal(x: torch.Tensor) -> torch.Tensor:
    """x, where what is next to nothing is zero, so that no product of two numbers is subnormal.

    With subnormal numbers processors take many times as long.
    """
    return F.hardshrink(x, NOTHING)


def solve_rest(ring: torch.Tensor, shape: Place, counts: Place) -> torch.Tensor:
    """The values (B, n, K) at the rings (B, n, n + K) of the last pieces, solved as one dense system.

    The first row and column of the first pieces lie outside the picture and stay zero.
    """
    place, size = frame(*shape, *counts), unknowns(*shape, *counts) + 1
    n = ring.shape[1]
    system, right = ring.new_zeros(size, size), ring.new_zeros(size, ring.shape[2] - n)
    for each, at in zip(ring, place, strict=True):
        wide = each.new_zeros(n, size).index_copy_(1, at, each[:, :n])
        system.index_add_(0, at, wide)
        right.index_add_(0, at, each[:, n:])
    found = torch.cholesky_solve(right[:-1], torch.linalg.cholesky(system[:-1, :-1]))
    return torch.cat([found, found.new_zeros(1, found.shape[1])])[place]


def unknowns(high: int, wide: int, rows: int, columns: int) -> int:
    """How many pixels inside the picture are on the rings of so many pieces of a size."""
    return rows * columns * (wide + high - 1)


@functools.lru_cache(64)
def frame(high: int, wide: int, rows: int, columns: int) -> torch.Tensor:
    """The numbers (B, n) of these pixels on each ring; those outside the picture have the number after the last."""
    places = [
        [(down * high + r, right * wide + c) for r, c in ring_of(high, wide)]
        for down in range(rows)
        for right in range(columns)
    ]
    inside = sorted({(r, c) for each in places for r, c in each if r and c})
    number = {pixel: i for i, pixel in enumerate(inside)}
    return torch.tensor([[number.get(pixel, len(inside)) for pixel in each] for each in places])


# --- joining ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Joint:
    """How two pieces become one.

    Attributes:
        across: whether the second is to the right of the first, or below it.
        shape: of the union, (high, wide).
        line: the number of pixels that are eliminated; the others of the union are its ring.
        runs: for each of the two, where the pixels of its ring are in the union, whose first ones are the line.
        places: for each of the two, the same as indices (n,).
    """

    across: bool
    shape: Place
    line: int
    runs: tuple[list[Run], list[Run]]
    places: tuple[torch.Tensor, torch.Tensor]

    def halves(self, pieces: torch.Tensor) -> list[torch.Tensor]:
        """The first and the second of each union, of pieces (rows, columns, ...)."""
        return [pieces[:, k::2] if self.across else pieces[k::2] for k in range(2)]

    def joined(self, halves: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The equations of each union's line and ring, as `eliminate` takes them, from rings (..., n, n + K)."""
        n, columns = halves[0].shape[-2:]
        union, count = self.line + 2 * sum(self.shape), columns - n
        line = halves[0].new_zeros(*halves[0].shape[:-2], self.line, union + count)
        rest = halves[0].new_zeros(*halves[0].shape[:-2], union - self.line, union - self.line + count)
        for half, runs in zip(halves, self.runs, strict=True):
            across = [*runs, (n, union, count, False)]
            for at, to, rows, back in runs:
                target, gone = (line, 0) if to < self.line else (rest, self.line)
                for start, end, width, turned in across:
                    if end < gone:
                        continue
                    part = half[..., at : at + rows, start : start + width]
                    part = part.flip([-2] * back + [-1] * turned) if back or turned else part
                    target[..., to - gone : to - gone + rows, end - gone : end - gone + width] += part
        return line.flatten(0, -3), rest.flatten(0, -3)

    def parted(self, found: torch.Tensor) -> torch.Tensor:
        """The values at the rings of the pieces, from those (rows, columns, n, K) of their unions."""
        halves = [found.index_select(2, places) for places in self.places]
        axis = 1 if self.across else 0
        return torch.stack(halves, dim=axis + 1).flatten(axis, axis + 1)


@functools.lru_cache(64)
def joint(high: int, wide: int, across: bool) -> Joint:
    """The joint of two pieces of a shape."""
    shape = (high, 2 * wide) if across else (2 * high, wide)
    line = [(r, wide) for r in range(1, high)] if across else [(high, c) for c in range(1, wide)]
    place = {pixel: i for i, pixel in enumerate(line + ring_of(*shape))}
    moves = ((0, 0), (0, wide) if across else (high, 0))
    places = [[place[r + down, c + right] for r, c in ring_of(high, wide)] for down, right in moves]
    runs = tuple(_runs(each, len(line)) for each in places)
    return Joint(across, shape, len(line), runs, tuple(map(torch.tensor, places)))


def _runs(places: Sequence[int], line: int) -> list[Run]:
    """Places as runs of successive ones, forwards or backwards, none of which leaves the line or enters it."""
    runs, start = [], 0
    for i in range(1, len(places) + 1):
        step = places[start + 1] - places[start] if i - start > 1 else None
        if i < len(places) and (places[i] < line) == (places[start] < line):
            next_ = places[i] - places[i - 1]
            if next_ == step or (step is None and abs(next_) == 1):
                continue
        part = places[start:i]
        runs.append((start, min(part), len(part), part[0] > part[-1]))
        start = i
    return runs
