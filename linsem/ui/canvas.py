"""The labelling painter: a custom component based on `gr.HTML`.

Its browser side consists of static files in this folder (`painter.html`, `painter.css`, `painter*.js`), read when the
component is created: no build step, no external requests, no user text in a template. Label maps are transferred as
8-bit grey PNGs in which the grey value is the category index and 255 means unpainted. Both sides encode and decode
these themselves, so that no colour management can change an index.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from PIL import Image

from linsem.errors import InputError
from linsem.palette import Category
from linsem.pictures import png_head
from linsem.pixels import IGNORE
from linsem.ui.cached import cached_png

SCRIPTS = ("painter_core.js", "painter.js", "painter_input.js")  # concatenated in this order
PNG_PREFIX = "data:image/png;base64,"
MAX_PIXELS = 1 << 22
MAX_CHARS = 6_000_000  # base64 of MAX_PIXELS incompressible bytes, rounded up
MAX_KEY = 256
MAX_STAMP = 1 << 53  # the largest integer that a browser counts exactly
MAX_ID = IGNORE - 2  # up to 254 categories: indices 0..253
FIELDS = {
    "key", "labels", "stamp", "width", "height", "image", "prediction", "uncertainty", "categories", "opens", "since",
    "back",
}  # fmt: skip
UNCERTAINTY_LEVELS = 63  # about as many as are visible in a heat map; fewer make a smaller file


@dataclass(frozen=True, eq=False)
class PainterState:
    """The state that the server sends to the painter.

    `rgb` (H, W, 3) uint8; `labels` (H, W) uint8, 255 = unpainted; `prediction` (H, W) uint8 category indices or None;
    `uncertainty` (H, W) floats in [0, 1] or None. `key` identifies the image: while it is unchanged, the browser keeps
    its own labels, undo history, zoom and tool, and updates only the layers under the strokes and the categories. If
    `opens` is False, a browser that shows another image by now ignores the state, so that it does not switch back.
    `since` is what the server knew to be painted on the image before: what was painted there later goes along. `back`
    (H, W) uint8, 255 = unpainted, are labels that the first undo brings.

    Raises ValueError if a shape, a type or an index is invalid.
    """

    rgb: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray | None
    uncertainty: np.ndarray | None
    categories: tuple[Category, ...]
    key: str
    opens: bool = True
    since: PainterLabels | None = None
    back: np.ndarray | None = None

    def __post_init__(self) -> None:
        rgb = self.rgb
        if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(f"rgb: expected (H, W, 3) uint8, got {_describe(rgb)}")
        if not 0 < rgb.shape[0] * rgb.shape[1] <= MAX_PIXELS:
            raise InputError(f"rgb: expected 1 to {MAX_PIXELS} pixels, got {_describe(rgb)}")
        if not 1 <= len(self.categories) <= MAX_ID + 1:
            raise InputError(f"categories: expected 1 to {MAX_ID + 1}, got {len(self.categories)}")
        if not isinstance(self.key, str) or not 1 <= len(self.key) <= MAX_KEY:
            raise InputError(f"key: expected text of 1 to {MAX_KEY} characters, got {self.key!r:.80}")
        self._check_map("labels", self.labels, unpainted=True)
        for name, labels in (("back", self.back), ("since", None if self.since is None else self.since.labels)):
            if labels is not None:
                self._check_map(name, labels, unpainted=True)
        if self.prediction is not None:
            self._check_map("prediction", self.prediction, unpainted=False)
        if self.uncertainty is not None:
            self._check_uncertainty(self.uncertainty)

    def _check_map(self, name: str, values: np.ndarray, *, unpainted: bool) -> None:
        size = self.rgb.shape[:2]
        if not isinstance(values, np.ndarray) or values.shape != size or values.dtype != np.uint8:
            raise InputError(f"{name}: expected {size} uint8, got {_describe(values)}")
        wrong = values >= len(self.categories)
        if unpainted:
            wrong &= values != IGNORE
        if wrong.any():
            found = sorted(set(values[wrong].tolist()))
            raise InputError(f"{name}: expected indices of {len(self.categories)} categories, got {found[:8]}")

    def _check_uncertainty(self, values: np.ndarray) -> None:
        size = self.rgb.shape[:2]
        if not isinstance(values, np.ndarray) or values.shape != size or values.dtype.kind != "f":
            raise InputError(f"uncertainty: expected {size} floats, got {_describe(values)}")
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InputError("uncertainty: expected values in [0, 1]")


@dataclass(frozen=True, eq=False)
class PainterLabels:
    """What the painter sends to the server: `labels` (H, W) uint8 (255 = unpainted) of the image `key`.

    `stamp` counts the user's changes on that page: a later change has a larger stamp, and 0 means unchanged.
    """

    key: str
    labels: np.ndarray
    stamp: int


class LabelPainter(gr.HTML):
    """Paint category labels on an image: takes a `PainterState`, returns `PainterLabels`.

    `.input` fires once after each stroke, fill, undo, redo or clear by the user, but not for values from the server,
    and `.submit` right after it: of two listeners to one event, Gradio calls the second when the first has ended.
    `categories` are shown until a value provides its own; `max_width` is the largest width of the image in CSS pixels,
    `brush` the initial brush diameter in image pixels (None: depends on the image size), `opacity` the initial opacity
    of the strokes. `views` are the layers that can be shown: "prediction" and "uncertainty"; `nothing` is displayed
    while nothing is painted, `one` while one category is, on this image alone, and nothing is predicted, and `empty`
    while there is no image. `fill` is what the fill tool follows: "colour", that of the image, or "prediction", where
    there is one.
    """

    def __init__(
        self,
        value: PainterState | Callable | None = None,
        *,
        categories: tuple[Category, ...],
        label: str,
        max_width: int = 560,
        brush: int | None = None,
        opacity: float = 0.75,
        views: tuple[str, ...] = ("prediction", "uncertainty"),
        nothing: str = "Nothing painted yet.",
        one: str = "",
        empty: str = "The image appears here.",
        fill: str = "prediction",
        **kw: Any,  # passed to gr.HTML: elem_id, scale, visible, ...
    ) -> None:
        super().__init__(
            value,
            label=label,
            html_template=_asset("painter.html"),
            css_template=_asset("painter.css"),
            js_on_load="".join(_asset(name) for name in SCRIPTS),
            apply_default_css=False,
            first_categories=_plain(categories),
            max_width=int(max_width),
            first_brush=brush,
            first_opacity=float(opacity),
            views=list(views),
            nothing=nothing,
            one=one,
            empty=empty,
            fill=fill,
            **kw,
        )

    def __getattr__(self, name: str) -> Any:
        # gr.HTML turns every quoted word of the script into an event; this component has only the standard events.
        raise AttributeError(f"'LabelPainter' object has no attribute '{name}'")

    def get_block_name(self) -> str:
        """The name of the frontend component that renders this one."""
        return "html"

    def preprocess(self, payload: dict[str, Any] | None) -> PainterLabels | None:
        """Check and decode what the browser sent; malformed data raises a `gr.Error` that explains it."""
        if payload is None or payload == "":  # how the browser sends no value
            return None
        try:
            return _read_payload(payload)
        except ValueError as error:
            raise gr.Error(f"The painter's labels could not be read: {error}", print_exception=False) from None

    def postprocess(self, value: PainterState | None) -> dict[str, Any] | None:
        """Convert a state to JSON: maps become PNG data URLs, the image a cached file."""
        if value is None:
            return None
        if not isinstance(value, PainterState):
            raise InputError(f"LabelPainter: expected PainterState or None, got {type(value).__name__}")
        heat = value.uncertainty
        if heat is not None:
            heat = np.round(np.round(heat * UNCERTAINTY_LEVELS) * (255 / UNCERTAINTY_LEVELS)).astype(np.uint8)
        since = value.since
        return {
            "key": value.key,
            "labels": encode_map(value.labels),
            "stamp": 0,
            "height": value.rgb.shape[0],
            "width": value.rgb.shape[1],
            "image": FileData(path=cached_png(value.rgb), mime_type="image/png").model_dump(),
            "prediction": None if value.prediction is None else encode_map(value.prediction),
            "uncertainty": None if heat is None else encode_map(heat),
            "categories": _plain(value.categories),
            "opens": value.opens,
            "since": None if since is None else {"key": since.key, "labels": encode_map(since.labels)},
            "back": None if value.back is None else encode_map(value.back),
        }

    def api_info(self) -> dict[str, Any]:
        """The schema of the JSON that `preprocess` accepts."""
        text = {"type": "string"}
        stamp = {"type": "integer", "minimum": 0}
        return {
            "type": "object",
            "properties": {"key": text, "labels": text, "stamp": stamp},
            "required": ["key", "labels", "stamp"],
            "description": "labels: data URL of an 8-bit grey PNG, grey = category index, 255 = unpainted",
        }

    def example_payload(self) -> dict[str, Any]:
        """A small valid payload for the API page."""
        return {"key": "seed-7", "labels": encode_map(np.full((2, 2), IGNORE, np.uint8)), "stamp": 1}

    def example_value(self) -> None:
        """None, because a state needs an image."""
        return None


def encode_map(values: np.ndarray) -> str:
    """Encode (H, W) uint8 as the data URL of an 8-bit grey PNG."""
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return PNG_PREFIX + base64.b64encode(buffer.getvalue()).decode("ascii")


def decode_map(url: str) -> np.ndarray:
    """Decode the data URL of an 8-bit grey PNG to (H, W) uint8; raises ValueError if it is invalid."""
    if not isinstance(url, str) or not url.startswith(PNG_PREFIX):
        raise InputError("expected a PNG as a data URL.")
    if len(url) > MAX_CHARS:
        raise InputError(f"expected at most {MAX_CHARS} characters, got {len(url)}.")
    try:
        data = base64.b64decode(url[len(PNG_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise InputError("the base64 text is damaged.") from None
    _check_header(data)
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            image.load()
            values = np.array(image)
    except Exception:  # the errors that Pillow raises on hostile files share no base class
        raise InputError("the PNG is damaged.") from None
    if values.ndim != 2 or values.dtype != np.uint8:
        raise InputError("expected one grey value a pixel.")
    return values


def _check_header(data: bytes) -> None:
    """Reject large images and those without plain indices by their header, before decoding anything."""
    head = png_head(data)
    if head is None:
        raise InputError("it is not a PNG with one header.")
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(f"expected 1 to {MAX_PIXELS} pixels, got {width} x {height}.")
    if (depth, colour) != (8, 0):
        raise InputError(f"expected an 8-bit grey PNG, got bit depth {depth} and colour type {colour}.")


def _read_payload(payload: object) -> PainterLabels:
    if not isinstance(payload, dict) or not {"key", "labels", "stamp"} <= payload.keys() <= FIELDS:
        raise InputError("expected an object with key, labels and stamp.")
    key, stamp = payload["key"], payload["stamp"]
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY:
        raise InputError(f"key: expected text of 1 to {MAX_KEY} characters.")
    if type(stamp) is not int or not 0 <= stamp <= MAX_STAMP:
        raise InputError("stamp: expected a whole number that is not negative.")
    labels = decode_map(payload["labels"])
    wrong = (labels > MAX_ID) & (labels != IGNORE)
    if wrong.any():
        raise InputError(f"labels: expected indices up to {MAX_ID} or {IGNORE}, got {int(labels[wrong][0])}.")
    return PainterLabels(key=key, labels=labels, stamp=stamp)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _plain(categories: tuple[Category, ...]) -> list[dict[str, str]]:
    return [{"name": category.name, "color": category.color} for category in categories]


def _describe(values: object) -> str:
    return f"{values.shape} {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
