"""A random walk over the pixels of a picture, from each of them to the first stroke (Grady, PAMI 2006).

The probabilities solve a sparse linear system, which is eliminated by nested dissection (`linsem.dissection`): the
picture is divided into small pieces, whose inner pixels are eliminated, and then pieces are joined two by two, until
the pixels that are left are few enough for one dense system. Elimination row by row takes several times the arithmetic,
and an iterative solver a few hundred rounds in wide areas of one colour. After another stroke, only the pieces on which
it is painted, and their unions, are eliminated again.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from linsem.device import own_modes
from linsem.dissection import Eliminated, Joint, Place, eliminate, joint, normal, ring_of, solve_rest, unknowns
from linsem.pixels import IGNORE

SHARP = 2000.0  # factor on squared colour differences in 0..1: a twentieth of the range is an edge
REACH = 60.0  # pixels of one colour that a walker crosses before it stops
SLANT = 0.5  # rate of a step to a diagonal neighbour, relative to one along a row: thin slanted parts hold together
SIDES = (8, 7, 6, 5)  # possible sides of the smallest pieces, in pixels
FEW = 600  # pixels on the rings of pieces: so many are solved at once
MORE = 2  # times the categories that occur: so many are kept
OUTSIDE = 254  # a label that no category has

ENDS = (((0, 1), (1, 1)), ((1, 0), (1, 1)), ((0, 0), (1, 1)), ((0, 1), (1, 0)))  # of four edges, in squares of 2 x 2


def walk(picture: torch.Tensor, seeds: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
    """The probability (K, h, w) that a walker ends at each category, from a picture (3, h, w) in 0..1 and seeds (h, w).

    Seeds are labels, 255 where there is none; `categories` (K,) are those that occur. At a pixel without one the
    probability is the weighted mean of its eight neighbours', where the rate of stopping makes the weights sum to less
    than one; at the seeds it is fixed.
    """
    return Walk(picture).to(seeds, categories)


class Walk:
    """Walks on one picture (3, h, w), each of which goes on from the last one; for one thread at a time.

    A category that occurs no more is kept for a while, so that taking a stroke back is no beginning from nothing. What
    is kept tells which pixels the last seeds were at.
    """

    @own_modes()
    def __init__(self, picture: torch.Tensor) -> None:
        sides, self._counts = zip(*map(_divided, picture.shape[1:]), strict=True)
        self._shape: Place = sides
        inside = self._padded(torch.ones_like(picture[:1]).float())
        self._steps = self._cut(_steps(self._padded(picture.float()), inside), self._shape)
        self._categories = torch.zeros(0, dtype=torch.int64, device=picture.device)
        self._cells: torch.Tensor | None = None
        self._levels: list[Eliminated] = []

    @property
    def bytes(self) -> int:
        """The memory that a next walk goes on from."""
        kept = [self._steps, *(x for each in self._levels for x in (each.ring, each.share, each.constant))]
        return sum(x.nbytes for x in kept)

    @own_modes()
    def to(self, seeds: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """As `walk`, on this picture."""
        categories = categories.long()
        cells, changed = self._begin(seeds, categories)
        shape, counts, trail = self._shape, self._counts, []
        while counts != (1, 1) and unknowns(*shape, *counts) > FEW:
            across = counts[1] > 1 and (shape[1] <= shape[0] or counts[0] == 1)
            trail.append(joint(*shape, across=across))
            changed = self._join(len(trail), trail[-1], counts, changed)
            shape, counts = trail[-1].shape, _halved(counts, across)
        found = solve_rest(self._levels[-1].ring, shape, counts)
        for level, joining in reversed(list(enumerate(trail, start=1))):
            parts = joining.parted(self._levels[level].all(found).unflatten(0, counts))
            found, counts = parts.flatten(0, 1), tuple(parts.shape[:2])
        found = self._picture(self._levels[0].all(found))[:, : seeds.shape[0], : seeds.shape[1]]
        self._cells = cells
        found = found[torch.searchsorted(self._categories, categories)]
        return found * (seeds == IGNORE) + (seeds == categories[:, None, None])

    def _begin(self, seeds: torch.Tensor, categories: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Eliminate the inner pixels of the smallest pieces that changed; their labels, and (rows, columns) which.

        Until the walk has ended, there is nothing that the next one could go on from.
        """
        high, wide = self._shape
        cells = self._cut(self._padded(seeds[None], OUTSIDE), (high + 1, wide + 1))[:, 0]
        before, self._cells = self._cells, None
        every = torch.cat([self._categories, categories]).unique()
        if before is not None and len(every) == len(self._categories) <= MORE * len(categories):
            changed = (cells != before).flatten(1).any(1)
        else:
            changed, self._levels = cells.new_ones(len(cells), dtype=torch.bool), []
            self._categories = every if len(every) <= MORE * len(categories) else categories.clone()
        if changed.any():
            pieces = eliminate(*_smallest(cells[changed], self._steps[changed], self._categories))
            self._put(0, changed, pieces)
        return cells, changed.unflatten(0, self._counts)

    def _join(self, level: int, joining: Joint, counts: Place, changed: torch.Tensor) -> torch.Tensor:
        """Join pieces, of which some changed; which unions did, (rows, columns) bool."""
        halves = joining.halves(self._levels[level - 1].ring.unflatten(0, counts))
        changed = torch.stack(joining.halves(changed)).any(0)
        if not changed.all():
            halves = [half[changed] for half in halves]
        if changed.any():
            self._put(level, changed.flatten(), eliminate(*joining.joined(halves)))
        return changed

    def _put(self, level: int, changed: torch.Tensor, pieces: Eliminated) -> None:
        if level == len(self._levels):
            self._levels.append(pieces)
        elif changed.all():
            self._levels[level] = pieces
        else:
            self._levels[level].put(changed.nonzero()[:, 0], pieces)

    def _padded(self, values: torch.Tensor, value: int = 0) -> torch.Tensor:
        """(C, h, w) with a line at its top and on its left, and with what the pieces cover beyond it."""
        (high, wide), (rows, columns), (h, w) = self._shape, self._counts, values.shape[1:]
        return F.pad(values, (1, columns * wide - w, 1, rows * high - h), value=value)

    def _cut(self, values: torch.Tensor, size: Place) -> torch.Tensor:
        """(C, H, W) as pieces (rows * columns, C, *size), which overlap if that is more than their own size."""
        pieces = values.unfold(1, size[0], self._shape[0]).unfold(2, size[1], self._shape[1])
        return pieces.movedim(0, 2).flatten(0, 1)

    def _picture(self, found: torch.Tensor) -> torch.Tensor:
        """The values (K, H, W) of all pixels, from those (rows * columns, n, K) of the smallest pieces in `_order`."""
        high, wide = self._shape
        found = found[:, _order(high, wide).argsort()].unflatten(1, (high + 1, wide + 1))[:, 1:, 1:]
        return found.unflatten(0, self._counts).permute(4, 0, 2, 1, 3).flatten(1, 2).flatten(2, 3)


