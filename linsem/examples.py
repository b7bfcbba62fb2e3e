"""From annotations to the rows of a regression: which labelled pixels are used, how much each counts, its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linsem.categories import parse_categories
from linsem.errors import InputError
from linsem.generator import Generator
from linsem.palette import Category
from linsem.pixels import IGNORE
from linsem.rows import Coordinates, Gathered, NotFiniteError, Views, read

LEAST_WEIGHT = 0.005  # of all weight, for a category that is there at all


class AnnotationError(InputError):
    """Annotations that cannot be learnt from; the sentence names the image and the category."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One labelled image: ws (num_ws, w_dim), labels (H, W) uint8 with 255 = unknown.

    `guessed` (H, W) bool says which labels nobody gave, like those that `linsem.spread` made of strokes (None: all
    were given). Of several images the others may take a guess back (`linsem.doubt`).
    """

    ws: torch.Tensor
    labels: np.ndarray
    guessed: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows x (n, R) in `coordinates`, their labels y, groups (n,) and weights (n,), which sum to one.

    `guessed` (n,) bool: labels that nobody gave.

    What is left out together in a cross-validation is a group: an image, or a block of the only one. `stands` (n,) is
    how many labelled pixels a row stands for, whatever its category; `covered` is the labelled share of all pixels.
    """

    x: torch.Tensor
    y: torch.Tensor
    group: torch.Tensor
    weight: torch.Tensor
    stands: torch.Tensor
    covered: float
    guessed: torch.Tensor
    coordinates: Coordinates


def as_annotation(given: Annotation) -> Annotation:
    """The same with labels as an array and ws as a tensor, whichever of the two they were."""
    ws, labels = torch.as_tensor(given.ws), given.labels
    labels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    guessed = None if given.guessed is None else np.asarray(given.guessed)
    return Annotation(ws, labels, guessed)


