"""Which drawings a training step sees: those of variants that are still drawn badly, more often.

One hair style in thirty is seen once in thirty images, however many more it needs: spikes and strands are learnt slower
than plain outlines. Each variant of each choice has a running mean of its loss, and a drawing comes up in proportion to
the product of its variants' means, each relative to that of all drawings and raised to a power; to a higher one for
hair and hats, in which most of what is still wrong lies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from linsem.lab import drawings

CHOICES = ("top", "eyes", "eyebrows", "mouth", "clothes", "clothesGraphic", "facialHair", "accessories")
POWER, TOP = 3.0, 8.0  # of the relative loss (a part is a small share of its drawing's loss); of that of hair and hats
MOST = 8.0  # times that a drawing comes up, relative to the mean
PACE = 0.02  # of the running means
EVERY = 50  # batches between updates of the weights


class Focus:
    """The drawings of seeds 0..count-1, and how well each of their variants is drawn."""

    def __init__(self, codes: np.ndarray) -> None:
        shown = [_shown(drawings.drawing_of(code)) for code in codes]
        columns = [np.unique([each[i] for each in shown], return_inverse=True) for i in range(len(CHOICES))]
        self.names = [list(names) for names, _ in columns]
        self.variant = np.stack([index for _, index in columns], axis=1)
        self.loss = [np.full(len(names), np.nan) for names in self.names]
        self.mean = np.nan

    def update(self, rows: np.ndarray, losses: np.ndarray) -> None:
        """Take in the losses (n,) of the drawings `rows` (n,)."""
        self.mean = _moved(self.mean, losses.mean())
        for variants, means in zip(self.variant[rows].T, self.loss, strict=True):
            for variant, loss in zip(variants, losses, strict=True):
                means[variant] = _moved(means[variant], loss)

    def weights(self) -> np.ndarray:
        """How often each drawing shall come up, (count,), relative to the mean; 1 before any loss is known."""
        weight = np.ones(len(self.variant))
        for choice, variants, means in zip(CHOICES, self.variant.T, self.loss, strict=True):
            weight *= np.nan_to_num(means / self.mean, nan=1.0)[variants] ** (TOP if choice == "top" else POWER)
        return np.minimum(weight / weight.mean(), MOST)

    def batches(self, batch: int, seed: int) -> Iterator[np.ndarray]:
        """Endless batches of distinct rows (n,), ascending; n is `batch`, or a little less where one came up twice."""
        rng = np.random.default_rng(seed)
        while True:
            weight = self.weights()
            drawn = rng.choice(len(weight), (EVERY, batch), p=weight / weight.sum())
            for rows in drawn:
                yield np.unique(rows)

    def worst(self, count: int = 5) -> str:
        """The variants that are drawn worst, with their loss relative to the mean."""
        found = [(loss / self.mean, f"{choice} {name}") for choice, names, means in
                 zip(CHOICES, self.names, self.loss, strict=True)
                 for name, loss in zip(names, means, strict=True)]  # fmt: skip
        found = sorted((each for each in found if each[0] == each[0]), reverse=True)
        return ", ".join(f"{name} {ratio:.2f}" for ratio, name in found[:count])


def _shown(drawing: drawings.Drawing) -> list[str]:
    """The variants of CHOICES, "none" for a part that the drawing does not show."""
    absent = {"facialHair": not drawing.facial_hair, "accessories": not drawing.glasses,
              "clothesGraphic": drawing.variants["clothes"] != "graphicShirt"}  # fmt: skip
    return ["none" if absent.get(choice) else drawing.variants[choice] for choice in CHOICES]


def _moved(mean: float, value: float) -> float:
    return value if np.isnan(mean) else mean + PACE * (value - mean)