def _divided(pixels: int) -> Place:
    """The side and the number of the smallest pieces, a power of two, that cover so many pixels with few to spare."""
    choices = [(side, 1 << max(-(-pixels // side) - 1, 0).bit_length()) for side in SIDES]
    return min(choices, key=lambda choice: choice[0] * choice[1])


def _halved(counts: Place, across: bool) -> Place:
    return (counts[0], counts[1] // 2) if across else (counts[0] // 2, counts[1])


def _steps(picture: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The rates (4, h - 1, w - 1) of the steps along the edges in each square of 2 x 2 pixels, from (3, h, w)."""
    rates = []
    for rate, corners in zip((1.0, 1.0, SLANT, SLANT), ENDS, strict=True):
        a, b = (_corner(each, *picture.shape[1:]) for each in corners)
        rates.append(rate * (-SHARP * (picture[a] - picture[b]).square().sum(0)).exp() * inside[a][0] * inside[b][0])
    return normal(torch.stack(rates))


def _smallest(cells: torch.Tensor, steps: torch.Tensor, categories: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The equations of the inner pixels and of the ring of each smallest piece, as `eliminate` takes them.

    Neighbouring pieces share a line of pixels: to a piece of high x wide pixels a line is added at its top and on its
    left, and to the picture too, where everything counts as known. What is to be said of a pixel, or of an edge in the
    square of 2 x 2 pixels that ends at it, is said in the piece in which it is not on that line. So `cells`
    (B, high + 1, wide + 1) are labels, and `steps` (B, 4, high, wide) rates.
    """
    free, known = (cells == IGNORE).float(), (cells[:, None] == categories[:, None, None]).float()
    high, wide = steps.shape[2:]
    order = _order(high, wide)
    n, place = len(order), order.argsort().view(high + 1, wide + 1)
    system = steps.new_zeros(len(cells), n, n + len(categories))
    degree, arriving = torch.zeros_like(free), torch.zeros_like(known)
    degree[:, 1:, 1:] = (1 - free + REACH**-2 * free)[:, 1:, 1:]
    for rates, corners in zip(steps.unbind(1), ENDS, strict=True):
        a, b = (_corner(each, high + 1, wide + 1) for each in corners)
        for one, other in ((a, b), (b, a)):
            out = rates * free[one]
            degree[one] += out
            arriving[one] += out[:, None] * known[other]
        at, to = place[a].flatten(), place[b].flatten()
        system[:, at, to] = system[:, to, at] = -(rates * free[a] * free[b]).flatten(1)
    every = torch.arange(n)
    system[:, every, every] = degree.flatten(1)[:, order]
    system[:, :, n:] = arriving.flatten(2)[:, :, order].mT
    inner = (high - 1) * (wide - 1)
    return system[:, :inner], system[:, inner:, inner:].contiguous()


def _corner(corner: Place, high: int, wide: int) -> tuple:
    """An index of (..., high, wide): the pixels that are at this corner of its squares of 2 x 2 pixels."""
    return ..., slice(corner[0], high - 1 + corner[0]), slice(corner[1], wide - 1 + corner[1])


@functools.lru_cache(64)
def _order(high: int, wide: int) -> torch.Tensor:
    """The flat indices of a piece's pixels, the inner ones first, then its ring."""
    inner = [(r, c) for r in range(1, high) for c in range(1, wide)]
    return torch.tensor([r * (wide + 1) + c for r, c in inner + ring_of(high, wide)])
