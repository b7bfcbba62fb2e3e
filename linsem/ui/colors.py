"""What a colour picker gives, as colours."""

from __future__ import annotations

import re
from collections.abc import Iterable

from PIL import ImageColor

from linsem.arguments import shown
from linsem.categories import rgb_of
from linsem.errors import InputError

_HEX = re.compile("#[0-9a-f]{6}")
_RGB = re.compile(r"rgba?\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)")


def hex_color(color: str | None) -> str:
    """Convert "rgba(...)", "hsl(...)", "#abc" or a name to "#rrggbb"; what is no colour is returned as it is."""
    if match := _RGB.match(color or ""):  # with fractions, which Pillow does not read
        return _hex(min(max(round(float(part)), 0), 255) for part in match.groups())
    try:
        return _hex(ImageColor.getrgb(color or "")[:3])
    except ValueError:
        return color or ""


def wished_rgb(color: str | None) -> tuple[int, int, int]:
    """The three channels, in 0..255, of a colour; raises `InputError` for what is none."""
    found = hex_color(color)
    if not _HEX.fullmatch(found):
        raise InputError(f"colour: expected one such as #d1495b, got {shown(color)}")
    return rgb_of(found)


def _hex(channels: Iterable[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in channels)
