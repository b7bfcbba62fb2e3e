"""From annotations to regression rows: which labelled pixels are used, their weights, and their features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from linsem.arguments import shown
from linsem.categories import parse_categories
from linsem.errors import InputError
from linsem.generator import Generator
from linsem.palette import Category
from linsem.pixels import IGNORE
from linsem.rows import Coordinates, Gathered, NotFiniteError, Views, digest, read

NO_LABELS = "no image is labelled yet: paint at least two categories on one image"
LEAST_WEIGHT = 0.005  # of the total weight, for each category that occurs,
MANY = 20  # if they are not more than so many; else these together have as much


class AnnotationError(InputError):
    """Annotations that cannot be learnt from; the message names the image and the category."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One labelled image: ws (num_ws, w_dim) and labels (H, W) uint8, with 255 = unknown.

    `guessed` (H, W) bool marks labels that were inferred rather than given, such as those that `linsem.spread` derives
    from strokes (None: all were given). With several images, guesses that the others contradict are withdrawn
    (`linsem.doubt`). `generator_id` says which generator the ws are of, and that another is refused (None: unknown, and
    only their shape tells).
    """

    ws: torch.Tensor
    labels: np.ndarray
    guessed: np.ndarray | None = None
    generator_id: str | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """Regression rows x (n, R) in `coordinates`, with labels y, groups (n,) and weights (n,) that sum to one.

    A group is what cross-validation leaves out together: a labelled image, counted from 0, or a block of the only one.
    `maps` are the labels (H, W) of each image, which several annotations may share (`images_of`).
    `stands` (n,) is the number of labelled pixels that a row represents, whatever its category; `covered` is the
    labelled share of the pixels of the labelled images; `guessed` (n,) bool marks inferred labels. Each pixel is read
    `times` times, under as many draws of the noise. `labelled` is a digest of which annotations have labels.
    """

    x: torch.Tensor
    y: torch.Tensor
    group: torch.Tensor
    maps: Sequence[np.ndarray]
    weight: torch.Tensor
    stands: torch.Tensor
    covered: float
    guessed: torch.Tensor
    coordinates: Coordinates
    times: int
    labelled: bytes


def as_annotations(given: Sequence[Annotation]) -> list[Annotation]:
    """The annotations with ws as tensors and labels as arrays, whichever of the two was given."""
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise AnnotationError(f"annotations: expected a list of them, got {shown(given)}")
    return [_as_annotation(each, f"image {i + 1}") for i, each in enumerate(given)]


def _as_annotation(given: Annotation, name: str) -> Annotation:
    if not isinstance(given, Annotation) or given.ws is None or given.labels is None:
        raise AnnotationError(f"{name}: expected an Annotation of ws and labels, got {shown(given)}")
    try:
        ws = np.array(given.ws) if isinstance(given.ws, np.ndarray) else given.ws  # torch warns of read-only ones
        ws, labels = torch.as_tensor(ws).float(), given.labels
    except (RuntimeError, TypeError, ValueError):  # text, rows of different lengths
        raise AnnotationError(f"{name}: ws: expected numbers (num_ws, w_dim), got {shown(given.ws)}") from None
    labels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    guessed = None if given.guessed is None else np.asarray(given.guessed)
    return Annotation(ws, labels, guessed, given.generator_id)


def as_categories(given: Sequence[Category | dict | str]) -> tuple[Category, ...]:
    """Parse categories to the form in which an extractor stores them; raises `AnnotationError`."""
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise AnnotationError(f"categories: expected a list of at least two, got {shown(given)}")
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
    """Raise `AnnotationError` for annotations that cannot be learnt from; with `every`, each category needs a pixel."""
    names = [category.name for category in categories]
    if not annotations:
        raise AnnotationError(NO_LABELS)
    seen = np.zeros(len(categories), dtype=np.int64)
    for i, each in enumerate(annotations):
        seen += _count(generator, each, categories, f"image {i + 1}")
    check_counts(seen, names, len(annotations))
    missing = [name for name, count in zip(names, seen, strict=True) if count == 0]
    if every and missing:
        raise AnnotationError(f"no pixel of {', '.join(map(repr, missing))} on any of {len(annotations)} images")


def check_counts(counts: np.ndarray, names: Sequence[str], images: int) -> None:
    """Raise `AnnotationError` unless at least two categories have pixels; counts (K,) are those of all images."""
    if counts.sum() == 0:
        them = "the image" if images == 1 else f"all {images} images"
        raise AnnotationError(f"all pixels of {them} are unknown: paint at least two categories")
    if (counts > 0).sum() < 2:
        raise AnnotationError(f"only {names[int(counts.argmax())]!r} is painted: paint at least one other category too")


def _count(generator: Generator, annotation: Annotation, categories: Sequence[Category], name: str) -> np.ndarray:
    """Check an annotation and count the pixels of each category, (K,)."""
    labels, ws = np.asarray(annotation.labels), annotation.ws
    if labels.dtype.kind not in "ui" or labels.shape != tuple(generator.size):
        got = f"labels of size {labels.shape}, {labels.dtype}"
        raise AnnotationError(f"{name}: {got}, but {generator.id!r} draws {tuple(generator.size)}, whole numbers")
    if annotation.generator_id not in (None, generator.id):
        raise AnnotationError(f"{name}: it belongs to the generator {annotation.generator_id!r}, not {generator.id!r}")
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
    if known.size and (int(known.min()) < 0 or int(known.max()) >= len(categories)):
        wrong = known[(known < 0) | (known >= len(categories))]
        listed = ", ".join(f"{k} {c.name!r}" for k, c in enumerate(categories[:24]))
        raise AnnotationError(f"{name}: label {wrong[0]} in {wrong.size} pixels, but the categories are {listed}")
    return np.bincount(known.astype(np.int64), minlength=len(categories))


def images_of(annotations: Sequence[Annotation]) -> tuple[list[int], list[np.ndarray]]:
    """Which image each annotation is of, counted from 0 over the labelled ones, and the labels (H, W) of each.

    Annotations of the same ws are of one image; of a pixel that several label, the first label is taken. Those without
    labels count as of image 0.
    """
    known: dict[bytes, int] = {}
    images, maps = [], []
    for each in annotations:
        labels, image = np.asarray(each.labels), 0
        if (labels != IGNORE).any():
            image = known.setdefault(each.ws.detach().cpu().numpy().tobytes(), len(maps))
            if image == len(maps):
                maps.append(labels)
            else:
                maps[image] = np.where(maps[image] == IGNORE, labels, maps[image])
        images.append(image)
    return images, maps


def pick_pixels(
    labels: Sequence[np.ndarray], classes: int, most: int, seed: int, memory: Gathered | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each label map (H, W): flat indices of the pixels used, and how many labelled pixels each represents.

    All are used if there are at most `most` in total; otherwise each labelled image gets an equal share, in which small
    categories are taken whole and large ones divide the rest. The pixels picked on one image thus do not depend on the
    others' labels.
    """
    counts = [int((each != IGNORE).sum()) for each in labels]
    share = most // max(sum(count > 0 for count in counts), 1) if sum(counts) > most else None
    picks = []
    for number, each in enumerate(labels):
        pick = partial(_picked, each.ravel(), classes, share, (seed, number))
        name = digest(repr(("picked", classes, share, seed, number)).encode(), each.tobytes())
        picks.append(pick() if memory is None else memory.kept(name, pick))
    return picks


