"""Results of the studio: frozen values of numpy arrays and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from linsem.conditional import SampleStep
from linsem.edit import EditResult
from linsem.generator import Generator
from linsem.pixels import to_rgb


@dataclass(frozen=True, eq=False)
class Reading:
    """An extractor's predictions on images.

    rgb (N, H, W, 3) uint8, labels (N, H, W) uint8, uncertainty (N, H, W) in [0, 1].
    """

    rgb: np.ndarray
    labels: np.ndarray
    uncertainty: np.ndarray


@dataclass(frozen=True, eq=False)
class EditFrame:
    """The state of an edit: rgb (H, W, 3), labels (H, W), ws (num_ws, w_dim), and the report of `linsem.edit`.

    Before the first step, while the samples are drawn among which an edit may start, `sampled` says how many there are
    so far, and the rest is the image as it is, with an empty report; from then on it is None.
    """

    rgb: np.ndarray
    labels: np.ndarray
    ws: np.ndarray
    report: dict[str, object]
    sampled: int | None = None

    @classmethod
    def of(cls, result: EditResult) -> EditFrame:
        """From a result of `linsem.edit`."""
        return cls(to_rgb(result.image)[0], result.labels, result.ws.cpu().numpy(), dict(result.report))


@dataclass(frozen=True, eq=False)
class SampleFrame:
    """The state of a sampling after `index` of `total` steps, with the results so far, best first.

    rgb (N, H, W, 3), labels (N, H, W), ws (N, num_ws, w_dim), scores and seeds (N); N is 0 before the first results.
    For `nearest` see `SampleStep`.
    """

    index: int
    total: int
    rgb: np.ndarray
    labels: np.ndarray
    ws: np.ndarray
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    nearest: float | None = None

    @classmethod
    def of(cls, step: SampleStep, generator: Generator) -> SampleFrame:
        """From a step of `linsem.conditional`."""
        found = step.results
        if not found:
            shape, ws = (0, *generator.size), (0, generator.num_ws, generator.w_dim)
            rgb, labels = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
            return cls(step.index, step.total, rgb, labels, np.zeros(ws, np.float32), (), ())
        rgb, labels = to_rgb(torch.stack([each.image for each in found])), np.stack([each.labels for each in found])
        ws = np.stack([each.ws.cpu().numpy() for each in found])
        scores, seeds = tuple(float(each.score) for each in found), tuple(int(each.seed) for each in found)
        return cls(step.index, step.total, rgb, labels, ws, scores, seeds, step.nearest)
