"""The base of the display-only `gr.HTML` components: a template, with a style and a script from this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


class Html(gr.HTML):
    """A display-only component, rendered by the files `name`.css and `name`.js of this folder."""

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
        """The name of the frontend component that renders this one."""
        return "html"

    def preprocess(self, payload: object) -> None:
        """Ignore what the browser sends: the data of interest comes with the event."""
        return None

    def api_info(self) -> dict[str, Any]:
        """Any JSON object, because the payload is ignored."""
        return {"type": "object"}

    def example_payload(self) -> None:
        """None."""
        return None

    def example_value(self) -> None:
        """None, because a value needs images."""
        return None
