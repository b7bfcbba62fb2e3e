"""A custom component: a strip of thumbnails to choose from, with badges, keyboard control and a current item.

The images are sent inside the value, reduced in size, because a strip changes with each stroke: no files to clean up.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from linsem.ui.html import Html

LARGEST = 384  # pixels per side


@dataclass(frozen=True, eq=False)
class Thumb:
    """One thumbnail: rgb (H, W, 3) uint8, a title, a badge ("" for none).

    `crisp` avoids smoothing, for label maps. `key` is what its choice gives as `gr.SelectData.value` (if it is "", its
    position is): what it shows may have another position by the time of a click.
    """

    rgb: np.ndarray
    title: str
    badge: str = ""
    crisp: bool = False
    key: str = ""


@dataclass(frozen=True, eq=False)
class Strip:
    """Thumbnails, and the position of the current one or None."""

    items: tuple[Thumb, ...]
    current: int | None = None


class Thumbs(Html):
    """Shows a `Strip`; `.select` gives the position as `gr.SelectData.index`; `empty` is the text without images.

    With `still` there is nothing to choose: the images are only shown.
    """

    def __init__(
        self,
        value: Strip | None = None,
        *,
        label: str,
        empty: str = "",
        size: int = 96,
        still: bool = False,
        **kw: Any,  # passed to gr.HTML
    ) -> None:
        super().__init__(
            value,
            "thumbs",
            '<div class="th" role="listbox"></div>',
            label=label,
            empty_text=empty,
            thumb_size=int(size),
            still=still,
            **kw,
        )

    def postprocess(self, value: Strip | None) -> dict[str, Any] | None:
        """Convert a strip to JSON."""
        if value is None:
            return None
        items = [
            {
                "image": data_url(each.rgb, each.crisp), "title": each.title, "badge": each.badge, "crisp": each.crisp,
                "key": each.key,
            }
            for each in value.items
        ]  # fmt: skip
        return {"items": items, "current": value.current}


def data_url(rgb: np.ndarray, crisp: bool = False) -> str:
    """Encode (H, W, 3) uint8 as the data URL of a thumbnail, which is lossy unless `crisp`."""
    image = Image.fromarray(rgb)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.NEAREST if crisp else Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=90, method=1, lossless=crisp)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
