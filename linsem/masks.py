"""Label map files: written as indexed PNGs that contain their categories, read from many common formats.

A file to be read may be indexed, grayscale or colour-coded, and of any size. The report says how it was interpreted;
pixels that belong to no category are an error that names their values.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from linsem.arguments import height_and_width
from linsem.categories import (
    MAX_CATEGORIES,
    SNAP,
    UNLABELLED_COLOR,
    Category,
    checked_labels,
    color_table,
    given_categories,
    parse_categories,
    rgb_of,
)
from linsem.errors import InputError
from linsem.map_words import belongs, cause_of, names, notes_of, stretched, unknown_colors, unknown_indices
from linsem.pictures import PictureError, open_picture
from linsem.pixels import IGNORE, resize_labels

MAX_COLORS = 65_536  # with more, an image is taken for a photo
PHOTO = (
    "label map: this looks like a photo, not a label map: its colours match no category. Save the label map as PNG in "
    "the colours of the categories"
)
DEEP = 257  # 65535 of 16 bits is 255 of 8
TEXT_KEY = "linsem:categories"  # key of the PNG text chunk: JSON [{name, color}]


class LabelMapError(PictureError):
    """The file cannot be read as a label map of the given categories; the message says why."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels (H, W) uint8 in {0..K-1} or 255, and a JSON-serialisable report of how the file was interpreted.

    `report` has `mode` ("names", "indexed", "grayscale" or "colours"), `format`, `width` and `height` of the file,
    `resized`, `counts` {name: pixels} and `unlabelled` (both after resizing), `snapped` (the number of pixels whose
    colour was not exact), and `notes`, sentences for the user.
    """

    labels: np.ndarray
    report: dict


def read_layout(source: bytes | str | Path, categories: Sequence[Category], size: tuple[int, int]) -> LabelMap:
    """As `read_label_map`, but unresized if resizing would leave no labels: sampling reports that when it resizes."""
    read = read_label_map(source, categories, size=size)
    return read if (read.labels != IGNORE).any() else read_label_map(source, categories)


def write_label_map(labels: np.ndarray, categories: Sequence[Category]) -> bytes:
    """Encode labels (H, W) as an indexed PNG: 255 (unlabelled) is transparent, a text chunk holds the categories."""
    categories = given_categories(categories)
    labels = checked_labels(labels, categories)
    if labels.ndim != 2 or 0 in labels.shape:
        raise InputError(f"labels: expected (H, W), got {labels.shape}")
    image = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    image.putpalette(color_table(categories).tobytes())
    info = PngImagePlugin.PngInfo()
    info.add_itxt(TEXT_KEY, json.dumps([asdict(category) for category in categories], ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, transparency=IGNORE, optimize=False)
    return buffer.getvalue()


def read_label_map(
    source: bytes | str | Path, categories: Sequence[Category], *, size: tuple[int, int] | None = None
) -> LabelMap:
    """Read an indexed, grayscale or colour-coded label map (bytes or a path), resized to `size` (H, W).

    Files of `write_label_map` are read by the names that they contain. Others are read by colour if all colours are
    categories', or by index if all indices (of a palette, or gray values) are; 255 and transparent pixels are
    unlabelled. A colour within 12 of a category's in every channel counts as that category's, and is reported. Where
    all colours are gray, they may as well be indices: such ones count only in a lossy file, near to more than one
    category.

    Raises LabelMapError if the file is no image or too large, or if any pixel belongs to no category: the message names
    the unknown colours or indices, most frequent first, and how many pixels have them.
    """
    categories = given_categories(categories)
    size = None if size is None else height_and_width("size", size)
    image = open_picture(source, "label map", LabelMapError)
    opaque = _opaque(image)
    mode, labels, snapped = _understand(image, opaque, categories)
    labels = np.where(opaque, labels, IGNORE).astype(np.uint8)
    before = np.bincount(labels.ravel(), minlength=256)
    if size is not None:
        labels = np.ascontiguousarray(resize_labels(labels, size))
    after = np.bincount(labels.ravel(), minlength=256)
    report = {
        "mode": mode, "format": image.format, "width": image.width, "height": image.height,
        "resized": size is not None and (image.height, image.width) != size,
        "counts": {category.name: int(after[k]) for k, category in enumerate(categories) if after[k]},
        "unlabelled": int(after[IGNORE]), "snapped": snapped,
        "notes": notes_of(before, after, snapped, categories),
    }  # fmt: skip
    shape = stretched((image.height, image.width), size)
    if shape:
        report["notes"].append(shape)
    return LabelMap(labels, report)


# --- reading ----------------------------------------------------------------------------------------------------------


def _opaque(image: Image.Image) -> np.ndarray:
    """(H, W) bool: the pixels that are not transparent."""
    if image.mode.startswith("I") or ("A" not in image.getbands() and "transparency" not in image.info):
        return np.ones((image.height, image.width), dtype=bool)
    return np.asarray(image.convert("RGBA").getchannel("A")) >= 128


def _understand(image: Image.Image, opaque: np.ndarray, categories: Sequence[Category]) -> tuple[str, np.ndarray, int]:
    """The mode that fits the file, the labels (H, W) that it gives, and how many pixels were snapped."""
    indices, gray_mode = _indices(image)
    fits = indices is not None and bool(belongs(indices[opaque], categories).all())
    inexact = image.info.get("lossy") or image.info.get("deep")
    if inexact:
        fits = False  # an index that compression has shifted is another category, and of 16 bits the low ones are lost
    if gray_mode and fits and not _are_colors(indices[opaque], categories):
        return "grayscale", indices, 0
    rgb = _gray_rgb(indices, opaque, categories) if gray_mode else np.asarray(image.convert("RGB"))
    if image.mode == "P" and (named := _by_name(image, indices, rgb, opaque, categories)) is not None:
        return "names", named, 0
    packed = rgb[..., 0].astype(np.int32) << 16 | rgb[..., 1].astype(np.int32) << 8 | rgb[..., 2]
    colors, counts = np.unique(packed[opaque], return_counts=True)
    if len(colors) > MAX_COLORS:
        raise LabelMapError(PHOTO)
    exact, near = _match(colors, categories)
    gray = bool(((colors >> 16 == colors & 255) & (colors >> 8 & 255 == colors & 255)).all())
    near = exact if gray and _may_be_numbers(image, near) else near
    if indices is None and gray:
        indices = rgb[..., 0]
        fits = not inexact and bool(belongs(indices[opaque], categories).all())
    index_mode = "indexed" if image.mode == "P" else "grayscale"
    if (exact >= 0).all() and not (gray and image.info.get("deep") and len(colors) == 1):
        return "colours", _look_up(packed, opaque, colors, exact), 0
    if gray and fits:
        return index_mode, indices, 0
    if (near >= 0).all():
        return "colours", _look_up(packed, opaque, colors, near), int(counts[exact < 0].sum())
    if fits:
        return index_mode, indices, 0
    if gray and image.info.get("deep"):
        raise LabelMapError("label map: a PNG of 16 bits a channel: save it with 8, or as plain gray")
    if gray and image.info.get("lossy"):
        raise LabelMapError(f"label map: {image.format} keeps numbers and colours only nearly: save it as PNG")
    if gray_mode:
        raise LabelMapError(unknown_indices(indices[opaque], categories))
    if (near < 0).sum() > MAX_CATEGORIES and 2 * counts[near < 0].sum() > counts.sum():
        raise LabelMapError(PHOTO)
    raise LabelMapError(unknown_colors(colors[near < 0], counts[near < 0], categories, cause_of(image, near, counts)))


def _look_up(packed: np.ndarray, opaque: np.ndarray, colors: np.ndarray, table: np.ndarray) -> np.ndarray:
    labels = np.full(packed.shape, IGNORE, dtype=np.uint8)
    labels[opaque] = table.astype(np.uint8)[np.searchsorted(colors, packed[opaque])]
    return labels


def _indices(image: Image.Image) -> tuple[np.ndarray | None, bool]:
    """The numbers (H, W) stored in the file (None: it stores colours), and whether they are gray values."""
    if image.mode == "1":
        return np.asarray(image.convert("L")) // 255, True
    if image.mode == "P":
        return np.asarray(image), False
    if image.mode in ("L", "LA"):
        return np.asarray(image.getchannel(0)), True
    if image.mode.startswith("I"):
        return np.asarray(image), True
    return None, False


def _are_colors(values: np.ndarray, categories: Sequence[Category]) -> bool:
    """Whether all gray values are colours of categories, and not all of them are indices."""
    colors = (rgb_of(category.color) for category in categories)
    gray = {red for red, green, blue in colors if red == green == blue}
    found = set(np.unique(values).tolist())
    return bool(gray) and found <= gray and not found < set(range(len(categories)))


def _may_be_numbers(image: Image.Image, near: np.ndarray) -> bool:
    """Whether gray colours near categories' may as well be indices: all of 0..12 are near to black.

    Of a file that keeps colours only nearly, black and white are colours, and what is near to one of them alone is not.
    """
    return not image.info.get("lossy") or len(np.unique(near)) == 1


def _gray_rgb(values: np.ndarray, opaque: np.ndarray, categories: Sequence[Category]) -> np.ndarray:
    """The colours (H, W, 3) uint8 of gray values, of 16 bits too if each stands for one of 8."""
    known = values[opaque]
    if (known > 255).any() and (known % DEEP == 0).all() and (known >= 0).all():
        values, known = values // DEEP, known // DEEP
    if ((known < 0) | (known > 255)).any():
        raise LabelMapError(unknown_indices(known, categories))
    return np.repeat(values.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def _by_name(
    image: Image.Image, indices: np.ndarray, rgb: np.ndarray, opaque: np.ndarray, categories: Sequence[Category]
) -> np.ndarray | None:
    """Labels by the names in the file's text chunk; None if it has none, or one that no longer fits.

    A paint program may keep the chunk but change the palette, so the chunk is used only if the colours agree.
    """
    try:
        theirs = parse_categories(image.info.get("text", {}).get(TEXT_KEY) or "")
    except ValueError:
        return None
    used, counts = np.unique(indices[opaque], return_counts=True)
    used, counts = used[used != IGNORE], counts[used != IGNORE]
    if not theirs or (used >= len(theirs)).any():
        return None
    if not (rgb[opaque] == color_table(theirs)[indices[opaque]]).all():
        return None
    ours = {category.name: index for index, category in enumerate(categories)}
    foreign = [(theirs[k].name, n) for k, n in zip(used, counts, strict=True) if theirs[k].name not in ours]
    if foreign:
        listed = ", ".join(f"{name!r} ({n} pixels)" for name, n in foreign[:8])
        raise LabelMapError(f"label map: its categories {listed} are none of: {names(categories)}")
    table = np.full(256, IGNORE, dtype=np.uint8)
    for k in used:
        table[k] = ours[theirs[k].name]
    return table[indices]


def _match(colors: np.ndarray, categories: Sequence[Category]) -> tuple[np.ndarray, np.ndarray]:
    """For packed colours (M,): the label with exactly this colour, and the nearest within SNAP; -1 if there is none."""
    known = np.array([rgb_of(c) for c in (*(category.color for category in categories), UNLABELLED_COLOR)])
    labels = np.array([*range(len(categories)), IGNORE])
    rgb = colors[:, None] >> np.array([16, 8, 0]) & 255
    distance = np.stack([np.abs(rgb - color).max(-1) for color in known])  # (K + 1, M)
    nearest, least = distance.argmin(0), distance.min(0)
    exact = np.where(least == 0, labels[nearest], -1)
    distance[-1][distance[-1] > 0] = 256  # the unlabelled colour must match exactly
    nearest, least = distance.argmin(0), distance.min(0)
    near = np.where(least <= SNAP, labels[nearest], -1)
    return exact, near
