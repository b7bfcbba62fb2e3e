"""Semantic image editing (paper §4, SIE): optimise the latent until the image matches repainted labels.

Beyond the paper's protocol, the target applies only within a region around the strokes, the image is held outside it,
and a report says how far both succeeded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem import jump
from linsem import steer as loop
from linsem.bank import check_categories, check_label, make_bank
from linsem.device import without_autocast
from linsem.edit_maps import GROW, agreement, color_off, lost_and_gained, outside_change, region_of
from linsem.edit_plan import ENOUGH, EditError, EditPlan, plan_edit
from linsem.extractor import Extractor
from linsem.generator import Generator
from linsem.jump import Atlas, make_atlas
from linsem.pixels import IGNORE

__all__ = [
    "GROW", "EditError", "EditPlan", "EditResult", "affordable", "agreement", "check_atlas", "edit", "iter_edit",
    "iter_planned", "outside_change", "plan_edit", "region_of", "wants_atlas",
]  # fmt: skip

STEPS, LR, PATIENCE = 50, 0.03, 20
HELD_MORE, HOLD = 1.5, 0.3  # after a jump: factor on the hold on the rest, and weight of the hold on its labels
WEIGHTS = loop.Weights(agree=1.0, preserve=4.0, close=1e-3)
SAMPLES = 200  # of the generator, for the atlas of an edit
QUICK = 128  # pixels: on a CPU, only generators up to this size are sampled for an atlas by default
WORTH = 20  # steps from which an edit makes an atlas by default
ALL_OPEN = "the whole image may change: nothing is held"
NO_WAY = "no way to it was found, so the image stays as it was"
ROUNDED = 0.5  # of 255: colours that are off by no more are those wished for


@dataclass(frozen=True, eq=False)
class EditResult:
    """An edited image (1, 3, H, W) in [-1, 1], its labels (H, W) uint8, and its ws (num_ws, w_dim) on the CPU.

    The report has `agreement_before` and `agreement_after` (share of the wished pixels that match, by the extractor),
    `outside_change` (mean absolute difference outside the region, 0..255), `steps`, `seconds`, and `note`, text or "";
    where colours were wished for also `color_off` (mean absolute difference from them, 0..255). `lost` and `gained` are
    the names of categories that went or came beside what was asked for (`linsem.edit_maps.lost_and_gained`).
    """

    image: torch.Tensor
    labels: np.ndarray
    ws: torch.Tensor
    report: dict[str, float | int | bool | str | list[str]]


def edit(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    target: np.ndarray,
    region: np.ndarray | None = None,
    **options: object,
) -> EditResult:
    """Edit an image: the last step of `iter_edit`, which documents the options."""
    *_, last = iter_edit(generator, extractor, ws, target, region, **options)
    return last


def iter_edit(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    target: np.ndarray,
    region: np.ndarray | None = None,
    *,
    steps: int = STEPS,
    lr: float = LR,
    weights: loop.Weights = WEIGHTS,
    enough: float = ENOUGH,
    color: np.ndarray | None = None,
    color_mask: np.ndarray | None = None,
    atlas: Atlas | bool | None = None,
) -> Iterator[EditResult]:
    """Edit an image, yielding after each step the result of the least loss so far.

    Without a wish for colours it never matches the target less than the original; colours may be met at its expense.

    Args:
        ws: (num_ws, w_dim).
        target: (H, W) uint8 labels, 255 = no wish; categories that are never predicted are left out, and reported.
        region: (H, W) bool, where the image may change (default: the wished pixels, grown; if the target covers most of
            the image, only those that differ from the present labels).
        steps, lr, weights: see `linsem.steer.steer`.
        enough: if the target already holds to this degree, also around the pixels that it would change, return at once;
            the report says so.
        color, color_mask: a wish for colours, (H, W, 3) uint8 where the mask (H, W) is true.
        atlas: of the generator's samples (`linsem.jump`), so that the edit may start with a jump, as adding a hat
            needs; the rest is then held more firmly: `preserve` counts half as much again, and its labels are held too.
            None: made from `SAMPLES` samples, if there are `WORTH` steps or more, but not on a CPU beyond `QUICK`
            pixels; True: made in any case; False: none. For several edits, make it once: `make_atlas(generator,
            make_bank(generator, extractor, range(200)))`.
    """
    plan = plan_edit(generator, extractor, ws, target, region, enough=enough, color=color, color_mask=color_mask)
    yield from iter_planned(plan, steps=steps, lr=lr, weights=weights, atlas=atlas)


@without_autocast
def iter_planned(
    plan: EditPlan,
    *,
    steps: int = STEPS,
    lr: float = LR,
    weights: loop.Weights = WEIGHTS,
    atlas: Atlas | bool | None = None,
) -> Iterator[EditResult]:
    """Run an edit that `plan_edit` prepared, as `iter_edit` does."""
    clock = time.monotonic() - plan.seconds
    steps, lr, weights = loop.check_options(steps, lr, weights)
    generator, before, wished = plan.generator, plan.labels, plan.wish.target
    check_atlas(generator, plan.extractor, atlas)
    if plan.colored:
        weights = replace(weights, color=weights.color or 1.0)
    agreed = agreement(before, wished)

    if plan.met:
        note = plan.note or "the image already shows what is asked for"
        yield EditResult(plan.image, before, plan.ws[0].cpu(), _report(plan, plan.image, before, 0, clock, note))
        return
    if (atlas is True and plan.labelled) or (atlas is None and wants_atlas(plan, steps)):
        atlas = make_atlas(generator, make_bank(generator, plan.extractor, range(SAMPLES)))
    note = plan.note or (ALL_OPEN if plan.region.all() else "")
    for step in _moves(plan, atlas, steps, lr, weights):
        best = int(step.loss.argmin())
        ws, image, labels = step.ws[best], step.image[best : best + 1], step.labels[best]
        if not plan.colored and agreement(labels, wished) < agreed:  # the loss has other terms too
            ws, image, labels = plan.ws[0], plan.image, before
        stuck = step.done and torch.equal(ws, plan.ws[0]) and not _reached(plan)
        told = "; ".join(filter(None, (note, NO_WAY if stuck and steps else "")))
        yield EditResult(image, labels, ws.cpu(), _report(plan, image, labels, step.index, clock, told))


def _reached(plan: EditPlan) -> bool:
    """Whether the image is what was wished for before any move: there is no way to be found then."""
    wish = plan.wish
    colors = not plan.colored or color_off(plan.image, wish.color, wish.color_weight) <= ROUNDED
    return colors and agreement(plan.labels, wish.target) == 1


def wants_atlas(plan: EditPlan, steps: int) -> bool:
    """Whether an edit by default starts from samples: if there are labels to reach, and the time to draw them."""
    return not plan.met and plan.labelled and steps >= WORTH and affordable(plan.generator)


def affordable(generator: Generator) -> bool:
    """Whether an atlas takes seconds rather than minutes to make, so that an edit may make one by default."""
    return torch.device(generator.device).type != "cpu" or max(generator.size) <= QUICK


def check_atlas(generator: Generator, extractor: Extractor, atlas: Atlas | bool | None) -> None:
    """Raise `EditError`, or InputError, unless an atlas is of this generator and of the extractor's categories."""
    if atlas is None or isinstance(atlas, bool):
        return
    if not isinstance(atlas, Atlas):
        expected = "expected one of make_atlas, True, False or None"
        raise EditError(f"atlas: {expected}, got {type(atlas).__name__}")
    if atlas.generator_id is not None and atlas.generator_id != generator.id:
        expected = f"expected one of the generator {generator.id!r}, got one of {atlas.generator_id!r}"
        raise EditError(f"atlas: {expected}")
    if atlas.w.shape[1] not in (generator.w_dim, generator.num_ws * generator.w_dim):
        expected = f"expected w of {generator.w_dim} numbers, as the generator's, or of all layers"
        raise EditError(f"atlas: {expected}, got {atlas.w.shape[1]}")
    check_label("atlas", atlas, generator)
    check_categories("atlas", atlas.categories, extractor)


