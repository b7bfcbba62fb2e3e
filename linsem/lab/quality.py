"""The quality of a generator of avatars, as measured by the teacher.

    python -m linsem.lab.quality avatars-128 [--json] [--quick]

Generated images (seeds from 0) and held-out drawings (seeds from 1,000,000) are compared at the generator's own size,
in the teacher's deep features: by the Fréchet distance at psi 1, beside that between two disjoint sets of drawings (a
lower bound) and that of drawings to themselves under the strongest blur that the teacher is evaluated on (for scale; it
was trained on somewhat stronger ones); and by precision and recall, beside those of other drawings (an upper bound).
Part sanity (see `linsem.lab.parts`) is measured at psi 0.7, at psi 1 and on drawings, and the teacher's own mIoU, as
the paper computes it, on drawings clean and degraded. All figures are computed here; drawings are rendered once and
kept in `--cache`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from linsem import pixels, zoo
from linsem.generator import Generator, batches, seed_z
from linsem.lab import dataset, degrade, drawings, tables
from linsem.lab.distribution import frechet_distance, precision_recall
from linsem.lab.judge import judged
from linsem.lab.parts import parts
from linsem.metrics import table_miou
from linsem.teacher import Teacher, load_teacher

BATCH = 25


@dataclass(frozen=True)
class Quality:
    """The table; `asdict` gives the JSON."""

    frechet: float
    frechet_floor: float
    frechet_blur: float
    precision: float
    recall: float
    precision_drawings: float
    recall_drawings: float
    part_sanity: float
    part_sanity_psi_1: float
    part_sanity_drawings: float
    teacher_miou: float
    teacher_miou_degraded: float


@dataclass(frozen=True)
class Sizes:
    """Numbers of images for each set of the Fréchet distance, for part sanity, and of label maps."""

    images: int = 5000
    parts: int = 2000
    labelled: int = 2000


QUICK = Sizes(images=500, parts=300, labelled=200)


def measure(generator: Generator, teacher: Teacher, cache: Path, sizes: Sizes = Sizes()) -> Quality:
    """Measure a generator of square images; drawings are rendered into `cache` if missing.

    Raises InputError if the generator is not square or not a multiple of 16, or if its categories or the teacher's are
    not those of the drawings.
    """
    size = _size_of(generator, teacher)
    rgb, _ = dataset.cached(cache, drawings.HELD_OUT, 2 * sizes.images, size, labels=False)
    known, labels = dataset.cached(cache, drawings.HELD_OUT, sizes.labelled, size, labels=True)
    real, other = (features(teacher, _drawn(rgb[rows])) for rows in (slice(0, sizes.images), slice(sizes.images, None)))
    blurred = features(teacher, (degrade.blurred(image, degrade.BLUR) for image in _drawn(rgb[: sizes.images])))
    generated = features(teacher, generated_images(generator, sizes.images, 1.0))
    precision, recall = precision_recall(generated, real)
    most = precision_recall(other, real)
    return Quality(
        frechet=frechet_distance(generated, real),
        frechet_floor=frechet_distance(other, real),
        frechet_blur=frechet_distance(blurred, real),
        precision=precision,
        recall=recall,
        precision_drawings=most[0],
        recall_drawings=most[1],
        part_sanity=part_sanity(teacher, generated_images(generator, sizes.parts, 0.7)),
        part_sanity_psi_1=part_sanity(teacher, generated_images(generator, sizes.parts, 1.0)),
        part_sanity_drawings=part_sanity(teacher, _drawn(rgb[: sizes.parts])),
        teacher_miou=table_miou(judged(teacher, known, labels, degraded=False)[0]),
        teacher_miou_degraded=table_miou(judged(teacher, known, labels, degraded=True)[0]),
    )


@torch.no_grad()
def generated_images(generator: Generator, count: int, psi: float) -> Iterator[torch.Tensor]:
    """Images (n, 3, H, W) of seeds 0..count-1, in batches."""
    for rows in batches(count, BATCH):
        ws = generator.map(seed_z(generator, range(rows.start, rows.stop)), psi=psi)
        yield generator.synthesize(ws)[0]


def features(teacher: Teacher, images: Iterator[torch.Tensor]) -> torch.Tensor:
    """The teacher's pooled features of batches of images, rounded to 8 bits like files: (N, D) on the CPU."""
    return torch.cat([teacher.features(_rounded(image)).cpu() for image in images])


