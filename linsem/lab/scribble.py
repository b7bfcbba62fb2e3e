"""Simulated scribbles from a dense label map: short strokes inside the parts of each category, or where it is wrong."""

from __future__ import annotations

import numpy as np

from linsem.pixels import IGNORE

_CANDIDATES = 16  # random start points per stroke, of which the one farthest from other strokes is taken


def scribble(labels: np.ndarray, share: float, seed: int, width: int = 1) -> np.ndarray:
    """Labels (H, W) with about `share` of the pixels kept, as strokes, and the rest unknown (255).

    Each category that occurs gets pixels in proportion to the root of its area, and what a small one cannot use goes to
    the others. A stroke starts far from the category's other strokes, as an annotator moves from one eye to the other,
    and runs straight for a while, within the category.
    """
    rng = np.random.default_rng(seed)
    sparse = np.full(labels.shape, IGNORE, dtype=np.uint8)
    present, counts = np.unique(labels[labels != IGNORE], return_counts=True)
    left = max(round(share * labels.size), len(present))
    order = np.argsort(counts, kind="stable")
    for done, i in enumerate(order):
        part = counts[i] ** 0.5 / (counts[order[done:]] ** 0.5).sum()
        quota = min(max(round(left * part), 1), int(counts[i]))
        left -= _fill(sparse, labels == present[i], int(present[i]), quota, rng, width)
    return sparse


def correct(sparse: np.ndarray, labels: np.ndarray, found: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Strokes `sparse` (H, W) and about `share` of the pixels more, where `found` (H, W) is wrong.

    As an annotator adds strokes who looks at what was learnt from those before. Of what is wrong only areas at least
    three pixels wide count: thinner ones, along the borders, are neither seen nor hit. What these cannot use goes to
    the other pixels, as in `scribble`.
    """
    more, left = sparse.copy(), round(share * sparse.size)
    for where in (_wide(np.where(found != labels, labels, IGNORE)), labels):
        open_ = np.where(more == IGNORE, where, IGNORE).astype(np.uint8)
        if left > 0 and (open_ != IGNORE).any():
            added = scribble(open_, left / sparse.size, seed)
            more[added != IGNORE] = added[added != IGNORE]
            left -= int((added != IGNORE).sum())
    return more


def _wide(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) of the pixels whose four neighbours have the same label; 255 elsewhere."""
    around = np.pad(labels, 1, constant_values=IGNORE)
    beside = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    return np.where(np.logical_and.reduce([each == labels for each in beside]), labels, IGNORE)


def _fill(sparse: np.ndarray, inside: np.ndarray, label: int, quota: int, rng: np.random.Generator, width: int) -> int:
    """Draw strokes of one category until it has `quota` pixels; returns how many it has."""
    rows, columns = np.nonzero(inside)
    painted = 0
    for _ in range(50 * quota):
        if painted >= quota:
            break
        start = _far_start(sparse, label, rows, columns, rng)
        angle = rng.uniform(0, 2 * np.pi)
        y, x = float(rows[start]), float(columns[start])
        for _ in range(int(rng.integers(3, 3 + _side(inside) // 6))):
            block = (slice(max(int(y), 0), int(y) + width), slice(max(int(x), 0), int(x) + width))
            if not (0 <= y < inside.shape[0] and 0 <= x < inside.shape[1]) or not inside[int(y), int(x)]:
                break
            fresh = inside[block] & (sparse[block] == IGNORE)
            sparse[block][fresh] = label
            painted += int(fresh.sum())
            if painted >= quota:
                break
            y, x = y + np.sin(angle), x + np.cos(angle)
    return painted


def _far_start(sparse: np.ndarray, label: int, rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> int:
    """The one of some random pixels of the category that is farthest from its strokes."""
    candidates = rng.integers(len(rows), size=_CANDIDATES)
    there = np.argwhere(sparse == label)
    if len(there) == 0:
        return int(candidates[0])
    points = np.stack([rows[candidates], columns[candidates]], axis=1)
    distance = np.square(points[:, None] - there[None]).sum(-1).min(1)
    return int(candidates[distance.argmax()])


def _side(inside: np.ndarray) -> int:
    """The shorter side of a map, at least 6."""
    return max(min(inside.shape), 6)
