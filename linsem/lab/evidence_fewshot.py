"""`evidence few-shot`: this library's fit and the reference protocol on the same images (paper, table 2).

The images are random, and a category that none of them shows counts as zero, as in the paper. "of the full LSE" is
relative to the one that ships, which saw untruncated images; "at most" is what it would be if a fit were as good as the
full LSE on the categories that its images show, and zero on the others, which it cannot learn; "of it, seen" is the
ratio over the shown ones alone. All three are for `predict`, where our fits and the full LSE remove specks. "linear
alone" is for the largest logits, as in the paper, and beside it its ratios to the same of the full LSE and of one that
is trained here at the psi of the labelled and judged images, as in the paper. "ours, suggested" is our fit on images
that `suggest_next` chose from a pool of others, without any labels; its seconds are those of the fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from linsem.extractor import Extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.lab import evidence_setting as common
from linsem.lab.reference_fewshot import FAST, LR, SEEDS, fit_reference
from linsem.lab.tables import Plot, Table, kept, stem
from linsem.suggest import suggest_next

SHOTS = (1, 4, 8, 16)
POOL = 60  # images that suggestions are chosen from
WAYS = ("ours", "reference", "reference_fast", "suggested")
NAMES = {"reference_fast": "reference, ten times its rate", "suggested": "ours, suggested"}


def run(
    model: str, *, quick: bool = False, out: Path | None = None, count: int | None = None,
    only: Sequence[str] | None = None,
) -> Table:  # fmt: skip
    """mIoU with 1, 4, 8 and 16 labelled images, `count` repeats (default: 5, `quick`: 2), and of the full LSE.

    With `only`, some of WAYS are run, and the others' rows are taken from the table in `out`; their whiskers then are
    their spread, to both sides.
    """
    setting = common.setting_of(model, quick=quick)
    repeats = SEEDS[: count or (2 if quick else len(SEEDS))]
    title = f"Few-shot extractors on {setting.model}, {len(repeats)} repeats, {setting.images} judged images"
    before = kept(out, stem("few-shot", model), title) if only else ({}, [])
    extractors, seconds, seen = {"full": common.full_lse(setting), "full, psi": common.trained_lse(setting)}, {}, {}
    for repeat in repeats:
        seeds = common.random_seeds(repeat, max(SHOTS) + POOL)
        random = common.annotate(setting, seeds[: max(SHOTS)])
        pool = seeds[max(SHOTS) :]
        chosen = common.annotate(setting, suggest_next(setting.generator, None, pool, max(SHOTS), psi=setting.psi))
        for way, shots in product(WAYS, SHOTS):
            annotations = (chosen if way == "suggested" else random)[:shots]
            name, start = f"{way} {shots} {repeat}", time.perf_counter()
            seen[name] = np.unique([a.labels for a in annotations])
            if only and way not in only:
                continue
            extractors[name] = _fit(setting, way, annotations, repeat)
            seconds[name] = time.perf_counter() - start
            print(f"{way} {shots} shots, repeat {repeat}: {seconds[name]:.1f} s", flush=True)
    scores = common.judge(setting, extractors)
    return _table(setting, scores, _shares(scores, seen), seconds, title, before)


def _shares(scores: dict[str, common.Score], seen: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Of each fit: the categories that its images show as a share of the full LSE's IoU, and its IoU in them of that.

    The second is not a number for fits without a score.
    """
    full, found = np.array(scores["full"].predicted), {}
    for name, labels in seen.items():
        shown = np.nansum(full[labels])
        ours = np.nansum(np.array(scores[name].predicted)[labels]) if name in scores else np.nan
        found[name] = (float(shown / np.nansum(full)), float(ours / shown))
    return found


def _fit(setting: common.Setting, way: str, annotations: list[Annotation], repeat: int) -> Extractor:
    categories = setting.teacher.categories
    if way.startswith("reference"):
        rate = FAST if way == "reference_fast" else LR
        return fit_reference(setting.generator, annotations, categories, seed=repeat, always_regenerate=False, lr=rate)
    return fit_few_shot(setting.generator, annotations, categories, missing="keep", seed=repeat)


