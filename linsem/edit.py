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
from linsem.arguments import number
from linsem.bank import make_bank
from linsem.categories import checked_labels
from linsem.device import without_autocast
from linsem.edit_maps import (
    GROW,
    agreement,
    is_met,
    opened_by,
    outside_change,
    outside_weight,
    pixel_weight,
    region_of,
)
from linsem.extractor import Extractor, check_fits, findable
from linsem.generator import Generator, checked_pass
from linsem.jump import Atlas, make_atlas
from linsem.pixels import IGNORE
from linsem.wish import category_weight

__all__ = [
    "GROW", "EditError", "EditResult", "affordable", "agreement", "edit", "iter_edit", "outside_change", "region_of",
    "removal_target",
]  # fmt: skip

PATIENCE = 20
HELD_MORE, HOLD = 1.5, 0.3  # after a jump: factor on the hold on the rest, and weight of the hold on its labels
WEIGHTS = loop.Weights(agree=1.0, preserve=4.0, close=1e-3)
SAMPLES = 200  # of the generator, for the atlas of an edit
QUICK = 128  # pixels: on a CPU, only generators up to this size are sampled for an atlas by default
WORTH = 20  # steps from which an edit makes an atlas by default
ALL_OPEN = "the whole image may change: nothing is held"
NO_WAY = "no way to it was found, so the image stays as it was"


class EditError(loop.SteerError):
    """An edit that cannot be run; the message says why."""


@dataclass(frozen=True, eq=False)
class EditResult:
    """An edited image (1, 3, H, W) in [-1, 1], its labels (H, W) uint8, and its ws (num_ws, w_dim) on the CPU.

    The report has `agreement_before` and `agreement_after` (share of the wished pixels that match, by the extractor),
    `outside_change` (mean absolute difference outside the region, 0..255), `steps`, `seconds`, and `note`, text or "".
    """

    image: torch.Tensor
    labels: np.ndarray
    ws: torch.Tensor
    report: dict[str, float | int | bool | str]


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


@without_autocast
def iter_edit(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    target: np.ndarray,
    region: np.ndarray | None = None,
    *,
    steps: int = 50,
    lr: float = 0.03,
    weights: loop.Weights = WEIGHTS,
    enough: float = 0.985,
    color: np.ndarray | None = None,
    color_mask: np.ndarray | None = None,
    atlas: Atlas | bool | None = None,
) -> Iterator[EditResult]:
    """Edit an image, yielding the best result so far after each step.

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
    clock = time.monotonic()
    steps, lr = loop.check_steps(steps), loop.check_lr(lr)
    enough = number("enough", enough, error=EditError)
    check_fits(extractor, generator)
    _check_atlas(generator, atlas)
    painted = _checked_color(generator, color, color_mask)
    target, note = _checked_target(generator, extractor, target, painted)
    start = _checked_ws(generator, ws)
    origin, before = _seen(generator, extractor, start)
    region = opened_by(target, before, painted) if region is None else region
    region = _checked_region(generator, region, target, painted)
    keep = outside_weight(region)
    wished = np.where(region, target, IGNORE).astype(np.uint8)
    held = np.where((keep > 0) & (wished == IGNORE), before, IGNORE).astype(np.uint8)
    wish = loop.Wish(
        wished, pixel_weight(wished, before), keep, color, None if painted is None else painted.astype(np.float32),
        held, keep * category_weight(held),
    )  # fmt: skip
    if painted is not None:
        weights = replace(weights, color=weights.color or 1.0)
    agreed = agreement(before, wished)

    def unchanged(index: int, note: str) -> EditResult:
        return EditResult(origin, before, start[0].cpu(), _report(before, before, wished, 0.0, index, clock, note))

    if painted is None and is_met(before, wished, enough):
        yield unchanged(0, note or "the image already shows what is asked for")
        return
    if atlas is None:
        atlas = steps >= WORTH and affordable(generator)
    if atlas is True and (wished != IGNORE).any():
        atlas = make_atlas(generator, make_bank(generator, extractor, range(SAMPLES)))
    note = note or (ALL_OPEN if region.all() else "")
    for step in _moves(generator, extractor, start, wish, atlas, steps, lr, weights):
        best = int(step.loss.argmin())
        if painted is None and agreement(step.labels[best], wished) < agreed:  # the loss has other terms too
            yield unchanged(step.index, "; ".join(filter(None, (note, NO_WAY if step.done else ""))))
            continue
        image, labels = step.image[best : best + 1], step.labels[best]
        change = outside_change(image, origin, region)
        report = _report(before, labels, wished, change, step.index, clock, note)
        yield EditResult(image, labels, step.ws[best].cpu(), report)


def affordable(generator: Generator) -> bool:
    """Whether an atlas takes seconds rather than minutes to make, so that an edit may make one by default."""
    return torch.device(generator.device).type != "cpu" or max(generator.size) <= QUICK


def _checked_ws(generator: Generator, ws: torch.Tensor) -> torch.Tensor:
    """(1, num_ws, w_dim) on the generator's device."""
    expected = (generator.num_ws, generator.w_dim)
    try:
        ws = torch.as_tensor(ws).detach().float()
    except (RuntimeError, TypeError, ValueError):  # None, text, rows of different lengths
        raise EditError(f"ws: expected {expected}, of one image, got {type(ws).__name__}") from None
    if tuple(ws.shape) != expected:
        raise EditError(f"ws: expected {expected}, of one image, got {tuple(ws.shape)}")
    return ws[None].to(generator.device)


