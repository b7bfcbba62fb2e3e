"""Compression of the page, of which Gradio compresses only files whose names end in `.js`, `.css` and the like."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

PLACES = ("", "/config", "/gradio_api/info")  # the page, and what Gradio's client reads before its first call
LEVEL = 5  # of 9: an eighth of the page is left, and hardly less at 9, which takes twice as long


class Packed(GZipMiddleware):
    """ASGI middleware that compresses the answers at `PLACES` for those who accept that; no streams, no images."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        place = scope.get("path", "").removeprefix(scope.get("root_path", "")).rstrip("/")
        if scope["type"] == "http" and place in PLACES:
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