def _table(
    setting: common.Setting, scores: dict[str, common.Score], shares: dict[str, tuple[float, float]],
    seconds: dict[str, float], title: str, before: tuple[dict[str, Any], list[dict[str, object]]],
) -> Table:  # fmt: skip
    mious = {name: score.predicted_miou for name, score in scores.items()}
    full, alone, strict = mious["full"], scores["full"].miou, scores["full, psi"].miou
    rows, lines, whiskers = [], {}, {}
    means: dict[str, dict[str, float]] = {way: {} for way in WAYS}
    spread: dict[str, dict[str, float]] = {way: {} for way in WAYS}
    linear: dict[str, dict[str, float]] = {way: {} for way in WAYS}
    for way in WAYS:
        said = NAMES.get(way, way)
        if f"{way} {SHOTS[0]} {SEEDS[0]}" not in seconds:
            if not before[0].get(way):  # a table of before this way was there
                continue
            old = [row for row in before[1] if row["fit"] == said]
            changed = strict if before[0]["linear"].get("full_at_psi") != common.rounded(strict) else None
            rows += [_kept(row, _mean(shares, f"{way} {row['images']} ")[0], changed) for row in old]
            whiskers[said] = [(row["mIoU"] - row["spread"], row["mIoU"] + row["spread"]) for row in old]
            means[way], linear[way] = before[0][way], before[0]["linear"][way]
            spread[way] = before[0].get({"ours": "spread"}.get(way, f"spread_{way}"), {})
            lines[said] = [(float(shots), means[way][str(shots)]) for shots in SHOTS]
            continue
        lines[said], whiskers[said] = [], []
        for shots in SHOTS:
            found = np.array([m for name, m in mious.items() if name.startswith(f"{way} {shots} ")])
            took = np.mean([s for name, s in seconds.items() if name.startswith(f"{way} {shots} ")])
            bare = np.mean([s.miou for name, s in scores.items() if name.startswith(f"{way} {shots} ")])
            most, seen = _mean(shares, f"{way} {shots} ")
            mean, wide = float(found.mean()), float(np.abs(found - found.mean()).max())
            means[way][str(shots)], spread[way][str(shots)] = common.rounded(mean), common.rounded(wide)
            linear[way][str(shots)] = common.rounded(bare)
            lines[said].append((float(shots), mean))
            whiskers[said].append((float(found.min()), float(found.max())))
            rows.append({"fit": said, "images": shots, "mIoU": common.rounded(mean), "spread": common.rounded(wide),
                         "of the full LSE": common.rounded(mean / full), "at most": common.rounded(most),
                         "of it, seen": common.rounded(seen),
                         "linear alone": common.rounded(bare), "of the full one": common.rounded(bare / alone),
                         "of one at this psi": common.rounded(bare / strict),
                         "seconds": round(float(took), 2)})  # fmt: skip
    lines["full LSE"] = [(float(s), full) for s in (SHOTS[0], SHOTS[-1])]
    rows.append({"fit": "full LSE", "images": "", "mIoU": common.rounded(full), "spread": "", "of the full LSE": 1.0,
                 "at most": 1.0, "of it, seen": 1.0, "linear alone": common.rounded(alone), "of the full one": 1.0,
                 "of one at this psi": common.rounded(alone / strict), "seconds": ""})  # fmt: skip
    rows.append({"fit": f"LSE at psi {setting.psi:g}", "images": "", "mIoU": common.rounded(mious["full, psi"]),
                 "spread": "", "of the full LSE": common.rounded(mious["full, psi"] / full), "at most": "",
                 "of it, seen": "",
                 "linear alone": common.rounded(strict), "of the full one": common.rounded(strict / alone),
                 "of one at this psi": 1.0, "seconds": ""})  # fmt: skip
    values = {
        "full": common.rounded(full),
        **means,
        "linear": {"full": common.rounded(alone), "full_at_psi": common.rounded(strict), **linear},
        "spread": spread["ours"],
        "spread_reference": spread["reference"],
    }
    plot = Plot("Few labelled images", "labelled images", "mIoU", lines, whiskers)
    return Table("few-shot", title, values, rows, {"few-shot": plot})


def _mean(shares: dict[str, tuple[float, float]], start: str) -> np.ndarray:
    """The mean pair of the fits whose names start so."""
    return np.mean([pair for name, pair in shares.items() if name.startswith(start)], axis=0)


def _kept(row: dict[str, object], most: float, strict: float | None) -> dict[str, object]:
    """A row of an earlier table with "at most" in its place, and relative to `strict` if another LSE is trained now."""
    now = {"at most": common.rounded(most)}
    if strict is not None:
        now["of one at this psi"] = common.rounded(row["linear alone"] / strict)
    parts = [(name, now.get(name, value)) for name, value in row.items() if name != "at most"]
    at = [name for name, _ in parts].index("of it, seen")
    return dict([*parts[:at], ("at most", now["at most"]), *parts[at:]])
