"""Strokes spread over what they touch: the area of one colour that a stroke lies in, and no further.

A random walker (Grady, PAMI 2006) starts at each pixel without a label, crosses from pixel to pixel the more readily
the more alike their colours are, and takes the label of the first stroke that it meets. It may also give up on the way;
so an area that no stroke lies in, like the other eye, does not take the label of what surrounds it but stays unknown.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch

from linsem.forks import ForkLock
from linsem.pixels import IGNORE, resize_labels

SIDE = 128  # walked on at most this high
SHARP = 2000.0  # of squared colour differences in 0..1: a twentieth of the range is an edge
REACH = 60.0  # pixels of one colour that a walker crosses before it gives up
LEAST = 0.6  # of the walkers that meet a stroke: the share that makes its label the pixel's
ARRIVE = 0.05  # of all walkers: the share that has to meet one
STEPS, ENOUGH = 300, 1e-3


def spread(rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) uint8, 255 = unknown, of an image (H, W, 3) uint8: the strokes, and what they spread to.

    Raises ValueError for an image and labels of different sizes.
    """
    if rgb.shape != (*labels.shape, 3):
        raise ValueError(f"spread: expected an image of {(*labels.shape, 3)} for these labels, got {rgb.shape}")
    known = labels != IGNORE
    if not known.any() or known.all():
        return labels.copy()
    scale = min(1.0, SIDE / labels.shape[0])
    size = tuple(max(1, round(n * scale)) for n in labels.shape)
    seeds = labels if size == labels.shape else _fewer(labels, size)
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
    picture = torch.nn.functional.interpolate(picture, size, mode="area")[0]
    categories = np.unique(seeds[seeds != IGNORE])
    reached = _walk(picture, torch.from_numpy(seeds), torch.from_numpy(categories))
    most, which = reached.max(0)
    arrived = reached.sum(0)
    sure = (arrived >= ARRIVE) & (most >= LEAST * arrived)
    found = np.where(sure.numpy(), categories[which.numpy()], IGNORE).astype(np.uint8)
    return np.where(known, labels, resize_labels(found, labels.shape))


class Spreads:
    """`spread`, remembered for the strokes seen last: of several images a stroke changes but one."""

    def __init__(self, most: int = 256) -> None:
        self.most = most
        self._found: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = ForkLock()

    def __call__(self, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """As `spread`."""
        key = hashlib.sha256(rgb.tobytes() + labels.tobytes()).digest()
        with self._lock:
            found = self._found.get(key)
        if found is None:
            found = spread(rgb, labels)
            with self._lock:
                self._found[key] = found
                while len(self._found) > self.most:
                    self._found.popitem(last=False)
        return found


def _fewer(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Strokes at a smaller size: a cell has a label where any of its pixels has one."""
    small = np.full(size, IGNORE, np.uint8)
    rows, columns = np.nonzero(labels != IGNORE)
    small[rows * size[0] // labels.shape[0], columns * size[1] // labels.shape[1]] = labels[rows, columns]
    return small


def _walk(picture: torch.Tensor, seeds: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
    """(3, h, w) in 0..1 and seeds (h, w) to the probability (K, h, w) that a walker ends at each category.

    Conjugate gradients on the graph's Laplacian plus the rate of giving up; the strokes are fixed.
    """
    down = (-SHARP * (picture[:, 1:] - picture[:, :-1]).square().sum(0)).exp()
    right = (-SHARP * (picture[:, :, 1:] - picture[:, :, :-1]).square().sum(0)).exp()
    degree = torch.full(seeds.shape, REACH**-2)
    for part, edge in ((np.s_[1:], down), (np.s_[:-1], down), (np.s_[:, 1:], right), (np.s_[:, :-1], right)):
        degree[part] += edge
    free = (seeds == IGNORE).float()

    def flow(u: torch.Tensor) -> torch.Tensor:
        """What arrives from the neighbours."""
        total = torch.zeros_like(u)
        total[:, 1:] += down * u[:, :-1]
        total[:, :-1] += down * u[:, 1:]
        total[:, :, 1:] += right * u[:, :, :-1]
        total[:, :, :-1] += right * u[:, :, 1:]
        return total

    at = (seeds[None] == categories[:, None, None]).float()
    residual = flow(at) * free
    start = residual.square().sum().clamp_min(1e-20)
    found, ready = torch.zeros_like(at), residual / degree
    direction, power = ready, (residual * ready).sum((1, 2), keepdim=True)
    for _ in range(STEPS):
        image = (degree * direction - flow(direction)) * free
        length = power / (direction * image).sum((1, 2), keepdim=True).clamp_min(1e-20)
        found += length * direction
        residual = residual - length * image
        if residual.square().sum() < ENOUGH**2 * start:
            break
        ready = residual / degree
        power, before = (residual * ready).sum((1, 2), keepdim=True), power
        direction = ready + power / before.clamp_min(1e-20) * direction
    return found + at
