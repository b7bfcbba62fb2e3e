"""Few-shot fitting of an LSE: softmax regression on the features at the labelled pixels.

The extractor is linear and its loss convex (paper, §3.2), so there is no training loop over images. The features are
gathered once at the labelled pixels (with the values that upsampling would give there), projected onto the basis of
`linsem.basis`, and an L2-regularised (ridge) softmax regression is solved by L-BFGS, warm-started where possible. The
strength of the ridge is chosen by cross-validation over images, which also shows where the probabilities are too sure:
they are only ever softened. Scribbles and dense label maps take the same path, except that strokes are first spread
over the areas they touch; all other unlabelled pixels (255) are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from linsem.arguments import number, shown, whole_number
from linsem.basis import Basis, fit_basis, ranks_of
from linsem.device import without_autocast
from linsem.errors import InputError
from linsem.examples import Annotation, AnnotationError, as_annotations, as_categories, check_annotations, collect
from linsem.extractor import Extractor
from linsem.fitting import MAX_RIDGE, POWER, Fitting, evenly
from linsem.generator import Generator, check_features, check_generator, check_seed, checked_pass, chosen_layers
from linsem.noise import has_noise, synthesize_noisy
from linsem.palette import Category
from linsem.pixels import IGNORE, to_rgb
from linsem.rows import Gathered, Views
from linsem.softmax import solve
from linsem.spread import guess, to_spread

__all__ = ["Annotation", "AnnotationError", "FitStep", "fit_few_shot", "iter_few_shot"]

LEAST_PIXELS, PIXELS_AN_IMAGE, MAX_PIXELS = 16_000, 3_000, 48_000
MAX_NUMBERS = 100_000_000  # raw features held at once beyond the first LEAST_PIXELS: 400 MB
COARSE = 4_000  # a cold start begins on this many pixels, for this share of its iterations:
COARSELY = 0.6
TOLD = 8  # iterations between two steps that are yielded
WARM = {"every": 1, "tolerance": 2.5e-3}  # where a fit that began close to the solution ends
REST = 1_000  # pixels, labelled or not, from which the basis is computed


@dataclass(frozen=True, eq=False)
class FitStep:
    """The state of a fit: iterations done, the penalised loss on the pixels in use, and the current extractor."""

    index: int
    total: int
    loss: float
    extractor: Extractor


def fit_few_shot(
    generator: Generator, annotations: Sequence[Annotation], categories: Sequence[Category], **options: object
) -> Extractor:
    """Fit an extractor to annotations: the last step of `iter_few_shot`, which documents the options."""
    *_, last = iter_few_shot(generator, annotations, categories, **options)
    return last.extractor


@without_autocast
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
    spread: bool | None = None,
    seed: int = 0,
) -> Iterator[FitStep]:
    """Fit an LSE, yielding a step about every eight solver iterations, and at the end.

    Args:
        layers: indices of the layers to read (None: all).
        ridge: strength of the prior. None: that of `start` if it was fitted on as many images and at least half as many
            pixels, else chosen by leaving images out, where every category counts the same (or as `balance` says); with
            one image it is fixed, since leaving parts of it out chooses no better.
        power: shape of the prior (`linsem.basis`). None: that of `start`, likewise, else 0.5.
        balance: exponent by which the pixels of a category are weighted down with its share (0: every pixel counts the
            same, 1: every category does), though a category that occurs has about 0.5 % of the total weight at least
            (of more than 20, all have together what 20 would have). Where less than half of the images is labelled, the
            shares are estimated on unlabelled pixels, and none is below 0.1 %.
        rank: the most directions kept per layer (`linsem.basis`).
        iterations: the most iterations of L-BFGS; it ends where eight of them gain less than 0.2 % of the loss (with
            `start`, where one gains less than 0.25 %). With a ridge far weaker than those that the fit chooses it is
            then some percent above it.
        start: an earlier extractor of this generator, as a warm start (from nothing if it reads other layers).
        features_of: maps one ws to its features (default: a pass of the generator, no further than the layers need).
        rows_of: caches the features read at labelled pixels, and what a fit with `start` goes on from; for one
            generator.
        noise: fresh noise draws per image, besides the constant noise, if the generator has noise; none with `start`.
        pixels: the most labelled pixels used, spread evenly over the images, though one at least for each category of
            each image (default: 3,000 per image, but 16,000 to 48,000 in total, fewer where the features are wide).
        missing: "error" refuses a category without a pixel, "keep" keeps it without ever predicting it.
        spread: whether strokes first spread over the area of one colour that they touch (`linsem.spread`); None: on
            images of which less than half is labelled. This takes a pass and some time per image; annotations that
            `guess` of `linsem/spread.py` has spread are used as they are, so that what it gave can be kept.

    The temperature is the one that suits pixels that were left out, but 1 at least: a fit that is too sure is softened,
    most are left as they are, and none is sharpened. Annotations of the same ws are of one image, and left out
    together. Guesses that the other images contradict are withdrawn (`linsem.doubt`). Pixels are drawn by an
    annotation's place in the list, so another order gives a slightly different fit. Raises `AnnotationError` (an
    InputError).
    """
    check_generator(generator)
    categories, annotations = as_categories(categories), as_annotations(annotations)
    if missing not in ("error", "keep"):
        raise InputError(f"missing: expected 'error' or 'keep', got {missing!r}")
    ridge = None if ridge is None else number("ridge", ridge, 0, MAX_RIDGE)
    power = None if power is None else number("power", power, 0, 1)
    balance = number("balance", balance, 0, 1)
    if features_of is not None and not callable(features_of):
        raise InputError(f"features_of: expected a function of ws, got {shown(features_of)}")
    if start is not None and not isinstance(start, Extractor):
        raise InputError(f"start: expected an Extractor or None, got {type(start).__name__}")
    if start is not None and start.generator_id != generator.id:
        raise InputError(f"start: it was fitted on the generator {start.generator_id!r}, not on {generator.id!r}")
    iterations, noise = whole_number("iterations", iterations, 1), whole_number("noise", noise, 0)
    seed = check_seed(seed)
    rank = None if rank is None else whole_number("rank", rank, 1)
    pixels = None if pixels is None else whole_number("pixels", pixels, len(categories))  # one for each at least
    check_annotations(generator, annotations, categories, every=missing == "error")
    annotations = _with_guesses(generator, annotations, spread)
    layers = chosen_layers(generator, layers)
    if start is not None and not _continues(start, generator, layers):
        start = None
    views = _views(generator, features_of, layers, rank, 0 if start is not None else noise, seed)
    labelled = sum(bool((a.labels != IGNORE).any()) for a in annotations)
    most = _most(generator, layers, labelled) if pixels is None else pixels
    examples = collect(annotations, categories, views, most=most, balance=balance, seed=seed, memory=rows_of)
    fit = Fitting(generator, categories, layers, examples)
    fit.recall(rows_of, start)
    fit.doubt()
    fit.weigh(balance, start)
    fit.choose(ridge, power, start, even=balance == 0)
    theta = fit.start(start)
    before, last = 0, None
    even = fit.preconditioner(brief=start is not None)
    if start is None and len(fit.problem.y) > 2 * COARSE and iterations > 2 * TOLD:
        part = fit.problem.part(evenly(len(fit.problem.y), COARSE, theta.device))
        for before, loss in solve(theta, part, fit.ridge, round(COARSELY * iterations), even=even):
            yield FitStep(before, iterations, loss, fit.extractor(theta))
    ends = {} if start is None else WARM
    for done, loss in solve(theta, fit.problem, fit.ridge, iterations - before, even=even, **ends):
        if done % TOLD == 0:  # an extractor takes as long as an iteration after a stroke
            yield (last := FitStep(before + done, iterations, loss, fit.extractor(theta)))
    if last is None or last.index < before + done:
        yield (last := FitStep(before + done, iterations, loss, fit.extractor(theta)))
    fit.remember(rows_of, last.extractor, even)


@torch.no_grad()
def _with_guesses(generator: Generator, annotations: Sequence[Annotation], spread: bool | None) -> Sequence[Annotation]:
    """Spread the strokes of the annotations; those that already have guesses stay as they are."""
    wider = []
    for place, each in enumerate(annotations, start=1):
        if each.guessed is None and to_spread(each.labels, spread):
            image, _ = checked_pass(generator, each.ws.float()[None].to(generator.device))
            try:
                each = guess(each, to_rgb(image)[0])
            except InputError as error:
                raise AnnotationError(f"image {place}: {error}") from None
        wider.append(each)
    return wider


def _most(generator: Generator, layers: tuple[int, ...], images: int) -> int:
    """The default number of labelled pixels to use."""
    numbers = sum(generator.layers[i].channels for i in layers)
    return max(LEAST_PIXELS, min(PIXELS_AN_IMAGE * images, MAX_PIXELS, MAX_NUMBERS // numbers))


def _continues(start: Extractor, generator: Generator, layers: tuple[int, ...]) -> bool:
    """Whether an earlier extractor can serve as a warm start."""
    channels = [generator.layers[i].channels for i in layers]
    return (
        start.kind == "LSE"
        and start.layers == layers
        and [start.weights[f"layer{i}.weight"].shape[1] for i in range(len(layers))] == channels
    )


def _views(
    generator: Generator, features_of: Callable | None, layers: tuple[int, ...], rank: int | None, noise: int, seed: int
) -> Views:
    """How images are read: under the constant noise and `noise` fresh draws, no further than the layers need."""
    count = noise if noise > 0 and has_noise(generator) else 0
    chosen, last_layer = [generator.layers[i] for i in layers], layers[-1]

    @torch.no_grad()
    def constant(ws: torch.Tensor) -> list[torch.Tensor]:
        if features_of is None:
            return checked_pass(generator, ws.float()[None].to(generator.device), image=False, last_layer=last_layer)[1]
        features = features_of(ws.float())
        check_features(generator, features, last_layer)
        return features

    def fresh(ws: torch.Tensor, image: int) -> Iterator[list[torch.Tensor]]:
        for k in range(count):
            with torch.no_grad():
                batch = ws.float()[None].to(generator.device)
                features = synthesize_noisy(generator, batch, [seed + 1 + image * count + k], last_layer)
            yield features

    ranks = ranks_of(chosen, rank)

    def basis_of(rest: torch.Tensor) -> Basis:
        return fit_basis(rest, [each.channels for each in chosen], power=POWER, rank=ranks)

    widths = [min(each.channels, most) for each, most in zip(chosen, ranks or [math.inf] * len(chosen), strict=True)]
    map_bytes = sum(4 * each.height * each.width * width for each, width in zip(chosen, widths, strict=True))
    return Views(layers, tuple(generator.size), constant, fresh, basis_of, REST, seed, rank, map_bytes)
