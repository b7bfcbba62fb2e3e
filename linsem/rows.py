"""The rows of a fit: features at the labelled pixels, projected onto a basis computed from the images.

The basis (`linsem.basis`) is computed from a sample of pixels of all images, whatever their labels. Raw features are
held only until these have been read, and only under the constant noise; the projected rows are a fraction as wide. A
stroke changes only one of several images, so the basis and the rows of the others can be cached, and so can the
projected maps, from which the rows of that one are read.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from linsem.basis import Basis
from linsem.errors import InputError
from linsem.forks import ForkLock
from linsem.gather import gather, random_pixels
from linsem.recent import Recent

if TYPE_CHECKING:
    from linsem.fitting import Earlier

COORDINATES = 8  # sets of images whose basis is kept, a few megabytes each
MAPS = 64 << 20  # bytes of projected maps: those of a set of images are kept if there is room for all of them

Kept = TypeVar("Kept", bound=tuple)


class NotFiniteError(InputError):
    """Features that are not finite, with the index of the image and (H W,) bool: which of its pixels are affected."""

    def __init__(self, image: int, pixels: torch.Tensor) -> None:
        super().__init__(f"image {image + 1}: its features hold numbers that are not finite")
        self.image, self.pixels = image, pixels


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The `basis` of some images, and projected rows (m, R) of pixels of theirs that need no label.

    `name` is a digest of everything they depend on.
    """

    basis: Basis
    rest: torch.Tensor
    name: bytes


@dataclass(frozen=True)
class Views:
    """How images are read, each from its ws (num_ws, w_dim).

    Attributes:
        layers: indices of the layers that are read.
        size: (H, W) of the labels.
        constant: gives the features (1, C, h, w) under the constant noise.
        fresh: yields the features under each fresh noise draw; the second argument is the image's index, so that no two
            images need share their noise.
        basis_of: computes the basis of raw rows (m, D).
        rest: number of rows for the basis, over all images together.
        said: everything else that the basis depends on.
        map_bytes: of one image's maps, projected.
    """

    layers: tuple[int, ...]
    size: tuple[int, int]
    constant: Callable[[torch.Tensor], Sequence[torch.Tensor]]
    fresh: Callable[[torch.Tensor, int], Iterable[Sequence[torch.Tensor]]]
    basis_of: Callable[[torch.Tensor], Basis]
    rest: int
    seed: int
    said: object
    map_bytes: int


