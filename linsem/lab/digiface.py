"""`digiface-64` with a dozen hand-made label maps: evaluation of the extractor fitted to them, on fresh seeds.

    python -m linsem.lab.digiface                       # leave-one-image-out IoU
    python -m linsem.lab.digiface --out assets          # and its table, the sheet and the example project
    python -m linsem.lab.digiface --quick --out assets  # the sheet and the project only

This generator has no teacher, so the hand labels are the only ground truth: each labelled image is evaluated with an
extractor fitted to the others. The labels were drawn as polygons on enlarged images at psi 1; brows, beards, ears and
necks count as skin, and ambiguous pixels are unlabelled.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from linsem.extractor import Extractor, save_extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import Generator, seed_z
from linsem.lab import tables
from linsem.lab.sheets import save_columns
from linsem.palette import colorize, overlay, read_label_map
from linsem.pixels import IGNORE, to_rgb
from linsem.project import Project, ProjectImage, save_project
from linsem.zoo import assets, load_generator

MODEL, PSI = "digiface-64", 1.0
FIRST_FRESH, FRESH = 1000, 24
SCALE = 2  # of the sheet's images


def read_labels(folder: Path, generator: Generator) -> dict[int, np.ndarray]:
    """The label maps `<seed>.png` in a folder as {seed: labels (H, W) uint8}, in ascending order."""
    paths = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
    labels = {int(path.stem): read_label_map(path, generator.categories).labels for path in paths}
    for seed, one in labels.items():
        if one.shape != tuple(generator.size):
            raise ValueError(f"{seed}.png: expected {generator.size}, got {one.shape}")
    return labels


@torch.no_grad()
def annotate(generator: Generator, labels: dict[int, np.ndarray]) -> list[Annotation]:
    """Annotations that pair each label map with the latent of its seed."""
    ws = generator.map(seed_z(generator, list(labels)), PSI)
    return [Annotation(w, one) for w, one in zip(ws, labels.values(), strict=True)]


@torch.no_grad()
def leave_one_out(generator: Generator, labels: dict[int, np.ndarray]) -> dict[str, float]:
    """IoU of each category, their mean, and pixel accuracy; each image by an extractor fitted to the others."""
    count = len(generator.categories)
    confusion = np.zeros((count, count), np.int64)
    for held, truth in labels.items():
        others = annotate(generator, {seed: one for seed, one in labels.items() if seed != held})
        extractor = fit_few_shot(generator, others, generator.categories, missing="keep")
        ws = generator.map(seed_z(generator, [held]), PSI)
        found = extractor.predict(generator.synthesize(ws, image=False)[1])[0]
        known = truth != IGNORE
        np.add.at(confusion, (truth[known], found[known]), 1)
    both = confusion.diagonal()
    ious = both / np.maximum(confusion.sum(0) + confusion.sum(1) - both, 1)
    named = {category.name: float(iou) for category, iou in zip(generator.categories, ious, strict=True)}
    return {**named, "mean": float(ious.mean()), "accuracy": float(both.sum() / confusion.sum())}


@torch.no_grad()
def make_sheet(generator: Generator, extractor: Extractor, seeds: Sequence[int], path: Path) -> None:
    """Write a sheet with one column per seed, uncurated: image, labels, overlay."""
    image, features = generator.synthesize(generator.map(seed_z(generator, seeds), PSI))
    cases = []
    for rgb, labels in zip(to_rgb(image), extractor.predict(features), strict=True):
        colors = colorize(labels, generator.categories)
        mixed = overlay(rgb, labels, generator.categories)
        cases.append([picture.repeat(SCALE, 0).repeat(SCALE, 1) for picture in (rgb, colors, mixed)])
    save_columns(cases, path, per_row=8)


def make_project(
    generator: Generator, labels: dict[int, np.ndarray], extractor: Extractor, path: Path, psi: float = PSI
) -> None:
    """Write a project with the labels by seed and the extractor, which the app can load."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "extractor.safetensors"
        save_extractor(extractor, file)
        data = file.read_bytes()
    images = tuple(ProjectImage(seed, None, one, psi) for seed, one in labels.items())
    save_project(Project(generator.id, psi, tuple(generator.categories), images, extractor=data), path)


def keep(generator: Generator, labels: dict[int, np.ndarray], folder: Path) -> None:
    """Fit to all labels, and write the project and the sheet of fresh seeds into a folder like `assets/`."""
    extractor = fit_few_shot(generator, annotate(generator, labels), generator.categories, missing="keep")
    for each in ("examples", "evidence"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    make_project(generator, labels, extractor, folder / "examples" / f"{MODEL}.linsem.zip")
    make_sheet(generator, extractor, range(FIRST_FRESH, FIRST_FRESH + FRESH), folder / "evidence" / f"{MODEL}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 2 with a message if the generator or a label is missing."""
    parser = argparse.ArgumentParser(prog="python -m linsem.lab.digiface", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="do not judge by leaving images out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--out", type=Path, help="a folder for the project, the sheet and the table")
    options = parser.parse_args(arguments)
    if options.quick and options.out is None:
        parser.error("--quick without --out leaves nothing to do")
    try:
        generator = load_generator(MODEL)
        labels = read_labels(assets() / "examples" / MODEL, generator)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.out is not None:
        keep(generator, labels, options.out)
    result: dict[str, object] = {"model": MODEL, "images": len(labels)}
    if not options.quick:
        result["leave_one_out"] = found = leave_one_out(generator, labels)
        rows = [{"category": name, "IoU": round(value, 3)} for name, value in found.items() if name != "accuracy"]
        title = (
            f"{MODEL}, each of {len(labels)} hand-labelled images by an extractor fitted on the others "
            "(IoU over all labelled pixels, background included in the mean)"
        )
        print(tables.markdown(rows))
        if options.out is not None:
            tables.write(tables.Table("digiface", title, result, rows), options.out / "evidence")
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
