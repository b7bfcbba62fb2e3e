"""A category that is to be taken out of an image, or brought in: checked, with what the image shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from linsem.arguments import shown
from linsem.categories import Category, names_of
from linsem.device import own_modes
from linsem.edit_plan import EditError, checked_region, checked_ws
from linsem.extractor import Extractor, check_fits, finite
from linsem.generator import Generator, checked_pass
from linsem.jump import Atlas
from linsem.similar import whole_area, without

RARE = 0.02  # of the samples: what fewer lack is taken to belong to every image
COVERED = 0.5  # of a region: with more of a category, the region shows it already
NAMED = 12  # categories in a message


@dataclass(frozen=True, eq=False)
class Asked:
    """A category to take out of an image, or to bring in, and what the image shows.

    Attributes:
        ws: (1, num_ws, w_dim), of the image.
        category: its number.
        region: (H, W) bool, where it shall be gone, or be; None if anywhere.
        image, logits, labels: of the image, (1, 3, H, W), (1, K, H, W), (H, W) uint8.
    """

    generator: Generator
    extractor: Extractor
    ws: torch.Tensor
    category: int
    region: np.ndarray | None
    image: torch.Tensor
    logits: torch.Tensor
    labels: np.ndarray

    @property
    def name(self) -> str:
        """The category's name."""
        return self.extractor.categories[self.category].name

    @property
    def within(self) -> np.ndarray:
        """(H, W) bool: the region, or everything."""
        return np.ones(self.labels.shape, bool) if self.region is None else self.region

    @property
    def place(self) -> np.ndarray:
        """(H, W) bool: where the image shows the category, within the region."""
        return self.within & (self.labels == self.category)

    def check_removable(self) -> None:
        """Raise `EditError` if the image does not show the category there, or the extractor knows no other."""
        if len(self.extractor.categories) < 2:
            raise EditError(f"{self.name} is the only category, so there is nothing to put in its place")
        if not self.place.any():
            where = "in this image" if self.region is None else "in this region of the image"
            raise EditError(f"there is no {self.name} {where}, so there is nothing to remove")

    def check_rare(self, atlas: Atlas) -> None:
        """Raise `EditError` if hardly any sample lacks the category there."""
        rows = without(atlas.labels, self.category, self.within)
        if rows.mean() < RARE:
            few = "none" if not rows.any() else f"only {rows.sum()}"
            where = "" if self.region is None else " there"
            raise EditError(f"{few} of {len(rows)} samples is without {self.name}{where}: nothing can take its place")

    def check_missing(self, atlas: Atlas) -> None:
        """Raise `EditError` if the image shows the category whole already."""
        there = self.within & (self.labels == self.category)
        whole = there.mean() >= whole_area(atlas.labels, self.category)
        if whole or (self.region is not None and there.sum() > COVERED * self.within.sum()):
            raise EditError(f"the image shows {self.name} already, so there is nothing to add")

    def check_learnt(self) -> None:
        """Raise `EditError` if the extractor has not learnt the category."""
        if self.name in self.extractor.unknown:
            raise EditError(f"{self.name} is not learnt, so it is not known what it looks like: label some first")


@own_modes()
@torch.no_grad()
def ask_for(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str | Category,
    region: np.ndarray | None = None,
) -> Asked:
    """Check what is asked for, with one pass of the generator; the arguments are those of `iter_remove`."""
    check_fits(extractor, generator)
    index, start = index_of(category, extractor), checked_ws(generator, ws)
    region = None if region is None else checked_region(generator, region)
    image, features = checked_pass(generator, start)
    logits = finite(extractor.logits(features, tuple(generator.size)))
    labels = extractor.labels(logits)[0].cpu().numpy()
    return Asked(generator, extractor, start, index, region, image, logits, labels)


def index_of(category: int | str | Category, extractor: Extractor) -> int:
    """The number of a category, given as such, by its name or as a row; raises `EditError` if there is none."""
    names, given = names_of(extractor.categories), category
    category = category.name if isinstance(category, Category) else category
    if isinstance(category, str) and category in names:
        return names.index(category)
    if isinstance(category, (int, np.integer)) and not isinstance(category, bool) and 0 <= category < len(names):
        return int(category)
    known = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    raise EditError(f"category: expected one of {known}, got {shown(given)}")