def as_categories(given: Sequence[Category | dict | str]) -> tuple[Category, ...]:
    """Categories as a file of the extractor will hold them; raises `AnnotationError`."""
    given = tuple(given)
    if len(given) < 2:
        raise AnnotationError(f"at least two categories are needed to tell apart, got {len(given)}")
    if len(given) > IGNORE - 1:
        raise AnnotationError(f"at most {IGNORE - 1} categories can be told apart, got {len(given)}")
    names = [getattr(each, "name", each) for each in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AnnotationError(f"categories: expected each name once, got {twice!r} {names.count(twice)} times")
    try:
        return parse_categories(given)
    except InputError as error:
        raise AnnotationError(str(error)) from error


def check_annotations(
    generator: Generator, annotations: Sequence[Annotation], categories: Sequence[Category], *, every: bool = False
) -> None:
    """Raise `AnnotationError` for what cannot be learnt from; with `every`, each category must have a pixel."""
    names = [category.name for category in categories]
    if not annotations:
        raise AnnotationError("no image is labelled yet: paint at least two categories on one image")
    seen = np.zeros(len(categories), dtype=np.int64)
    for i, each in enumerate(annotations):
        seen += _count(generator, each, categories, f"image {i + 1}")
    if seen.sum() == 0:
        raise AnnotationError(f"all pixels of all {len(annotations)} images are unknown: paint at least two categories")
    if (seen > 0).sum() < 2:
        raise AnnotationError(f"only {names[int(seen.argmax())]!r} is painted: paint at least one other category too")
    missing = [name for name, count in zip(names, seen, strict=True) if count == 0]
    if every and missing:
        raise AnnotationError(f"no pixel of {', '.join(map(repr, missing))} on any of {len(annotations)} images")


def _count(generator: Generator, annotation: Annotation, categories: Sequence[Category], name: str) -> np.ndarray:
    """Pixels of each category, (K,), of an annotation that is sound."""
    labels, ws = np.asarray(annotation.labels), annotation.ws
    if labels.dtype.kind not in "ui" or labels.shape != tuple(generator.size):
        got = f"labels of size {labels.shape}, {labels.dtype}"
        raise AnnotationError(f"{name}: {got}, but {generator.id!r} draws {tuple(generator.size)}, whole numbers")
    if tuple(ws.shape) != (generator.num_ws, generator.w_dim):
        raise AnnotationError(
            f"{name}: ws of shape {tuple(ws.shape)}, but {generator.id!r} takes "
            f"{(generator.num_ws, generator.w_dim)}: it belongs to another generator"
        )
    if annotation.guessed is not None and (annotation.guessed.shape, annotation.guessed.dtype) != (labels.shape, bool):
        got = f"guessed of size {annotation.guessed.shape}, {annotation.guessed.dtype}"
        raise AnnotationError(f"{name}: {got}, but its labels have {labels.shape}; expected bool")
    if not torch.isfinite(ws).all():
        raise AnnotationError(f"{name}: its ws hold numbers that are not finite")
    known = labels[labels != IGNORE]
    wrong = known[(known < 0) | (known >= len(categories))]
    if wrong.size:
        listed = ", ".join(f"{k} {c.name!r}" for k, c in enumerate(categories[:24]))
        raise AnnotationError(f"{name}: label {wrong[0]} in {wrong.size} pixels, but the categories are {listed}")
    return np.bincount(known.astype(np.int64), minlength=len(categories))


def pick_pixels(
    labels: Sequence[np.ndarray], classes: int, most: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each label map (H, W): flat indices of the pixels used, and how many labelled pixels each stands for.

    All where they are at most `most` in sum; else each image gets an equal part, of which small categories are taken
    whole before large ones share what is left. Then what is picked of one image does not depend on the others' labels.
    """
    total = sum(int((each != IGNORE).sum()) for each in labels)
    picks = []
    for number, each in enumerate(labels):
        flat, rng = each.ravel(), np.random.default_rng([seed, number])
        if total <= most:
            chosen = np.flatnonzero(flat != IGNORE)
            picks.append((chosen, np.ones(len(chosen), dtype=np.float32)))
            continue
        groups = sorted((np.flatnonzero(flat == k) for k in range(classes)), key=len)
        groups = [group for group in groups if len(group)]
        left, chosen, stands = most // len(labels), [], []
        for i, group in enumerate(groups):
            take = min(len(group), max(left // (len(groups) - i), 1))
            left -= take
            chosen.append(rng.choice(group, take, replace=False) if take < len(group) else group)
            stands.append(np.full(take, len(group) / take, dtype=np.float32))
        order = np.argsort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
        flat_chosen = np.concatenate(chosen)[order] if chosen else order
        picks.append((flat_chosen, np.concatenate(stands)[order] if chosen else np.zeros(0, dtype=np.float32)))
    return picks


def collect(
    annotations: Sequence[Annotation],
    categories: Sequence[Category],
    views: Views,
    *,
    most: int,
    balance: float,
    seed: int,
    memory: Gathered | None = None,
) -> Examples:
    """Read the rows, at most `most` labelled pixels' and, besides, some of any kind for what needs no labels.

    `balance` is the power of a category's share by which its pixels are weighted down (0: every pixel counts the same,
    1: every category does). No upsampled map is held, and no image's features longer than its turn.
    """
    maps = [np.asarray(a.labels) for a in annotations]
    picks = pick_pixels(maps, len(categories), most, seed)
    known = [flat.ravel()[pick].astype(np.int64) for flat, (pick, _) in zip(maps, picks, strict=True)]
    try:
        seen, coordinates = read([a.ws for a in annotations], [pick for pick, _ in picks], views, memory)
    except NotFiniteError as error:
        wrong = error.rows[: len(known[error.image])].cpu().numpy()
        names = [categories[k].name for k in known[error.image][wrong]]
        raise AnnotationError(f"{error}{f', for one at a pixel of {names[0]!r}' if names else ''}") from None
    device, labels, groups, stands, guesses = coordinates.rest.device, [], [], [], []
    for i, (each, (pick, stand)) in enumerate(zip(annotations, picks, strict=True)):
        times = len(seen[i])
        group = np.full(len(pick), i) if len(annotations) > 1 else _blocks(pick, maps[i].shape)
        guess = np.zeros(len(pick), bool) if each.guessed is None else each.guessed.ravel()[pick]
        for parts, column in ((labels, known[i]), (groups, group), (stands, stand), (guesses, guess)):
            parts += [column] * times
    y, group, stand, guessed = (
        torch.from_numpy(np.concatenate(column)).to(device) for column in (labels, groups, stands, guesses)
    )
    weight = _weights(y, stand, len(categories), balance)
    covered = sum(int((each != IGNORE).sum()) for each in maps) / sum(each.size for each in maps)
    x = _join([rows for each in seen for rows in each])
    return Examples(x, y, group, weight, stand / stand.sum(), covered, guessed, coordinates)


def _join(rows: list[torch.Tensor]) -> torch.Tensor:
    """All rows in one tensor; the list is emptied on the way, so that little is held twice."""
    joined = rows[0].new_empty(sum(len(x) for x in rows), rows[0].shape[1])
    start = 0
    for i, x in enumerate(rows):
        joined[start : start + len(x)] = x
        start, rows[i] = start + len(x), rows[0].new_empty(0)
    return joined


def _blocks(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which of 8 x 8 blocks of the image a pixel is in, dealt into four groups as a chessboard is coloured."""
    rows, columns = np.divmod(pixels, size[1])
    row, column = rows * 8 // size[0], columns * 8 // size[1]
    return ((row % 2) * 2 + column % 2).astype(np.int64)


def _weights(y: torch.Tensor, stands: torch.Tensor, classes: int, balance: float) -> torch.Tensor:
    """(n,) weights that sum to one; a category of a few pixels gets a share that can be heard."""
    totals = stands.new_zeros(classes).index_add_(0, y, stands)
    share = (totals / totals.sum()).clamp_min(1e-7)
    weight = stands * share.pow(-balance)[y]
    weight = weight / weight.sum()
    parts = weight.new_zeros(classes).index_add_(0, y, weight)
    weight = weight * (LEAST_WEIGHT / parts.clamp_min(1e-12)).clamp_min(1)[y]
    return weight / weight.sum()
