"""The latent optimisation loop, batched over samples, behind both editing and conditional sampling.

Semantic editing (paper §4, SIE) and semantic-conditional sampling (SCS) differ only in their start and in the weights
of the terms; both baselines of the paper are settings of the same loop. The objective of each sample is

    agree * CE(P(G(z)), target) + preserve * |G(z) - G(z0)|^p outside + color * |G(z) - wish|^p where painted
        + hold * CE(P(G(z)), held) + prior * |z|^2 + close * |z - z0|^2

The best iterate of each sample is kept and yielded, not the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from linsem.agree import labels_of, weighted_entropy
from linsem.arguments import number, whole_number
from linsem.device import without_autocast
from linsem.extractor import Extractor
from linsem.generator import Generator, batches, checked_pass, fitting
from linsem.segmenter import Segmenter, as_segmenter, teacher_segmenter
from linsem.specks import without_specks
from linsem.wish import SteerError, Weights, Wish, WishMaps, check_options, check_steps

__all__ = [
    "SteerError", "SteerStep", "Weights", "Wish", "as_segmenter", "check_options", "check_steps", "steer",
    "teacher_segmenter",
]  # fmt: skip

ROUNDING = 1e-6  # in the sum of weights that add up to one
LEAST_GAIN = 0.003  # of the loss: a smaller decrease counts as none for `patience`
SPACES = ("z", "z_layers", "ws")
# A subspace of w (D, w_dim), or of the ws of all layers (D, num_ws * w_dim): a latent (N, D) is an offset, added to the
# w of all layers alike, or to that of each.
Basis = torch.Tensor


@dataclass(frozen=True, eq=False)
class SteerStep:
    """The best state so far; labels (N, H, W) are predicted as by an extractor, without specks.

    `agreement` (N,) is the weighted share of target pixels whose largest logit is the wished one; `loss` is (N,).
    """

    index: int
    total: int
    ws: torch.Tensor
    image: torch.Tensor | None
    labels: np.ndarray
    agreement: np.ndarray
    loss: np.ndarray
    done: bool


@without_autocast
def steer(
    generator: Generator,
    segmenter: Extractor | Segmenter,
    start: torch.Tensor,
    wish: Wish,
    *,
    space: str | Basis = "ws",
    steps: int = 50,
    lr: float = 0.02,
    weights: Weights | None = None,
    psi: float = 1.0,
    enough: float = 1.0,
    patience: int | None = None,
    keep_best: bool = True,
    with_image: bool = False,
    anchor: torch.Tensor | None = None,
) -> Iterator[SteerStep]:
    """Optimise latents with Adam, yielding a step before the first move (index 0) and after each of at most `steps`.

    Args:
        segmenter: an extractor, or a function of (image, features, size) that returns logits.
        start: (N, z_dim) in space "z" (one z), (N, num_ws, z_dim) in "z_layers" (one z per layer, paper §4), else ws
            (N, num_ws, w_dim). With a `Basis`, the latent starts at zero and is added to these ws.
        space: "z", "z_layers", "ws", or a `Basis`.
        psi: truncation, in the spaces of z.
        enough: stop when each sample's agreement has reached this.
        patience: stop when no sample's loss has fallen for this many moves (None: never).
        keep_best: keep the best iterate of each sample rather than the last.
        with_image: compute images even if no term needs them.
        anchor: the z0 of the terms that hold the image as it was, N latents or one (default: the start).

    Closing the iterator stops it within one move. A move that yields non-finite numbers ends it with the best state so
    far (`SteerError` if there is none).
    """
    if not isinstance(space, torch.Tensor) and space not in SPACES:
        raise SteerError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    if len(start) == 0:
        raise SteerError("start: expected at least one latent, got none")
    steps, lr, weights = check_options(steps, lr, Weights() if weights is None else weights)
    enough = number("enough", enough, error=SteerError)
    psi = number("psi", psi, error=SteerError)
    patience = None if patience is None else whole_number("patience", patience, 0, error=SteerError)
    loop = _Loop(generator, segmenter, start, wish, space, lr, weights, psi, keep_best, with_image)
    if anchor is not None:
        loop.hold(anchor)
    stale = 0
    for index in range(steps + 1):
        with torch.set_grad_enabled(index < steps):  # the last evaluation needs no graph
            finite, improved = loop.evaluate(gradient=index < steps)
        stale = 0 if improved else stale + 1
        reached = bool((loop.best_agreement >= enough - ROUNDING).all())
        done = index == steps or reached or not finite or (patience is not None and stale >= patience)
        yield loop.step(index, steps, done)
        if done:
            return
        loop.move()


class _Loop:
    """The state of one run, driven by `steer`."""

    def __init__(
        self,
        generator: Generator,
        segmenter: Extractor | Segmenter,
        start: torch.Tensor,
        wish: Wish,
        space: str | Basis,
        lr: float,
        weights: Weights,
        psi: float,
        keep_best: bool,
        with_image: bool,
    ) -> None:
        self.generator, self.space, self.weights, self.psi, self.keep_best = generator, space, weights, psi, keep_best
        self.segment = as_segmenter(segmenter, generator.device)
        self.least = segmenter.least if isinstance(segmenter, Extractor) else ()
        self.needs_image = with_image or not isinstance(segmenter, Extractor) or weights.preserve + weights.color > 0
        self.last_layer = None if self.needs_image else segmenter.last_layer
        self.base, self.start = None, _checked_start(generator, start, space)
        if isinstance(space, torch.Tensor):
            self.space, self.base = space.to(self.start), self.start
            self.start = self.start.new_zeros(len(start), len(space))
        self.latent = self.start.clone().requires_grad_(True)
        self.adam = torch.optim.Adam([self.latent], lr=lr)
        self.terms = WishMaps(wish, generator, len(self.start))
        self.part = fitting(generator, len(self.start), self.last_layer)
        self.anchor, self.origin = self.start, None
        count = len(self.start)
        self.best_loss = torch.full((count,), torch.inf, dtype=torch.float32, device="cpu")
        self.lowest = self.best_loss  # what `patience` is about, whatever is kept
        self.best_agreement = torch.zeros(count, dtype=torch.float32, device="cpu")
        self.best_latent = self.start.clone()
        self.best_image: torch.Tensor | None = None
        self.best_labels: torch.Tensor | None = None

    def hold(self, anchor: torch.Tensor) -> None:
        """Set the anchor: hold the images to those of another latent than the start (with a `Basis`, of other ws)."""
        anchor = _checked_start(self.generator, anchor, self.space)
        if len(anchor) not in (1, len(self.start)):
            raise SteerError(f"anchor: expected 1 or {len(self.start)} latents, got {len(anchor)}")
        if self.base is None:
            self.anchor = anchor
        if self.needs_image:
            with torch.no_grad():
                ws = anchor if self.base is not None else self.ws(anchor)
                self.origin = checked_pass(self.generator, ws)[0].expand(len(self.start), -1, -1, -1)

    def ws(self, latent: torch.Tensor, part: slice = slice(None)) -> torch.Tensor:
        """The ws of a latent of this space."""
        if self.base is not None:
            return self.base[part] + (latent @ self.space).unflatten(1, (-1, self.generator.w_dim))
        if self.space == "ws":
            return latent
        if self.space == "z":
            return self.generator.map(latent, self.psi).float()
        count, layers, width = latent.shape
        mapped = self.generator.map(latent.reshape(-1, width), self.psi).float().reshape(count, layers, layers, -1)
        return mapped[:, torch.arange(layers), torch.arange(layers)]

    def evaluate(self, *, gradient: bool) -> tuple[bool, bool]:
        """One forward (and backward) pass that keeps what is better; returns (all finite, anything better).

        Samples are independent: if they do not fit into memory together they are run in parts.
        """
        self.adam.zero_grad(set_to_none=True)
        parts = [self._pass(part, gradient) for part in batches(len(self.latent), self.part)]
        loss, obeys, labels = (torch.cat(column) for column in list(zip(*parts, strict=True))[:3])
        image = torch.cat([each[3] for each in parts]) if self.needs_image else None
        if self.origin is None:
            self.origin = image
        finite = bool(torch.isfinite(loss).all())
        if finite and gradient:
            finite = bool(torch.isfinite(self.latent.grad).all())
        if not finite and self.best_labels is None:
            raise SteerError("the generator gives numbers that are not finite at the start: choose another seed")
        return finite, finite and self._keep(loss.cpu(), obeys.cpu(), labels, image)

    def _pass(
        self, part: slice, gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The loss (n,), agreement (n,), predicted labels (n, H, W) and image of some samples.

        Accumulates the gradient of the latent.
        """
        ws = self.ws(self.latent[part], part)
        image, features = checked_pass(self.generator, ws, image=self.needs_image, last_layer=self.last_layer)
        logits = self.segment(image, features, tuple(self.generator.size))
        if self.terms.classes > logits.shape[1]:
            raise SteerError(f"target: label {self.terms.classes - 1}, but there are {logits.shape[1]} categories")
        if gradient and not logits.requires_grad:
            raise SteerError(
                f"{self.generator.id!r}: its features have no gradient in ws, so a latent cannot be moved by them; "
                "`synthesize` must not run under torch.no_grad"
            )
        loss = self._loss(part, logits, image)
        if gradient and bool(torch.isfinite(loss).all()):
            loss.sum().backward(inputs=[self.latent])  # a network of one's own may not be frozen
        logits, maps = logits.detach(), self.terms.of(part)
        labels = labels_of(logits)
        obeys = ((labels == maps.target) * maps.weight).sum(dim=(1, 2))
        if self.least:
            labels = without_specks(logits, self.least, labels)
        return loss.detach(), obeys, labels, None if image is None else image.detach()

    def _loss(self, part: slice, logits: torch.Tensor, image: torch.Tensor | None) -> torch.Tensor:
        w, maps = self.weights, self.terms.of(part)
        loss = weighted_entropy(logits, maps.asked, w.agree * maps.weight + w.hold * maps.held_weight, w.bound)
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
            anchor = self.anchor[part] if len(self.anchor) > 1 else self.anchor
            loss = loss + w.close * (self.latent[part] - anchor).flatten(1).square().sum(1)
        return loss

    def _keep(
        self, loss: torch.Tensor, agreement: torch.Tensor, labels: torch.Tensor, image: torch.Tensor | None
    ) -> bool:
        better = loss < self.best_loss - 1e-6 if self.keep_best else torch.ones_like(loss, dtype=torch.bool)
        worth = bool((loss < self.lowest - LEAST_GAIN * loss.abs()).any())
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
        self.lowest = self.best_loss if self.keep_best else torch.minimum(self.lowest, loss)
        return worth

    def move(self) -> None:
        """One step of Adam."""
        self.adam.step()

    def step(self, index: int, total: int, done: bool) -> SteerStep:
        """The best state as a frozen value."""
        with torch.no_grad():
            ws = self.ws(self.best_latent).clone()
        image = None if self.best_image is None else self.best_image.clone()
        labels = self.best_labels.cpu().numpy().copy()
        return SteerStep(
            index, total, ws, image, labels, self.best_agreement.numpy().copy(), self.best_loss.numpy().copy(), done
        )


def _checked_start(generator: Generator, start: torch.Tensor, space: str | Basis) -> torch.Tensor:
    space = "ws" if isinstance(space, torch.Tensor) else space
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