def part_sanity(teacher: Teacher, images: Iterator[torch.Tensor]) -> float:
    """The share of images in which the teacher's labels pass all rules of `linsem.lab.parts`."""
    return torch.cat([parts(teacher(_rounded(image)).cpu()).sane for image in images]).double().mean().item()


def _rounded(image: torch.Tensor) -> torch.Tensor:
    return pixels.to_image(pixels.to_rgb(image), device=image.device)


def _drawn(rgb: np.ndarray) -> Iterator[torch.Tensor]:
    for rows in batches(len(rgb), BATCH):
        yield pixels.to_image(np.array(rgb[rows]))  # memory-mapped arrays are read-only


def _size_of(generator: Generator, teacher: Teacher) -> int:
    height, width = generator.size
    if height != width or height % 16:
        raise ValueError(f"generator: expected square images, a multiple of 16 px, got {height} x {width}")
    for who, categories in (("teacher", teacher.categories), ("generator", generator.categories)):
        names = tuple(category.name for category in categories)
        if names != drawings.CATEGORIES:
            raise ValueError(f"{who}: expected the drawings' categories {drawings.CATEGORIES}, got {names}")
    return height


def table(quality: Quality) -> str:
    """The table as text: each figure with what it compares to."""
    return "\n".join(f"{name:<40}{value:>16}" for name, value in _lines(quality))


def _lines(quality: Quality) -> list[tuple[str, str]]:
    q = quality
    return [
        ("Fréchet distance to drawings, psi 1", f"{q.frechet:.4f}"),
        ("  distance of other drawings (floor)", f"{q.frechet_floor:.4f}"),
        ("  distance of blurred drawings (scale)", f"{q.frechet_blur:.4f}"),
        ("  distance as a share of the scale", f"{q.frechet / q.frechet_blur:.3f}" if q.frechet_blur else "-"),
        ("precision, recall", f"{q.precision:.3f}, {q.recall:.3f}"),
        ("  of other drawings", f"{q.precision_drawings:.3f}, {q.recall_drawings:.3f}"),
        ("part sanity, psi 0.7", f"{q.part_sanity:.3f}"),
        ("  part sanity, psi 1", f"{q.part_sanity_psi_1:.3f}"),
        ("  part sanity of drawings", f"{q.part_sanity_drawings:.3f}"),
        ("teacher's mIoU on drawings", f"{q.teacher_miou:.4f}"),
        ("  teacher's mIoU, blurred and warped", f"{q.teacher_miou_degraded:.4f}"),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns 2 with a message for a bad argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a zoo name, a checkpoint, or a hub:// address")
    parser.add_argument("--teacher", default="avatars-128", help="a shipped teacher, or a file")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "linsem-lab", help="rendered drawings")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--out", type=Path, help="a folder for the table")
    parser.add_argument("--quick", action="store_true", help=f"few images: {asdict(QUICK)}")
    args = parser.parse_args(arguments)
    try:
        generator, teacher = zoo.load_generator(args.model), load_teacher(args.teacher)
        quality = measure(generator, teacher, args.cache, QUICK if args.quick else Sizes())
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    quick = " (quick: Fréchet distances of so few images are mostly noise)" if args.quick else ""
    print(f"{args.model}, judged by {args.teacher}{quick}\n{table(quality)}")
    if args.out is not None:
        title = f"Quality of {args.model}, judged by the teacher" + (" (quick)" if args.quick else "")
        rows = [{"figure": name.strip(), "value": value} for name, value in _lines(quality)]
        tables.write(tables.Table(tables.stem("quality", args.model), title, asdict(quality), rows), args.out)
    if args.json:
        print(json.dumps(asdict(quality)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
