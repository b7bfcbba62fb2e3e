"""THE latent optimisation loop: move latents until the image obeys, batched over samples.

Semantic editing (paper §4, SIE) and semantic-conditional sampling (SCS) differ only in where they start and in which
terms they weigh; both baselines of the paper are settings of it as well. The objective of each sample is

    agree * CE(P(G(z)), target) + preserve * |G(z) - G(z0)|^p outside + color * |G(z) - wish|^p where painted
        + prior * |z|^2 + close * |z - z0|^2

The best iterate of each sample is kept and yielded, never merely the last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from linsem.extractor import Extractor
from linsem.generator import Generator, batches, fitting
from linsem.pixels import IGNORE, resize_labels

SPACES = ("z", "z_layers", "ws")
Segmenter = Callable[[torch.Tensor | None, list[torch.Tensor], tuple[int, int]], torch.Tensor]


class SteerError(ValueError):
    """A wish that cannot be pursued; the sentence says what was expected and what came."""


@dataclass(frozen=True)
class Wish:
    """What the images shall become. All maps are (H, W) or (N, H, W) at the generator's size.

    `target`: uint8 labels, 255 = free. `weight`: float >= 0, how much a target pixel counts (default 1).
    `keep`: float >= 0, how much a pixel shall stay as it was. `color`: (H, W, 3) uint8 with `color_weight` (H, W).
    """

    target: np.ndarray
    weight: np.ndarray | None = None
    keep: np.ndarray | None = None
    color: np.ndarray | None = None
    color_weight: np.ndarray | None = None


@dataclass(frozen=True)
class Weights:
    """The weight of each named term, and the power p of differences between pixels (in units of [-1, 1])."""

    agree: float = 1.0
    preserve: float = 0.0
    color: float = 0.0
    prior: float = 0.0
    close: float = 0.0
    power: float = 1.0


@dataclass(frozen=True)
class SteerStep:
    """The best state so far. `agreement` (N,): the weighted share of target pixels that obey; `loss` (N,)."""

    index: int
    total: int
    ws: torch.Tensor
    image: torch.Tensor | None
    labels: np.ndarray
    agreement: np.ndarray
    loss: np.ndarray
    done: bool


def steer(
    generator: Generator,
    segmenter: Extractor | Segmenter,
    start: torch.Tensor,
    wish: Wish,
    *,
    space: str = "ws",
    steps: int = 50,
    lr: float = 0.02,
    weights: Weights | None = None,
    psi: float = 1.0,
    enough: float = 1.0,
    patience: int | None = None,
    keep_best: bool = True,
    with_image: bool = False,
) -> Iterator[SteerStep]:
    """Yield a step before the first move (index 0) and after each of at most `steps` moves of Adam.

    `start` is (N, z_dim) in space "z" (one z), (N, num_ws, z_dim) in "z_layers" (one z a layer, paper §4), else ws
    (N, num_ws, w_dim). It stops early when each sample's agreement has reached `enough`, or when no sample's loss has
    fallen for `patience` moves. Images are drawn where a term needs them, or `with_image`. Closing the iterator stops
    it within one move. A move that yields numbers that are not finite ends it with the best state so far
    (`SteerError` if there is none).
    """
    if space not in SPACES:
        raise SteerError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    if not 0 <= steps <= 10_000:
        raise SteerError(f"steps: expected 0..10000, got {steps}")
    loop = _Loop(generator, segmenter, start, wish, space, lr, weights or Weights(), psi, keep_best, with_image)
    stale = 0
    for index in range(steps + 1):
        with torch.enable_grad():
            finite, improved = loop.evaluate(gradient=index < steps)
        stale = 0 if improved else stale + 1
        reached = bool((loop.best_agreement >= enough).all())
        done = index == steps or reached or not finite or (patience is not None and stale >= patience)
        yield loop.step(index, steps, done)
        if done:
            return
        loop.move()


class _Loop:
    """The state of one run; `steer` drives it."""

    def __init__(
        self,
        generator: Generator,
        segmenter: Extractor | Segmenter,
        start: torch.Tensor,
        wish: Wish,
        space: str,
        lr: float,
        weights: Weights,
        psi: float,
        keep_best: bool,
        with_image: bool,
    ) -> None:
        self.generator, self.space, self.weights, self.psi, self.keep_best = generator, space, weights, psi, keep_best
        self.segment = as_segmenter(segmenter)
        self.needs_image = with_image or not isinstance(segmenter, Extractor) or weights.preserve + weights.color > 0
        self.last_layer = None if self.needs_image else segmenter.last_layer
        self.start = _checked_start(generator, start, space)
        self.latent = self.start.clone().requires_grad_(True)
        self.adam = torch.optim.Adam([self.latent], lr=lr)
        self.terms = _Maps(wish, generator, len(self.start))
        self.part = fitting(generator, len(self.start), self.last_layer)
        self.origin: torch.Tensor | None = None
        count = len(self.start)
        self.best_loss = torch.full((count,), torch.inf)
        self.best_agreement = torch.zeros(count)
        self.best_latent = self.start.clone()
        self.best_image: torch.Tensor | None = None
        self.best_labels: torch.Tensor | None = None

    def ws(self, latent: torch.Tensor) -> torch.Tensor:
        """The styles of a latent of this space."""
        if self.space == "ws":
            return latent
        if self.space == "z":
            return self.generator.map(latent, self.psi)
        count, layers, width = latent.shape
        mapped = self.generator.map(latent.reshape(-1, width), self.psi).reshape(count, layers, layers, -1)
        return mapped[:, torch.arange(layers), torch.arange(layers)]

    def evaluate(self, *, gradient: bool) -> tuple[bool, bool]:
        """One forward (and backward) pass; takes over what is better. Returns (all finite, anything better).

        The samples do not know of each other: where all of them would not fit into memory they go in parts.
        """
        self.adam.zero_grad(set_to_none=True)
        parts = [self._pass(part, gradient) for part in batches(len(self.latent), self.part)]
        loss, labels = (torch.cat(column) for column in list(zip(*parts, strict=True))[:2])
        image = torch.cat([each[2] for each in parts]) if self.needs_image else None
        if self.origin is None:
            self.origin = image
        finite = bool(torch.isfinite(loss).all())
        if finite and gradient:
            finite = bool(torch.isfinite(self.latent.grad).all())
        if not finite and self.best_labels is None:
            raise SteerError("the generator gives numbers that are not finite at the start: choose another seed")
        return finite, finite and self._keep(loss.cpu(), labels, image)

    def _pass(self, part: slice, gradient: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The loss (n,), the labels (n, H, W) and the image of some samples; adds to the gradient of the latent."""
        ws = self.ws(self.latent[part])
        image, features = self.generator.synthesize(ws, image=self.needs_image, last_layer=self.last_layer)
        logits = self.segment(image, features, tuple(self.generator.size))
        loss = self._loss(part, logits, image)
        if gradient and bool(torch.isfinite(loss).all()):
            loss.sum().backward()
        return loss.detach(), logits.detach().argmax(1), None if image is None else image.detach()

    def _loss(self, part: slice, logits: torch.Tensor, image: torch.Tensor | None) -> torch.Tensor:
        w, maps = self.weights, self.terms.of(part)
        error = F.cross_entropy(logits, maps.target, reduction="none", ignore_index=IGNORE)
        loss = w.agree * (error * maps.weight).sum(dim=(1, 2))
        if w.preserve:
            origin = image.detach() if self.origin is None else self.origin[part]
            change = (image - origin).abs().pow(w.power).mean(dim=1)
            loss = loss + w.preserve * (change * maps.keep).sum(dim=(1, 2))
        if w.color and maps.color is not None:
            change = (image - maps.color).abs().pow(w.power).mean(dim=1)
            loss = loss + w.color * (change * maps.color_weight).sum(dim=(1, 2))
        if w.prior:
            loss = loss + w.prior * self.latent[part].flatten(1).square().sum(1)
        if w.close:
            loss = loss + w.close * (self.latent[part] - self.start[part]).flatten(1).square().sum(1)
        return loss

    def _keep(self, loss: torch.Tensor, labels: torch.Tensor, image: torch.Tensor | None) -> bool:
        agreement = ((labels == self.terms.target) * self.terms.weight).sum(dim=(1, 2)).cpu()
        better = loss < self.best_loss - 1e-6 if self.keep_best else torch.ones(len(loss), dtype=torch.bool)
        first = self.best_labels is None
        if first:
            self.best_labels = labels
            self.best_image = None if image is None else image.clone()
        if better.any():
            where = better.to(self.latent.device)
            self.best_loss[better], self.best_agreement[better] = loss[better], agreement[better]
            with torch.no_grad():
                self.best_latent[where] = self.latent[where]
            self.best_labels[where] = labels[where]
            if image is not None:
                self.best_image[where] = image[where]
        return bool(better.any())

    def move(self) -> None:
        """One step of Adam."""
        self.adam.step()

    def step(self, index: int, total: int, done: bool) -> SteerStep:
        """The best state as a frozen value."""
        with torch.no_grad():
            ws = self.ws(self.best_latent).clone()
        image = None if self.best_image is None else self.best_image.clone()
        labels = self.best_labels.to(torch.uint8).cpu().numpy()
        return SteerStep(
            index, total, ws, image, labels, self.best_agreement.numpy().copy(), self.best_loss.numpy().copy(), done
        )


