"""The training set: avatar drawings with exact label maps, each a function of a seed.

A drawing is determined by a *code*, a vector of `CODE_DIM` independent standard normals: a variant is chosen by two
coordinates, cut at their quantiles, as row and column of a table; a binary choice is the sign of a shifted coordinate;
a length is an affine function of one. A latent space of the same dimension can thus represent the distribution
coordinate by coordinate, which the reconstruction stage of `linsem.lab.train` uses as a warm start.

The artwork is Pablo Stanley's *Avataaars* in DiceBear's remix ("free for personal and commercial use"), assembled by
`dicebear-core` and rasterised by `resvg-py`.
"""

from __future__ import annotations

import colorsys
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from linsem.errors import InputError

CODE_DIM = 64
HELD_OUT = 1_000_000  # seeds from here on are never trained on
CATEGORIES = (
    "background", "skin", "hair", "hat", "eyes", "brows", "nose", "mouth", "facial hair", "glasses", "clothes",
)  # fmt: skip
BACKGROUND, SKIN, HAIR, HAT, EYES, BROWS, NOSE, MOUTH, FACIAL_HAIR, GLASSES, CLOTHES = range(11)
CATEGORY_COLORS = (  # distinct from each other and from pastel drawings at half opacity; strongest for small parts
    "#8a94a6", "#ffb870", "#6a1fb0", "#e0218a", "#00a8f0", "#14532d", "#22c55e", "#e02f20", "#8b4a12", "#ffe600",
    "#2340c8",
)  # fmt: skip

_HATS = {"hat", "hijab", "turban", "winterHat02", "winterHat03", "winterHat04", "winterHat1"}
_LEFT_OUT = {"eyepatch", "vomit"}  # an eyepatch is neither glasses nor skin, and vomit is not worth a label
_COMPONENT = {
    "clothes": CLOTHES, "clothesGraphic": CLOTHES, "mouth": MOUTH, "nose": NOSE, "eyes": EYES, "eyebrows": BROWS,
    "facialHair": FACIAL_HAIR, "accessories": GLASSES,
}  # fmt: skip
_SVG = "{http://www.w3.org/2000/svg}"
_SUPERSAMPLE = 4  # label pixels are decided by the majority of 4 x 4 samples


@dataclass(frozen=True)
class Drawing:
    """The content of a drawing: variants and colours by name, pose in canvas units (280 wide) and degrees."""

    variants: dict[str, str]
    colors: dict[str, str]
    background: str
    glasses: bool
    facial_hair: bool
    flip: bool
    scale: float
    tilt: float
    shift: tuple[float, float]


def _package(name: str) -> ModuleType:
    """A package that only the lab needs, imported when a drawing is asked for; raises InputError if it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f'drawings need the package {name}, which is missing: pip install ".[lab]"') from error


@cache
def _style() -> tuple[object, dict]:
    style = _package("dicebear").Style
    _package("dicebear_styles")
    definition = json.loads(files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8"))
    return style(definition), definition


@cache
def choices() -> dict[str, tuple[str, ...]]:
    """All categorical choices with their values, in the order in which a code holds them."""
    _, definition = _style()
    table: dict[str, tuple[str, ...]] = {}
    for name in ("top", "eyes", "eyebrows", "mouth", "clothes", "clothesGraphic", "facialHair", "accessories"):
        variants = sorted(definition["components"][name]["variants"], key=lambda v: (v in _HATS, v))
        table[name] = tuple(v for v in variants if v not in _LEFT_OUT)
    for name in ("skin", "hair", "hat", "clothes", "accessories"):
        table[f"{name}Color"] = tuple(definition["colors"][name]["values"])
    return table


def code_of(seed: int) -> np.ndarray:
    """The code of a seed: (CODE_DIM,) float32, standard normal."""
    return np.random.default_rng(seed).standard_normal(CODE_DIM).astype(np.float32)


def drawing_of(code: np.ndarray) -> Drawing:
    """Decode a code, (CODE_DIM,) standard normal numbers, into a drawing."""
    if code.shape != (CODE_DIM,):
        raise ValueError(f"a code has shape ({CODE_DIM},), got {code.shape}")
    values = iter(np.clip(code, -3, 3))
    picked = {}
    for name, options in choices().items():
        picked[name] = options[cell(next(values), next(values), len(options))]
    hue, saturation, light, glasses, facial_hair, flip, scale, tilt, right, down = (next(values) for _ in range(10))
    rgb = colorsys.hsv_to_rgb(_uniform(hue), 0.10 + 0.45 * _uniform(saturation), 0.72 + 0.26 * _uniform(light))
    return Drawing(
        variants={k: v for k, v in picked.items() if not k.endswith("Color")},
        colors={k.removesuffix("Color"): v for k, v in picked.items() if k.endswith("Color")},
        background="#" + "".join(f"{round(255 * c):02x}" for c in rgb),
        glasses=bool(glasses > 0.675),  # one in four
        facial_hair=bool(facial_hair > 0.842),  # one in five
        flip=bool(flip > 0.842),
        scale=float(1.0 + 0.02 * scale),
        tilt=float(1.5 * tilt),
        shift=(float(3 * right), float(2 * down)),
    )


def table_shape(count: int) -> tuple[int, int]:
    """Rows and columns of the smallest nearly square table with a cell for each of `count` variants."""
    rows = int(np.ceil(np.sqrt(count)))
    return rows, int(np.ceil(count / rows))


def cell(first: float, second: float, count: int) -> int:
    """The variant in 0..count-1 chosen by two standard normals; cells beyond the last wrap around."""
    rows, columns = table_shape(count)
    row = min(int(rows * _uniform(first)), rows - 1)
    column = min(int(columns * _uniform(second)), columns - 1)
    return (row * columns + column) % count


def _uniform(normal: float) -> float:
    """The standard normal distribution function, by the logistic approximation (error under 0.01)."""
    return float(1 / (1 + np.exp(-1.702 * normal)))


def render(drawing: Drawing, size: int, *, labels: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Rasterise a drawing: rgb (size, size, 3) uint8, and the label map (size, size) uint8 or None."""
    root = _svg(drawing)
    rgb = _raster(_framed(root, drawing, drawing.background), size)
    if not labels:
        return rgb, None
    flat = _raster(_framed(_flattened(root, drawing), drawing, _flat_color(BACKGROUND)), size * _SUPERSAMPLE)
    index = np.rint(flat[..., 0] / 20).astype(np.uint8)
    blocks = index.reshape(size, _SUPERSAMPLE, size, _SUPERSAMPLE)
    counts = np.stack([(blocks == k).sum((1, 3)) for k in range(len(CATEGORIES))])
    return rgb, counts.argmax(0).astype(np.uint8)


