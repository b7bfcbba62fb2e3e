"""From a few annotations to an extractor: multinomial logistic regression on the labelled pixels only.

The paper's extractor is linear and its loss convex, so nothing is iterated over images: the features are gathered once
at the labelled pixels (a bilinear sample of each layer, which is what upsampling would give there), standardised, and a
ridge-penalised softmax regression is solved by L-BFGS, from the last solution where there is one. Scribbles and dense
label maps are the same code; an unlabelled pixel (255) takes no part.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from linsem.extractor import Extractor
from linsem.generator import Generator
from linsem.palette import Category
from linsem.pixels import IGNORE

MAX_PIXELS = 12_000  # more labelled pixels than this are subsampled, evenly over images and categories
RIDGE = 3e-3


class AnnotationError(ValueError):
    """Annotations that cannot be learnt from; the sentence names the image and the category."""


@dataclass(frozen=True)
class Annotation:
    """One labelled image: ws (num_ws, w_dim), labels (H, W) uint8 with 255 = unknown."""

    ws: torch.Tensor
    labels: np.ndarray


@dataclass(frozen=True)
class FitStep:
    """Where a fit is: iterations done, the penalised loss, and the extractor so far."""

    index: int
    total: int
    loss: float
    extractor: Extractor


class FeatureCache:
    """The features of the images that were seen last, at most `bytes_limit` of them, keyed by their ws."""

    def __init__(self, generator: Generator, bytes_limit: int = 512 << 20) -> None:
        self.generator, self.bytes_limit = generator, bytes_limit
        self._entries: OrderedDict[bytes, list[torch.Tensor]] = OrderedDict()
        self._bytes = 0

    def __call__(self, ws: torch.Tensor) -> list[torch.Tensor]:
        """ws (num_ws, w_dim) to its features, each (1, C, h, w)."""
        key = ws.detach().cpu().contiguous().numpy().tobytes()
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        with torch.no_grad():
            _, features = self.generator.synthesize(ws[None].to(self.generator.device), image=False)
        self._entries[key] = features
        self._bytes += sum(x.numel() * x.element_size() for x in features)
        while self._bytes > self.bytes_limit and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= sum(x.numel() * x.element_size() for x in dropped)
        return features


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
    ridge: float = RIDGE,
    balance: float = 0.5,
    iterations: int = 60,
    start: Extractor | None = None,
    features_of: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
    seed: int = 0,
) -> Iterator[FitStep]:
    """Fit, yielding a step about every ten iterations of the solver.

    `balance` is the power of a category's share by which its pixels are weighted down (0: every pixel counts the same,
    1: every category does). `start` is an earlier extractor with the same layers, whose solution is begun from.
    `features_of` maps one ws to its features (default: a pass of the generator each).
    """
    categories = tuple(categories)
    _check(generator, annotations, categories)
    layers = tuple(range(len(generator.layers))) if layers is None else tuple(sorted(layers))
    features_of = features_of or FeatureCache(generator, bytes_limit=0)
    picks = _pick_pixels(annotations, len(categories), np.random.default_rng(seed))
    x, y = _gather_all(annotations, picks, layers, features_of)
    mean, scale = x.mean(0), x.std(0, correction=0) + 1e-3
    x = (x - mean) / scale
    weight = _pixel_weights(y, len(categories), balance)
    theta = _start(start, layers, categories, mean, scale, x.shape[1])
    for done, loss in _solve(theta, x, y, weight, ridge, iterations):
        yield FitStep(done, iterations, loss, _extractor(generator, categories, layers, theta, mean, scale))


# --- what is fitted on -----------------------------------------------------------------------------------------------


def _check(generator: Generator, annotations: Sequence[Annotation], categories: tuple[Category, ...]) -> None:
    if len(categories) < 2:
        raise AnnotationError(f"at least two categories are needed to tell apart, got {len(categories)}")
    if not annotations:
        raise AnnotationError("no image is labelled yet: paint at least two categories on one image")
    seen = np.zeros(len(categories), dtype=np.int64)
    for i, each in enumerate(annotations):
        if tuple(each.labels.shape) != tuple(generator.size):
            raise AnnotationError(
                f"image {i + 1}: labels of size {each.labels.shape}, but {generator.id!r} draws {generator.size}"
            )
        if tuple(each.ws.shape) != (generator.num_ws, generator.w_dim):
            raise AnnotationError(
                f"image {i + 1}: ws of shape {tuple(each.ws.shape)}, but {generator.id!r} takes "
                f"{(generator.num_ws, generator.w_dim)}: it belongs to another generator"
            )
        known = each.labels[each.labels != IGNORE]
        if known.size and known.max() >= len(categories):
            raise AnnotationError(
                f"image {i + 1}: label {known.max()}, but there are only {len(categories)} categories"
            )
        seen += np.bincount(known, minlength=len(categories))
    if seen.sum() == 0:
        raise AnnotationError("all pixels are unknown: paint at least two categories")
    if (seen > 0).sum() < 2:
        only = categories[int(seen.argmax())].name
        raise AnnotationError(f"only {only!r} is painted: paint at least one other category too")


def _pick_pixels(annotations: Sequence[Annotation], classes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Flat indices of the pixels used of each image: all, or an even share for each (image, category)."""
    total = sum(int((a.labels != IGNORE).sum()) for a in annotations)
    picks = []
    for each in annotations:
        flat = each.labels.ravel()
        if total <= MAX_PIXELS:
            picks.append(np.flatnonzero(flat != IGNORE))
            continue
        present = [np.flatnonzero(flat == k) for k in range(classes) if (flat == k).any()]
        share = MAX_PIXELS // len(annotations) // max(len(present), 1)
        picks.append(np.sort(np.concatenate([p if len(p) <= share else rng.choice(p, share, False) for p in present])))
    return picks