class _Maps:
    """A wish as tensors, (N or 1, H, W); the weights of each map sum to one, so that terms compare across sizes."""

    def __init__(self, wish: Wish, generator: Generator, count: int) -> None:
        size, device = tuple(generator.size), generator.device
        target = _map(wish.target, size, count, "target")
        self.target = torch.from_numpy(target.astype(np.int64)).to(device).expand(count, -1, -1)
        weight = np.ones(size, np.float32) if wish.weight is None else wish.weight
        weight = torch.from_numpy(_map(weight, size, count, "weight").astype(np.float32)).to(device)
        self.weight = _unit(weight * (self.target != IGNORE))
        keep = np.ones(size, np.float32) if wish.keep is None else wish.keep
        self.keep = _unit(torch.from_numpy(_map(keep, size, count, "keep").astype(np.float32)).to(device))
        self.color = self.color_weight = None
        if wish.color is not None and wish.color_weight is not None:
            rgb = torch.from_numpy(np.ascontiguousarray(wish.color)).to(device).permute(2, 0, 1)[None]
            self.color = rgb.float() / 127.5 - 1
            paint = _map(wish.color_weight, size, count, "color_weight").astype(np.float32)
            self.color_weight = _unit(torch.from_numpy(paint).to(device))

    def of(self, part: slice) -> _Maps:
        """Those of some samples."""
        some = copy.copy(self)
        for name, value in vars(self).items():
            if value is not None and len(value) > 1:
                setattr(some, name, value[part])
        return some


