"""Export of a labelled data set of generated images, streamed into a zip: no image is kept in memory.

The zip has `images/*.png`, `labels/*.png` (indexed, with the categories in the file), `categories.json` and
`manifest.jsonl`, with one line per image: its files, seed and psi, and a score, one minus the mean uncertainty of its
labels.

Several processes or GPUs can share the work; each writes a zip of its own with every n-th seed (`shard`).
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
import torch
from PIL import Image

from linsem.archive import entry
from linsem.arguments import number, shown, whole_number
from linsem.device import without_autocast
from linsem.errors import InputError
from linsem.extractor import Extractor, check_fits, uncertainty_of
from linsem.generator import Generator, batches, check_finite, checked_pass, fitting, mapped
from linsem.palette import Category, write_label_map
from linsem.pixels import to_rgb
from linsem.seeds import MAX_SEED
from linsem.whole import followed, may_be_file, whole


@dataclass(frozen=True, eq=False)
class Labelled:
    """A generated image with its labels: rgb (H, W, 3) uint8, labels (H, W) uint8, score in [0, 1]."""

    seed: int
    rgb: np.ndarray
    labels: np.ndarray
    score: float


@dataclass(frozen=True)
class ExportStep:
    """How many images are written. `path` is the finished file at the last step, None before."""

    done: int
    total: int
    path: Path | None


def export(generator: Generator, extractor: Extractor, **options: object) -> ExportStep:
    """Export a data set: the last step of `iter_export`, which documents the options."""
    *_, last = iter_export(generator, extractor, **options)
    return last


def iter_export(
    generator: Generator,
    extractor: Extractor,
    *,
    count: int,
    first_seed: int = 0,
    psi: float = 0.7,
    out_path: str | Path,
    batch: int = 8,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[ExportStep]:
    """Generate, label and write the seeds first_seed .. first_seed + count - 1, yielding after each batch.

    With `shard` (index, number of shards), only every n-th of these seeds is processed, into the zip that `shard_path`
    names. Closing the iterator early leaves no file. Raises InputError before anything is written.
    """
    index, shards = shard = _checked_shard(shard)
    count, batch = whole_number("count", count, shards), whole_number("batch", batch, 1)
    first_seed = whole_number("first_seed", first_seed, 0, MAX_SEED)
    if first_seed + count - 1 > MAX_SEED:
        raise InputError(f"first_seed: expected seeds in 0..{MAX_SEED}, got {first_seed} and {count - 1} more")
    psi = number("psi", psi, -10, 10)
    if not isinstance(out_path, (str, os.PathLike)):
        raise InputError(f"out_path: expected a path, got {shown(out_path)}")
    if Path(out_path).is_dir() or not may_be_file(path := shard_path(out_path, shard)):
        raise InputError(f"out_path: expected a file, got {shown(str(out_path))}")
    if not followed(path).parent.is_dir():
        raise InputError(f"out_path: expected a folder that exists, got {path.parent}")
    check_fits(extractor, generator)
    seeds = range(first_seed, first_seed + count)[index::shards]
    items = iter_labelled(generator, extractor, seeds, psi, batch)
    return write_dataset(path, items, len(seeds), extractor.categories, generator=called(generator), psi=psi)


def _checked_shard(shard: tuple[int, int]) -> tuple[int, int]:
    try:
        index, shards = (whole_number("shard", each, 0) for each in shard)
    except (TypeError, ValueError):  # not two, or not whole numbers
        index, shards = 0, 0
    if not 0 <= index < shards:
        raise InputError(f"shard: expected (index, number) with 0 <= index < number, got {shown(shard)}")
    return index, shards


@without_autocast
@torch.no_grad()
def iter_labelled(
    generator: Generator, extractor: Extractor, seeds: Sequence[int], psi: float, batch: int = 8
) -> Iterator[list[Labelled]]:
    """Generate and label seeds, a batch at a time, without keeping anything."""
    for part in batches(len(seeds), fitting(generator, batch)):
        image, features = checked_pass(generator, mapped(generator, seeds[part], psi))
        logits = extractor.logits(features, generator.size)
        unsure = uncertainty_of(logits, extractor.temperature).mean(dim=(1, 2)).cpu().numpy()
        if not np.isfinite(unsure).all():
            seed = seeds[part][int((~np.isfinite(unsure)).argmax())]
            raise InputError(f"{generator.id!r}: seed {seed}: its features hold numbers that are not finite")
        check_finite([image], seeds[part], generator.id, "pixels")
        labels = extractor.labels(logits).cpu().numpy()
        rows = zip(seeds[part], to_rgb(image), labels, unsure, strict=True)
        yield [Labelled(int(seed), rgb, each, float(1 - u)) for seed, rgb, each, u in rows]


def called(generator: Generator) -> str:
    """The name by which `load_generator` loads this generator; that of a conditional one ends in its label."""
    label = getattr(generator, "label", None)
    return generator.id if label is None else f"{generator.id}~{label}"


def shard_path(out_path: str | Path, shard: tuple[int, int]) -> Path:
    """`faces.zip` for a single shard, else `faces-00000-of-00004.zip` and so on."""
    path, (index, shards) = Path(out_path), shard
    return path if shards == 1 else path.with_name(f"{path.stem}-{index:05d}-of-{shards:05d}{path.suffix}")


def accelerate_shard() -> tuple[tuple[int, int], torch.device]:
    """The shard of this process of `accelerate launch`, and its device. Raises InputError without the package."""
    try:
        from accelerate import PartialState  # optional, and slow to import
    except ImportError as error:
        raise InputError("sharding needs the package accelerate (pip install accelerate)") from error
    state = PartialState()
    return (state.process_index, state.num_processes), state.device


def write_dataset(
    path: str | Path,
    items: Iterable[Sequence[Labelled]],
    total: int,
    categories: Sequence[Category],
    *,
    generator: str,
    psi: float,
) -> Iterator[ExportStep]:
    """Write batches of images, yielding a step after each; closing the iterator early leaves no file."""
    path, done, lines = Path(path), 0, []
    with whole(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for batch in items:
            for item in batch:
                lines.append(_add(archive, item, categories, psi))
                done += 1
            yield ExportStep(done, total, None)
        described = {
            "generator": generator, "psi": psi, "unlabelled": 255, "categories": [asdict(c) for c in categories],
        }  # fmt: skip
        archive.writestr(entry("categories.json"), json.dumps(described, indent=1, ensure_ascii=False))
        archive.writestr(entry("manifest.jsonl", zipfile.ZIP_DEFLATED), "\n".join(lines) + "\n")
    yield ExportStep(done, total, path)


def _add(archive: zipfile.ZipFile, item: Labelled, categories: Sequence[Category], psi: float) -> str:
    name = f"{item.seed:08d}.png"
    buffer = io.BytesIO()
    Image.fromarray(item.rgb).save(buffer, "PNG", compress_level=4)
    archive.writestr(entry(f"images/{name}"), buffer.getvalue())
    archive.writestr(entry(f"labels/{name}"), write_label_map(item.labels, categories))
    row = {"image": f"images/{name}", "label": f"labels/{name}", "seed": item.seed, "psi": psi}
    return json.dumps({**row, "score": round(item.score, 4)})