def _gather_all(
    annotations: Sequence[Annotation],
    picks: Sequence[np.ndarray],
    layers: Sequence[int],
    features_of: Callable[[torch.Tensor], list[torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (n, sum of channels) and labels (n,) at the picked pixels of all annotations."""
    rows, labels = [], []
    for i, (each, pick) in enumerate(zip(annotations, picks, strict=True)):
        if len(pick) == 0:
            continue
        features = features_of(each.ws)
        x = gather(features, layers, pick, each.labels.shape)
        if not torch.isfinite(x).all():
            raise AnnotationError(f"image {i + 1}: its features hold numbers that are not finite")
        rows.append(x)
        labels.append(torch.from_numpy(each.labels.ravel()[pick].astype(np.int64)).to(x.device))
    return torch.cat(rows), torch.cat(labels)


def gather(
    features: Sequence[torch.Tensor], layers: Sequence[int], pixels: np.ndarray, size: tuple[int, int]
) -> torch.Tensor:
    """What upsampling to `size` would hold at the given flat pixel indices: (n, sum of channels) float32.

    Bilinear with aligned corners, as the extractor's own upsampling; features are (1, C, h, w).
    """
    rows, columns = np.divmod(pixels, size[1])
    grid = np.stack([columns / max(size[1] - 1, 1) * 2 - 1, rows / max(size[0] - 1, 1) * 2 - 1], axis=-1)
    grid = torch.from_numpy(grid.astype(np.float32)).to(features[0].device)[None, None]
    columns_ = []
    for i in layers:
        sampled = F.grid_sample(features[i].float(), grid, mode="bilinear", padding_mode="border", align_corners=True)
        columns_.append(sampled[0, :, 0].t())
    return torch.cat(columns_, dim=1)


def _pixel_weights(y: torch.Tensor, classes: int, balance: float) -> torch.Tensor:
    """(n,) weights that sum to one."""
    share = torch.bincount(y, minlength=classes).float().clamp_min(1) / len(y)
    weight = share.pow(-balance)[y]
    return weight / weight.sum()


# --- the solver ------------------------------------------------------------------------------------------------------


def _start(
    start: Extractor | None,
    layers: Sequence[int],
    categories: Sequence[Category],
    mean: torch.Tensor,
    scale: torch.Tensor,
    width: int,
) -> torch.Tensor:
    """(K, width + 1): the earlier solution in the new standardised coordinates, or zeros."""
    theta = torch.zeros(len(categories), width + 1, device=mean.device)
    if start is None or start.kind != "LSE" or start.layers != tuple(layers):
        return theta
    old = torch.cat([start.weights[f"layer{i}.weight"] for i in range(len(layers))], dim=1).to(mean.device)
    if old.shape[1] != width:
        return theta
    index = {c.name: k for k, c in enumerate(start.categories)}
    for k, category in enumerate(categories):
        if category.name in index:
            row = old[index[category.name]]
            theta[k, :-1] = row * scale
            theta[k, -1] = start.weights["bias"][index[category.name]].to(mean.device) + row @ mean
    return theta


def _solve(
    theta: torch.Tensor, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, ridge: float, iterations: int
) -> Iterator[tuple[int, float]]:
    """Minimise the weighted cross-entropy plus ridge / 2 |theta|^2 (not on the bias), in place; yields progress."""
    theta.requires_grad_(True)
    solver = torch.optim.LBFGS(
        [theta], lr=1, max_iter=10, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-6,
        tolerance_change=1e-7,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        theta.grad = None
        logits = torch.addmm(theta[:, -1], x, theta[:, :-1].t())
        loss = (F.cross_entropy(logits, y, reduction="none") * weight).sum()
        loss = loss + ridge / 2 * theta[:, :-1].square().sum() / x.shape[1] ** 0.5
        loss.backward()
        return loss

    with torch.enable_grad():
        before = float("inf")
        for done in range(10, iterations + 1, 10):
            loss = float(solver.step(closure))
            with torch.no_grad():
                yield done, loss
            if before - loss < 1e-4 * abs(loss):
                break
            before = loss


def _extractor(
    generator: Generator,
    categories: tuple[Category, ...],
    layers: tuple[int, ...],
    theta: torch.Tensor,
    mean: torch.Tensor,
    scale: torch.Tensor,
) -> Extractor:
    """Undo the standardisation, so that the extractor reads raw features."""
    solution = theta.detach()
    matrix = solution[:, :-1] / scale
    bias = solution[:, -1] - matrix @ mean
    parts = matrix.split([generator.layers[i].channels for i in layers], dim=1)
    weights = {f"layer{i}.weight": part.clone() for i, part in enumerate(parts)} | {"bias": bias}
    return Extractor("LSE", categories, layers, generator.id, tuple(generator.size), weights)
