"""The examples that ship, where a generator has any: label maps in assets/examples/<model>, a project beside them, and
wishes for edits in <model>/edits, each named by the seed and by what is wished: "12-a-hat.png"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linsem.errors import InputError
from linsem.palette import Category, colorize, read_label_map
from linsem.ui.thumbs import Thumb
from linsem.zoo import assets

MOST = 12
EDIT_PSI = 0.7  # of the images that the wishes are for: PSI of `linsem.lab.avatar_examples`, which makes them


@dataclass(frozen=True, eq=False)
class ExampleEdit:
    """A seed, what is wished of its image in words, and the wish: labels (H, W) uint8, 255 where there is none."""

    seed: int
    words: str
    labels: np.ndarray


def example_project(model: str) -> Path | None:
    """The project that ships for a generator."""
    path = assets() / "examples" / f"{Path(model).name}.linsem.zip"
    return path if path.is_file() else None


def example_masks(model: str, categories: Sequence[Category]) -> list[tuple[Path, Thumb]]:
    """The label maps that ship for a generator and that these categories can read, each with its thumbnail."""
    folder, found = assets() / "examples" / Path(model).name, []
    for path in sorted(folder.glob("*.png"), key=lambda path: (len(path.stem), path.stem)):
        try:
            labels = read_label_map(path, categories).labels
        except InputError:  # the visitor's categories are others
            continue
        title = f"seed {path.stem}" if path.stem.isdigit() else path.stem.replace("-", " ")
        found.append((path, Thumb(colorize(labels, categories), title, "", True)))
    return found[:MOST]


def example_edits(model: str, categories: Sequence[Category]) -> list[ExampleEdit]:
    """The wishes that ship for a generator and that these categories can tell."""
    found = []
    for path in sorted((assets() / "examples" / Path(model).name / "edits").glob("*.png")):
        seed, _, words = path.stem.partition("-")
        try:
            labels = read_label_map(path, categories).labels
        except InputError:  # the visitor's categories are others
            continue
        found.append(ExampleEdit(int(seed), words.replace("-", " "), labels))
    return found[:MOST]
