"""Taking a category out of an image, or bringing one in: what to wish for, and the edit that brings it about.

Where a category is taken out, the next most likely one of each pixel makes a patchwork that no image shows, and the
latent loop meets it by fooling the extractor: the hat stays, its labels go. What a sample of the generator shows there
can be met by an image. So the samples among which an edit starts (`linsem.jump`) are asked: of those without the
category, or with it, the one that is most like the image elsewhere (`linsem.similar`) says what to wish for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem import steer as loop
from linsem.arguments import shown
from linsem.bank import make_bank
from linsem.categories import names_of
from linsem.device import own_modes
from linsem.edit import LR, SAMPLES, STEPS, WEIGHTS, EditResult, affordable, check_atlas, iter_planned
from linsem.edit_maps import grown
from linsem.edit_plan import EditError, EditPlan, checked_region, checked_ws, plan_edit
from linsem.extractor import Extractor, check_fits, finite
from linsem.generator import Generator, checked_pass
from linsem.jump import NEVER, Atlas, make_atlas
from linsem.pixels import IGNORE
from linsem.similar import giving_way, lacking, showing, whole_area, without

GUESSED = "what to put in its place was guessed from the labels, so more of it may be left than they say"
RARE = 0.02  # of the samples: what fewer lack is taken to belong to every image
COVERED = 0.5  # of a region: with more of a category, the region shows it already
TRIED = 4  # samples: a bank's maps are small, and may lack what shows at full size
ENOUGH_GONE = 0.9  # of a place: a sample that lacks the category in less of it is passed over
NAMED = 12  # categories in a message


def remove(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str,
    region: np.ndarray | None = None,
    **options: object,
) -> EditResult:
    """Take a category out of an image: the last step of `iter_remove`, which documents the options."""
    *_, last = iter_remove(generator, extractor, ws, category, region, **options)
    return last


def iter_remove(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str,
    region: np.ndarray | None = None,
    *,
    steps: int = STEPS,
    lr: float = LR,
    weights: loop.Weights = WEIGHTS,
    atlas: Atlas | bool | None = None,
) -> Iterator[EditResult]:
    """Take a category out of an image, yielding after each step the result of the least loss so far.

    Args:
        ws: (num_ws, w_dim).
        category: its number or its name.
        region: (H, W) bool, where it shall be gone and the image may change (default: everywhere, and around it).
        steps, lr, weights: as of `linsem.iter_edit`.
        atlas: of the generator's samples. None: made from `SAMPLES` samples, but not on a CPU beyond `QUICK` pixels;
            True: made in any case; False: none. Without one the next most likely categories are asked for, which often
            changes the labels more than the image, and the note says so.

    The report has also `gone`: the share of the category's pixels in the region that have another label now.

    Raises `EditError`, also if the image does not show the category or hardly any sample lacks it, or InputError for an
    extractor or an atlas of another generator.
    """
    clock, steps = time.monotonic(), loop.check_steps(steps)
    check_atlas(generator, extractor, atlas)
    asked = ask_for(generator, extractor, ws, category, region)
    asked.check_removable()
    if atlas is True or (atlas is None and affordable(generator)):
        atlas = make_atlas(generator, make_bank(generator, extractor, range(SAMPLES)))
    yield from removing(asked, atlas or None, clock, steps=steps, lr=lr, weights=weights)


def add(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str,
    region: np.ndarray | None = None,
    **options: object,
) -> EditResult:
    """Bring a category into an image: the last step of `iter_add`, which documents the options."""
    *_, last = iter_add(generator, extractor, ws, category, region, **options)
    return last


def iter_add(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str,
    region: np.ndarray | None = None,
    *,
    steps: int = STEPS,
    lr: float = LR,
    weights: loop.Weights = WEIGHTS,
    atlas: Atlas | None = None,
) -> Iterator[EditResult]:
    """Bring a category into an image, yielding after each step the result of the least loss so far.

    It gets the place and the shape that it has in another sample; `region` (H, W) bool says where it shall be, and the
    image may change (default: anywhere, and around it). The other arguments are those of `iter_remove`; an atlas is
    made if none is given. The report has also `there`: the share of the pixels for which the category is wished that
    have it.

    Raises `EditError`, also if the category has not been learnt, the image shows it already, or no sample of the atlas
    does, or InputError for an extractor or an atlas of another generator.
    """
    clock, steps = time.monotonic(), loop.check_steps(steps)
    asked = ask_for(generator, extractor, ws, category, region)
    asked.check_learnt()
    if atlas is None:
        atlas = make_atlas(generator, make_bank(generator, extractor, range(SAMPLES)))
    yield from adding(asked, atlas, clock, steps=steps, lr=lr, weights=weights)


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
    generator: Generator, extractor: Extractor, ws: torch.Tensor, category: int | str, region: np.ndarray | None = None
) -> Asked:
    """Check what is asked for, with one pass of the generator; the arguments are those of `iter_remove`."""
    check_fits(extractor, generator)
    index, start = index_of(category, extractor), checked_ws(generator, ws)
    region = None if region is None else checked_region(generator, region)
    image, features = checked_pass(generator, start)
    logits = finite(extractor.logits(features, tuple(generator.size)))
    labels = extractor.labels(logits)[0].cpu().numpy()
    return Asked(generator, extractor, start, index, region, image, logits, labels)


@own_modes()
def plan_removal(asked: Asked, atlas: Atlas | None = None) -> EditPlan:
    """Prepare a removal; raises `EditError` if hardly any sample of the atlas lacks the category.

    Without an atlas the next most likely categories are asked for, and the note says so.
    """
    place, guess = asked.place, removal_target(asked.logits[0], asked.labels, asked.category, asked.within)
    if atlas is not None:
        check_atlas(asked.generator, asked.extractor, atlas)
        asked.check_rare(atlas)
        rows = lacking(atlas.labels, asked.labels, asked.category, asked.within)
        for row in rows[:TRIED]:
            theirs = _labels_of(asked, atlas.w[row])
            if (theirs[place] != asked.category).mean() >= ENOUGH_GONE:
                wished = grown(place) & asked.within & (theirs != asked.category)
                return _planned(asked, np.where(wished, theirs, guess))
    plan = _planned(asked, guess)
    return replace(plan, note="; ".join(filter(None, (plan.note, GUESSED))))


@own_modes()
def plan_addition(asked: Asked, atlas: Atlas) -> EditPlan:
    """Prepare an addition; raises `EditError` if the image shows the category already, or no sample does there."""
    if not isinstance(atlas, Atlas):
        raise EditError(f"atlas: expected one of make_atlas, got {shown(atlas)}")
    check_atlas(asked.generator, asked.extractor, atlas)
    asked.check_missing(atlas)
    for row in showing(atlas.labels, asked.labels, asked.category, asked.within)[:TRIED]:
        theirs = _labels_of(asked, atlas.w[row])
        if (asked.within & (theirs == asked.category)).any():
            aside = np.isin(asked.labels, giving_way(atlas.labels, asked.category))
            wished = asked.within & (grown(theirs == asked.category) | aside)
            return _planned(asked, np.where(wished, theirs, IGNORE))
    if asked.region is None:
        raise EditError(f"none of {len(atlas.labels)} samples shows {asked.name}, so it is not known how to add it")
    most = f"most of its {asked.name} in this region"
    many = f"none of {len(atlas.labels)} samples"
    raise EditError(f"{many} has {most}, so it is not known how to add it there: enlarge the region")


def _planned(asked: Asked, target: np.ndarray) -> EditPlan:
    """The plan of an edit that is never met beforehand: most of what it asks for is there, around what is not."""
    target = target.astype(np.uint8)
    region = None if asked.region is None else asked.region & grown(target != IGNORE)
    return plan_edit(asked.generator, asked.extractor, asked.ws[0], target, region, enough=NEVER)


@torch.no_grad()
def _labels_of(asked: Asked, w: torch.Tensor) -> np.ndarray:
    """The labels (H, W) of the sample with this w, as an atlas has it."""
    generator = asked.generator
    ws = w.to(asked.ws).view(1, -1, generator.w_dim).expand(1, generator.num_ws, generator.w_dim)
    return asked.extractor.predict(checked_pass(generator, ws)[1], tuple(generator.size))[0]


def removing(asked: Asked, atlas: Atlas | None, clock: float, **options: object) -> Iterator[EditResult]:
    """The steps of a removal that began at `clock` (`time.monotonic`); the options are those of `iter_planned`."""
    plan = replace(plan_removal(asked, atlas), seconds=time.monotonic() - clock)
    for each in iter_planned(plan, atlas=atlas or False, **options):
        gone = float((each.labels[asked.place] != asked.category).mean())
        yield replace(each, report={**each.report, "gone": round(gone, 4)})


def adding(asked: Asked, atlas: Atlas, clock: float, **options: object) -> Iterator[EditResult]:
    """The steps of an addition, as `removing`."""
    plan = replace(plan_addition(asked, atlas), seconds=time.monotonic() - clock)
    wished = plan.wish.target == asked.category
    for each in iter_planned(plan, atlas=atlas, **options):
        there = float((each.labels[wished] == asked.category).mean())
        yield replace(each, report={**each.report, "there": round(there, 4)})


def index_of(category: int | str, extractor: Extractor) -> int:
    """The number of a category, given as such or by its name; raises `EditError` if there is none."""
    names = names_of(extractor.categories)
    if isinstance(category, str) and category in names:
        return names.index(category)
    if isinstance(category, (int, np.integer)) and not isinstance(category, bool) and 0 <= category < len(names):
        return int(category)
    known = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    raise EditError(f"category: expected one of {known}, got {shown(category)}")


def removal_target(logits: torch.Tensor, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """The next most likely categories in the place of one, within the region; (H, W) uint8, 255 elsewhere.

    Only those that the image shows, if it shows any other: glasses in the place of a hat are met by no image. `logits`
    (K, H, W), `labels` (H, W), `region` (H, W) bool.
    """
    there = np.bincount(labels.ravel(), minlength=len(logits)) > 0
    there[category] = False
    barred = ~there if there.any() else np.arange(len(logits)) == category
    others = logits.clone()
    others[torch.from_numpy(barred).to(logits.device)] = -torch.inf
    instead = others.argmax(0).to(torch.uint8).cpu().numpy()
    return np.where(region & (labels == category), instead, IGNORE).astype(np.uint8)
