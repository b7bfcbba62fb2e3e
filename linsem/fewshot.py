"""From a few annotations to an extractor: softmax regression on the features at the labelled pixels only.

The paper's extractor is linear and its loss convex (§3.2), so nothing is iterated over images: the features are
gathered once at the labelled pixels (what upsampling would hold there), turned into the coordinates of `linsem.basis`,
and a ridge-penalised softmax regression is solved by L-BFGS, from the last solution where there is one. The strength of
the ridge is chosen by leaving images out, and so is the temperature of the probabilities. Scribbles and dense label
maps are the same code; an unlabelled pixel (255) takes no part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem.basis import Basis, fit_basis, ranks_of
from linsem.calibrate import temperature_of
from linsem.curvature import evened
from linsem.examples import Annotation, AnnotationError, Examples, check_annotations, collect
from linsem.extractor import Extractor
from linsem.gather import Gathered
from linsem.generator import Generator, check_features
from linsem.noise import has_noise, synthesize_noisy
from linsem.palette import Category
from linsem.softmax import Problem, common_shares, cross_validate, logits_of, solve, solved
from linsem.specks import SHARE, least_areas

__all__ = ["Annotation", "AnnotationError", "FitStep", "fit_few_shot", "iter_few_shot"]

LEAST_PIXELS, PIXELS_AN_IMAGE, MAX_PIXELS = 16_000, 3_000, 48_000
MAX_NUMBERS = 100_000_000  # features gathered at the pixels, beyond the first LEAST_PIXELS: 400 MB
COARSE = 4_000  # pixels that a fit from nothing begins with, and so many of its iterations:
COARSELY = 0.6
CHOICE_PIXELS = 1_500  # that the prior is chosen on
RIDGES = (0.1, 0.03, 0.01, 0.003, 0.001)
POWERS = (0.5,)
ONE_IMAGE_RIDGE, ONE_IMAGE_POWER = 0.01, 0.5  # of one image nothing can be left out that tells how another looks
DENSE = 0.5  # labels of fewer pixels than this share do not tell how common a category is
LEAST_SHARE = 1e-3
NEVER = -60.0  # the bias of a category that has no pixel


@dataclass(frozen=True)
class FitStep:
    """Where a fit is: iterations done, the penalised loss on the pixels that it sees so far, the extractor so far."""

    index: int
    total: int
    loss: float
    extractor: Extractor


def fit_few_shot(
    generator: Generator, annotations: Sequence[Annotation], categories: Sequence[Category], **options: object
) -> Extractor:
    """The extractor that the annotations ask for: the last step of `iter_few_shot`, which has the options."""
    *_, last = iter_few_shot(generator, annotations, categories, **options)
    return last.extractor


def iter_few_shot(
    generator: Generator,
    annotations: Sequence[Annotation],
    categories: Sequence[Category],
    *,
    layers: Sequence[int] | None = None,
    ridge: float | None = None,
    balance: float = 0.0,
    power: float | None = None,
    rank: int | None = 64,
    iterations: int = 40,
    start: Extractor | None = None,
    features_of: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
    rows_of: Gathered | None = None,
    noise: int = 1,
    pixels: int | None = None,
    missing: str = "error",
    seed: int = 0,
) -> Iterator[FitStep]:
    """Fit, yielding a step about every eight iterations of the solver (four from a `start`); the last is calibrated.

    `ridge` is the strength of the prior and `power` its shape; None chooses them by leaving images out, or takes
    those of `start`, an earlier extractor of the same layers and number of images, from which the solution is begun.
    `balance` is the power of a category's share by which its pixels are weighted down (0: every pixel counts the
    same, 1: every category does); `power` and `rank` are explained in `linsem.basis`. `features_of` maps one ws to
    its features (default: a pass of the generator each, no further than the layers need), and `rows_of` remembers what
    was read off them at the labelled pixels, of one generator. `noise` is the number of fresh noise draws that each
    image is seen with besides the constant one, where the generator has noise. Of more than `pixels` labelled pixels
    (default: 3,000 for each image, but 16,000 to 48,000 in all, or less where the features are wide) only as many are
    used, evenly over the images. `missing` says what becomes of a category without a pixel: "error", or "keep" it
    without ever predicting it. Raises `AnnotationError` (a ValueError).
    """
    categories = tuple(categories)
    if missing not in ("error", "keep"):
        raise ValueError(f"missing: expected 'error' or 'keep', got {missing!r}")
    if iterations < 1 or (ridge is not None and not 0 <= ridge < math.inf):
        raise ValueError(f"expected iterations >= 1 and a ridge of at least 0, got {iterations} and {ridge}")
    check_annotations(generator, annotations, categories, every=missing == "error")
    layers = _checked_layers(generator, layers)
    if start is not None and not _continues(start, generator, layers):
        start = None
    versions = _versions(generator, features_of, layers[-1], 0 if start is not None else noise, seed)
    most = _most(generator, layers, len(annotations)) if pixels is None else pixels
    examples = collect(
        annotations, categories, layers, versions,
        most=most, rest=1000, balance=balance, seed=seed, rows_of=rows_of,
    )  # fmt: skip
    basis = _basis_of(generator, annotations, layers, examples.rest, rank, seed, rows_of)
    fit = _Fit(generator, categories, layers, examples, basis, [a.labels for a in annotations])
    fit.weigh(balance, start)
    fit.choose(ridge, power, start)
    theta = fit.start(start)
    every, before = (8, 0) if start is None else (4, 0)  # from a start it begins near the end
    even = evened(fit.problem.x, fit.problem.weight, fit.ridge)
    if start is None and len(fit.problem.y) > 2 * COARSE and iterations > 2 * every:
        part = fit.problem.part(_spread(len(fit.problem.y), COARSE, theta.device))
        for before, loss in solve(theta, part, fit.ridge, round(COARSELY * iterations), every=every, even=even):
            yield FitStep(before, iterations, loss, fit.extractor(theta))
    for done, loss in solve(theta, fit.problem, fit.ridge, iterations - before, every=every, even=even):
        yield FitStep(before + done, iterations, loss, fit.extractor(theta))


def _most(generator: Generator, layers: tuple[int, ...], images: int) -> int:
    """How many labelled pixels are used by default."""
    numbers = sum(generator.layers[i].channels for i in layers) * (2 if has_noise(generator) else 1)
    return max(LEAST_PIXELS, min(PIXELS_AN_IMAGE * images, MAX_PIXELS, MAX_NUMBERS // numbers))


def _checked_layers(generator: Generator, layers: Sequence[int] | None) -> tuple[int, ...]:
    layers = tuple(range(len(generator.layers))) if layers is None else tuple(sorted(set(layers)))
    if not layers or layers[0] < 0 or layers[-1] >= len(generator.layers):
        raise ValueError(f"layers: expected some of 0..{len(generator.layers) - 1}, got {layers}")
    return layers


def _continues(start: Extractor, generator: Generator, layers: tuple[int, ...]) -> bool:
    """Whether an earlier extractor can be begun from."""
    channels = [generator.layers[i].channels for i in layers]
    return (
        start.kind == "LSE"
        and start.layers == layers
        and start.generator_id == generator.id
        and [start.weights[f"layer{i}.weight"].shape[1] for i in range(len(layers))] == channels
    )


def _versions(
    generator: Generator, features_of: Callable | None, last_layer: int, noise: int, seed: int
) -> Callable[[torch.Tensor], list[list[torch.Tensor]]]:
    """One ws to its features under the constant noise and under `noise` fresh ones."""
    count = noise if noise > 0 and has_noise(generator) else 0

    @torch.no_grad()
    def versions(ws: torch.Tensor) -> list[list[torch.Tensor]]:
        ws = ws.float()
        batch = ws[None].to(generator.device)
        fresh = [synthesize_noisy(generator, batch, [seed + 1 + k], last_layer) for k in range(count)]
        if features_of is None:
            _, features = generator.synthesize(batch, image=False, last_layer=last_layer)
        else:
            features = features_of(ws)
        check_features(generator, features)
        return [features, *fresh]

    return versions


def _basis_of(
    generator: Generator,
    annotations: Sequence[Annotation],
    layers: tuple[int, ...],
    rest: torch.Tensor,
    rank: int | None,
    seed: int,
    rows_of: Gathered | None,
) -> Basis:
    """The coordinates follow from the images and not from their labels, so that one who waits for a stroke has them."""
    chosen = [generator.layers[i] for i in layers]

    def make() -> Basis:
        return fit_basis(rest, [each.channels for each in chosen], power=POWERS[0], rank=ranks_of(chosen, rank))

    if rows_of is None:
        return make()
    return rows_of.basis([a.ws for a in annotations], (layers, len(rest), rank, seed), make)


class _Fit:
    """The problem in its coordinates, among the categories that have a pixel."""

    def __init__(
        self,
        generator: Generator,
        categories: tuple[Category, ...],
        layers: tuple[int, ...],
        examples: Examples,
        basis: Basis,
        maps: Sequence[np.ndarray],
    ) -> None:
        self.generator, self.categories, self.layers, self.images = generator, categories, layers, len(maps)
        self.least = least_areas(maps, len(categories))
        self.channels = [generator.layers[i].channels for i in layers]
        self.basis = basis
        counts = torch.bincount(examples.y, minlength=len(categories))
        self.present = counts.nonzero()[:, 0]
        index = torch.full_like(counts, -1)
        index[self.present] = torch.arange(len(self.present), device=index.device)
        self.group, self.stands = examples.group, examples.stands
        self.problem = Problem(self.basis.project(examples.x), index[examples.y], examples.weight, len(self.present))
        self.ridge, self.temperature = ONE_IMAGE_RIDGE, 1.0
        self.rest = self.basis.project(examples.rest) if examples.covered < DENSE else None

    def weigh(self, balance: float, start: Extractor | None) -> None:
        """Of sparse labels, weigh the categories by their shares of the images and not by how much was painted.

        A person paints a nose as long as the sky. The shares are read off pixels that need no label, by what `start`
        or a first fit, which takes all categories for equally common, sees there.
        """
        if self.rest is None:
            return
        problem = self.problem
        counts = torch.bincount(problem.y, minlength=problem.classes).to(problem.weight)
        if start is None:
            even = replace(problem, weight=1 / (counts[problem.y] * problem.classes))
            theta, before = solved(even, ONE_IMAGE_RIDGE, 16), torch.full_like(counts, 1 / problem.classes)
            shares = common_shares(logits_of(theta, self.rest), before)
        else:
            shares = logits_of(self.start(start), self.rest).softmax(1).mean(0)
        self._enlarge(shares)
        weight = (shares.clamp_min(LEAST_SHARE).pow(1 - balance) / counts)[problem.y]
        self.problem = replace(problem, weight=weight / weight.sum())

    def _enlarge(self, shares: torch.Tensor) -> None:
        """Where a category is, its area is at least its share of all images, however little of it is painted."""
        least = torch.tensor(self.least, dtype=torch.float64)
        least[self.present.cpu()] = least[self.present.cpu()].maximum(SHARE * shares.cpu().double())
        self.least = tuple(least.tolist())

    def choose(self, ridge: float | None, power: float | None, start: Extractor | None) -> None:
        """The prior and the temperature: given, or those of `start`, or by leaving out."""
        if start is not None and start.notes.get("images") == str(self.images) and "ridge" in start.notes:
            self.ridge = float(start.notes["ridge"]) if ridge is None else ridge
            self._rescale(float(start.notes.get("power", POWERS[0])) if power is None else power)
            self.temperature = start.temperature
            return
        several = self.images > 1
        ridges = RIDGES if several and ridge is None else (ONE_IMAGE_RIDGE if ridge is None else ridge,)
        powers = POWERS if several and power is None else (ONE_IMAGE_POWER if power is None else power,)
        rows = _spread(len(self.problem.y), CHOICE_PIXELS, self.problem.y.device)
        part, choices = self.problem.part(rows), {}
        for each in powers:
            turned = replace(part, x=part.x * self.basis.factors(each))
            choices[each] = cross_validate(turned, self.group[rows], ridges)
        best = min(choices, key=lambda each: choices[each].loss)
        choice = choices[best]
        self.ridge = choice.ridge
        self._rescale(best)
        if len(choice.rows):
            of = rows[choice.rows]
            self.temperature = temperature_of(choice.logits, self.problem.y[of], self.stands[of])

    def _rescale(self, power: float) -> None:
        """Change to the coordinates of another power."""
        if power != self.basis.power:
            self.problem.x.mul_(self.basis.factors(power))
            self.basis = self.basis.with_power(power)

    def start(self, start: Extractor | None) -> torch.Tensor:
        """(present, R + 1): the earlier solution of the categories that it had, or only class shares."""
        theta = self.problem.start()
        if start is None:
            return theta
        parts = [start.weights[f"layer{i}.weight"] for i in range(len(self.layers))]
        old = self.basis.from_raw(torch.cat(parts, dim=1).to(theta.device), start.weights["bias"].to(theta.device))
        index = {c.name: k for k, c in enumerate(start.categories)}
        for row, k in enumerate(self.present.tolist()):
            at = index.get(self.categories[k].name)
            if at is not None and float(start.weights["bias"][at]) != NEVER:
                theta[row] = old[at]
        return theta

    def extractor(self, theta: torch.Tensor) -> Extractor:
        """The solution as an extractor of raw features and of all categories."""
        some_matrix, some_bias = self.basis.to_raw(theta.detach())
        matrix = some_matrix.new_zeros(len(self.categories), some_matrix.shape[1])
        bias = some_bias.new_full((len(self.categories),), NEVER)
        matrix[self.present], bias[self.present] = some_matrix, some_bias
        weights = {f"layer{i}.weight": part.clone() for i, part in enumerate(matrix.split(self.channels, dim=1))}
        notes = {
            "ridge": repr(float(self.ridge)), "power": repr(float(self.basis.power)),
            "images": str(self.images), "pixels": str(len(self.problem.y)),
        }  # fmt: skip
        return Extractor(
            "LSE", self.categories, self.layers, self.generator.id, tuple(self.generator.size),
            weights | {"bias": bias}, self.temperature, notes, self.least,
        )  # fmt: skip


def _spread(count: int, most: int, device: torch.device) -> torch.Tensor:
    """At most `most` of 0..count-1, evenly spread."""
    step = max(math.ceil(count / most), 1)
    return torch.arange(0, count, step, device=device)
