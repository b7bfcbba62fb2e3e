"""The paper's protocols for editing and sampling, and its baselines, as settings of `linsem.steer`.

50 steps of Adam without truncation, cross-entropy over the whole image against a target that combines strokes and
predicted labels, 1e-3 * |z - z0|^2 + 1e-3 * |z|^2 / L, and the last iterate as the result. Editing optimises one z per
layer; sampling draws starts one by one, keeps the one that agrees on most pixels, and optimises a single z. The
learning rate is 0.01, as in the paper's web app and sampling code; its script for batches of edits has 0.002 (`SLOW`).

The mapping of the avatars is a staircase, which handicaps whatever moves z. So the same objective can also be minimised
in w, without the prior, which is one of z, and at this library's own rates (`EDIT_IN_W`, `SAMPLE_IN_W`).
"""

from __future__ import annotations

import numpy as np
import torch

from linsem import steer as loop
from linsem.extractor import Extractor
from linsem.generator import Generator, seed_z
from linsem.pixels import IGNORE

STEPS, LR, SLOW, EDIT_IN_W, SAMPLE_IN_W, PENALTY = 50, 0.01, 0.002, 0.03, 0.05, 1e-3


def edit(
    generator: Generator,
    segmenter: Extractor | loop.Segmenter,
    z: torch.Tensor,
    target: np.ndarray,
    predicted: np.ndarray,
    *,
    steps: int = STEPS,
    lr: float = LR,
) -> loop.SteerStep:
    """Semantic editing (paper §4): z (1, z_dim), target (H, W) with 255 = keep the predicted label (H, W)."""
    weights = loop.Weights(agree=1.0, prior=PENALTY / generator.num_ws, close=PENALTY)
    wish = _fused(target, predicted)
    return _last(generator, segmenter, _per_layer(generator, z), wish, "z_layers", steps, lr, weights)


def edit_in_w(
    generator: Generator,
    segmenter: Extractor | loop.Segmenter,
    ws: torch.Tensor,
    target: np.ndarray,
    predicted: np.ndarray,
    *,
    steps: int = STEPS,
) -> loop.SteerStep:
    """As `edit`, but from ws (1, num_ws, w_dim), which are optimised themselves."""
    weights = loop.Weights(agree=1.0, close=PENALTY)
    return _last(generator, segmenter, ws, _fused(target, predicted), "ws", steps, EDIT_IN_W, weights)


def edit_by_color(
    generator: Generator,
    segmenter: Extractor,
    z: torch.Tensor,
    color: np.ndarray,
    mask: np.ndarray,
    *,
    steps: int = STEPS,
    lr: float = LR,
) -> loop.SteerStep:
    """The colour baseline: squared error to `color` (H, W, 3) inside the mask (H, W), and to the start outside."""
    free = np.full(mask.shape, IGNORE, np.uint8)
    wish = loop.Wish(free, keep=(~mask).astype(np.float32), color=color, color_weight=mask.astype(np.float32))
    weights = loop.Weights(
        agree=0.0, preserve=1.0, color=1.0, prior=PENALTY / generator.num_ws, close=PENALTY, power=2.0
    )
    return _last(generator, segmenter, _per_layer(generator, z), wish, "z_layers", steps, lr, weights)


def sample(
    generator: Generator,
    segmenter: Extractor | loop.Segmenter,
    layout: np.ndarray,
    first_seed: int,
    *,
    inits: int = 100,
    steps: int = STEPS,
    in_w: bool = False,
) -> loop.SteerStep:
    """One sample for a layout (H, W): the best of `inits` starts, drawn and scored one at a time, then optimised."""
    best, most = None, -1
    segment = loop.as_segmenter(segmenter)
    for seed in range(first_seed, first_seed + inits):
        z = seed_z(generator, [seed])
        with torch.no_grad():
            image, features = generator.synthesize(generator.map(z))
            labels = segment(image, features, tuple(generator.size)).argmax(1)[0].cpu().numpy()
        hits = int((labels == layout).sum())
        if hits > most:
            best, most = z, hits
    if in_w:
        weights = loop.Weights(agree=1.0, close=PENALTY)
        return _last(generator, segmenter, generator.map(best), loop.Wish(layout), "ws", steps, SAMPLE_IN_W, weights)
    weights = loop.Weights(agree=1.0, prior=PENALTY, close=PENALTY)
    return _last(generator, segmenter, best, loop.Wish(layout), "z", steps, LR, weights)


def _fused(target: np.ndarray, predicted: np.ndarray) -> loop.Wish:
    return loop.Wish(np.where(target == IGNORE, predicted, target).astype(np.uint8))


def _per_layer(generator: Generator, z: torch.Tensor) -> torch.Tensor:
    return z[:, None].repeat(1, generator.num_ws, 1)


def _last(
    generator: Generator,
    segmenter: Extractor | loop.Segmenter,
    start: torch.Tensor,
    wish: loop.Wish,
    space: str,
    steps: int,
    lr: float,
    weights: loop.Weights,
) -> loop.SteerStep:
    options = {"space": space, "steps": steps, "lr": lr, "weights": weights, "keep_best": False, "enough": 2.0}
    *_, last = loop.steer(generator, segmenter, start, wish, **options)
    return last