def _moves(
    plan: EditPlan, atlas: Atlas | bool | None, steps: int, lr: float, weights: loop.Weights
) -> Iterator[loop.SteerStep]:
    """Optimise from the image's ws, or with an atlas from the better of these and the best jump."""
    generator, extractor, ws, wish, basis = plan.generator, plan.extractor, plan.ws, plan.wish, None
    start = ws
    if isinstance(atlas, Atlas) and plan.labelled:
        candidates = jump.starts(atlas, ws[0], wish.target, wish.weight)
        *_, seen = loop.steer(generator, extractor, candidates, wish, steps=0, weights=weights, anchor=ws)
        start, basis = candidates[[0, 1 + int(seen.loss[1:].argmin())]], atlas.basis
        weights = replace(weights, preserve=HELD_MORE * weights.preserve, hold=weights.hold or HOLD)
    yield from jump.together_then_apart(
        generator, extractor, start, wish, basis, steps=steps, lr=lr, weights=weights,
        best_only=True, enough=jump.NEVER, patience=PATIENCE, with_image=True, anchor=ws,
    )  # fmt: skip


def _report(
    plan: EditPlan, image: torch.Tensor, labels: np.ndarray, steps: int, clock: float, note: str
) -> dict[str, float | int | bool | str | list[str]]:
    wish = plan.wish
    off = {"color_off": round(color_off(image, wish.color, wish.color_weight), 2)} if plan.colored else {}
    return {
        "agreement_before": round(agreement(plan.labels, wish.target), 4),
        "agreement_after": round(agreement(labels, wish.target), 4),
        **off,
        "outside_change": round(outside_change(image, plan.image, plan.region), 3),
        "steps": steps,
        "seconds": round(time.monotonic() - clock, 3),
        "note": note,
        **side_effects(plan.extractor, plan.labels, labels, wish.target != IGNORE),
    }


def side_effects(
    extractor: Extractor, before: np.ndarray, after: np.ndarray, asked: np.ndarray
) -> dict[str, list[str]]:
    """What a report says of the categories that went or came beside what was asked for, (H, W) bool."""
    categories = extractor.categories
    sides = lost_and_gained(before, after, asked, extractor.least or [0.0] * len(categories))
    return {name: [categories[k].name for k in side] for name, side in zip(("lost", "gained"), sides, strict=True)}
