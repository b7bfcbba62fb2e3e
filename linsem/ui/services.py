"""What all tabs and the API share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from linsem.errors import InputError
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.ui.files import Downloads
from linsem.ui.gpu import Accelerator
from linsem.ui.turns import Turns

LONG, SHORT = "gpu", "live"  # queues: for edits, samplings and the like; and for what each stroke triggers
BULK = "calls"  # queue of API calls, each of which may be as much work as a hundred strokes
LOADING = "models"  # queue of its own, because a download may take minutes and must not delay others


@dataclass(frozen=True)
class Services:
    """The settings, the studio, its methods as run on the accelerator, the folder of downloads, and the turns."""

    settings: Settings
    studio: Studio
    gpu: Accelerator
    downloads: Downloads
    turns: Turns

    @classmethod
    def make(cls, settings: Settings) -> Services:
        """Create all services from the settings."""
        studio = Studio(settings)
        return cls(settings, studio, Accelerator(studio), Downloads(settings.keep_hours), Turns())

    @property
    def long(self) -> dict[str, object]:
        """Queue options of events that take seconds."""
        return {"concurrency_id": LONG, "concurrency_limit": self.settings.long_jobs}

    @property
    def short(self) -> dict[str, object]:
        """Queue options of events that take up to about a second."""
        return {"concurrency_id": SHORT, "concurrency_limit": self.settings.short_jobs}

    @property
    def bulk(self) -> dict[str, object]:
        """Queue options of API calls for fits and images: few at a time, in parallel to visitors' events."""
        return {"concurrency_id": BULK, "concurrency_limit": self.settings.long_jobs}

    @property
    def loading(self) -> dict[str, object]:
        """Queue options of the choice of a generator."""
        return {"concurrency_id": LOADING, "concurrency_limit": self.settings.short_jobs}


def reach(low: int, most: int, value: int, step: int = 1) -> dict[str, int]:
    """Minimum, maximum, value and step of a slider, for any limit: Gradio needs the minimum below the maximum."""
    low, step = (low, step) if low + step <= most else (0, 1)
    return {"minimum": low, "maximum": most, "value": min(value, most), "step": step}


def whole(name: str, value: object, low: int, high: int) -> int:
    """Convert an input to an int; raises `InputError` unless it is a whole number in low..high."""
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise InputError(f"{name}: enter a whole number from {low} to {high}{_instead(value)}")
    return int(value)


def real(name: str, value: object, low: float, high: float) -> float:
    """Convert an input to a float; raises `InputError` unless it is a finite number in low..high."""
    if not _is_number(value) or not low <= value <= high:
        raise InputError(f"{name}: enter a number from {low} to {high}{_instead(value)}")
    return float(value)


def _is_number(value: object) -> bool:
    known = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return known and not isinstance(value, bool)


def _instead(value: object) -> str:
    """The rejected value, for the message; "" for an empty field, which gives None."""
    if value is None:
        return ""
    text = str(value)[:40]
    return f", not {text!r}" if isinstance(value, str) else f", not {text}"