class Gathered:
    """A cache for one generator: rows of images, which of their pixels are used, and the bases of a few sets of images.

    The bases are small and not counted in the limit, nor are projected maps, at most `MAPS`. What later fits go on from
    has a quarter of it for itself.
    """

    def __init__(self, bytes_limit: int = 64 << 20) -> None:
        self._kept: Recent[tuple] = Recent(bytes_limit)
        self._coordinates: OrderedDict[bytes, Coordinates] = OrderedDict()
        self.maps: Recent[tuple[torch.Tensor, ...]] = Recent(MAPS)
        self.fits: Recent[Earlier] = Recent(bytes_limit // 4)
        self._lock = ForkLock()

    def coordinates(self, name: bytes) -> Coordinates | None:
        """The coordinates of a name, if they are still cached."""
        with self._lock:
            if name in self._coordinates:
                self._coordinates.move_to_end(name)
            return self._coordinates.get(name)

    def keep_coordinates(self, made: Coordinates) -> None:
        """Cache coordinates, evicting the least recently used."""
        with self._lock:
            self._coordinates[made.name] = made
            while len(self._coordinates) > COORDINATES:
                self._coordinates.popitem(last=False)

    def kept(self, name: bytes, make: Callable[[], Kept]) -> Kept:
        """The cached tensors or arrays of a name, or those that `make` returns; not to be modified."""
        return _kept(self._kept, name, make)

    def kept_maps(self, name: bytes, make: Callable[[], Kept]) -> Kept:
        """The same of projected maps, which push nothing else out of memory."""
        return _kept(self.maps, name, make)


def _kept(cache: Recent, name: bytes, make: Callable[[], Kept]) -> Kept:
    found = cache.find(name)
    if found is None:
        found = make()
        cache.keep(name, found, sum(each.nbytes for each in found))
    return found


def read(
    images: Sequence[torch.Tensor], pixels: Sequence[np.ndarray], views: Views, memory: Gathered | None
) -> tuple[list[list[torch.Tensor]], Coordinates]:
    """For each image, given by its ws, the rows (n, R) at its flat `pixels` (n,), one tensor per noise draw.

    The first tensor is under the constant noise and may be cached: it must not be modified. With `memory`, the images'
    projected maps are cached too if all of them have room, so that a stroke only looks at them; then images are looked
    at twice, since the basis has to be known before a map is projected. Raises `NotFiniteError`.
    """
    name = digest(repr((views.layers, views.size, views.rest, views.seed, views.said)).encode(), *map(_bytes, images))
    found = None if memory is None else memory.coordinates(name)
    mapped = memory is not None and len(images) * views.map_bytes <= MAPS
    raw: list[torch.Tensor | None] = [None] * len(images)
    if found is None:
        raw, found = _first_look(images, pixels, views, name, keep=not mapped)
        if memory is not None:
            memory.keep_coordinates(found)
    seen: list[list[torch.Tensor]] = [[] for _ in images]
    for i in reversed(range(len(images))):  # those looked at last may still be in a cache of features

        def maps(i: int = i) -> tuple[torch.Tensor, ...]:
            features = views.constant(images[i])
            _check_finite(features, views, i)
            return found.basis.project_maps([features[k] for k in views.layers])

        def rows(i: int = i) -> tuple[torch.Tensor]:
            if mapped:
                projected = memory.kept_maps(digest(name, _bytes(images[i])), maps)
                return (gather(projected, range(len(projected)), pixels[i], views.size),)
            x = _gathered(views.constant(images[i]), pixels[i], views, i) if raw[i] is None else raw[i]
            return (found.basis.project(x),)

        key = digest(name, _bytes(images[i]), np.asarray(pixels[i], np.int64).tobytes())
        seen[i].append((rows() if memory is None else memory.kept(key, rows))[0])
        raw[i] = None  # raw rows are wide
    for i, ws in enumerate(images):
        seen[i] += [found.basis.project(_gathered(each, pixels[i], views, i)) for each in views.fresh(ws, i)]
    return seen, found


def _first_look(
    images: Sequence[torch.Tensor], pixels: Sequence[np.ndarray], views: Views, name: bytes, *, keep: bool
) -> tuple[list[torch.Tensor | None], Coordinates]:
    """The raw rows of each image (None: do not `keep` them) and the coordinates."""
    raw: list[torch.Tensor | None] = []
    rest, each = [], max(views.rest // len(images), 1)
    for i, (ws, chosen) in enumerate(zip(images, pixels, strict=True)):
        free = random_pixels(views.size, each, 1_000_003 * views.seed + i)
        rows = _gathered(views.constant(ws), np.concatenate([chosen, free]) if keep else free, views, i)
        raw.append(rows[: len(chosen)] if keep else None)
        rest.append(rows[len(chosen) :] if keep else rows)
    rest = torch.cat(rest)
    basis = views.basis_of(rest)
    return raw, Coordinates(basis, basis.project(rest), name)


def _gathered(features: Sequence[torch.Tensor], pixels: np.ndarray, views: Views, image: int) -> torch.Tensor:
    """Raw rows (n, D), of features that are finite everywhere."""
    _check_finite(features, views, image)
    return gather(features, views.layers, pixels, views.size)


def _check_finite(features: Sequence[torch.Tensor], views: Views, image: int) -> None:
    total = sum(float(features[i].sum(dtype=torch.float64)) for i in views.layers)
    if not math.isfinite(total):  # a single non-finite number makes the sum non-finite
        bad = [(~torch.isfinite(each)).any(1, keepdim=True).float() for each in features]  # interpolation spreads it
        every = np.arange(views.size[0] * views.size[1])
        raise NotFiniteError(image, gather(bad, views.layers, every, views.size).gt(0).any(dim=1))


def _bytes(ws: torch.Tensor) -> bytes:
    return ws.detach().cpu().numpy().tobytes()


def digest(*parts: bytes) -> bytes:
    """A digest of bytes, one after the other."""
    made = hashlib.sha256()
    for each in parts:
        made.update(each)
    return made.digest()
