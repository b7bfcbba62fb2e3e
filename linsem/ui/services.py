"""What every tab and the API are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linsem.errors import InputError
from linsem.palette import Category
from linsem.pixels import IGNORE
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.ui.files import Downloads
from linsem.ui.gpu import Accelerator

LONG, SHORT = "gpu", "live"  # the queues: edits, samplings and the like; and what a visitor waits for at each stroke
BULK = "calls"  # of programs, each of which may be as much work as a hundred strokes
LOADING = "models"  # a chosen network may have to be downloaded first, which takes minutes and must hold up nobody


@dataclass(frozen=True)
class Services:
    """The settings, the studio, the same functions as the accelerator runs them, and where downloads are put."""

    settings: Settings
    studio: Studio
    gpu: Accelerator
    downloads: Downloads

    @classmethod
    def make(cls, settings: Settings) -> Services:
        """Everything from the settings."""
        studio = Studio(settings)
        return cls(settings, studio, Accelerator(studio), Downloads(settings.keep_hours))

    @property
    def long(self) -> dict[str, object]:
        """How an event that takes seconds is queued."""
        return {"concurrency_id": LONG, "concurrency_limit": self.settings.long_jobs}

    @property
    def short(self) -> dict[str, object]:
        """How an event that takes less than about a second is queued."""
        return {"concurrency_id": SHORT, "concurrency_limit": self.settings.short_jobs}

    @property
    def bulk(self) -> dict[str, object]:
        """How a program's call for fits and images is queued: one at a time, beside what visitors wait for."""
        return {"concurrency_id": BULK, "concurrency_limit": 1}

    @property
    def loading(self) -> dict[str, object]:
        """How the choice of a generator is queued."""
        return {"concurrency_id": LOADING, "concurrency_limit": self.settings.short_jobs}


def reach(low: int, most: int, value: int, step: int = 1) -> dict[str, int]:
    """Minimum, maximum, value and step of a slider, whatever limit is set: Gradio asks for a minimum below the most."""
    low, step = (low, step) if low + step <= most else (0, 1)
    return {"minimum": low, "maximum": most, "value": min(value, most), "step": step}


def whole(name: str, value: object, low: int, high: int) -> int:
    """A number from outside as an int; raises `InputError` unless it is a whole number in low..high."""
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise InputError(f"{name}: enter a whole number from {low} to {high}{_instead(value)}")
    return int(value)


def real(name: str, value: object, low: float, high: float) -> float:
    """A number from outside as a float; raises `InputError` unless it is finite and in low..high."""
    if not _is_number(value) or not low <= value <= high:
        raise InputError(f"{name}: enter a number from {low} to {high}{_instead(value)}")
    return float(value)


def _is_number(value: object) -> bool:
    known = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return known and not isinstance(value, bool)


def _instead(value: object) -> str:
    """What came, where anything did: an empty field gives None."""
    if value is None:
        return ""
    text = str(value)[:40]
    return f", not {text!r}" if isinstance(value, str) else f", not {text}"


def shares(labels: np.ndarray, categories: Sequence[Category], of_all: bool = False) -> dict[str, float]:
    """The share of each category in labels of any shape, by name, in the order of the categories: of what is labelled,
    or of all."""
    count = np.bincount(labels.ravel(), minlength=256)
    total = max(labels.size if of_all else int((labels != IGNORE).sum()), 1)
    return {category.name: round(float(count[k] / total), 5) for k, category in enumerate(categories)}
