"""Categories: named classes, each with a unique colour."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from linsem.arguments import array, shown
from linsem.errors import InputError
from linsem.pixels import IGNORE

MAX_CATEGORIES = 254
MAX_NAME = 64  # characters
SNAP = 12  # largest difference per channel at which a colour counts as a category's: lossy files shift colours
UNLABELLED_COLOR = "#7a7a7a"  # of unlabelled pixels, where they cannot be transparent

# Any two differ by more than 2 * SNAP in some channel. None is black, white, gray or a primary colour: these are common
# in other palettes, and an indexed map must not be mistaken for a colour-coded one.
DEFAULT_COLORS: tuple[str, ...] = (
    "#3d5a80", "#f2b28c", "#6b3e26", "#d1495b", "#2ec4b6", "#8d6b94", "#f4d35e", "#e0218a", "#5c8001", "#00a6fb",
    "#f3722c", "#7b2cbf", "#b5e48c", "#cdb4db", "#005f73", "#9b2226", "#ffc8dd", "#43aa8b", "#bc6c25", "#48305f",
    "#a9d6e5", "#d4a200", "#1d7a2f", "#ff6f91",
)  # fmt: skip
_JOINERS = {0x200C: None, 0x200D: None}  # invisible, but part of Persian words and of some emoji
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")


@dataclass(frozen=True)
class Category:
    """A named class and its colour, "#rrggbb"."""

    name: str
    color: str


def shares(labels: np.ndarray, categories: Sequence[Category], of_all: bool = False) -> dict[str, float]:
    """The share of each category, by name and in order, of the labelled pixels or of all; labels have any shape."""
    count = np.bincount(labels.ravel(), minlength=256)
    total = max(labels.size if of_all else int((labels != IGNORE).sum()), 1)
    return {category.name: round(float(count[k] / total), 5) for k, category in enumerate(categories)}


def names_of(categories: Sequence[Category]) -> tuple[str, ...]:
    """The names of categories, in order."""
    return tuple(category.name for category in categories)


def parse_categories(
    data: str | dict | Sequence[Category | dict | str] | None, default: Sequence[Category] = ()
) -> tuple[Category, ...]:
    """Parse categories from JSON `[{name, color?}]` or such a list (names alone will do); no data gives `default`.

    `{"categories": [...]}`, as in an exported data set, is accepted too. A missing colour is replaced by an unused one.

    Raises ValueError unless there are 1 to 254 categories, with names unique, non-empty and at most 64 characters long,
    and colours unique and "#rrggbb".
    """
    if data is None or (isinstance(data, str) and not data.strip()):
        return tuple(default)
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f'categories: expected JSON like [{{"name": "hair"}}], got {data[:80]!r}') from error
    if isinstance(data, dict) and isinstance(data.get("categories"), list):
        data = data["categories"]  # as in an exported data set
    if not isinstance(data, (list, tuple)):
        raise InputError(f"categories: expected a list of {{name, color}}, got {type(data).__name__}")
    if not 1 <= len(data) <= MAX_CATEGORIES:
        raise InputError(f"categories: expected 1 to {MAX_CATEGORIES}, got {len(data)}")
    named = [_name_and_color(index, item) for index, item in enumerate(data)]
    _refuse_twice("names", [name for name, _ in named])
    _refuse_twice("colours", [color for _, color in named if color])
    free = _free_colors({color for _, color in named if color}, sum(color is None for _, color in named))
    return tuple(Category(name, color or next(free)) for name, color in named)


def given_categories(given: Sequence[Category | dict | str]) -> tuple[Category, ...]:
    """Categories as a caller may give them: names, or rows with `name` and `color`; those already parsed stay."""
    if isinstance(given, (list, tuple)) and all(isinstance(each, Category) for each in given):
        if given:
            parse_categories(given)  # to check them
        return tuple(given)
    parsed = parse_categories(given)
    if not parsed:
        raise InputError(f"categories: expected a list of them, got {shown(given)}")
    return parsed


def rgb_of(color: str) -> tuple[int, int, int]:
    """The three channels, in 0..255, of a colour "#rrggbb"."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def color_table(categories: Sequence[Category]) -> np.ndarray:
    """(256, 3) uint8: the colour of each label; gray for 255 and any label that is no category."""
    table = np.full((256, 3), rgb_of(UNLABELLED_COLOR), dtype=np.uint8)
    if categories:
        table[: len(categories)] = [rgb_of(category.color) for category in categories]
    return table


def checked_labels(labels: np.ndarray, categories: Sequence[Category]) -> np.ndarray:
    """Labels of any shape as uint8; raises ValueError unless they are integers in 0..K-1 or 255."""
    labels = array("labels", labels)
    if labels.dtype.kind not in "ui":
        raise InputError(f"labels: expected whole numbers, got {labels.dtype}")
    wrong = (labels != IGNORE) & ((labels < 0) | (labels >= len(categories)))
    if wrong.any():
        raise InputError(
            f"labels: expected 0..{len(categories) - 1} or {IGNORE}, got {int(labels[wrong][0])} "
            f"in {int(wrong.sum())} pixels"
        )
    return labels.astype(np.uint8)


def _name_and_color(index: int, item: Category | dict | str) -> tuple[str, str | None]:
    if isinstance(item, Category):
        item = asdict(item)
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InputError(f"categories: expected {{name, color}} as number {index}, got {str(item)[:80]}")
    name, color = item["name"].strip(), item.get("color")
    if not 1 <= len(name) <= MAX_NAME:
        raise InputError(f"categories: expected a name of 1 to {MAX_NAME} characters, got {len(name)}: {name[:80]!r}")
    if not name.translate(_JOINERS).isprintable():
        raise InputError(f"categories: a name may not hold control characters, got {name!r}")
    if color in (None, ""):
        return name, None
    if not isinstance(color, str) or not _COLOR.match(color) or color.lower() == UNLABELLED_COLOR:
        reserved = f" other than {UNLABELLED_COLOR}"
        raise InputError(f'categories: expected a colour "#rrggbb"{reserved} for {name!r}, got {str(color)[:40]!r}')
    return name, color.lower()


def _refuse_twice(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise InputError(f"categories: {what} must be unique, got twice: {', '.join(twice[:5])}")


def free_color(categories: Sequence[Category]) -> str:
    """A colour that none of the categories has, nor one close to it, as far as there is one."""
    return next(_free_colors({category.color for category in categories}, 1), DEFAULT_COLORS[0])


def _free_colors(taken: set[str], count: int) -> Iterator[str]:
    """`count` colours distinct from `taken` and each other: default ones first, then others around the colour wheel."""
    chosen: list[str] = []
    others = np.array([rgb_of(color) for color in (*taken, UNLABELLED_COLOR)])
    for distance in (2 * SNAP + 1, 2, 1):  # smaller only if there are too many categories
        for color in _candidates():
            if len(chosen) == count:
                return iter(chosen)
            if np.abs(others - rgb_of(color)).max(-1).min() >= distance:
                chosen.append(color)
                others = np.vstack([others, rgb_of(color)])
    return iter(chosen)


def _candidates() -> Iterator[str]:
    yield from DEFAULT_COLORS
    for index in range(2 * MAX_CATEGORIES):
        hue = index * 0.61803 % 1
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.5, 0.65)[index % 3], (0.9, 0.95, 0.55)[index // 3 % 3])
        yield f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
