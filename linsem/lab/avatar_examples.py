"""The examples that load with one click for a generator of avatars: layouts to sample, and a scribbled project.

    python -m linsem.lab.avatar_examples avatars-128

The layouts are the exact label maps of drawings that nobody was trained on, the first of each kind. The project holds
two images with strokes over about one pixel in a hundred, made from the teacher's label maps as a person would, and the
extractor that follows from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import Generator, seed_z
from linsem.lab import drawings
from linsem.lab.digiface import make_project
from linsem.lab.edits import Facts, facts
from linsem.lab.scribble import scribble
from linsem.palette import write_label_map
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import assets, load_generator

FIRST = drawings.HELD_OUT + 60_000
SEEDS, SHARE, PSI = (19, 44), 0.01, 0.7
KINDS: dict[str, Callable[[Facts], bool]] = {
    "long-hair": lambda f: f.hair_below > 0.10 and f.glasses == f.beard == 0,
    "short-hair": lambda f: 0.02 < f.hair < 0.08 and f.hair_below < 0.005 and f.glasses == f.beard == 0,
    "hat": lambda f: f.hat > 0.06 and f.glasses == 0,
    "glasses": lambda f: f.glasses > 0.01 and f.hair > 0.03 and f.beard == 0,
    "beard": lambda f: f.beard > 0.02 and f.glasses == 0,
    "bald": lambda f: f.hair < 0.003 and f.hat == 0 and f.beard == 0,
}


def layouts(size: int) -> dict[str, np.ndarray]:
    """The first held-out drawing's label map (size, size) of each kind."""
    found: dict[str, np.ndarray] = {}
    seed = FIRST
    while len(found) < len(KINDS):
        labels = drawings.render_seed(seed, size)[1]
        seen = facts(labels)
        for kind, holds in KINDS.items():
            if kind not in found and seen is not None and holds(seen):
                found[kind] = labels
                break
        seed += 1
    return {kind: found[kind] for kind in KINDS}


@torch.no_grad()
def scribbles(generator: Generator, teacher: Teacher) -> dict[int, np.ndarray]:
    """Strokes on each of SEEDS, (H, W) uint8 with 255 where nothing is painted."""
    image, _ = generator.synthesize(generator.map(seed_z(generator, SEEDS), PSI))
    known = teacher(image).cpu().numpy()
    return {seed: scribble(labels, SHARE, seed) for seed, labels in zip(SEEDS, known, strict=True)}


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, default=assets() / "examples")
    args = parser.parse_args()
    generator, teacher = load_generator(args.model), load_teacher(args.model)
    folder = args.out / args.model
    folder.mkdir(parents=True, exist_ok=True)
    for kind, labels in layouts(generator.size[0]).items():
        (folder / f"{kind}.png").write_bytes(write_label_map(labels, teacher.categories))
    painted = scribbles(generator, teacher)
    ws = generator.map(seed_z(generator, list(painted)), PSI)
    annotations = [Annotation(w, labels) for w, labels in zip(ws, painted.values(), strict=True)]
    extractor = fit_few_shot(generator, annotations, teacher.categories, missing="keep")
    make_project(generator, painted, extractor, args.out / f"{args.model}.linsem.zip", PSI)


if __name__ == "__main__":
    main()
