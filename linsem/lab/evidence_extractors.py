"""`evidence extractors`: LSE, NSE-1, NSE-2 and the centroid, trained in one pass (paper, table 1)."""

from __future__ import annotations

from pathlib import Path

from linsem.extractor import KINDS, save_extractor
from linsem.lab import evidence_setting as common
from linsem.lab.tables import Table
from linsem.supervised import iter_supervised

_KEYS = {"LSE": "lse", "NSE-1": "nse1", "NSE-2": "nse2", "centroid": "centroid"}


def run(
    model: str,
    *,
    quick: bool = False,
    out: Path | None = None,
    save: Path | None = None,
    state: Path | None = None,
    accelerate: bool = False,
) -> Table:
    """mIoU of each kind and IoU by category; with `save` the LSE is written to that file."""
    setting = common.setting_of(model, quick=quick)
    images = common.QUICK_FULL_IMAGES if quick else common.FULL_IMAGES
    steps = iter_supervised(
        setting.generator, setting.teacher, images=images, batch=setting.batch, psi=setting.psi, state=state,
        accelerate=accelerate,
    )  # fmt: skip
    for step in steps:
        losses = "  ".join(f"{name} {loss:.4f}" for name, loss in step.losses.items())
        print(f"batch {step.index} of {step.total}, {step.images} images: {losses}", flush=True)
    if save is not None:
        save_extractor(step.extractors["LSE"], save)
    scores = common.judge(setting, step.extractors)
    best = max(scores["NSE-1"].miou, scores["NSE-2"].miou)
    names = [category.name for category in setting.teacher.categories]
    rows = []
    for kind in KINDS:
        score = scores[kind]
        row = {
            "extractor": kind,
            "mIoU": common.rounded(score.miou),
            "of the best NSE": common.rounded(score.miou / best),
            "data set mIoU": common.rounded(score.dataset_miou),
            "weights": sum(w.numel() for w in step.extractors[kind].weights.values()),
        }
        rows.append(row | {n: common.rounded(v) for n, v in list(zip(names, score.by_class, strict=True))[1:]})
    values = {_KEYS[kind]: common.rounded(scores[kind].miou) for kind in KINDS}
    title = f"Extractors on {model}, {images} training images, {setting.images} judged"
    return Table("extractors", title, values, rows)
