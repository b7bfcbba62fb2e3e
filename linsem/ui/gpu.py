"""The jobs that run on the accelerator: pure functions from numpy and plain values to numpy, with a limited duration.

On ZeroGPU a job runs in a forked worker: arguments and results are pickled, the server sees none of its side effects,
and only a generator can be stopped. Each function decorated with `spaces.GPU` has its own workers. Only `work` is, so
that a worker that has generated images for a fit still has them when it segments them afterwards. Elsewhere
`spaces.GPU` returns the function unchanged, so a CPU runs the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import gradio as gr
import numpy as np

from linsem.conditional import CANDIDATES, STEPS
from linsem.edit import SAMPLES
from linsem.errors import InputError
from linsem.export import Labelled
from linsem.extractor import Extractor
from linsem.heap import give_back
from linsem.palette import Category
from linsem.studio import EditFrame, Reading, SampleFrame, Studio
from linsem.ui.errors import Refusal, in_words, said
from linsem.ui.seen import Seen

try:
    import spaces
except ImportError:  # only needed on ZeroGPU
    spaces = None

LOAD = 10.0  # seconds on ZeroGPU before a job begins, plus those per item below; generous: overruns may be aborted
PART = 64  # images of a data set per job: bounds its duration and the memory for images waiting to be written
WORKER = "ZeroGPU worker error"  # the error title that `spaces` uses when a worker has died
ABORTED = "The GPU was taken away before this was done; nothing of yours was lost. Please try again."


# --- seconds ---------------------------------------------------------------------------------------------------------


def draw_seconds(model: object, seeds: Sequence[object], *args: object, **kwargs: object) -> int:
    """For generating `seeds`, or the images of as many latents."""
    return _bounded(LOAD + 0.2 * len(seeds))


def fit_seconds(model: object, ws: Sequence[object], *args: object, **kwargs: object) -> int:
    """For fitting to some images."""
    return _bounded(LOAD + 1.0 * len(ws))


def read_seconds(model: object, extractor: object, ws: Sequence[object], *args: object, **kwargs: object) -> int:
    """For segmenting images."""
    return _bounded(LOAD + 0.3 * len(ws))


def overview_seconds(model: object, extractor: object, ws: Sequence[object], *args: object, **kwargs: object) -> int:
    """For segmenting images and choosing one of them."""
    return _bounded(LOAD + 0.4 * len(ws))


def suggest_seconds(
    model: object, seeds: Sequence[int], count: object = 4, psi: object = 1.0, labelled: Sequence[object] = (),
    *args: object, **kwargs: object,
) -> int:  # fmt: skip
    """For choosing among seeds, given the labelled images."""
    return _bounded(LOAD + 0.1 * (len(seeds) + len(labelled)))


def edit_seconds(
    model: object, extractor: object, ws: object, target: object, region: object = None, steps: float = 50,
    *args: object, **kwargs: object,
) -> int:  # fmt: skip
    """For an edit of `steps` steps, the first half from two starts, after generating `SAMPLES` samples."""
    return _bounded(LOAD + 0.03 * SAMPLES + 0.35 * steps)


def sample_seconds(
    model: object, extractor: object, layout: object, count: float = 4, candidates: float = CANDIDATES,
    steps: float = STEPS, *args: object, **kwargs: object,
) -> int:  # fmt: skip
    """For a sampling: the candidates once, then `steps` steps of `count` images."""
    return _bounded(LOAD + 0.03 * candidates + 0.1 * steps * max(count, 1))


def label_seconds(model: object, extractor: object, seeds: Sequence[int], *args: object, **kwargs: object) -> int:
    """For generating and segmenting the images of a data set."""
    return _bounded(LOAD + 0.1 * len(seeds))


def _bounded(seconds: float) -> int:
    return int(min(max(seconds, 10), 120))


SECONDS: dict[str, Callable[..., int]] = {
    "draw": draw_seconds, "render": draw_seconds, "fit": fit_seconds, "read": read_seconds, "fit_and_read": fit_seconds,
    "overview": overview_seconds, "suggest": suggest_seconds, "edit": edit_seconds, "remove": edit_seconds,
    "add": edit_seconds, "sample": sample_seconds, "label": label_seconds,
}  # fmt: skip


def job_seconds(job: str, *args: object, **kwargs: object) -> int:
    """The seconds to request for a job with these arguments."""
    return SECONDS[job](*args, **kwargs)


def on_gpu(function: Callable, seconds: Callable[..., int]) -> Callable:
    """Wrap a function to run on ZeroGPU if available, with its errors turned into messages."""
    function = in_words(function)
    return function if spaces is None else spaces.GPU(duration=seconds)(function)


# --- jobs ------------------------------------------------------------------------------------------------------------


class Accelerator:
    """The studio's methods, run on the accelerator; the tabs and the API call these rather than the studio.

    What was drawn or read a short while ago is not asked for again (`linsem.ui.seen`).
    """

    def __init__(self, studio: Studio) -> None:
        self._studio, self._seen = studio, Seen((studio.settings.cache_mb << 20) // 8)
        jobs = {
            "draw": studio.draw, "render": studio.render, "fit": studio.fit, "read": studio.read,
            "fit_and_read": lambda *args: _fit_and_read(studio, *args), "overview": studio.overview,
            "suggest": studio.suggest, "edit": studio.edit, "remove": studio.remove, "add": studio.add,
            "sample": studio.sample, "label": studio.label,
        }  # fmt: skip

        def work(job: str, *args: object, **kwargs: object) -> Iterator[object]:
            try:
                done = jobs[job](*args, **kwargs)
                if isinstance(done, Iterator):
                    yield from done
                else:
                    yield done
            except InputError as error:  # given back: `spaces` ends a worker that raises, and its features with it
                yield said(error)

        self._work = on_gpu(work, job_seconds)

    def draw(self, model: str, seeds: Sequence[int], psi: float) -> tuple[np.ndarray, np.ndarray]:
        """As `Studio.draw`."""
        ws, rgb = self._one("draw", model, seeds, psi)
        self._seen.keep_images(model, ws, rgb)
        return ws, rgb

    def render(self, model: str, ws: Sequence[np.ndarray]) -> np.ndarray:
        """As `Studio.render`."""
        rgb = self._seen.images(model, ws)
        if rgb is None:
            rgb = self._one("render", model, ws)
            self._seen.keep_images(model, ws, rgb)
        return rgb

    def fit(
        self, model: str, ws: Sequence[np.ndarray], labels: Sequence[np.ndarray], categories: Sequence[Category],
        start: Extractor | None = None,
    ) -> Extractor:  # fmt: skip
        """As `Studio.fit`."""
        return self._one("fit", model, ws, labels, categories, start)

    def read(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading:
        """As `Studio.read`."""
        reading = self._seen.reading(model, extractor, ws)
        if reading is None:
            reading = self._one("read", model, extractor, ws)
            self._seen.keep_reading(model, extractor, ws, reading)
        return reading

    def fit_and_read(
        self, model: str, ws: Sequence[np.ndarray], labels: Sequence[np.ndarray], categories: Sequence[Category],
        start: Extractor | None, shown: np.ndarray,
    ) -> tuple[Extractor, Reading]:  # fmt: skip
        """Fit, and segment the image of the latent `shown`: in one job, because each job requests the GPU anew."""
        extractor, reading = self._one("fit_and_read", model, ws, labels, categories, start, shown)
        self._seen.keep_reading(model, extractor, [shown], reading)
        return extractor, reading

    def overview(
        self, model: str, extractor: Extractor, ws: Sequence[np.ndarray], labelled: Sequence[int]
    ) -> tuple[Reading, int | None]:
        """As `Studio.overview`."""
        reading = self._seen.reading(model, extractor, ws)
        chosen = self._seen.choice(model, ws, labelled)
        if reading is not None and chosen is not None:
            return reading, chosen[0]
        reading, choice = self._one("overview", model, extractor, ws, labelled)
        self._seen.keep_reading(model, extractor, ws, reading)
        self._seen.keep_choice(model, ws, labelled, choice)
        return reading, choice

    def suggest(
        self, model: str, seeds: Sequence[int], count: int, psi: float, labelled: Sequence[np.ndarray] = ()
    ) -> list[int]:
        """As `Studio.suggest`."""
        return self._one("suggest", model, seeds, count, psi, labelled)

    def edit(
        self, model: str, extractor: Extractor, ws: np.ndarray, target: np.ndarray, region: np.ndarray | None = None,
        steps: int = 50, color: np.ndarray | None = None, color_mask: np.ndarray | None = None,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `Studio.edit`; closing it stops the worker after its current step."""
        wish = {} if color is None else {"color": color, "color_mask": color_mask}
        return self._stream("edit", model, extractor, ws, target, region, steps, **wish)

    def remove(
        self, model: str, extractor: Extractor, ws: np.ndarray, category: int, region: np.ndarray | None = None,
        steps: int = 50,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `Studio.remove`."""
        return self._stream("remove", model, extractor, ws, category, region, steps)

    def add(
        self, model: str, extractor: Extractor, ws: np.ndarray, category: int, region: np.ndarray | None = None,
        steps: int = 50,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `Studio.add`."""
        return self._stream("add", model, extractor, ws, category, region, steps)

    def sample(
        self, model: str, extractor: Extractor, layout: np.ndarray, count: int = 4, candidates: int = CANDIDATES,
        steps: int = STEPS, seed: int = 0, psi: float = 1.0, look: int | None = None,
    ) -> Iterator[SampleFrame]:  # fmt: skip
        """As `Studio.sample`."""
        return self._stream("sample", model, extractor, layout, count, candidates, steps, seed, psi, look)

    def label(self, model: str, extractor: Extractor, seeds: Sequence[int], psi: float) -> Iterator[list[Labelled]]:
        """As `Studio.label`, in jobs of at most `PART` images."""
        for start in range(0, len(seeds), PART):
            yield from self._stream("label", model, extractor, seeds[start : start + PART], psi)

    def _one(self, job: str, *args: object) -> object:
        *_, result = self._stream(job, *args)
        return result

    def _stream(self, job: str, model: str, *args: object, **kwargs: object) -> Iterator:
        self._studio.fetch(model)  # on the server: a download on the GPU would use up the visitor's seconds
        try:
            with closing(self._work(job, model, *args, **kwargs)) as results:
                for each in results:
                    if isinstance(each, Refusal):
                        raise each
                    yield each
        except gr.Error as error:
            if getattr(error, "title", "") == WORKER:
                raise gr.Error(ABORTED, print_exception=False) from None
            raise
        finally:
            if job in ("suggest", "edit", "remove", "add", "sample", "label"):
                give_back()


def _fit_and_read(
    studio: Studio, model: str, ws: Sequence[np.ndarray], labels: Sequence[np.ndarray], categories: Sequence[Category],
    start: Extractor | None, shown: np.ndarray,
) -> tuple[Extractor, Reading]:  # fmt: skip
    extractor = studio.fit(model, ws, labels, categories, start, bool(studio.settings.spread))
    return extractor, studio.read(model, extractor, [shown])
