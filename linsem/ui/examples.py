"""The examples shipped with a generator, if any: label maps, a project, and edits.

The label maps are in assets/examples/<model>, the project is beside that folder, and the edits are in <model>/edits:
label maps named after their seed and wish, such as "12-a-hat.png".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linsem.errors import InputError
from linsem.offers import with_assets
from linsem.palette import Category, colorize, read_label_map
from linsem.ui.thumbs import Thumb
from linsem.zoo import assets

MOST = 12
EDIT_PSI = 0.7  # of the images to edit: must equal PSI in `linsem.lab.avatar_examples`, which makes them


@dataclass(frozen=True, eq=False)
class ExampleEdit:
    """A seed, the wish for its image in words, and as labels (H, W) uint8, 255 where nothing is wished."""

    seed: int
    words: str
    labels: np.ndarray

    @property
    def caption(self) -> str:
        """What an edit that starts from it is called."""
        return f"seed {self.seed}, {self.words}"


def example_project(model: str) -> Path | None:
    """The project that ships with a generator, if there is one."""
    path = assets() / "examples" / f"{Path(model).name}.linsem.zip"
    return path if with_assets(model) and path.is_file() else None


def example_masks(model: str, categories: Sequence[Category]) -> list[tuple[Path, Thumb]]:
    """The label maps shipped with a generator that use only these categories, each with its thumbnail."""
    folder, found = assets() / "examples" / Path(model).name, []
    if not with_assets(model):
        return found
    for path in sorted(folder.glob("*.png"), key=lambda path: (len(path.stem), path.stem)):
        try:
            labels = read_label_map(path, categories).labels
        except InputError:  # the visitor has other categories
            continue
        title = f"seed {path.stem}" if path.stem.isdigit() else path.stem.replace("-", " ")
        found.append((path, Thumb(colorize(labels, categories), title, "", True)))
    return found[:MOST]


def example_edits(model: str, categories: Sequence[Category]) -> list[ExampleEdit]:
    """The edits shipped with a generator that use only these categories."""
    found = []
    if not with_assets(model):
        return found
    for path in sorted((assets() / "examples" / Path(model).name / "edits").glob("*.png")):
        seed, _, words = path.stem.partition("-")
        try:
            labels = read_label_map(path, categories).labels
        except InputError:  # the visitor has other categories
            continue
        if not seed.isdecimal():
            continue
        found.append(ExampleEdit(int(seed), words.replace("-", " "), labels))
    return found[:MOST]
