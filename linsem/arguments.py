"""Checks of what a caller gives: each raises InputError, or another of its kind, with one sentence."""

from __future__ import annotations

import math
import operator
from pathlib import Path

import numpy as np
import torch

from linsem.errors import InputError

_SHOWN = 80  # characters of a wrong value: an array may have millions


def whole_number(
    name: str, value: object, least: int, most: int | None = None, *, error: type[InputError] = InputError
) -> int:
    """The value as an int, from any integer type (numpy, tensor); refuses 2.0, "2" and what is out of range."""
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least or (most is not None and found > most):
        span = f"of at least {least}" if most is None else f"in {least}..{most}"
        raise error(f"{name}: expected a whole number {span}, got {shown(value)}")
    return found


def number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, error: type[InputError] = InputError
) -> float:
    """The value as a float, from any real type, an int as it is; refuses NaN, "0.7" and what is not in low..high."""
    try:
        found = value.__float__()
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: of a tensor
        found = math.nan
    if not low <= found <= high:  # NaN is not
        raise error(f"{name}: expected {_span(low, high)}, got {shown(value)}")
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else found


def array(name: str, value: object, *, error: type[InputError] = InputError) -> np.ndarray:
    """The value as an array of numbers, from a list, an array or a tensor; refuses rows of different lengths."""
    try:
        found = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
    except (RuntimeError, TypeError, ValueError):
        found = np.asarray(None)
    if found.dtype.kind not in "buif":
        raise error(f"{name}: expected an array of numbers, got {shown(value)}")
    return found


def height_and_width(name: str, value: object, *, error: type[InputError] = InputError) -> tuple[int, int]:
    """The value as (height, width), each at least 1."""
    try:
        height, width = value
    except (TypeError, ValueError):
        raise error(f"{name}: expected (height, width), got {shown(value)}") from None
    sides = (("height", height), ("width", width))
    height, width = (whole_number(f"{name}: {side}", each, 1, error=error) for side, each in sides)
    return height, width


def file_at(source: object) -> Path | None:
    """The existing file that a text or a path names, None for anything else; `~` is the user's home."""
    try:
        path = Path(str(source)).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL character, an unknown home
        return None


def shown(value: object) -> str:
    """A value as a message shows it."""
    return shortened(repr(value), _SHOWN)


def shortened(text: object, most: int = 200) -> str:
    """The text as it is, or its beginning: other libraries' errors may quote whole files."""
    text = str(text)
    return text if len(text) <= most else f"{text[:most]}..."


def _span(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a number"
    return f"a number of at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
