"""A labelled data set of generated images, streamed into a zip: constant memory, whole or not at all.

`images/*.png`, `labels/*.png` (indexed, with the categories in the file), `categories.json` and `manifest.jsonl`, one
line an image: its files, its seed and psi, and a score, which is one minus the mean uncertainty of its label map.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from linsem.palette import Category, write_label_map


@dataclass(frozen=True, eq=False)
class Labelled:
    """A generated image with its labels: rgb (H, W, 3) uint8, labels (H, W) uint8, score in [0, 1]."""

    seed: int
    rgb: np.ndarray
    labels: np.ndarray
    score: float


@dataclass(frozen=True)
class ExportStep:
    """How many of the images are written. At the last step `path` is the finished file, before that None."""

    done: int
    total: int
    path: Path | None


def write_dataset(
    path: str | Path,
    items: Iterable[Sequence[Labelled]],
    total: int,
    categories: Sequence[Category],
    *,
    generator: str,
    psi: float,
) -> Iterator[ExportStep]:
    """Write batches of images as they come; yield a step after each batch. Closing it early leaves no file."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    done = 0
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            lines = []
            for batch in items:
                for item in batch:
                    lines.append(_add(archive, item, categories, psi))
                    done += 1
                yield ExportStep(done, total, None)
            described = {
                "generator": generator, "psi": psi, "unlabelled": 255, "categories": [asdict(c) for c in categories],
            }  # fmt: skip
            archive.writestr("categories.json", json.dumps(described, indent=1, ensure_ascii=False))
            archive.writestr("manifest.jsonl", "\n".join(lines) + "\n", zipfile.ZIP_DEFLATED)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    yield ExportStep(done, total, path)


def _add(archive: zipfile.ZipFile, item: Labelled, categories: Sequence[Category], psi: float) -> str:
    name = f"{item.seed:08d}.png"
    buffer = io.BytesIO()
    Image.fromarray(item.rgb).save(buffer, "PNG", compress_level=4)
    archive.writestr(f"images/{name}", buffer.getvalue())
    archive.writestr(f"labels/{name}", write_label_map(item.labels, categories))
    row = {"image": f"images/{name}", "label": f"labels/{name}", "seed": item.seed, "psi": psi}
    return json.dumps({**row, "score": round(item.score, 4)})
