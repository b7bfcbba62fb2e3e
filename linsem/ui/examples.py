"""The examples that ship, where there are any: masks in assets/examples/layouts."""

from __future__ import annotations

from pathlib import Path

from linsem.palette import colorize, read_label_map
from linsem.ui.services import Services
from linsem.ui.thumbs import Thumb
from linsem.zoo import assets


def layouts(services: Services) -> list[tuple[Path, Thumb]]:
    """The example masks that the default generator's categories can read, each with its thumbnail."""
    try:
        categories = services.studio.categories(services.studio.default_model())
    except ValueError:
        return []
    found = []
    for path in sorted((assets() / "examples" / "layouts").glob("*.png")):
        try:
            labels = read_label_map(path, categories).labels
        except ValueError:  # made for another generator
            continue
        found.append((path, Thumb(colorize(labels, categories), path.stem.replace("-", " "), "", True)))
    return found[:12]
