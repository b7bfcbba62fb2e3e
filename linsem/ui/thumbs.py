"""A strip of thumbnails to choose from: a `gr.HTML` component of our own, with badges, keyboard and a current one.

The images cross the wire inside the value, small: a strip changes with each stroke, and nothing is left on the disk.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
LARGEST = 384  # pixels of a side


@dataclass(frozen=True, eq=False)
class Thumb:
    """One thumbnail: rgb (H, W, 3) uint8, the line under it, and a badge ("" for none). `crisp` keeps each pixel as it
    is, for label maps."""

    rgb: np.ndarray
    title: str
    badge: str = ""
    crisp: bool = False


@dataclass(frozen=True, eq=False)
class Strip:
    """Thumbnails and the position of the current one (None: none is)."""

    items: tuple[Thumb, ...]
    current: int | None = None


class Thumbs(gr.HTML):
    """Shows a `Strip`; `.select` fires with the position as `gr.SelectData.index`. `empty` is said of no images."""

    def __init__(
        self,
        value: Strip | None = None,
        *,
        label: str,
        empty: str = "",
        size: int = 96,
        **kw: Any,  # whatever gr.HTML takes
    ) -> None:
        super().__init__(
            value,
            label=label,
            html_template='<div class="th" role="listbox"></div>',
            css_template=(HERE / "thumbs.css").read_text(encoding="utf-8"),
            js_on_load=(HERE / "thumbs.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            empty_text=empty,
            thumb_size=int(size),
            **kw,
        )

    def get_block_name(self) -> str:
        """The frontend draws it as an HTML component."""
        return "html"

    def preprocess(self, payload: object) -> None:
        """Nothing that the browser sends is needed: the position comes with the event."""
        return None

    def postprocess(self, value: Strip | None) -> dict[str, Any] | None:
        """A strip as plain JSON."""
        if value is None:
            return None
        items = [
            {"image": data_url(each.rgb, each.crisp), "title": each.title, "badge": each.badge, "crisp": each.crisp}
            for each in value.items
        ]
        return {"items": items, "current": value.current}

    def api_info(self) -> dict[str, Any]:
        """Any JSON: it is not read."""
        return {"type": "object"}

    def example_payload(self) -> None:
        """Nothing."""
        return None

    def example_value(self) -> None:
        """Nothing: a strip holds images."""
        return None


def data_url(rgb: np.ndarray, crisp: bool = False) -> str:
    """(H, W, 3) uint8 as a small picture in a URL, for looking at only."""
    image = Image.fromarray(rgb)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.NEAREST if crisp else Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=90, method=1, lossless=crisp)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
