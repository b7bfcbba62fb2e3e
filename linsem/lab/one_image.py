"""A sheet of what strokes on a single image achieve.

    python -m linsem.lab.one_image avatars-128 --out assets/evidence/one-image.png [--seed 3] [--share 0.01]

Simulated strokes over about `share` of the pixels of one image, from the teacher's label map, are spread over areas of
one colour as in the app; an extractor is fitted to them alone and applied to other seeds, none left out: image, labels,
overlay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from linsem import pixels
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import seed_z
from linsem.lab import sheets
from linsem.lab.scribble import scribble
from linsem.metrics import paper_miou
from linsem.palette import colorize, overlay
from linsem.teacher import load_teacher
from linsem.zoo import load_generator

OTHERS = range(100, 112)


def run(model: str, out: Path, *, seed: int, share: float, psi: float, enlarge: int) -> str:
    """Write the sheet; returns a sentence with the labelled share and the agreement with the teacher."""
    generator, teacher = load_generator(model), load_teacher(model)
    ws = generator.map(seed_z(generator, [seed, *OTHERS]), psi)
    with torch.no_grad():
        image, features = generator.synthesize(ws)
    known = teacher(image)
    sparse = scribble(known[0].cpu().numpy(), share, seed)
    rgb = pixels.to_rgb(image)
    extractor = fit_few_shot(generator, [Annotation(ws[0], sparse)], teacher.categories, missing="keep")
    labels = extractor.predict(features)
    columns = [[rgb[0], overlay(rgb[0], sparse, teacher.categories, 0.9), colorize(labels[0], teacher.categories)]]
    for picture, label in zip(rgb[1:], labels[1:], strict=True):
        columns.append([picture, colorize(label, teacher.categories), overlay(picture, label, teacher.categories, 0.6)])
    large = [[each.repeat(enlarge, 0).repeat(enlarge, 1) for each in column] for column in columns]
    out.parent.mkdir(parents=True, exist_ok=True)
    sheets.save_columns(large, out, per_row=7)
    miou = paper_miou(torch.from_numpy(labels[1:]), known[1:].cpu(), len(teacher.categories))
    painted = float(np.mean(sparse != pixels.IGNORE))
    return (
        f"{out}: {100 * painted:.2f} % of seed {seed} painted; mIoU with the teacher on {len(OTHERS)} others {miou:.3f}"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--psi", type=float, default=0.7)
    parser.add_argument("--enlarge", type=int, default=2)
    args = parser.parse_args()
    options = {"seed": args.seed, "share": args.share, "psi": args.psi, "enlarge": args.enlarge}
    print(run(args.model, args.out, **options))


if __name__ == "__main__":
    main()
