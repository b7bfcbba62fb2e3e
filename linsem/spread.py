"""Spread strokes over the area of one colour that they lie in.

A random walker (Grady, PAMI 2006) starts at each unlabelled pixel, moves between pixels with a probability that grows
with the similarity of their colours, and takes the label of the first stroke it meets. It may also stop on the way, so
that an area without a stroke, such as the other eye, stays unknown instead of taking the label of its surroundings.

Annotators paint an eye with a brush as wide as the eye, and touch the cheek as well. So a stroke spreads from its
middle only, and where strokes of several categories lie in one area of colour, those with hardly any pixels there are
ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from linsem.errors import InputError
from linsem.examples import Annotation
from linsem.pixels import IGNORE, resize_labels
from linsem.recent import Recent
from linsem.walk import Walk

SPARSE = 0.5  # of the pixels: labels that cover less are strokes rather than a label map with gaps
SIDE = 128  # pixels: the images are scaled down until the shorter side is at most this long,
LONG = 16  # and the longer one at most so many times as long, since the walk takes the square of it
LEAST = 0.6  # of the walkers that meet a stroke: the least share for a label to be assigned
ARRIVE = 0.1  # of all walkers: the least share that has to meet a stroke
THICK = 16  # pixels: the greatest depth that is measured
HARDLY = 0.25  # relative to the most frequent category in an area: one with fewer stroke pixels has strayed there
OTHER = 0.01  # squared difference, in 0..1, from that category's colour above which a stroke is no stray
PIXELS, PIXELS_OF_ONE = 8_000, 4_000  # of all that strokes spread to, used for a fit: the annotator waits for it
RANK = 32  # directions per layer in such a fit: half of what dense labels use, and as good for strokes
ALIKE = 0.002  # squared difference, in 0..1, below which neighbouring pixels belong to one area


def spread(rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) uint8, 255 = unknown, of an image (H, W, 3) uint8, with the strokes spread.

    Raises InputError if the sizes of image and labels differ, or for other types and values.
    """
    rgb, labels = _checked(rgb, labels)
    return Ground(rgb).spread(labels) if to_do(labels) else labels.copy()


