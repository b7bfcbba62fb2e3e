"""Removing a category from an image: what shall be in its place, and the edit that brings it there.

The next most likely category of each pixel makes a patchwork that no image shows, and the latent loop meets it by
fooling the extractor: the hat stays, its labels go. What a sample of the generator shows there can be met by an image.
So the samples among which an edit starts (`linsem.jump`) are asked: of those without the category, the one that is most
like the image elsewhere says what to wish for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from linsem import steer as loop
from linsem.arguments import shown
from linsem.bank import make_bank
from linsem.categories import names_of
from linsem.device import own_modes
from linsem.edit import LR, SAMPLES, STEPS, WEIGHTS, EditResult, check_atlas, iter_planned, wants_atlas
from linsem.edit_maps import grown
from linsem.edit_plan import EditError, EditPlan, checked_ws, plan_edit
from linsem.extractor import Extractor, check_fits
from linsem.generator import Generator, checked_pass
from linsem.jump import Atlas, make_atlas
from linsem.pixels import IGNORE, resize_labels

GUESSED = "what to put in its place was guessed from the labels, so more of it may be left than they say"


def remove(
    generator: Generator, extractor: Extractor, ws: torch.Tensor, category: int | str, **options: object
) -> EditResult:
    """Remove a category from an image: the last step of `iter_remove`, which documents the options."""
    *_, last = iter_remove(generator, extractor, ws, category, **options)
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
    """Remove a category from an image, yielding after each step the result of the least loss so far.

    Args:
        ws: (num_ws, w_dim).
        category: its number or its name.
        region: (H, W) bool, where it shall be removed (default: everywhere).
        steps, lr, weights, atlas: as of `linsem.iter_edit`; without an atlas the next most likely categories are asked
            for, which often changes the labels more than the image.

    The report has also `gone`: the share of the category's pixels that have another label now.

    Raises `EditError`, also if the image does not show the category.
    """
    plan = plan_removal(generator, extractor, ws, category, region)
    if atlas is True or (atlas is None and wants_atlas(plan, loop.check_steps(steps))):
        atlas = make_atlas(generator, make_bank(generator, plan.extractor, range(SAMPLES)))
    if isinstance(atlas, Atlas):
        plan = plan_removal(generator, extractor, ws, category, region, atlas)
    yield from removing(plan, category, iter_planned(plan, steps=steps, lr=lr, weights=weights, atlas=atlas or False))


def removing(plan: EditPlan, category: int | str, results: Iterator[EditResult]) -> Iterator[EditResult]:
    """The results of a planned removal, whose reports say how much of the category is `gone`."""
    had = plan.labels == index_of(category, plan.extractor)
    for each in results:
        share = float((each.labels[had] != plan.labels[had]).mean())
        yield replace(each, report={**each.report, "gone": round(share, 4)})


@own_modes()
def plan_removal(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    category: int | str,
    region: np.ndarray | None = None,
    atlas: Atlas | None = None,
) -> EditPlan:
    """Check a removal and prepare it; the arguments are those of `iter_remove`.

    Without an atlas, or if all its samples show the category, the next most likely categories are asked for, and the
    note says so.
    """
    check_fits(extractor, generator)
    index, start = index_of(category, extractor), checked_ws(generator, ws)
    with torch.no_grad():
        logits = extractor.logits(checked_pass(generator, start)[1], tuple(generator.size))
        labels = extractor.labels(logits)[0].cpu().numpy()
    if region is None:
        region = np.ones(labels.shape, bool)
    elif np.shape(region) != labels.shape:
        raise EditError(f"region: expected a mask of {labels.shape}, got {np.shape(region)}")
    region = np.asarray(region).astype(bool)
    if not (region & (labels == index)).any():
        name = extractor.categories[index].name
        raise EditError(f"there is no {name} in this image, so there is nothing to remove")
    target = None if atlas is None else _as_a_sample(generator, extractor, labels, index, region, atlas)
    if target is not None:
        return plan_edit(generator, extractor, ws, target)
    plan = plan_edit(generator, extractor, ws, removal_target(logits[0], labels, index, region))
    return replace(plan, note="; ".join(filter(None, (plan.note, GUESSED))))


def index_of(category: int | str, extractor: Extractor) -> int:
    """The number of a category, given as such or by its name; raises `EditError` if there is none."""
    names = names_of(extractor.categories)
    if isinstance(category, str) and category in names:
        return names.index(category)
    if isinstance(category, (int, np.integer)) and not isinstance(category, bool) and 0 <= category < len(names):
        return int(category)
    raise EditError(f"category: expected one of {', '.join(names)}, or its number, got {shown(category)}")


def _as_a_sample(
    generator: Generator, extractor: Extractor, labels: np.ndarray, category: int, region: np.ndarray, atlas: Atlas
) -> np.ndarray | None:
    """What the most similar sample without the category shows in its place, (H, W) uint8, 255 elsewhere."""
    check_atlas(generator, extractor, atlas)
    sample = most_similar(atlas.labels, labels, category)
    if sample is None:
        return None
    ws = atlas.w[sample].expand(1, generator.num_ws, generator.w_dim)
    with torch.no_grad():
        theirs = extractor.predict(checked_pass(generator, ws)[1], tuple(generator.size))[0]
    asked = grown(region & (labels == category)) & region & (theirs != category)
    return np.where(asked, theirs, IGNORE).astype(np.uint8) if asked.any() else None


def most_similar(maps: np.ndarray, labels: np.ndarray, category: int) -> int | None:
    """Of label maps (N, h, w) without a category, the one that agrees most with labels (H, W) apart from it."""
    lacking = np.flatnonzero(~(maps == category).any((1, 2)))
    small = resize_labels(labels, maps.shape[1:])
    elsewhere = ~grown(small == category)
    alike = ((maps[lacking] == small) & elsewhere).sum((1, 2))
    return int(lacking[alike.argmax()]) if len(lacking) else None


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
