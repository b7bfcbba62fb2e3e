"""The maps of an edit: where it may change the image, how much each pixel counts, and how far a wish is met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from linsem.pixels import IGNORE

GROW = 0.03  # of the image's height: how far the region extends beyond the strokes
FEATHER = 0.03  # over this much more the hold on the rest sets in
WHOLE = 0.5  # of the pixels: a target that covers more is a label map rather than strokes
LOST = 0.5  # of a category's area beside what was asked for: with less left of it, it is lost
NEW = 0.1  # of it: a category of which no more was there before is gained


def region_of(wished: np.ndarray, grow: int) -> np.ndarray:
    """(H, W) bool: the wished pixels, dilated by `grow` pixels in every direction."""
    mask, side = torch.from_numpy(wished.astype(np.float32))[None, None], 2 * grow + 1
    mask = F.max_pool2d(mask, (side, 1), 1, (grow, 0))  # one axis after the other, since a square of 63 takes seconds
    return F.max_pool2d(mask, (1, side), 1, (0, grow))[0, 0].numpy() > 0


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask with what a wish for it opens around it."""
    return region_of(mask, max(1, round(GROW * len(mask))))


def opened_by(target: np.ndarray, before: np.ndarray, painted: np.ndarray | None) -> np.ndarray:
    """The default region, (H, W) bool: the wished pixels, grown; of a complete label map, those that differ, if any."""
    wished = target != IGNORE
    differs = wished & (target != before)
    if wished.mean() > WHOLE and (differs.any() or painted is not None):
        wished = differs
    wished = wished if painted is None else wished | painted
    return grown(wished)


def outside_weight(region: np.ndarray) -> np.ndarray:
    """(H, W) float32: 0 in the region, 1 well outside, and a ramp between to avoid a seam."""
    feather = max(1, round(FEATHER * region.shape[0]))
    mask, side = torch.from_numpy(region.astype(np.float32))[None, None], 2 * feather + 1
    mask = F.pad(mask, (feather,) * 4, mode="replicate")
    soft = F.avg_pool2d(F.avg_pool2d(mask, (side, 1), 1), (1, side), 1)[0, 0].numpy()
    return np.where(region, 0.0, 1 - soft).astype(np.float32)


def pixel_weight(wished: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(H, W) float32: in total, wished pixels that differ from the present labels weigh at least twice the others."""
    asked = wished != IGNORE
    wrong = asked & (wished != before)
    right = asked & ~wrong
    weight = np.zeros(wished.shape, np.float32)
    if wrong.any():
        weight[wrong] = 1.0
        weight[right] = min(1.0, 0.5 * wrong.sum() / max(right.sum(), 1))
    else:
        weight[right] = 1.0
    return weight


def agreement(labels: np.ndarray, wished: np.ndarray) -> float:
    """The share of the wished pixels (not 255) that have the wished label."""
    asked = wished != IGNORE
    return float((labels[asked] == wished[asked]).mean()) if asked.any() else 1.0


def is_met(before: np.ndarray, wished: np.ndarray, enough: float) -> bool:
    """Whether labels (H, W) agree with a wish to this degree: over all its pixels, and also around those that differ.

    The pixels that a small change is about, an eye or glasses, hardly count in a label map of the whole image.
    """
    changed = (wished != IGNORE) & (wished != before)
    around = np.where(grown(changed), wished, IGNORE)
    return min(agreement(before, wished), agreement(before, around)) >= enough


def color_off(image: torch.Tensor, color: np.ndarray, weight: np.ndarray) -> float:
    """Mean absolute difference, in 0..255, of an image (1, 3, H, W) from colours (H, W, 3) uint8 where they weigh."""
    where = torch.from_numpy(np.asarray(weight) > 0).to(image.device)
    wished = torch.from_numpy(np.ascontiguousarray(color)).to(image.device).permute(2, 0, 1).float()
    off = ((image[0].clamp(-1, 1) + 1) * 127.5 - wished).abs().mean(dim=0)
    return float(off[where].mean()) if bool(where.any()) else 0.0


def outside_change(image: torch.Tensor, origin: torch.Tensor, region: np.ndarray) -> float:
    """Mean absolute difference outside the region, in 0..255, of two (1, 3, H, W) images clamped to [-1, 1]."""
    outside = torch.from_numpy(~region).to(image.device)
    if not outside.any():
        return 0.0
    change = (image.clamp(-1, 1) - origin.clamp(-1, 1)).abs().mean(dim=1)[0]
    return float(change[outside].mean() * 127.5)


def lost_and_gained(
    before: np.ndarray, after: np.ndarray, asked: np.ndarray, least: Sequence[float]
) -> tuple[list[int], list[int]]:
    """The categories that an edit took and brought beside what was asked for: most of a beard, with the hat added.

    `before`, `after` (H, W) uint8 labels, `asked` (H, W) bool, where a change was asked for; `least` (K,) shares of the
    image: what covers less does not count.
    """
    few = np.asarray(least) * asked.size
    there, now = (np.bincount(labels[~asked], minlength=256)[: len(few)] for labels in (before, after))
    lost = (there > 0) & (there >= few) & (now < LOST * there)
    gained = (now > 0) & (now >= few) & (there < NEW * now)
    return np.flatnonzero(lost).tolist(), np.flatnonzero(gained).tolist()
