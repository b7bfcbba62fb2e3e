"""HTML snippets: legends, bars, status lines. Category names come from visitors and are always escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from linsem.palette import UNLABELLED_COLOR, Category, colorize, gray, heat, overlay
from linsem.studio import Reading
from linsem.sureness import Sureness

ALL_VIEWS = ("Overlay", "Image", "Labels", "Uncertainty")


def text(value: object) -> str:
    """Escape a value as HTML text, so that it is neither markup nor part of a JavaScript template literal."""
    escaped = html.escape(str(value), quote=True)
    for letter in "$`{}\\":
        escaped = escaped.replace(letter, f"&#{ord(letter)};")
    return escaped


def hint(sentence: str) -> str:
    """The introductory sentence of a tab."""
    return f'<p class="ls-hint">{text(sentence)}</p>'


def status(sentence: str, kind: str = "idle") -> str:
    """A status line; `kind` is idle, busy, good or bad. Screen readers are told how a run ends, not of each step."""
    live = "off" if kind == "busy" else "polite"
    return f'<p class="ls-status ls-{kind}" role="status" aria-live="{live}">{text(sentence)}</p>'


def empty(title: str, sentence: str) -> str:
    """A placeholder for an area that has nothing to show yet."""
    return f'<div class="ls-empty"><strong>{text(title)}</strong><span>{text(sentence)}</span></div>'


def legend(categories: Sequence[Category], shares: dict[str, float], title: str, free: float = 0.0) -> str:
    """The name, colour and share of each category, largest first, absent ones pale; a `free` share has the last row."""
    ranked = sorted(categories, key=lambda c: -shares.get(c.name, 0))
    rows = [(category.name, category.color, shares.get(category.name, 0)) for category in ranked]
    rows += [("free", UNLABELLED_COLOR, free)] if free else []
    items = []
    for name, color, share in rows:
        pale = "" if share > 0 else " ls-none"
        items.append(
            f'<li class="ls-row{pale}"><i style="background:{color}"></i><span>{text(name)}</span>'
            f'<b><u style="width:{100 * share:.1f}%;background:{color}"></u></b>'
            f"<em>{_exact(share)}</em></li>"
        )
    return f'<div class="ls-legend"><h4>{text(title)}</h4><ul>{"".join(items)}</ul></div>'


def sureness_bars(rows: Sequence[Sureness]) -> str:
    """How sure the extractor is of each category, in words and as bars."""
    items = []
    for row in rows:
        value = row.value or 0.0
        items.append(
            f'<li class="ls-row{"" if row.painted else " ls-none"}"><i style="background:{row.category.color}"></i>'
            f"<span>{text(row.category.name)}</span>"
            f'<b role="meter" aria-label="{text(row.category.name)}" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{100 * value:.0f}"><u style="width:{100 * value:.0f}%;'
            f'background:{row.category.color}"></u></b><em>{text(row.words)}</em></li>'
        )
    return f'<div class="ls-legend ls-sure"><h4>How sure it is</h4><ul>{"".join(items)}</ul></div>'


def progress(done: float, sentence: str) -> str:
    """A status line with a progress bar, `done` in [0, 1]. The line comes first: it is the same element afterwards."""
    percent = 100 * min(max(done, 0.0), 1.0)
    return (
        f'{status(sentence, "busy")}<div class="ls-progress" role="progressbar" aria-label="Progress" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}">'
        f'<u style="width:{percent:.1f}%"></u></div>'
    )


def view(name: str, reading: Reading, index: int, categories: Sequence[Category]) -> np.ndarray:
    """One image of a reading in the view `name`, one of `ALL_VIEWS`: (H, W, 3) uint8."""
    if name == "Labels":
        return colorize(reading.labels[index], categories)
    if name == "Uncertainty":
        return _doubt(reading.rgb[index], reading.uncertainty[index])
    if name == "Image":
        return reading.rgb[index]
    return overlay(reading.rgb[index], reading.labels[index], categories)


def _doubt(rgb: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Blend a heat map of the uncertainty over the gray image, mostly transparent where it is sure."""
    weight = 0.25 + 0.75 * np.sqrt(np.nan_to_num(uncertainty).clip(0, 1))[..., None]
    return np.rint(gray(rgb) * (1 - weight) + heat(uncertainty) * weight).astype(np.uint8)


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{100 * share:.0f} %"


def _exact(share: float) -> str:
    if share == 0:
        return "none"
    return "under 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