def _checked(rgb: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels as arrays, the latter as bytes; raises InputError."""
    rgb, labels = np.asarray(rgb), np.asarray(labels)
    if rgb.dtype != np.uint8 or labels.dtype.kind not in "ui" or labels.ndim != 2:
        got = f"{rgb.dtype} and {labels.dtype} {labels.shape}"
        raise InputError(f"spread: expected an image of uint8 and labels (H, W) of whole numbers, got {got}")
    if rgb.shape != (*labels.shape, 3):
        raise InputError(f"spread: expected an image of {(*labels.shape, 3)} for these labels, got {rgb.shape}")
    if labels.size and (int(labels.min()) < 0 or int(labels.max()) > IGNORE):
        raise InputError(f"spread: expected labels in 0..{IGNORE}, got {labels.min()}..{labels.max()}")
    return rgb, labels.astype(np.uint8, copy=False)


def to_do(labels: np.ndarray) -> bool:
    """Whether there is something to spread, and somewhere."""
    known = labels != IGNORE
    return bool(known.any() and not known.all())


class Ground:
    """An image (H, W, 3) uint8 on which strokes spread; each spreading goes on from the last one (`Walk`)."""

    def __init__(self, rgb: np.ndarray) -> None:
        shape = rgb.shape[:2]
        scale = min(1.0, SIDE / min(shape), LONG * SIDE / max(shape))
        self._size = tuple(max(1, round(n * scale)) for n in shape)
        picture = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        picture = torch.nn.functional.interpolate(picture, self._size, mode="area")[0]
        self._colors = picture.flatten(1).numpy()
        self._areas, self._walk = _areas(self._colors, self._size), Walk(picture)

    @property
    def bytes(self) -> int:
        """The memory that the next spreading goes on from."""
        return self._colors.nbytes + self._areas.nbytes + self._walk.bytes

    def spread(self, labels: np.ndarray) -> np.ndarray:
        """Labels (H, W) uint8, 255 = unknown, with the strokes spread."""
        seeds = _middles(labels if self._size == labels.shape else _fewer(labels, self._size))
        seeds = _settled(seeds, self._areas, self._colors)
        categories = np.unique(seeds[seeds != IGNORE])
        reached = self._walk.to(torch.from_numpy(seeds), torch.from_numpy(categories))
        most, which = reached.max(0)
        arrived = reached.sum(0)
        sure = (arrived >= ARRIVE) & (most >= LEAST * arrived)
        found = np.where(sure.numpy(), categories[which.numpy()], IGNORE).astype(np.uint8)
        return np.where(labels != IGNORE, labels, resize_labels(found, labels.shape))


def to_spread(labels: np.ndarray, wanted: bool | None) -> bool:
    """Whether to spread labels (H, W), 255 = unknown: as wanted, or (None) if they are strokes and no label map."""
    return bool((labels != IGNORE).mean() < SPARSE) if wanted is None else bool(wanted)


def guess(annotation: Annotation, rgb: np.ndarray, spread: Callable[..., np.ndarray] = spread) -> Annotation:
    """An annotation with its strokes spread on its image, rgb (H, W, 3) uint8; the new labels count as guessed."""
    wider = spread(rgb, annotation.labels)
    return replace(annotation, labels=wider, guessed=wider != annotation.labels)


class Spreads:
    """`spread`, cached by image and strokes, since a stroke changes only one of several images.

    Of the strokes only a digest is kept, and what was added. Of the images that were painted on last, also what
    spreading goes on from (`Walk`), so that another stroke takes less than half as long.
    """

    def __init__(self, bytes_limit: int = 32 << 20, ground_limit: int = 128 << 20) -> None:
        self._found: Recent[np.ndarray] = Recent(bytes_limit)
        self._grounds: Recent[Ground] = Recent(ground_limit)

    def __call__(self, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As `spread`."""
        rgb, labels = _checked(rgb, labels)
        image = hashlib.blake2b(repr(rgb.shape).encode() + rgb.tobytes()).digest()
        key = hashlib.blake2b(image + labels.tobytes()).digest()
        blank, added = labels == IGNORE, self._found.find(key)
        if added is None:
            added = np.where(blank, self._spread(image, rgb, labels), IGNORE).astype(np.uint8)
            self._found.keep(key, added, added.nbytes)
        return np.where(blank, added, labels).astype(np.uint8)

    def _spread(self, image: bytes, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if not to_do(labels):
            return labels
        ground = self._grounds.take(image) or Ground(rgb)  # nobody else has it meanwhile
        found = ground.spread(labels)
        self._grounds.keep(image, ground, ground.bytes)
        return found


def _fewer(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Strokes at a smaller size: a cell is labelled where any of its pixels is."""
    small = np.full(size, IGNORE, np.uint8)
    rows, columns = np.nonzero(labels != IGNORE)
    small[rows * size[0] // labels.shape[0], columns * size[1] // labels.shape[1]] = labels[rows, columns]
    return small


def _middles(labels: np.ndarray) -> np.ndarray:
    """Strokes without their rims: pixels not two thirds as deep as the stroke's deepest become unknown."""
    known = labels != IGNORE
    strokes = []
    for a, b in _neighbours(labels.shape):
        keep = _same(labels, a, b)
        strokes.append((a[keep], b[keep]))
    pieces = _pieces(labels.size, strokes)
    depth, inside = known.astype(int), known
    while inside.any() and depth.max() < THICK:
        inside = inside & _surrounded(np.where(inside, labels, IGNORE))
        depth += inside
    deepest = np.zeros(labels.size, int)
    np.maximum.at(deepest, pieces, depth.ravel())
    return np.where(3 * depth > 2 * deepest[pieces].reshape(labels.shape), labels, IGNORE).astype(np.uint8)


def _areas(colors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The area of colour (h w,) that each pixel is in, of colours (3, h w); soft edges join areas."""
    close = []
    for a, b in _neighbours(size):
        keep = np.square(colors[:, a] - colors[:, b]).sum(0) < ALIKE
        close.append((a[keep], b[keep]))
    return _pieces(colors.shape[1], close)


def _settled(seeds: np.ndarray, area: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Seeds (h, w) without strays: those of categories with hardly any seeds in the area of colour they lie in.

    A small part with a colour of its own is no stray.
    """
    flat = seeds.ravel()
    at = np.flatnonzero(flat != IGNORE)
    if not len(at):
        return seeds
    counts = np.zeros((int(area.max()) + 1, int(flat[at].max()) + 1))
    np.add.at(counts, (area[at], flat[at]), 1)
    sums = np.zeros((*counts.shape, 3))
    np.add.at(sums, (area[at], flat[at]), colors[:, at].T)
    most = counts[area[at]].argmax(1)
    theirs = sums[area[at], most] / counts[area[at], most][:, None]
    few = counts[area[at], flat[at]] < HARDLY * counts[area[at], most]
    stray = few & (np.square(colors[:, at].T - theirs).sum(1) < OTHER)
    settled = flat.copy()
    settled[at[stray]] = IGNORE
    return settled.reshape(seeds.shape)


def _neighbours(shape: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The flat indices of all pairs of adjacent pixels, vertical and horizontal."""
    index = np.arange(shape[0] * shape[1]).reshape(shape)
    return [(index[:-1].ravel(), index[1:].ravel()), (index[:, :-1].ravel(), index[:, 1:].ravel())]


def _same(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (labels.ravel()[a] == labels.ravel()[b]) & (labels.ravel()[a] != IGNORE)


def _surrounded(labels: np.ndarray) -> np.ndarray:
    """Whether all of a pixel's four neighbours inside the image have its label."""
    padded = np.pad(labels, 1, mode="edge")
    sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_and.reduce([side == labels for side in sides]) & (labels != IGNORE)


def _pieces(count: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Connected components of `count` nodes, each named by its smallest index."""
    first, second = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    piece = np.arange(count)
    while True:
        least = np.minimum(piece[first], piece[second])
        if (least == piece[first]).all() and (least == piece[second]).all():
            return piece
        np.minimum.at(piece, piece[first], least)
        np.minimum.at(piece, piece[second], least)
        while (piece[piece] != piece).any():
            piece = piece[piece]
