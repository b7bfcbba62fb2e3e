"""The value of an exported data set: a small segmentation network trained on it, tested on real drawings.

    python -m linsem.lab.dataset_value [MODEL] --cache CACHE [--quick] [--json] [--out assets/evidence]

Eight generated images are labelled by the teacher (in place of a person); the extractor fitted to them labels 5,000
generated images, as `export` would write them. A small U-Net is trained on these pairs alone; two others, otherwise
identical, on the eight labelled images alone and on as many drawings with exact label maps. They are tested on 2,000
drawings that none has seen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from linsem import pixels
from linsem.extractor import Extractor
from linsem.generator import Generator, batches, seed_z
from linsem.lab import dataset, drawings, steer_judge, tables
from linsem.lab.judge import scores_of
from linsem.lab.train_teacher import Run, as_teacher, train
from linsem.teacher import Teacher, TeacherConfig, load_teacher
from linsem.zoo import load_generator

WIDTHS = (16, 32, 64, 96)
PSI = 1.0
LR = 5e-3
FIRST_PAIR = 50_000_000  # generated
FIRST_REAL = 200_000  # drawings on which neither the generator nor the teacher was trained


@dataclass(frozen=True)
class Sizes:
    """Training pairs, images seen in training (with repetition), and test drawings."""

    pairs: int = 5000
    shown: int = 30_000
    tested: int = 2000


QUICK = Sizes(pairs=300, shown=1600, tested=100)
Pairs = tuple[np.ndarray, np.ndarray]


@torch.no_grad()
def exported(generator: Generator, extractor: Extractor, count: int, batch: int = 8) -> Pairs:
    """Images (n, H, W, 3) uint8 and label maps (n, H, W) uint8 of fresh seeds, as written by `linsem.export`."""
    rgb, labels = [], []
    for rows in batches(count, batch):
        ws = generator.map(seed_z(generator, range(FIRST_PAIR + rows.start, FIRST_PAIR + rows.stop)), psi=PSI)
        image, features = generator.synthesize(ws)
        rgb.append(pixels.to_rgb(image))
        labels.append(extractor.predict(features))
    return np.concatenate(rgb), np.concatenate(labels)


@torch.no_grad()
def labelled(generator: Generator, teacher: Teacher) -> Pairs:
    """The images that the extractor was fitted to, and their labels."""
    first = steer_judge.FIRST_SEED
    image, _ = generator.synthesize(generator.map(seed_z(generator, range(first, first + steer_judge.SHOTS)), psi=PSI))
    return pixels.to_rgb(image), teacher(image).cpu().numpy()


def learnt(pairs: Pairs, tested: Pairs, shown: int) -> dict[str, float]:
    """The scores of the small network on the test drawings after training on the pairs."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), TeacherConfig(len(drawings.CATEGORIES), WIDTHS), LR)
        for step in train(run, *pairs, tested, images=shown, lr=LR, judge=10 * shown):
            print(f"seen {step.seen} loss {step.loss:.4f} {step.rate:.1f} img/s", flush=True)
        return scores_of(as_teacher(run.ema), *tested)


def measure(model: str, cache: Path, sizes: Sizes) -> tables.Table:
    """The table of the three networks."""
    generator, teacher = load_generator(model), load_teacher(model)
    size = generator.size[0]
    few = steer_judge.few_shot(generator, teacher, psi=PSI)
    sets = {
        "generated": (f"generated, from {steer_judge.SHOTS} labelled images", exported(generator, few, sizes.pairs)),
        "labelled": ("labelled images alone", labelled(generator, teacher)),
        "real": (
            "drawings with exact labels", dataset.cached(cache, FIRST_REAL, sizes.pairs, size, labels=True)
        ),
    }  # fmt: skip
    tested = dataset.cached(cache, drawings.HELD_OUT, sizes.tested, size, labels=True)
    rows, values = [], {}
    for key, (name, pairs) in sets.items():
        scores = learnt(pairs, tested, sizes.shown)
        values[key] = {"miou": round(scores["miou"], 4), "dataset_miou": round(scores["dataset_miou"], 4)}
        rows.append({"trained on": f"{len(pairs[0])} {name}"} | {
            "mIoU": values[key]["miou"], "data set mIoU": values[key]["dataset_miou"]
        })  # fmt: skip
    title = f"A small network tested on {sizes.tested} held-out drawings ({model})"
    return tables.Table(tables.stem("dataset", model), title, values, rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="avatars-128")
    parser.add_argument("--cache", type=Path, required=True, help="rendered drawings")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--out", type=Path, help="a folder for the table")
    args = parser.parse_args()
    table = measure(args.model, args.cache, QUICK if args.quick else Sizes())
    print(f"\n{table.title}\n\n{tables.markdown(table.rows)}", flush=True)
    if args.out is not None:
        tables.write(table, args.out)
    if args.json:
        print(json.dumps(table.values), flush=True)


if __name__ == "__main__":
    main()