def render_seed(seed: int, size: int, *, labels: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """The drawing of a seed: rgb (size, size, 3) uint8, label map (size, size) uint8 or None."""
    return render(drawing_of(code_of(seed)), size, labels=labels)


def _svg(drawing: Drawing) -> ElementTree.Element:
    options: dict = {"seed": "0", "idRandomization": False}
    for name, variant in drawing.variants.items():
        options[f"{name}Variant"] = variant
    for name, color in drawing.colors.items():
        options[f"{name}Color"] = color
    options["facialHairColor"] = drawing.colors["hair"]
    options["accessoriesProbability"] = 100 if drawing.glasses else 0
    options["facialHairProbability"] = 100 if drawing.facial_hair else 0
    return ElementTree.fromstring(_package("dicebear").Avatar(_style()[0], options).to_string())


def _framed(root: ElementTree.Element, drawing: Drawing, background: str) -> str:
    """The picture placed by the drawing's pose, with the sleeves extended below the canvas."""
    defs = "".join(ElementTree.tostring(e, "unicode") for e in root.iter(f"{_SVG}defs"))
    body = "".join(ElementTree.tostring(e, "unicode") for e in root.find(f"{_SVG}g"))
    sleeves = drawing.colors["clothes"] if background == drawing.background else _flat_color(CLOTHES)
    mirror = "translate(280 0) scale(-1 1)" if drawing.flip else ""
    right, down = drawing.shift
    pose = (
        f"translate({right:.3f} {down + 8:.3f}) rotate({drawing.tilt:.3f} 140 260) "
        f"translate(140 270) scale({drawing.scale:.4f}) translate(-140 -270) {mirror}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 280 280" fill="none">'
        f'<rect width="280" height="280" fill="{background}"/>{defs}'
        f'<g transform="{pose}"><rect x="40" y="270" width="200" height="80" fill="{sleeves}"/>{body}</g></svg>'
    )


def _flattened(root: ElementTree.Element, drawing: Drawing) -> ElementTree.Element:
    """A copy whose opaque parts have their category's flat colour, without shadows and highlights."""
    flat = ElementTree.fromstring(ElementTree.tostring(root))
    for group in flat.iter(f"{_SVG}g"):
        name = re.match(r"[A-Za-z]+", group.get("id", ""))
        if name:
            _flatten_group(group, _category(name.group(), drawing), keep_translucent=name.group() != "top")
    skin, shade, *_ = flat.find(f"{_SVG}g")
    skin.set("fill", _flat_color(SKIN))
    flat.find(f"{_SVG}g").remove(shade)
    for element in flat.iter():
        if element.get("fill") not in (None, "none"):
            element.set("shape-rendering", "crispEdges")
    return flat


def _category(component: str, drawing: Drawing) -> int:
    if component == "top":
        return HAT if drawing.variants["top"] in _HATS else HAIR
    return _COMPONENT[component]


def _flatten_group(group: ElementTree.Element, category: int, *, keep_translucent: bool) -> None:
    """Recolour opaque parts, and remove translucent ones that only shade what lies below.

    In `top` every translucent part is a shade, on clothes too; elsewhere only a faint one is, since a nose or a brow is
    itself drawn in translucent black.
    """
    only_shades = category in (HAIR, HAT, CLOTHES)
    for parent in list(group.iter()):
        for element in list(parent):
            opacity = float(element.get("fill-opacity", 1))
            gleam = (element.get("fill") or "").startswith("url(")
            faint = opacity < 0.5 and category in (GLASSES, MOUTH)  # a shadow under the frame, blushed cheeks
            shade = opacity < 1 and (only_shades or not keep_translucent or faint)
            if gleam or shade:
                parent.remove(element)
    for element in group.iter():
        if element.get("fill"):
            element.set("fill", _flat_color(category))
            for attribute in ("fill-opacity", "opacity"):
                element.attrib.pop(attribute, None)


def _flat_color(category: int) -> str:
    return f"#{20 * category:02x}0000"


def _raster(svg: str, size: int) -> np.ndarray:
    drawn = _package("resvg_py").svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    png = bytes(drawn)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
