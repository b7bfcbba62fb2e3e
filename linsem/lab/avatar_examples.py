"""One-click examples for a generator of avatars: layouts to sample, wishes for edits, and a scribbled project.

    python -m linsem.lab.avatar_examples avatars-128

The layouts are the exact label maps of held-out drawings, the first of each kind. The wishes are scripted edits
(`linsem.lab.edits`) of the first images that they fit. The project holds four images, with simulated strokes over about
one pixel in a hundred from the teacher's label maps, and the extractor fitted to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import Generator, batches, seed_z
from linsem.lab import drawings
from linsem.lab.digiface import make_project
from linsem.lab.edits import SCRIPTS, Facts, facts, known, wish
from linsem.lab.scribble import scribble
from linsem.palette import write_label_map
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import assets, load_generator

FIRST = drawings.HELD_OUT + 60_000
SEEDS, SHARE, PSI = (13, 24, 11, 36), 0.01, 0.7  # together they show all categories
WISHES = {"hat on": "a-hat", "longer hair": "longer-hair", "glasses on": "glasses", "beard on": "a-beard"}
WISHED = range(1, 120)  # seeds of the images for the wishes, and of their donors
KINDS: dict[str, Callable[[Facts], bool]] = {
    "long-hair": lambda f: f.hair_below > 0.10 and f.glasses == f.beard == 0,
    "short-hair": lambda f: 0.02 < f.hair < 0.08 and f.hair_below < 0.005 and f.glasses == f.beard == 0,
    "hat": lambda f: f.hat > 0.06 and f.glasses == 0,
    "glasses": lambda f: f.glasses > 0.01 and f.hair > 0.03 and f.beard == 0,
    "beard": lambda f: f.beard > 0.02 and f.glasses == 0,
    "bob-cut": lambda f: 0.08 < f.hair_below < 0.10 and f.glasses > 0.05 and f.beard == 0,
}


def layouts(size: int) -> dict[str, np.ndarray]:
    """The label map (size, size) of the first held-out drawing of each kind."""
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
    """Strokes on each of SEEDS, (H, W) uint8 with 255 = unlabelled."""
    image, _ = generator.synthesize(generator.map(seed_z(generator, SEEDS), PSI))
    maps = teacher(image).cpu().numpy()
    return {seed: scribble(labels, SHARE, seed) for seed, labels in zip(SEEDS, maps, strict=True)}


@torch.no_grad()
def wishes(generator: Generator, teacher: Teacher) -> dict[str, np.ndarray]:
    """By file name: the first unused image that each script fits, and its target."""
    maps = []
    for part in batches(len(WISHED), 8):
        image, _ = generator.synthesize(generator.map(seed_z(generator, WISHED[part]), PSI))
        maps += [known(labels) for labels in teacher(image).cpu().numpy()]
    found: dict[str, np.ndarray] = {}
    free = list(enumerate(WISHED))
    for script, words in WISHES.items():
        for place, (i, seed) in enumerate(free):
            target = wish(SCRIPTS[script], maps[i], maps[:i] + maps[i + 1 :])
            if target is not None:
                found[f"{seed}-{words}"] = target
                del free[place]
                break
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, default=assets() / "examples")
    args = parser.parse_args()
    generator, teacher = load_generator(args.model), load_teacher(args.model)
    folder = args.out / args.model
    folder.mkdir(parents=True, exist_ok=True)
    for kind, labels in layouts(generator.size[0]).items():
        (folder / f"{kind}.png").write_bytes(write_label_map(labels, teacher.categories))
    (folder / "edits").mkdir(exist_ok=True)
    for old in (folder / "edits").glob("*.png"):
        old.unlink()
    for name, labels in wishes(generator, teacher).items():
        (folder / "edits" / f"{name}.png").write_bytes(write_label_map(labels, teacher.categories))
    painted = scribbles(generator, teacher)
    ws = generator.map(seed_z(generator, list(painted)), PSI)
    annotations = [Annotation(w, labels) for w, labels in zip(ws, painted.values(), strict=True)]
    extractor = fit_few_shot(generator, annotations, teacher.categories, missing="keep")
    make_project(generator, painted, extractor, args.out / f"{args.model}.linsem.zip", PSI)


if __name__ == "__main__":
    main()
