"""A random walk over the pixels of a picture, from each of them to the first stroke (Grady, PAMI 2006).

The probabilities solve a sparse linear system, which is eliminated by nested dissection (George, 1973): the picture is
divided into small pieces, the inner pixels of each are eliminated, and then pieces are joined two by two, and the line
of pixels that they shared is eliminated, until one piece is left. What is kept of a piece is a dense matrix over its
ring, the pixels along its border. All pieces of a size are treated at once, so that a walk is some dozens of batched
products. Elimination row by row takes several times the arithmetic, and an iterative solver a few hundred rounds in
wide areas of one colour.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from linsem.device import own_modes
from linsem.pixels import IGNORE

SHARP = 2000.0  # factor on squared colour differences in 0..1: a twentieth of the range is an edge
REACH = 60.0  # pixels of one colour that a walker crosses before it stops
SLANT = 0.5  # rate of a step to a diagonal neighbour, relative to one along a row: thin slanted parts hold together
SIDES = (4, 5, 3)  # possible sides of the smallest pieces, in pixels

ENDS = (((0, 1), (1, 1)), ((1, 0), (1, 1)), ((0, 0), (1, 1)), ((0, 1), (1, 0)))  # of four edges, in squares of 2 x 2

Place = tuple[int, int]
Run = tuple[int, int, int, bool]  # first place in a piece, first place in the union, number, whether they run backwards


@own_modes()
def walk(picture: torch.Tensor, seeds: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
    """The probability (K, h, w) that a walker ends at each category, from a picture (3, h, w) in 0..1 and seeds (h, w).

    Seeds are labels, 255 where there is none; `categories` (K,) are those that occur. At a pixel without one the
    probability is the weighted mean of its eight neighbours', where the rate of stopping makes the weights sum to less
    than one; at the seeds it is fixed.
    """
    (h, w), count = seeds.shape, len(categories)
    (high, rows), (wide, columns) = _divided(h), _divided(w)
    known = (seeds == categories[:, None, None]).float()
    free = (seeds == IGNORE).float()
    inner, ring = _smallest(picture.float(), free, known, (high, wide), (rows, columns))
    trail = []
    first, ring = _eliminated(inner, ring)
    shape, ring = (high, wide), ring.unflatten(0, (rows, columns))
    while ring.shape[:2] != (1, 1):
        joint = _joint(*shape, across=ring.shape[1] > 1 and (shape[1] <= shape[0] or ring.shape[0] == 1))
        line, union = _joined(ring, joint, count)
        solution, ring = _eliminated(line.flatten(0, 1), union.flatten(0, 1))
        ring, shape = ring.unflatten(0, union.shape[:2]), joint.shape
        trail.append((joint, solution))
    found = _last(ring[0, 0], shape, count)[None, None]
    for joint, solution in reversed(trail):
        found = _parted(_with_eliminated(found, solution), joint)
    found = _with_eliminated(found, first)[:, :, _order(high, wide).argsort()]
    found = found.unflatten(2, (high + 1, wide + 1))[:, :, 1:, 1:].permute(4, 0, 2, 1, 3)
    return found.reshape(count, rows * high, columns * wide)[:, :h, :w] * free + known


# --- the smallest pieces ---------------------------------------------------------------------------------------------


def _divided(pixels: int) -> Place:
    """The side and the number of the smallest pieces, a power of two, that cover so many pixels with few to spare."""
    choices = [(side, 1 << max(-(-pixels // side) - 1, 0).bit_length()) for side in SIDES]
    return min(choices, key=lambda choice: choice[0] * choice[1])


def _smallest(
    picture: torch.Tensor, free: torch.Tensor, known: torch.Tensor, shape: Place, counts: Place
) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the system at the inner pixels and at the ring of each smallest piece, as `_eliminated` takes them.

    Neighbouring pieces share a line of pixels: to a piece of high x wide pixels a line is added at its top and on its
    left, and to the picture too, where everything counts as known. What is to be said of a pixel, or of an edge in the
    square of 2 x 2 pixels that ends at it, is said in the piece in which it is not on that line.
    """
    (high, wide), (rows, columns), (h, w) = shape, counts, free.shape
    inside, free, picture, known = (
        F.pad(each, (1, columns * wide - w, 1, rows * high - h))
        for each in (torch.ones_like(free), free, picture, known)
    )

    def pieces(values: torch.Tensor) -> torch.Tensor:
        """(..., H, W) as (rows * columns, high * wide, ...)."""
        cut = values.unflatten(-1, (columns, wide)).unflatten(-3, (rows, high))
        return cut.movedim((-4, -2, -3, -1), (0, 1, 2, 3)).flatten(2, 3).flatten(0, 1)

    order = _order(high, wide)
    place = order.argsort().view(high + 1, wide + 1)
    system = picture.new_zeros(rows * columns, len(order), len(order) + len(known))
    degree, arriving = 1 - free + REACH**-2 * free, torch.zeros_like(known)
    for rate, corners in zip((1.0, 1.0, SLANT, SLANT), ENDS, strict=True):
        a, b = (_corner(each, *free.shape) for each in corners)
        steps = rate * (-SHARP * (picture[a] - picture[b]).square().sum(0)).exp() * inside[a] * inside[b]
        for one, other in ((a, b), (b, a)):
            out = steps * free[one]
            degree[one] += out
            arriving[one] += out * known[other]
        at, to = (place[_corner(each, high + 1, wide + 1)].flatten() for each in corners)
        system[:, at, to] = system[:, to, at] = -pieces(steps * free[a] * free[b])
    own = place[1:, 1:].flatten()
    system[:, own, own] = pieces(degree[1:, 1:])
    system[:, own, len(order) :] = pieces(arriving[:, 1:, 1:])
    inner = (high - 1) * (wide - 1)
    return system[:, :inner], system[:, inner:, inner:].contiguous()


