"""The examples that ship, where a generator has any: label maps in assets/examples/<model>, a project beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linsem.palette import Category, colorize, read_label_map
from linsem.ui.thumbs import Thumb
from linsem.zoo import assets

MOST = 12


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
        except ValueError:  # the visitor's categories are others
            continue
        title = f"seed {path.stem}" if path.stem.isdigit() else path.stem.replace("-", " ")
        found.append((path, Thumb(colorize(labels, categories), title, "", True)))
    return found[:MOST]
