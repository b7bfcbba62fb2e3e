"""What runs on the accelerator: pure functions, numpy and numbers in, numpy out, each with a bound on its seconds.

On ZeroGPU each of these runs in a forked worker: arguments and results are pickled, nothing global is kept, and only a
generator can be stopped. Elsewhere `spaces.GPU` hands the function back as it is, so a CPU runs the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from linsem.export import Labelled
from linsem.extractor import Extractor
from linsem.palette import Category
from linsem.studio import EditFrame, Reading, SampleFrame, Studio
from linsem.ui.errors import in_words

try:
    import spaces
except ImportError:  # a machine of one's own needs no scheduler
    spaces = None

# Seconds on the hosted GPU: (fixed, for each item). Generous, since what is exceeded may be aborted.
LOAD = 10.0


def draw_seconds(model: object, seeds: Sequence[int], *args: object, **kwargs: object) -> int:
    """Generating `seeds`."""
    return _bounded(LOAD + 0.2 * len(seeds))


def fit_seconds(model: object, ws: Sequence[object], *args: object, **kwargs: object) -> int:
    """Fitting on some images."""
    return _bounded(LOAD + 1.0 * len(ws))


def read_seconds(model: object, extractor: object, ws: Sequence[object], *args: object, **kwargs: object) -> int:
    """Labelling images."""
    return _bounded(LOAD + 0.3 * len(ws))


def edit_seconds(
    model: object, extractor: object, ws: object, target: object, region: object = None, steps: float = 50,
    *args: object, **kwargs: object,
) -> int:  # fmt: skip
    """An edit of `steps` steps."""
    return _bounded(LOAD + 0.25 * steps)


def sample_seconds(
    model: object, extractor: object, layout: object, count: float = 4, candidates: float = 200, steps: float = 30,
    *args: object, **kwargs: object,
) -> int:  # fmt: skip
    """A sampling: the candidates once, then `steps` steps of `count` images."""
    return _bounded(LOAD + 0.03 * candidates + 0.1 * steps * max(count, 1))


def label_seconds(model: object, extractor: object, seeds: Sequence[int], *args: object, **kwargs: object) -> int:
    """Labelling generated images for a data set."""
    return _bounded(LOAD + 0.1 * len(seeds))


def _bounded(seconds: float) -> int:
    return int(min(max(seconds, 10), 120))


def on_gpu(function: Callable, seconds: Callable[..., int]) -> Callable:
    """The function, run by ZeroGPU where there is one; its errors are sentences already."""
    function = in_words(function)
    return function if spaces is None else spaces.GPU(duration=seconds)(function)


class Accelerator:
    """The studio's functions as the accelerator runs them. The tabs and the API call these, never the studio's."""

    def __init__(self, studio: Studio) -> None:
        def draw(model: str, seeds: Sequence[int], psi: float) -> tuple[np.ndarray, np.ndarray]:
            return studio.draw(model, seeds, psi)

        def render(model: str, ws: Sequence[np.ndarray]) -> np.ndarray:
            return studio.render(model, ws)

        def fit(
            model: str, ws: Sequence[np.ndarray], labels: Sequence[np.ndarray], categories: Sequence[Category],
            start: Extractor | None = None,
        ) -> Extractor:  # fmt: skip
            return studio.fit(model, ws, labels, categories, start)

        def read(model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading:
            return studio.read(model, extractor, ws)

        def fit_and_read(
            model: str, ws: Sequence[np.ndarray], labels: Sequence[np.ndarray], categories: Sequence[Category],
            start: Extractor | None, shown: np.ndarray,
        ) -> tuple[Extractor, Reading]:  # fmt: skip
            extractor = studio.fit(model, ws, labels, categories, start)
            return extractor, studio.read(model, extractor, [shown])

        def edit(
            model: str, extractor: Extractor, ws: np.ndarray, target: np.ndarray, region: np.ndarray | None = None,
            steps: int = 50, color: np.ndarray | None = None, color_mask: np.ndarray | None = None,
        ) -> Iterator[EditFrame]:  # fmt: skip
            yield from studio.edit(model, extractor, ws, target, region, steps, color=color, color_mask=color_mask)

        def remove(
            model: str, extractor: Extractor, ws: np.ndarray, category: int, region: np.ndarray | None = None,
            steps: int = 50,
        ) -> Iterator[EditFrame]:  # fmt: skip
            target = studio.removal(model, extractor, ws, category, region)
            if (target == 255).all():
                name = extractor.categories[category].name
                raise ValueError(f"there is no {name} in this image, so there is nothing to remove")
            yield from studio.edit(model, extractor, ws, target, None, steps)

        def sample(
            model: str, extractor: Extractor, layout: np.ndarray, count: int = 4, candidates: int = 200,
            steps: int = 30, seed: int = 0, psi: float = 1.0,
        ) -> Iterator[SampleFrame]:  # fmt: skip
            yield from studio.sample(model, extractor, layout, count, candidates, steps, seed, psi)

        def label(model: str, extractor: Extractor, seeds: Sequence[int], psi: float) -> Iterator[list[Labelled]]:
            yield from studio.label(model, extractor, seeds, psi)

        self.draw = on_gpu(draw, draw_seconds)
        self.render = on_gpu(render, draw_seconds)
        self.fit = on_gpu(fit, fit_seconds)
        self.read = on_gpu(read, read_seconds)
        self.fit_and_read = on_gpu(fit_and_read, fit_seconds)
        self.edit = on_gpu(edit, edit_seconds)
        self.remove = on_gpu(remove, edit_seconds)
        self.sample = on_gpu(sample, sample_seconds)
        self.label = on_gpu(label, label_seconds)
