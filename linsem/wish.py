"""The objective of a latent optimisation: its target maps, and the weight of each term."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import numpy as np
import torch

from linsem.arguments import number, shown, whole_number
from linsem.errors import InputError
from linsem.generator import Generator
from linsem.pixels import IGNORE

MOST_STEPS = 10_000
MOST_LR = MOST_WEIGHT = 1e6


class SteerError(InputError):
    """An invalid objective; the message says what was expected and what was given."""


@dataclass(frozen=True, eq=False)
class Wish:
    """What the images should become. All maps are (H, W) or (N, H, W) at the generator's size.

    Attributes:
        target: uint8 labels, 255 = free.
        weight: float >= 0, how much a target pixel counts (default 1).
        keep: float >= 0, how strongly a pixel is held to its original colour.
        color, color_weight: wished colours (H, W, 3) uint8, and their weight (H, W).
        held, held_weight: uint8 labels to preserve where there is no target, 255 = none, and their weight.
    """

    target: np.ndarray
    weight: np.ndarray | None = None
    keep: np.ndarray | None = None
    color: np.ndarray | None = None
    color_weight: np.ndarray | None = None
    held: np.ndarray | None = None
    held_weight: np.ndarray | None = None


@dataclass(frozen=True)
class Weights:
    """The weight of each term, and the power p of pixel differences (in units of [-1, 1]).

    `bound` limits what a pixel costs that has another label than wished (`linsem.agree.weighted_entropy`; 0: nothing).
    """

    agree: float = 1.0
    preserve: float = 0.0
    color: float = 0.0
    prior: float = 0.0
    close: float = 0.0
    power: float = 1.0
    hold: float = 0.0
    bound: float = 0.0


def check_steps(steps: int) -> int:
    """The number of moves as an int; raises `SteerError`."""
    return whole_number("steps", steps, 0, MOST_STEPS, error=SteerError)


def check_lr(lr: float) -> float:
    """The learning rate as a float; raises `SteerError`."""
    return number("lr", lr, 0, MOST_LR, error=SteerError)


def check_options(steps: int, lr: float, weights: Weights) -> tuple[int, float, Weights]:
    """The number of moves, the learning rate and the weights of the terms; raises `SteerError`."""
    return check_steps(steps), check_lr(lr), check_weights(weights)


def check_weights(weights: Weights) -> Weights:
    """The weights of the terms; raises `SteerError`."""
    if not isinstance(weights, Weights):
        raise SteerError(f"weights: expected linsem.steer.Weights, got {shown(weights)}")
    for name, value in asdict(weights).items():
        least, most = {"power": (1, 8), "bound": (0, 1)}.get(name, (0, MOST_WEIGHT))
        number(f"weights: {name}", value, least, most, error=SteerError)
    return weights


class WishMaps:
    """A wish as tensors (N or 1, H, W); each map's weights sum to one, so that terms compare across image sizes."""

    def __init__(self, wish: Wish, generator: Generator, count: int) -> None:
        size, device = tuple(generator.size), generator.device
        target = _labels(wish.target, size, count, "target").to(device)
        self.target = target.expand(count, -1, -1)
        weight = np.ones(size, np.float32) if wish.weight is None else wish.weight
        weight = torch.from_numpy(_map(weight, size, count, "weight").astype(np.float32)).to(device)
        self.weight = _unit(weight * (self.target != IGNORE))
        self.asked, self.held_weight = _held(wish, target, size, count)
        self.classes = int(self.asked.max()) + 1  # how many a segmenter must have
        keep = np.ones(size, np.float32) if wish.keep is None else wish.keep
        self.keep = _unit(torch.from_numpy(_map(keep, size, count, "keep").astype(np.float32)).to(device))
        self.color = self.color_weight = None
        if wish.color is not None and wish.color_weight is not None:
            if np.shape(wish.color) != (*size, 3):
                raise SteerError(f"color: expected {(*size, 3)}, got {np.shape(wish.color)}")
            rgb = torch.from_numpy(np.ascontiguousarray(wish.color)).to(device).permute(2, 0, 1)[None]
            self.color = rgb.float() / 127.5 - 1
            paint = _map(wish.color_weight, size, count, "color_weight").astype(np.float32)
            self.color_weight = _unit(torch.from_numpy(paint).to(device))

    def of(self, part: slice) -> WishMaps:
        """The maps of some of the samples."""
        some = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor) and len(value) > 1:
                setattr(some, name, value[part])
        return some


def _held(wish: Wish, target: torch.Tensor, size: tuple[int, int], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The label that applies at each pixel (0, with no weight, where none does), and the weights of the held ones."""
    held = np.full(size, IGNORE, np.uint8) if wish.held is None else wish.held
    held = _labels(held, size, count, "held").to(target.device)
    weight = np.ones(size, np.float32) if wish.held_weight is None else wish.held_weight
    weight = torch.from_numpy(_map(weight, size, count, "held_weight").astype(np.float32)).to(target.device)
    asked = torch.where(target == IGNORE, held, target)
    weight = _unit(weight * ((target == IGNORE) & (held != IGNORE)))
    return asked.masked_fill(asked == IGNORE, 0).expand(count, -1, -1), weight


def category_weight(labels: np.ndarray, power: float = 0.5) -> np.ndarray:
    """(H, W) float32: each pixel weighted by its category's share to the power of -`power`; 255 gets 0."""
    share = np.bincount(labels[labels != IGNORE], minlength=256) / max((labels != IGNORE).sum(), 1)
    weight = np.where(share > 0, np.maximum(share, 1e-6) ** -power, 0.0)
    weight[IGNORE] = 0.0
    return weight[labels].astype(np.float32)


def _unit(weight: torch.Tensor) -> torch.Tensor:
    return weight / weight.sum(dim=(1, 2), keepdim=True).clamp_min(1e-8)


def _labels(values: np.ndarray, size: tuple[int, int], count: int, name: str) -> torch.Tensor:
    """A label map as int64."""
    found = _map(values, size, count, name)
    if found.dtype.kind not in "ui":
        raise SteerError(f"{name}: expected labels, whole numbers in 0..{IGNORE}, got {found.dtype}")
    if found.size and not 0 <= int(found.min()) <= int(found.max()) <= IGNORE:
        raise SteerError(f"{name}: expected labels in 0..{IGNORE}, got {found.min()}..{found.max()}")
    return torch.from_numpy(found.astype(np.int64))


def _map(values: np.ndarray, size: tuple[int, int], count: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    if values.shape[1:] != size or len(values) not in (1, count):
        raise SteerError(f"{name}: expected {size} or ({count}, {size[0]}, {size[1]}), got {values.shape}")
    if np.issubdtype(values.dtype, np.floating) and not (np.isfinite(values).all() and (values >= 0).all()):
        raise SteerError(f"{name}: expected finite numbers of at least 0")
    return values
