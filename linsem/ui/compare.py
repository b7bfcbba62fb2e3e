"""A custom component that compares two images, with a divider that can be moved by mouse, touch or keyboard."""

from __future__ import annotations

from typing import Any

import numpy as np

from linsem.ui.html import Html
from linsem.ui.thumbs import data_url

TEMPLATE = (
    '<div class="cp" hidden><img alt="before"><img alt="after"><i></i><span>start</span><em>now</em>'
    '<input type="range" min="0" max="1000" value="500" aria-label="How much of the image after is shown"></div>'
)


class Compare(Html):
    """Shows a pair of images (before, after), each (H, W, 3) uint8."""

    def __init__(self, value: tuple[np.ndarray, np.ndarray] | None = None, **kw: Any) -> None:
        super().__init__(value, "compare", TEMPLATE, **kw)

    def postprocess(self, value: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Any] | None:
        """Convert the pair to data URLs."""
        return None if value is None else {"before": data_url(value[0]), "after": data_url(value[1])}
