"""Taking a category out of an image, or bringing one in: what to wish for, and the edit that brings it about.

Where a category is taken out, the next most likely one of each pixel makes a patchwork that no image shows, and the
latent loop meets it by fooling the extractor: the hat stays, its labels go. What a sample of the generator shows there
can be met by an image. So the samples among which an edit starts (`linsem.jump`) are asked: of those without the
category, or with it, the one that is most like the image elsewhere (`linsem.similar`) says what to wish for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from linsem import steer as loop
from linsem.arguments import shown
from linsem.asked import Asked, ask_for
from linsem.bank import make_bank
from linsem.categories import Category
from linsem.device import own_modes
from linsem.edit import LR, SAMPLES, STEPS, WEIGHTS, EditResult, affordable, check_atlas, iter_planned, side_effects
from linsem.edit_maps import grown
from linsem.edit_plan import EditError, EditPlan, plan_edit
from linsem.extractor import Extractor
from linsem.generator import Generator, checked_pass
from linsem.jump import NEVER, Atlas, make_atlas
from linsem.pixels import IGNORE
from linsem.similar import giving_way, lacking, showing

GUESSED = "what to put in its place was guessed from the labels, so more of it may be left than they say"
TRIED = 4  # samples: a bank's maps are small, and may lack what shows at full size
ENOUGH_GONE = 0.9  # of a place: a sample that lacks the category in less of it is passed over


def remove(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str | Category,
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
    category: int | str | Category,
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
        category: its number, its name, or its row.
        region: (H, W) bool, where it shall be gone and the image may change (default: everywhere, and around it).
        steps, lr, weights: as of `linsem.iter_edit`.
        atlas: of the generator's samples. None: made from `SAMPLES` samples, but not on a CPU beyond `QUICK` pixels;
            True: made in any case; False: none. Without one the next most likely categories are asked for, which often
            changes the labels more than the image, and the note says so.

    The report has also `gone`: the share of the category's pixels in the region that have another label now.

    Raises `EditError`, also if the image does not show the category or hardly any sample lacks it, or InputError for an
    extractor or an atlas of another generator.
    """
    clock, steps, lr, weights = time.monotonic(), *loop.check_options(steps, lr, weights)
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
    category: int | str | Category,
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
    category: int | str | Category,
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
    clock, steps, lr, weights = time.monotonic(), *loop.check_options(steps, lr, weights)
    asked = ask_for(generator, extractor, ws, category, region)
    asked.check_learnt()
    if atlas is None:
        atlas = make_atlas(generator, make_bank(generator, extractor, range(SAMPLES)))
    yield from adding(asked, atlas, clock, steps=steps, lr=lr, weights=weights)


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
        yield _told(asked, each, "gone", gone)


def adding(asked: Asked, atlas: Atlas, clock: float, **options: object) -> Iterator[EditResult]:
    """The steps of an addition, as `removing`."""
    plan = replace(plan_addition(asked, atlas), seconds=time.monotonic() - clock)
    wished = plan.wish.target == asked.category
    for each in iter_planned(plan, atlas=atlas, **options):
        there = float((each.labels[wished] == asked.category).mean())
        yield _told(asked, each, "there", there)


def _told(asked: Asked, result: EditResult, name: str, share: float) -> EditResult:
    """A result that says how far it has come; beside it is all that neither showed the category nor does now.

    The wish also says what shall be around it and in its place. What that takes or brings was not asked for by name.
    """
    own = (asked.labels == asked.category) | (result.labels == asked.category)
    beside = side_effects(asked.extractor, asked.labels, result.labels, own)
    return replace(result, report={**result.report, name: round(share, 4), **beside})


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
