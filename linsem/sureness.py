"""How sure an extractor is of each category, in numbers and in words that a visitor reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from linsem.palette import Category
from linsem.session import Session

ONE_PICTURE, ONE_SEEN = 0.84, "seen on one image only"  # just below what `sure_words` calls "sure"
FAIRLY = 0.7  # from here on somebody would rely on it


@dataclass(frozen=True)
class Sureness:
    """The extractor's confidence in a category: `value` in [0, 1] (None: not found), painted pixels, and a text."""

    category: Category
    value: float | None
    painted: int
    share: float
    words: str


def sureness(
    session: Session, labels: np.ndarray, uncertainty: np.ndarray, words: Callable[[float], str] | None = None
) -> tuple[Sureness, ...]:
    """One row per category, from the predictions on all pictures: labels and uncertainty, both (N, H, W).

    A category painted on only one of several pictures is limited to `ONE_PICTURE`, and described as `ONE_SEEN` unless
    it is unsure even there: nothing has shown yet whether what was learnt generalises, or whether a stroke was
    misplaced.
    """
    words = words or sure_words
    counts = np.array([np.bincount(picture.labels.ravel(), minlength=256) for picture in session.pictures])
    painted, alone = counts.sum(0), ((counts > 0).sum(0) == 1) & (len(counts) > 1)
    count = np.bincount(labels.ravel(), minlength=256)
    total = np.bincount(labels.ravel(), weights=1 - uncertainty.ravel(), minlength=256)
    rows = []
    for k, category in enumerate(session.categories):
        value = float(total[k] / count[k]) if count[k] else None
        value = min(value, ONE_PICTURE) if value is not None and alone[k] else value
        text = words(value) if value is not None else "painted, but found nowhere"
        text = "not painted yet" if not painted[k] else ONE_SEEN if alone[k] and (value or 0) >= FAIRLY else text
        rows.append(Sureness(category, value if painted[k] else None, int(painted[k]), count[k] / labels.size, text))
    return tuple(rows)


def sure_words(value: float) -> str:
    """A confidence in [0, 1] in words."""
    for least, text in ((0.95, "very sure"), (0.85, "sure"), (FAIRLY, "fairly sure"), (0.5, "unsure")):
        if value >= least:
            return text
    return "guessing"
