"""The candidates of a bank from which the samples for a layout start: those that match it, and look unlike each other.

Images that match one layout can still differ in their colours. Differences between their labels cost match, and count
only where the colours are not known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from linsem.bank import Bank
from linsem.jump import share_met
from linsem.pixels import IGNORE, resize_labels

DIVERSITY = 1.2  # what a difference in colour counts, where the match is in [0, 2]
LABELS = 0.4  # what a difference in labels counts, relative to one in colour


def rank_starts(bank: Bank, layout: np.ndarray) -> np.ndarray:
    """The score of every seed of the bank for a layout (H, W) uint8 with 255 = free: (N,) mean IoU in [0, 1].

    All zeros if the layout is so thin that nothing of it remains at the bank's size.
    """
    small = resize_labels(layout, bank.labels.shape[1:]).ravel()
    where = np.flatnonzero(small != IGNORE)
    where = where[np.argsort(small[where], kind="stable")]  # makes each category's pixels contiguous
    wanted, maps = small[where], np.take(bank.labels.reshape(len(bank.labels), -1), where, axis=1)
    categories, first = np.unique(wanted, return_index=True)
    scores = []
    for category, begin, end in zip(categories, first, np.append(first, len(wanted))[1:], strict=True):
        found = maps == category
        both = np.count_nonzero(found[:, begin:end], axis=1)
        scores.append(both / (end - begin + np.count_nonzero(found, axis=1) - both))
    return np.mean(scores, axis=0) if scores else np.zeros(len(bank.labels))


def choose_starts(
    bank: Bank, layout: np.ndarray, count: int, *, diversity: float = DIVERSITY, scores: np.ndarray | None = None
) -> list[int]:
    """Positions in the bank of `count` starts that match the layout and differ from each other.

    Greedy: the match, which is the score plus the share of the layout's pixels that are met, plus `diversity` times the
    distance to the nearest start already chosen. `scores` are those of `rank_starts`, if already known.
    """
    scores = rank_starts(bank, layout) if scores is None else scores
    match = scores + share_met(bank.labels, layout, (layout != IGNORE).astype(np.float32))
    distance = _distance(bank)
    near = np.zeros(len(match))
    chosen: list[int] = []
    for _ in range(min(count, len(match))):
        value = match + diversity * near
        value[chosen] = -np.inf
        best = int(value.argmax())
        far = distance(best)
        near = np.minimum(near, far) if chosen else far
        chosen.append(best)
    return chosen


def _distance(bank: Bank) -> Callable[[int], np.ndarray]:
    """The distance in [0, 1] of each image of the bank to that at a position: of colours, or else of labels."""
    if bank.colors is None:
        labels = bank.labels.reshape(len(bank.labels), -1)
        return lambda i: LABELS * np.count_nonzero(labels != labels[i], axis=1) / labels.shape[1]
    colors = bank.colors.reshape(len(bank.colors), -1).astype(np.int16)
    return lambda i: np.abs(colors - colors[i]).mean(1) / 255
