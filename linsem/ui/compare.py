"""Before and after in one picture: a `gr.HTML` component of our own, with a handle that mouse, finger and keys move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from linsem.ui.thumbs import data_url

HERE = Path(__file__).parent
TEMPLATE = (
    '<div class="cp" hidden><img alt="before"><img alt="after"><i></i><span>before</span><em>after</em>'
    '<input type="range" min="0" max="1000" value="500" aria-label="How much of the image after is shown"></div>'
)


class Compare(gr.HTML):
    """Shows a pair (before, after) of (H, W, 3) uint8."""

    def __init__(self, value: tuple[np.ndarray, np.ndarray] | None = None, **kw: Any) -> None:
        super().__init__(
            value,
            html_template=TEMPLATE,
            css_template=(HERE / "compare.css").read_text(encoding="utf-8"),
            js_on_load=(HERE / "compare.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            **kw,
        )

    def get_block_name(self) -> str:
        """The frontend draws it as an HTML component."""
        return "html"

    def preprocess(self, payload: object) -> None:
        """Nothing that the browser sends is needed."""
        return None

    def postprocess(self, value: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Any] | None:
        """The pair as two pictures in URLs."""
        return None if value is None else {"before": data_url(value[0]), "after": data_url(value[1])}

    def api_info(self) -> dict[str, Any]:
        """Any JSON: it is not read."""
        return {"type": "object"}

    def example_payload(self) -> None:
        """Nothing."""
        return None

    def example_value(self) -> None:
        """Nothing: a value holds images."""
        return None