def _picked(flat: np.ndarray, classes: int, share: int | None, seed: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Of one image: flat indices of at most `share` labelled pixels (None: all), and how many each represents."""
    if share is None:
        chosen = np.flatnonzero(flat != IGNORE)
        return chosen, np.ones(len(chosen), dtype=np.float32)
    groups = sorted((np.flatnonzero(flat == k) for k in range(classes)), key=len)
    groups = [group for group in groups if len(group)]
    rng, left, chosen, stands = np.random.default_rng(seed), share, [], []
    for i, group in enumerate(groups):
        take = min(len(group), max(left // (len(groups) - i), 1))
        left -= take
        chosen.append(rng.choice(group, take, replace=False) if take < len(group) else group)
        stands.append(np.full(take, len(group) / take, dtype=np.float32))
    order = np.argsort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
    flat_chosen = np.concatenate(chosen)[order] if chosen else order
    return flat_chosen, np.concatenate(stands)[order] if chosen else np.zeros(0, dtype=np.float32)


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
    """Gather the rows: at most `most` labelled pixels, and some arbitrary ones for what needs no labels.

    `balance` is the exponent by which the pixels of a category are weighted down with its share (0: every pixel counts
    the same, 1: every category does), but each category that occurs has about `LEAST_WEIGHT` of the total at
    least (of more than `MANY`, a share of what those have). No upsampled feature map is built, and only one image's
    features are held at a time.
    """
    maps = [np.asarray(a.labels) for a in annotations]
    picks = pick_pixels(maps, len(categories), most, seed, memory)
    known = [flat.ravel()[pick].astype(np.int64) for flat, (pick, _) in zip(maps, picks, strict=True)]
    try:
        seen, coordinates = read([a.ws for a in annotations], [pick for pick, _ in picks], views, memory)
    except NotFiniteError as error:
        wrong = maps[error.image].ravel()[error.pixels.cpu().numpy()]
        names = [categories[k].name for k in wrong[wrong != IGNORE]]
        raise AnnotationError(f"{error}{f', for one at a pixel of {names[0]!r}' if names else ''}") from None
    device, labels, groups, stands, guesses = coordinates.rest.device, [], [], [], []
    images, merged = images_of(annotations)
    for i, (each, (pick, stand)) in enumerate(zip(annotations, picks, strict=True)):
        times = len(seen[i])
        group = _blocks(pick, maps[i].shape) if len(merged) == 1 else np.full(len(pick), images[i], dtype=np.int64)
        guess = np.zeros(len(pick), bool) if each.guessed is None else each.guessed.ravel()[pick]
        for parts, column in ((labels, known[i]), (groups, group), (stands, stand), (guesses, guess)):
            parts += [column] * times
    y, group, stand, guessed = (
        torch.from_numpy(np.concatenate(column)).to(device) for column in (labels, groups, stands, guesses)
    )
    weight = _weights(y, stand, len(categories), balance)
    covered = sum(int((each != IGNORE).sum()) for each in merged) / sum(each.size for each in merged)
    x = _join([rows for each in seen for rows in each])
    labelled = digest(bytes(bool((each != IGNORE).any()) for each in maps))
    return Examples(
        x, y, group, merged, weight, stand / stand.sum(), covered, guessed, coordinates, len(seen[0]), labelled
    )


def _join(rows: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate rows, emptying the list on the way so that little is held twice."""
    joined = rows[0].new_empty(sum(len(x) for x in rows), rows[0].shape[1])
    start = 0
    for i, x in enumerate(rows):
        joined[start : start + len(x)] = x
        start, rows[i] = start + len(x), rows[0].new_empty(0)
    return joined


def _blocks(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The group of each pixel: the image's 8 x 8 blocks are assigned to four groups by the parity of row and column."""
    rows, columns = np.divmod(pixels, size[1])
    row, column = rows * 8 // size[0], columns * 8 // size[1]
    return ((row % 2) * 2 + column % 2).astype(np.int64)


def _weights(y: torch.Tensor, stands: torch.Tensor, classes: int, balance: float) -> torch.Tensor:
    """(n,) weights that sum to one; each category gets at least a small share of them."""
    totals = stands.new_zeros(classes).index_add_(0, y, stands)
    share = (totals / totals.sum()).clamp_min(1e-7)
    weight = stands * share.pow(-balance)[y]
    weight = weight / weight.sum()
    parts = weight.new_zeros(classes).index_add_(0, y, weight)
    least = LEAST_WEIGHT * min(1.0, MANY / int((totals > 0).sum()))
    weight = weight * (least / parts.clamp_min(1e-12)).clamp_min(1)[y]
    return weight / weight.sum()
