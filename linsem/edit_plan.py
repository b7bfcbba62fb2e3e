"""The preparation of an edit: its input checked once, and made into the maps that the latent loop works with."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from linsem import steer as loop
from linsem.arguments import array, number
from linsem.categories import checked_labels
from linsem.device import own_modes
from linsem.edit_maps import is_met, opened_by, outside_weight, pixel_weight
from linsem.extractor import Extractor, check_fits, findable
from linsem.generator import Generator, checked_pass
from linsem.pixels import IGNORE
from linsem.wish import category_weight

ENOUGH = 0.985


class EditError(loop.SteerError):
    """An edit that cannot be run; the message says why."""


@dataclass(frozen=True, eq=False)
class EditPlan:
    """An edit that can be run: `iter_planned` of `linsem/edit.py` does.

    Attributes:
        ws: (1, num_ws, w_dim), of the image to edit.
        image, labels: that image (1, 3, H, W), and its labels (H, W) uint8 by the extractor.
        wish: what it shall become; its target is 255 outside the region.
        region: (H, W) bool, where the image may change.
        met: whether there is nothing to do.
        note: the categories that are never predicted, and therefore left out, as a sentence, or "".
        seconds: how long the plan took.
    """

    generator: Generator
    extractor: Extractor
    ws: torch.Tensor
    image: torch.Tensor
    labels: np.ndarray
    wish: loop.Wish
    region: np.ndarray
    met: bool
    note: str
    seconds: float

    @property
    def colored(self) -> bool:
        """Whether colours are wished for."""
        return self.wish.color_weight is not None

    @property
    def labelled(self) -> bool:
        """Whether labels are wished for."""
        return bool((self.wish.target != IGNORE).any())


@own_modes()
def plan_edit(
    generator: Generator,
    extractor: Extractor,
    ws: torch.Tensor,
    target: np.ndarray,
    region: np.ndarray | None = None,
    *,
    enough: float = ENOUGH,
    color: np.ndarray | None = None,
    color_mask: np.ndarray | None = None,
) -> EditPlan:
    """Check an edit and prepare it, with one pass of the generator; the arguments are those of `linsem.iter_edit`.

    Raises `EditError`, or InputError for an extractor of another generator.
    """
    clock = time.monotonic()
    enough = number("enough", enough, error=EditError)
    check_fits(extractor, generator)
    painted = _checked_color(generator, color, color_mask)
    target, note = _checked_target(generator, extractor, target, painted)
    start = checked_ws(generator, ws)
    image, before = _seen(generator, extractor, start)
    region = opened_by(target, before, painted) if region is None else region
    region = checked_region(generator, region)
    _check_wished(region, target, painted)
    wished = np.where(region, target, IGNORE).astype(np.uint8)
    painted = None if painted is None or not (painted & region).any() else painted & region
    keep = outside_weight(region)
    held = np.where((keep > 0) & (wished == IGNORE), before, IGNORE).astype(np.uint8)
    wish = loop.Wish(
        wished, pixel_weight(wished, before), keep, color, None if painted is None else painted.astype(np.float32),
        held, keep * category_weight(held),
    )  # fmt: skip
    met = painted is None and is_met(before, wished, enough)
    seconds = time.monotonic() - clock
    return EditPlan(generator, extractor, start, image, before, wish, region, met, note, seconds)


def checked_ws(generator: Generator, ws: torch.Tensor) -> torch.Tensor:
    """(1, num_ws, w_dim) on the generator's device, a copy."""
    expected = (generator.num_ws, generator.w_dim)
    try:
        ws = torch.as_tensor(np.array(ws) if isinstance(ws, np.ndarray) else ws).detach().float()
    except (RuntimeError, TypeError, ValueError):  # None, text, rows of different lengths
        raise EditError(f"ws: expected {expected}, of one image, got {type(ws).__name__}") from None
    if tuple(ws.shape) != expected:
        raise EditError(f"ws: expected {expected}, of one image, got {tuple(ws.shape)}")
    if not bool(torch.isfinite(ws).all()):
        raise EditError("ws: expected finite numbers, got others among them")
    return ws[None].to(generator.device, copy=True)


@torch.no_grad()
def _seen(generator: Generator, extractor: Extractor, start: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """The image of the start and its labels (H, W); its features, half a gigabyte for a large image, are released."""
    image, features = checked_pass(generator, start)
    if not bool(torch.isfinite(image).all()):
        raise EditError(f"{generator.id!r}: the image of ws holds numbers that are not finite")
    return image, extractor.predict(features, tuple(generator.size))[0]


def _checked_target(
    generator: Generator, extractor: Extractor, target: np.ndarray, painted: np.ndarray | None
) -> tuple[np.ndarray, str]:
    """The target without categories that are never predicted, and a note on these."""
    size, target = tuple(generator.size), array("target", target, error=EditError)
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


def checked_region(generator: Generator, region: np.ndarray) -> np.ndarray:
    """A region as (H, W) bool; raises `EditError`."""
    size, region = tuple(generator.size), array("region", region, error=EditError)
    if not np.isfinite(region).all():  # NaN would count as white
        raise EditError("region: expected finite numbers, got others among them")
    region = region.astype(bool)
    if region.shape != size:
        raise EditError(f"region: expected a mask of {size}, got {region.shape}")
    if not region.any():
        raise EditError("the region is empty: mark where the image may change")
    return region


def _check_wished(region: np.ndarray, target: np.ndarray, painted: np.ndarray | None) -> None:
    wished = target != IGNORE if painted is None else (target != IGNORE) | painted
    if not (wished & region).any():
        raise EditError("no painted pixel lies inside the region: enlarge the region or paint inside it")


def _checked_color(generator: Generator, color: np.ndarray | None, color_mask: np.ndarray | None) -> np.ndarray | None:
    """Where a colour is wished for, (H, W) bool; None if nowhere."""
    if color_mask is None and color is not None:
        raise EditError("color: expected a color_mask with it, that says where it is wished")
    if color_mask is None:
        return None
    mask = array("color_mask", color_mask, error=EditError)
    if not np.isfinite(mask).all():  # NaN would count as white
        raise EditError("color_mask: expected finite numbers, got others among them")
    if not mask.any():
        return None
    size, mask = tuple(generator.size), mask.astype(bool)
    color = None if color is None else array("color", color, error=EditError)
    if color is None or np.shape(color) != (*size, 3) or np.asarray(color).dtype != np.uint8 or mask.shape != size:
        got = f"{None if color is None else (np.shape(color), str(np.asarray(color).dtype))} and {mask.shape}"
        raise EditError(f"color and color_mask: expected {(*size, 3)} uint8 and {size}, got {got}")
    return mask
