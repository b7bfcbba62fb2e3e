"""The samples that are most like an image, among those that lack a category, or have it: by label maps alone."""

from __future__ import annotations

import numpy as np

from linsem.edit_maps import grown
from linsem.pixels import resize_labels

USUAL = 0.5  # of the samples: what that many show may come to light where something else is taken out
STRANGE = 0.02  # of the place: how much of it may show what is neither usual nor in the image
WHOLE = 0.5  # of the median area of a category: a sample that shows less of it is no model for it
FEW = 8  # samples: from fewer with a category, or without it, nothing follows about the others beside it
ASIDE = 0.2  # of its area otherwise: a category that shrinks below this beside another one gives way to it


def lacking(maps: np.ndarray, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """Those of label maps (N, h, w) that lack a category within a region, most like labels (H, W) elsewhere first.

    In its place they show nothing strange, if that can be had: only what the image shows, or most samples do. Where
    hair was is no hat, but where a hat was is hair. `region` (H, W) bool.
    """
    small, where = _at(maps, labels), _at(maps, region) > 0
    place = grown(where & (small == category))
    rows = np.flatnonzero(~((maps == category) & where).any((1, 2)))
    usual = [k for k in np.unique(maps) if (maps == k).any((1, 2)).mean() >= USUAL]
    known = np.isin(np.arange(256), [*usual, *np.unique(labels)])
    plain = rows[(~known[maps[rows]] & place).sum((1, 2)) <= STRANGE * place.sum()]
    rows = plain if len(plain) else rows
    return _most_alike_first(maps, small, rows, np.broadcast_to(~place, maps[rows].shape))


def showing(maps: np.ndarray, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """Those of label maps (N, h, w) that show a category whole, most like labels (H, W) elsewhere first.

    Whole also within a region (H, W) bool.
    """
    small, where = _at(maps, labels), _at(maps, region) > 0
    found = maps == category
    area = found.sum((1, 2))
    if not area.any():
        return np.zeros(0, int)
    rows = np.flatnonzero((found & where).sum((1, 2)) >= WHOLE * np.median(area[area > 0]))
    aside = np.isin(small, giving_way(maps, category))
    counted = [~(grown(each) | aside) for each in found[rows]]
    return _most_alike_first(maps, small, rows, np.array(counted, bool).reshape(maps[rows].shape))


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