def _unit(weight: torch.Tensor) -> torch.Tensor:
    return weight / weight.sum(dim=(1, 2), keepdim=True).clamp_min(1e-8)


def _map(values: np.ndarray, size: tuple[int, int], count: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    if values.shape[1:] != size or len(values) not in (1, count):
        raise SteerError(f"{name}: expected {size} or ({count}, {size[0]}, {size[1]}), got {values.shape}")
    if np.issubdtype(values.dtype, np.floating) and not (np.isfinite(values).all() and (values >= 0).all()):
        raise SteerError(f"{name}: expected finite numbers of at least 0")
    return values


def _checked_start(generator: Generator, start: torch.Tensor, space: str) -> torch.Tensor:
    shapes = {
        "z": (generator.z_dim,),
        "z_layers": (generator.num_ws, generator.z_dim),
        "ws": (generator.num_ws, generator.w_dim),
    }
    if tuple(start.shape[1:]) != shapes[space] or start.ndim < 2:
        raise SteerError(
            f"start: expected (N, {', '.join(map(str, shapes[space]))}) for {generator.id!r} in space {space!r}, "
            f"got {tuple(start.shape)}: a latent of another generator?"
        )
    if not torch.isfinite(start).all():
        raise SteerError("start: holds numbers that are not finite")
    return start.detach().float().to(generator.device).clone()


def as_segmenter(segmenter: Extractor | Segmenter) -> Segmenter:
    """An extractor as a function of (image, features, size); a function is returned as it is."""
    if not isinstance(segmenter, Extractor):
        return segmenter
    return lambda image, features, size: segmenter.logits(features, size)


def teacher_segmenter(teacher: object) -> Segmenter:
    """A network of images, with `.logits(image)`, as the segmenter of the paper's baselines."""

    def segment(image: torch.Tensor | None, features: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        return teacher.logits(image)

    return segment


def fit_layout(layout: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map of any size, (h, w) uint8, at the generator's size by the nearest neighbour."""
    return resize_labels(np.asarray(layout), size)
