"""`evidence scribbles`: strokes on eight images compared with labels of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from linsem.extractor import Extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.lab import evidence_setting as common
from linsem.lab.reference_fewshot import SEEDS
from linsem.lab.scribble import correct, scribble
from linsem.lab.tables import Plot, Table
from linsem.pixels import IGNORE
from linsem.spread import PIXELS, RANK

SHOTS, SHARES = 8, (0.003, 0.01, 0.03)
TOLD = 0.01  # the share that the values refer to
ROUNDS = 5  # of strokes where what was learnt from those before is wrong
PAGE = {"pixels": PIXELS, "rank": RANK}  # of a fit in the app, where each stroke waits
OTHERS = {
    "alone": "strokes alone",
    "page": "strokes, spread, fitted as on the page",
    "corrected": f"strokes in {ROUNDS} rounds, where it was wrong",
    "corrected_page": f"strokes in {ROUNDS} rounds, where it was wrong, fitted as on the page",
}


def run(model: str, *, quick: bool = False, out: Path | None = None) -> Table:
    """mIoU of the dense fit and of fits to strokes over some shares of the pixels, five repeats (`quick`: two).

    Strokes are spread, as in any fit. At the share that the values refer to there are more rows (`OTHERS`): strokes
    without spreading; fitted as in the app; and as many in rounds, each where what was learnt from those before is
    wrong, which the overlay shows an annotator after every stroke.
    """
    setting = common.setting_of(model, quick=quick)
    repeats = SEEDS[:2] if quick else SEEDS
    extractors, painted = {}, {share: [] for share in (*SHARES, *OTHERS)}
    for repeat in repeats:
        dense = common.annotate(setting, common.random_seeds(repeat, SHOTS))
        options = {"categories": setting.teacher.categories, "missing": "keep", "seed": repeat}
        fit = partial(fit_few_shot, setting.generator, **options)
        extractors[f"1 {repeat}"] = fit(dense)
        for share in SHARES:
            sparse = [replace(a, labels=scribble(a.labels, share, repeat + i)) for i, a in enumerate(dense)]
            painted[share] += _shares(sparse)
            extractors[f"{share} {repeat}"] = fit(sparse)
            if share == TOLD:
                painted["alone"], painted["page"] = painted[share], painted[share]
                extractors[f"alone {repeat}"] = fit(sparse, spread=False)
                extractors[f"page {repeat}"] = fit(sparse, **PAGE)
        for name, how in (("corrected", {}), ("corrected_page", PAGE)):
            sparse, found = _corrected(setting, dense, partial(fit, **how), repeat)
            painted[name] += _shares(sparse)
            extractors[f"{name} {repeat}"] = found
    scores = common.judge(setting, extractors)
    means = {
        name: float(np.mean([scores[f"{name} {repeat}"].predicted_miou for repeat in repeats]))
        for name in (*OTHERS, *SHARES, 1)
    }
    pixels = {name: float(np.mean(shares)) for name, shares in painted.items()} | {1: 1.0}
    return _table(model, len(repeats), means, pixels)


def _corrected(
    setting: common.Setting, dense: Sequence[Annotation], fit: Callable[..., Extractor], repeat: int
) -> tuple[list[Annotation], Extractor]:
    """Strokes in rounds, over as many pixels as in the other rows, and what is learnt from all of them."""
    share = TOLD / ROUNDS
    sparse = [replace(a, labels=scribble(a.labels, share, repeat + i)) for i, a in enumerate(dense)]
    for number in range(1, ROUNDS):
        found, seed = _predicted(setting, fit(sparse), dense), repeat + 1000 * number
        sparse = [
            replace(a, labels=correct(a.labels, whole.labels, found[i], share, seed + i))
            for i, (a, whole) in enumerate(zip(sparse, dense, strict=True))
        ]
    return sparse, fit(sparse)


@torch.no_grad()
def _predicted(setting: common.Setting, extractor: Extractor, images: Sequence[Annotation]) -> np.ndarray:
    """The labels (N, H, W) that an extractor predicts on images."""
    _, features = setting.generator.synthesize(torch.stack([each.ws for each in images]))
    return extractor.predict(features, tuple(setting.generator.size))


def _shares(annotations: Sequence[Annotation]) -> list[float]:
    return [float((each.labels != IGNORE).mean()) for each in annotations]


def _table(model: str, repeats: int, means: dict[object, float], pixels: dict[object, float]) -> Table:
    told = {share: "dense" if share == 1 else "strokes, spread" for share in (*SHARES, 1)}
    rows = [
        {"labels": text, "pixels": pixels[name], "mIoU": common.rounded(means[name]),
         "of dense": common.rounded(means[name] / means[1])}
        for name, text in (OTHERS | told).items()
    ]  # fmt: skip
    values = {
        "dense": common.rounded(means[1]), "scribbles": common.rounded(means[TOLD]),
        "pixels": common.rounded(pixels[TOLD]), **{name: common.rounded(means[name]) for name in OTHERS},
    }  # fmt: skip
    percent = {name: round(100 * share, 1) for name, share in pixels.items()}
    line = [(percent[share], means[share]) for share in SHARES]
    shown = {"strokes": line, f"in {ROUNDS} rounds": [(percent["corrected"], means["corrected"])]}
    dense = {"dense": [(line[0][0], means[1]), (line[-1][0], means[1])]}
    plot = Plot(f"Strokes on {SHOTS} images", "labelled pixels, %", "mIoU", shown | dense)
    title = f"Strokes against dense labels on {model}, {SHOTS} images, {repeats} repeats"
    return Table("scribbles", title, values, rows, {"scribbles": plot})
