"""What our own `gr.HTML` components share: a template, a style and a script beside them, and nothing sent back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


class Html(gr.HTML):
    """A component that the files `name`.css and `name`.js of this folder draw, and that only shows."""

    def __init__(self, value: object, name: str, template: str, **kw: Any) -> None:
        super().__init__(
            value,
            html_template=template,
            css_template=(HERE / f"{name}.css").read_text(encoding="utf-8"),
            js_on_load=(HERE / f"{name}.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            **kw,
        )

    def get_block_name(self) -> str:
        """The frontend draws it as an HTML component."""
        return "html"

    def preprocess(self, payload: object) -> None:
        """Nothing that the browser sends is needed: what matters comes with its event."""
        return None

    def api_info(self) -> dict[str, Any]:
        """Any JSON: it is not read."""
        return {"type": "object"}

    def example_payload(self) -> None:
        """Nothing."""
        return None

    def example_value(self) -> None:
        """Nothing: a value holds images."""
        return None
