"""Fully supervised training of extractors by a teacher: any number of them in one pass over generated images.

Each image is generated and labelled once for all extractors (the reference implementation runs over 51,200 images for
each). The trained kinds minimise the paper's loss, the pixel mean of the cross-entropy with the teacher's hard labels,
background included (§3.1); the centroid averages unit-length pixel features by class, without optimisation. An LSE
learns from features whose channels have mean zero and variance one, an NSE from channels that are divided by their root
mean square; this is folded into the first weights at the end.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from linsem.arguments import number, shown, whole_number
from linsem.device import without_autocast
from linsem.errors import InputError
from linsem.examples import as_categories
from linsem.extractor import Extractor
from linsem.generator import Generator, check_generator, check_seed, chosen_layers
from linsem.palette import Category
from linsem.parallel import Processes
from linsem.readout import KINDS
from linsem.seeds import MAX_SEED
from linsem.training import Recipe, Training

FIRST_SEED = 20_000_000  # training images; the tables judge other seeds
HELD_OUT = 8  # images after the training images, on which the temperatures are set
FORMAT = 5  # version of the state files


@dataclass(frozen=True, eq=False)
class SupervisedStep:
    """The state of training: batches done, images seen, and each extractor's mean loss since the last step.

    `extractors` has each recipe's name, as trained so far; their temperature is set at the last step only.
    """

    index: int
    total: int
    images: int
    losses: Mapping[str, float]
    extractors: Mapping[str, Extractor]


def fit_supervised(
    generator: Generator, teacher: Callable[[torch.Tensor], torch.Tensor], **options: object
) -> Mapping[str, Extractor]:
    """Train extractors, by name: the last step of `iter_supervised`, which documents the options."""
    *_, last = iter_supervised(generator, teacher, **options)
    return last.extractors


@without_autocast
def iter_supervised(
    generator: Generator,
    teacher: Callable[[torch.Tensor], torch.Tensor],
    *,
    categories: Sequence[Category] | None = None,
    recipes: Mapping[str, Recipe | str] | Sequence[str] = KINDS,
    images: int = 4096,
    batch: int = 8,
    psi: float = 0.5,
    first_seed: int = FIRST_SEED,
    report: int = 16,
    state: str | Path | None = None,
    accelerate: bool = False,
    seed: int = 0,
) -> Iterator[SupervisedStep]:
    """Train extractors, yielding a step every `report` batches and after the last one.

    Args:
        teacher: maps images (N, 3, H, W) in [-1, 1] to labels (N, H, W) in 0..K-1.
        categories: of the teacher's labels (default: the teacher's own, else the generator's).
        recipes: a mapping of names to recipes or kinds, or a list of kinds.
        images, batch, psi: number of images, batch size, and truncation.
        first_seed: image i has seed `first_seed` + i.
        report: batches between steps.
        state: a file to which progress is written at every step, and from which an interrupted run resumes exactly; the
            file of another run raises InputError.
        accelerate: divide each batch among the processes of `accelerate launch`.
        seed: of the initial weights.
    """
    check_generator(generator)
    if categories is None:
        categories = getattr(teacher, "categories", ()) or generator.categories
    images, batch = whole_number("images", images, 1), whole_number("batch", batch, 1)
    report, psi, seed = whole_number("report", report, 1), number("psi", psi), check_seed(seed)
    first_seed = whole_number("first_seed", first_seed, 0, MAX_SEED + 1 - images - HELD_OUT)
    named = _named(generator, recipes)
    if not categories:
        raise InputError("categories: expected at least two, from the caller or the teacher, got none")
    if not callable(teacher):
        raise InputError(f"teacher: expected a function of images, got {type(teacher).__name__}")
    categories = as_categories(categories)
    if state is not None and not isinstance(state, (str, os.PathLike)):
        raise InputError(f"state: expected a path, got {shown(state)}")
    if state is not None and not Path(state).parent.is_dir():
        raise InputError(f"state: there is no folder {str(Path(state).parent)!r}")
    processes = Processes(batch, generator.device) if accelerate else Processes.alone(generator.device)
    run = Training(generator, teacher, categories, named, math.ceil(images / batch), psi, seed)
    run.measure([first_seed + i for i in range(min(images, 16))])
    what = f"{generator.id} {[each.name for each in categories]} {sorted(named.items())}"
    label = f"{what} {images} {batch} {psi} {first_seed} {seed} {processes.count} {FORMAT}"
    probe = None if state is None else run.probe([first_seed + i for i in range(min(images, 2))])
    done = run.load(Path(state), label, probe, processes) if state is not None and Path(state).exists() else 0
    for index in range(done, run.total):
        seeds = [first_seed + i for i in range(index * batch, min((index + 1) * batch, images))]
        run.step(index, processes.share(seeds), processes)
        last = index + 1 == run.total
        if last:
            run.calibrate([first_seed + images + i for i in range(HELD_OUT)], batch, processes)
        if last or (index + 1) % report == 0:
            seen = min((index + 1) * batch, images)
            run.check_losses(seen)  # before the state of a run that goes wrong replaces the last good one
            if state is not None:
                run.save(Path(state), label, index + 1, probe, processes)
            yield SupervisedStep(index + 1, run.total, seen, *run.report(seen, processes))
    if done == run.total:
        yield SupervisedStep(done, run.total, images, *run.report(images, processes))


def _named(generator: Generator, recipes: Mapping[str, Recipe | str] | Sequence[str]) -> dict[str, Recipe]:
    """The recipes by name, checked."""
    if not isinstance(recipes, (Mapping, Sequence)) or isinstance(recipes, str):
        raise InputError(f"recipes: expected recipes by name, or a list of kinds, got {shown(recipes)}")
    if not isinstance(recipes, Mapping):
        listed = [each.kind if isinstance(each, Recipe) else each for each in recipes]
        if len(set(map(str, listed))) < len(listed):
            raise InputError(f"recipes: expected each kind once, or recipes by name, got {shown(listed)}")
        recipes = dict(zip(listed, recipes, strict=True))
    if not recipes:
        raise InputError("recipes: expected recipes by name, or a list of kinds, got none")
    named = {}
    for name, recipe in recipes.items():
        if not isinstance(name, str):
            raise InputError(f"recipes: expected names, got {shown(name)}")
        recipe = recipe if isinstance(recipe, Recipe) else Recipe(recipe)
        if recipe.kind not in KINDS:
            raise InputError(f"recipe {name!r}: kind: expected one of {', '.join(KINDS)}, got {recipe.kind!r}")
        try:
            chosen = chosen_layers(generator, recipe.layers)
            number("lr", recipe.lr, 0)
        except InputError as error:
            raise InputError(f"recipe {name!r}: {error}") from None
        if recipe.layers is not None and len(chosen) < len(recipe.layers):
            raise InputError(f"recipe {name!r}: layers: expected each once, got {recipe.layers}")
        named[name] = recipe if recipe.layers is None else replace(recipe, layers=tuple(chosen))
    return named