def _corner(corner: Place, high: int, wide: int) -> tuple:
    """An index of (..., high, wide): the pixels that are at this corner of its squares of 2 x 2 pixels."""
    return ..., slice(corner[0], high - 1 + corner[0]), slice(corner[1], wide - 1 + corner[1])


@functools.lru_cache(64)
def _order(high: int, wide: int) -> torch.Tensor:
    """The flat indices of a piece's pixels, the inner ones first, then its ring."""
    inner = [(r, c) for r in range(1, high) for c in range(1, wide)]
    return torch.tensor([r * (wide + 1) + c for r, c in inner + _ring(high, wide)])


def _ring(high: int, wide: int) -> list[Place]:
    """The border of a piece of (high + 1, wide + 1) pixels, clockwise from its first pixel."""
    top, right = [(0, c) for c in range(wide + 1)], [(r, wide) for r in range(1, high)]
    return [*top, *right, *[(high, wide - c) for _, c in top], *[(high - r, 0) for r, _ in right]]


# --- elimination -----------------------------------------------------------------------------------------------------


def _eliminated(rows: torch.Tensor, rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eliminate e unknowns of each of B symmetric systems: their solution in terms of the others, and what is left.

    `rows` (B, e, e + n + K) are their equations, in the columns of themselves, of the n others and of the right sides;
    `rest` (B, n, n + K) are the others', in the columns of those and of the right sides, and is overwritten.
    """
    e, n = rows.shape[1], rest.shape[1]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(rows[..., :e]))
    solution = inverse @ rows[..., e:]
    return solution, rest.baddbmm_(rows[..., e : e + n].mT, solution, alpha=-1)


def _with_eliminated(found: torch.Tensor, solution: torch.Tensor) -> torch.Tensor:
    """The values (rows, columns, e + n, K) of all pixels, from those (rows, columns, n, K) that were left."""
    n = found.shape[2]
    solution = solution.unflatten(0, found.shape[:2])
    return torch.cat([solution[..., n:] - solution[..., :n] @ found, found], dim=2)


def _last(system: torch.Tensor, shape: Place, count: int) -> torch.Tensor:
    """The values (n, K) at the ring of the only piece, where its first row and column lie outside the picture."""
    real = torch.tensor([i for i, (r, c) in enumerate(_ring(*shape)) if r and c])
    found = system.new_zeros(len(system), count)
    found[real] = torch.linalg.solve(system[real][:, real], system[real, -count:])
    return found


# --- joining ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Joint:
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


@functools.lru_cache(64)
def _joint(high: int, wide: int, across: bool) -> _Joint:
    """The joint of two pieces of a shape."""
    shape = (high, 2 * wide) if across else (2 * high, wide)
    line = [(r, wide) for r in range(1, high)] if across else [(high, c) for c in range(1, wide)]
    place = {pixel: i for i, pixel in enumerate(line + _ring(*shape))}
    moves = ((0, 0), (0, wide) if across else (high, 0))
    places = [[place[r + down, c + right] for r, c in _ring(high, wide)] for down, right in moves]
    runs = tuple(_runs(each, len(line)) for each in places)
    return _Joint(across, shape, len(line), runs, tuple(map(torch.tensor, places)))


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


def _joined(ring: torch.Tensor, joint: _Joint, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the line and of the ring of each union, as `_eliminated` takes them.

    The pieces are (rows, columns, n, n + K).
    """
    n = ring.shape[2]
    halves = [ring[:, k::2] if joint.across else ring[k::2] for k in range(2)]
    union = joint.line + 2 * sum(joint.shape)
    line = ring.new_zeros(*halves[0].shape[:2], joint.line, union + count)
    rest = ring.new_zeros(*halves[0].shape[:2], union - joint.line, union - joint.line + count)
    for half, runs in zip(halves, joint.runs, strict=True):
        columns = [*runs, (n, union, count, False)]
        for at, to, rows, back in runs:
            target, gone = (line, 0) if to < joint.line else (rest, joint.line)
            for start, end, width, turned in columns:
                if end < gone:
                    continue
                part = half[:, :, at : at + rows, start : start + width]
                part = part.flip([2] * back + [3] * turned) if back or turned else part
                target[:, :, to - gone : to - gone + rows, end - gone : end - gone + width] += part
    return line, rest


def _parted(found: torch.Tensor, joint: _Joint) -> torch.Tensor:
    """The values at the rings of the pieces, from those (rows, columns, n, K) of their unions."""
    halves = [found.index_select(2, places) for places in joint.places]
    axis = 1 if joint.across else 0
    return torch.stack(halves, dim=axis + 1).flatten(axis, axis + 1)