def _check_atlas(generator: Generator, atlas: Atlas | bool | None) -> None:
    if atlas is None or isinstance(atlas, bool):
        return
    if not isinstance(atlas, Atlas):
        expected = "expected one of make_atlas, True, False or None"
        raise EditError(f"atlas: {expected}, got {type(atlas).__name__}")
    if atlas.generator_id is not None and atlas.generator_id != generator.id:
        raise EditError(f"atlas: expected one of the generator {generator.id!r}, got one of {atlas.generator_id!r}")


def _moves(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    wish: loop.Wish,
    atlas: Atlas | bool | None,
    steps: int,
    lr: float,
    weights: loop.Weights,
) -> Iterator[loop.SteerStep]:
    """Optimise from ws, or with an atlas from the better of ws and the best jump."""
    start = ws
    if isinstance(atlas, Atlas) and (wish.target != IGNORE).any():
        candidates = jump.starts(atlas, ws[0], wish.target, wish.weight)
        *_, seen = loop.steer(generator, extractor, candidates, wish, steps=0, weights=weights, anchor=ws)
        start = candidates[[0, 1 + int(seen.loss[1:].argmin())]]
        weights = replace(weights, preserve=HELD_MORE * weights.preserve, hold=weights.hold or HOLD)
    yield from jump.together_then_apart(
        generator, extractor, start, wish, None if start is ws else atlas.basis, steps=steps, lr=lr, weights=weights,
        best_only=True, enough=jump.NEVER, patience=PATIENCE, with_image=True, anchor=ws,
    )  # fmt: skip


@torch.no_grad()
def _seen(generator: Generator, extractor: Extractor, start: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """The image of the start and its labels (H, W); its features, half a gigabyte for a large image, are released."""
    image, features = checked_pass(generator, start)
    return image, extractor.predict(features, tuple(generator.size))[0]


def removal_target(logits: torch.Tensor, labels: np.ndarray, category: int, region: np.ndarray) -> np.ndarray:
    """A target that removes a category: within the region, its pixels get the next most likely one.

    `logits` (K, H, W), `labels` (H, W), `region` (H, W) bool; returns (H, W) uint8, 255 elsewhere.
    """
    others = logits.clone()
    others[category] = -torch.inf
    instead = others.argmax(0).to(torch.uint8).cpu().numpy()
    return np.where(region & (labels == category), instead, IGNORE).astype(np.uint8)


def _checked_target(
    generator: Generator, extractor: Extractor, target: np.ndarray, painted: np.ndarray | None
) -> tuple[np.ndarray, str]:
    """The target without categories that are never predicted, and a note on these."""
    size, target = tuple(generator.size), np.asarray(target)
    if target.shape != size:
        raise EditError(f"target: expected a label map of {size}, got {target.shape}")
    try:
        target = checked_labels(target, extractor.categories)
    except ValueError as error:
        raise EditError(f"target, {error}") from error
    if (target == IGNORE).all() and painted is None:
        raise EditError("nothing is painted: paint at least one stroke of what the image shall show")
    target, note = findable(extractor, target)
    if (target == IGNORE).all() and painted is None:
        raise EditError(f"nothing can be asked for: {note}; label some first")
    return target, note


def _checked_region(
    generator: Generator, region: np.ndarray, target: np.ndarray, painted: np.ndarray | None
) -> np.ndarray:
    size, region = tuple(generator.size), np.asarray(region, bool)
    if region.shape != size:
        raise EditError(f"region: expected a mask of {size}, got {region.shape}")
    if not region.any():
        raise EditError("the region is empty: mark where the image may change")
    wished = target != IGNORE if painted is None else (target != IGNORE) | painted
    if not (wished & region).any():
        raise EditError("no painted pixel lies inside the region: enlarge the region or paint inside it")
    return region


def _checked_color(generator: Generator, color: np.ndarray | None, color_mask: np.ndarray | None) -> np.ndarray | None:
    """Where a colour is wished for, (H, W) bool; None if nowhere."""
    if color_mask is None and color is not None:
        raise EditError("color: expected a color_mask with it, that says where it is wished")
    if isinstance(color_mask, torch.Tensor):
        raise EditError("color_mask: expected an array (H, W) of bool, got a tensor")
    if color_mask is None or not np.any(color_mask):
        return None
    size, mask = tuple(generator.size), np.asarray(color_mask, bool)
    if color is None or np.shape(color) != (*size, 3) or np.asarray(color).dtype != np.uint8 or mask.shape != size:
        got = f"{None if color is None else (np.shape(color), str(np.asarray(color).dtype))} and {mask.shape}"
        raise EditError(f"color and color_mask: expected {(*size, 3)} uint8 and {size}, got {got}")
    return mask


def _report(
    before: np.ndarray, after: np.ndarray, wished: np.ndarray, change: float, steps: int, clock: float, note: str
) -> dict[str, float | int | bool | str]:
    return {
        "agreement_before": round(agreement(before, wished), 4),
        "agreement_after": round(agreement(after, wished), 4),
        "outside_change": round(change, 3),
        "steps": steps,
        "seconds": round(time.monotonic() - clock, 3),
        "note": note,
    }
