"""The rows of a fit: features at the labelled pixels, in coordinates that follow from the images.

The coordinates (`linsem.basis`) need some pixels of all images, whatever their labels. So the features are held as they
are only until these are read, and under the constant noise only; what is kept is a fraction as wide. And of several
images a stroke changes but one: the coordinates and the rows of the others can be remembered.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linsem.basis import Basis
from linsem.errors import InputError
from linsem.forks import ForkLock
from linsem.gather import gather, random_pixels
from linsem.recent import Recent

COORDINATES = 8  # of as many sets of images they are kept, a few megabytes each


Solutions = dict[tuple[int, ...], torch.Tensor]


class NotFiniteError(InputError):
    """Features that hold numbers that are not finite: the number of the image, and (n,) which of its rows do."""

    def __init__(self, image: int, rows: torch.Tensor) -> None:
        super().__init__(f"image {image + 1}: its features hold numbers that are not finite")
        self.image, self.rows = image, rows


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The `basis` of some images, and rows (m, R) in it of pixels of theirs that need no label; `name` tells it."""

    basis: Basis
    rest: torch.Tensor
    name: bytes


@dataclass(frozen=True)
class Views:
    """How the images are read, each of a ws (num_ws, w_dim).

    `constant` gives the features (1, C, h, w) of its layers under the constant noise, `fresh` those under other noise,
    one after the other. `size` is (H, W) of the labels. `basis_of` makes the coordinates of raw rows (m, D); `rest` is
    how many it needs of all images together, and `said` whatever else it follows from.
    """

    layers: tuple[int, ...]
    size: tuple[int, int]
    constant: Callable[[torch.Tensor], Sequence[torch.Tensor]]
    fresh: Callable[[torch.Tensor], Iterable[Sequence[torch.Tensor]]]
    basis_of: Callable[[torch.Tensor], Basis]
    rest: int
    seed: int
    said: object


class Gathered:
    """What `read` read of one generator last: rows of images, and the coordinates of a few sets of images.

    The latter are small and do not count; nor do solutions in them, from which another fit may be begun.
    """

    def __init__(self, bytes_limit: int = 64 << 20) -> None:
        self._rows: Recent[torch.Tensor] = Recent(bytes_limit)
        self._coordinates: OrderedDict[bytes, Coordinates] = OrderedDict()
        self._solutions: OrderedDict[bytes, Solutions] = OrderedDict()
        self._lock = ForkLock()

    def coordinates(self, name: bytes) -> Coordinates | None:
        """Those of a name, if they are still there."""
        with self._lock:
            if name in self._coordinates:
                self._coordinates.move_to_end(name)
            return self._coordinates.get(name)

    def keep(self, made: Coordinates) -> None:
        """Remember them, and forget those that were used longest ago."""
        with self._lock:
            self._coordinates[made.name] = made
            while len(self._coordinates) > COORDINATES:
                self._coordinates.popitem(last=False)

    def solutions(self, name: bytes) -> Solutions:
        """A place for those of a name, to be written to."""
        with self._lock:
            self._solutions[name] = self._solutions.pop(name, {})
            while len(self._solutions) > COORDINATES:
                self._solutions.popitem(last=False)
            return self._solutions[name]

    def rows(self, name: bytes, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Those of a name, or what `make` makes; not to be written to."""
        rows = self._rows.find(name)
        if rows is None:
            rows = make()
            self._rows.keep(name, rows, rows.numel() * rows.element_size())
        return rows


def read(
    images: Sequence[torch.Tensor], pixels: Sequence[np.ndarray], views: Views, memory: Gathered | None
) -> tuple[list[list[torch.Tensor]], Coordinates]:
    """For each of the images, by its ws, the rows (n, R) at its flat `pixels` (n,), as often as it is seen.

    The first of them is under the constant noise and may be remembered: it is not to be written to. Raises
    `NotFiniteError`.
    """
    name = _digest(repr((views.layers, views.size, views.rest, views.seed, views.said)).encode(), *map(_bytes, images))
    found = None if memory is None else memory.coordinates(name)
    raw: list[torch.Tensor | None] = [None] * len(images)
    if found is None:
        raw, found = _first_look(images, pixels, views, name)
        if memory is not None:
            memory.keep(found)
    seen = []
    for i, (ws, chosen) in enumerate(zip(images, pixels, strict=True)):

        def make(i: int = i, ws: torch.Tensor = ws, chosen: np.ndarray = chosen) -> torch.Tensor:
            x = _gathered(views.constant(ws), chosen, views, i) if raw[i] is None else raw[i][: len(chosen)]
            return found.basis.project(x)

        key = _digest(name, _bytes(ws), np.asarray(chosen, np.int64).tobytes())
        seen.append([make() if memory is None else memory.rows(key, make)])
        raw[i] = None  # it is wide
        seen[i] += [found.basis.project(_gathered(each, chosen, views, i)) for each in views.fresh(ws)]
    return seen, found


def _first_look(
    images: Sequence[torch.Tensor], pixels: Sequence[np.ndarray], views: Views, name: bytes
) -> tuple[list[torch.Tensor | None], Coordinates]:
    """The raw rows of each image, those that need no label at their end, and the coordinates that follow from these."""
    raw: list[torch.Tensor | None] = []
    each = max(views.rest // len(images), 1)
    for i, (ws, chosen) in enumerate(zip(images, pixels, strict=True)):
        free = random_pixels(views.size, each, 1_000_003 * views.seed + i)
        raw.append(_gathered(views.constant(ws), np.concatenate([chosen, free]), views, i))
    rest = torch.cat([x[len(chosen) :] for x, chosen in zip(raw, pixels, strict=True)])
    basis = views.basis_of(rest)
    return raw, Coordinates(basis, basis.project(rest), name)


def _gathered(features: Sequence[torch.Tensor], pixels: np.ndarray, views: Views, image: int) -> torch.Tensor:
    """Raw rows (n, D), of which all numbers are finite."""
    x = gather(features, views.layers, pixels, views.size)
    if not math.isfinite(float(x.sum())):  # one number that is not finite makes the sum so
        bad = [(~torch.isfinite(each)).any(1, keepdim=True).float() for each in features]  # a product spreads it
        raise NotFiniteError(image, gather(bad, views.layers, pixels, views.size).gt(0).any(dim=1))
    return x


def _bytes(ws: torch.Tensor) -> bytes:
    return ws.detach().cpu().numpy().tobytes()


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for each in parts:
        digest.update(each)
    return digest.digest()
