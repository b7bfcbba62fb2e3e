"""`evidence scribbles`: strokes on eight images compared with labels of every pixel."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from linsem.fewshot import fit_few_shot
from linsem.lab import evidence_setting as common
from linsem.lab.reference_fewshot import SEEDS
from linsem.lab.scribble import scribble
from linsem.lab.tables import Plot, Table
from linsem.pixels import IGNORE
from linsem.spread import PIXELS, RANK

SHOTS, SHARES = 8, (0.003, 0.01, 0.03)
TOLD = 0.01  # the share that the values refer to


def run(model: str, *, quick: bool = False, out: Path | None = None) -> Table:
    """mIoU of the dense fit and of fits to strokes over some shares of the pixels, five repeats (`quick`: two).

    Strokes are spread, as in any fit. At the share that the values refer to there are two more rows: strokes without
    spreading, and spread strokes fitted with as few pixels and directions as in the app, where each stroke waits.
    """
    setting = common.setting_of(model, quick=quick)
    extractors, painted = {}, {share: [] for share in SHARES}
    repeats = SEEDS[:2] if quick else SEEDS
    for repeat in repeats:
        dense = common.annotate(setting, common.random_seeds(repeat, SHOTS))
        options = {"missing": "keep", "seed": repeat}
        extractors[f"1 {repeat}"] = fit_few_shot(setting.generator, dense, setting.teacher.categories, **options)
        for share in SHARES:
            sparse = [replace(a, labels=scribble(a.labels, share, repeat + i)) for i, a in enumerate(dense)]
            painted[share] += [float((a.labels != IGNORE).mean()) for a in sparse]
            fit = partial(fit_few_shot, setting.generator, sparse, setting.teacher.categories, **options)
            extractors[f"{share} {repeat}"] = fit()
            if share == TOLD:
                extractors[f"alone {repeat}"] = fit(spread=False)
                extractors[f"page {repeat}"] = fit(pixels=PIXELS, rank=RANK)
    scores = common.judge(setting, extractors)
    means = {
        share: float(np.mean([scores[f"{share} {repeat}"].predicted_miou for repeat in repeats]))
        for share in (*SHARES, 1)
    }
    pixels = {share: float(np.mean(painted[share])) for share in SHARES} | {1: 1.0}
    rows = [
        {"labels": "dense" if share == 1 else "strokes, spread", "pixels": pixels[share],
         "mIoU": common.rounded(means[share]), "of dense": common.rounded(means[share] / means[1])}
        for share in (*SHARES, 1)
    ]  # fmt: skip
    values = {
        "dense": common.rounded(means[1]), "scribbles": common.rounded(means[TOLD]),
        "pixels": common.rounded(np.mean(painted[TOLD])),
    }  # fmt: skip
    for name, text in (("page", "strokes, spread, fitted as on the page"), ("alone", "strokes alone")):
        miou = float(np.mean([scores[f"{name} {repeat}"].predicted_miou for repeat in repeats]))
        rows.insert(0, {"labels": text, "pixels": pixels[TOLD], "mIoU": common.rounded(miou),
                        "of dense": common.rounded(miou / means[1])})  # fmt: skip
        values[name] = common.rounded(miou)
    line = [(100 * float(np.mean(painted[s])), means[s]) for s in SHARES]
    plot = Plot(f"Strokes on {SHOTS} images", "labelled pixels, %", "mIoU",
                {"strokes": line, "dense": [(line[0][0], means[1]), (line[-1][0], means[1])]})  # fmt: skip
    title = f"Strokes against dense labels on {model}, {SHOTS} images, {len(repeats)} repeats"
    return Table("scribbles", title, values, rows, {"scribbles": plot})
