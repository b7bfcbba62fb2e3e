"""The samples that are most like an image, among those that lack a category, or have it: by label maps alone."""

from __future__ import annotations

import numpy as np

from linsem.edit_maps import grown
from linsem.pixels import resize_labels

USUAL = 0.5  # of the samples: what that many show may come to light where something else is taken out
STRANGE = 0.02  # of the place: how much of it may show what is neither usual nor in the image
WHOLE = 0.5  # of the median area of a category: a sample that shows less of it is no model for it
INSIDE = 0.8  # of a category: how much of it lies within a region in which it is wished for
FEW = 8  # samples: from fewer with a category, or without it, nothing follows about the others beside it
ASIDE = 0.2  # of its area otherwise: a category that shrinks below this beside another one gives way to it


def lacking(maps: np.ndarray, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """Those of label maps (N, h, w) that lack a category within a region, most like labels (H, W) elsewhere first.

    In its place they show nothing strange, if that can be had: only what the image shows, or most samples do. Where
    hair was is no hat, but where a hat was is hair. `region` (H, W) bool.
    """
    small, where = _at(maps, labels), _at(maps, region) > 0
    place = grown(where & (small == category))
    rows = np.flatnonzero(without(maps, category, region))
    usual = [k for k in np.unique(maps) if (maps == k).any((1, 2)).mean() >= USUAL]
    known = np.isin(np.arange(256), [*usual, *np.unique(labels)])
    plain = rows[(~known[maps[rows]] & place).sum((1, 2)) <= STRANGE * place.sum()]
    rows = plain if len(plain) else rows
    return _most_alike_first(maps, small, rows, np.broadcast_to(~place, maps[rows].shape))


def without(maps: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """Which of label maps (N, h, w) lack a category within a region (H, W) bool: (N,) bool."""
    return ~((maps == category) & (_at(maps, region) > 0)).any((1, 2))


def showing(maps: np.ndarray, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """Those of label maps (N, h, w) that show a category whole, most like labels (H, W) elsewhere first.

    Most of it lies within a region (H, W) bool.
    """
    small, where = _at(maps, labels), _at(maps, region) > 0
    found = maps == category
    area = found.mean((1, 2))
    fits = (found & where).mean((1, 2)) >= INSIDE * area
    rows = np.flatnonzero(fits & (area >= whole_area(maps, category)))
    aside = np.isin(small, giving_way(maps, category))
    counted = [~(grown(each) | aside) for each in found[rows]]
    return _most_alike_first(maps, small, rows, np.array(counted, bool).reshape(maps[rows].shape))


def whole_area(maps: np.ndarray, category: int) -> float:
    """The share of an image that a category covers at least where it is shown whole; infinite if no map shows it."""
    area = (maps == category).mean((1, 2))
    return WHOLE * float(np.median(area[area > 0])) if area.any() else np.inf


def giving_way(maps: np.ndarray, category: int) -> np.ndarray:
    """The categories that label maps (N, h, w) hardly show beside this one, as hair beside a hat."""
    has = (maps == category).any((1, 2))
    if min(has.sum(), (~has).sum()) < FEW:
        return np.zeros(0, int)
    beside, otherwise = (np.bincount(maps[rows].ravel(), minlength=256) / rows.sum() for rows in (has, ~has))
    return np.flatnonzero((beside < ASIDE * otherwise) & (np.arange(256) != category))


def _at(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return resize_labels(labels.astype(np.uint8), maps.shape[1:])


def _most_alike_first(maps: np.ndarray, small: np.ndarray, rows: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The rows of maps (N, h, w), those first that agree most with labels (h, w) where it counts (rows, h, w)."""
    alike = ((maps[rows] == small) & counted).sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1)
    return rows[np.argsort(-alike, kind="stable")]
