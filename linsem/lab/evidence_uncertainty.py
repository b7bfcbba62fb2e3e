"""`evidence uncertainty`: whether it finds the wrong pixels, and whether suggested images beat random ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from linsem.extractor import Extractor
from linsem.fewshot import fit_few_shot
from linsem.generator import batches
from linsem.lab import evidence_setting as common
from linsem.lab.reference_fewshot import SEEDS
from linsem.lab.tables import Plot, Table
from linsem.suggest import suggest_next

POOL = 60  # images that suggestions are chosen from
SHOTS = (4, 8)
NEAR = 16  # pixels: the largest distance from a border that is told apart
PIXELS = 1_000_000  # of all judged images together, on a grid
_BINS = 10


def run(model: str, *, quick: bool = False, out: Path | None = None) -> Table:
    """AUROC and calibration of 8-shot extractors; mIoU at 4 and 8 images, suggested and random.

    Both start from the same first image. Most wrong pixels lie at borders, so there are two more figures: the AUROC of
    being near a border of the predicted labels, which needs no probability, and that of the uncertainty among the
    pixels at borders alone.
    """
    setting = common.setting_of(model, quick=quick)
    repeats = SEEDS[:2] if quick else SEEDS
    extractors, measures = {}, []
    for repeat in repeats:
        pool = common.random_seeds(repeat, POOL + 1)
        fitted = {"random": _random(setting, pool, repeat), "suggested": _suggested(setting, pool, repeat)}
        extractors |= {f"{way} {n} {repeat}": e for way, each in fitted.items() for n, e in each.items()}
        measures.append(_measure(setting, fitted["random"][8]))
        print(f"repeat {repeat}: AUROC {measures[-1][0]:.4f}, calibration error {measures[-1][3]:.4f}", flush=True)
    scores = common.judge(setting, extractors)
    means = {
        way: {
            str(n): common.rounded(np.mean([scores[f"{way} {n} {r}"].predicted_miou for r in repeats])) for n in SHOTS
        }
        for way in ("suggested", "random")
    }
    auroc, near, at, error = (common.rounded(np.mean(column)) for column in list(zip(*measures, strict=True))[:4])
    rows = [{"images": n, **{way: means[way][str(n)] for way in means}} for n in SHOTS]
    rows.append({"images": "AUROC of the uncertainty", "suggested": "", "random": auroc})
    rows.append({"images": "the same of being near a border", "suggested": "", "random": near})
    rows.append({"images": "the same of the uncertainty, at borders alone", "suggested": "", "random": at})
    rows.append({"images": "calibration error", "suggested": "", "random": error})
    right, counts = (np.sum([m[i] for m in measures], axis=0) for i in (4, 5))
    line = [((i + 0.5) / _BINS, float(right[i] / counts[i])) for i in range(_BINS) if counts[i]]
    plot = Plot("What the probability says, and what is so", "probability of the label", "share of right pixels",
                {"8 images": line, "exact": [(line[0][0],) * 2, (line[-1][0],) * 2]})  # fmt: skip
    values = {"auroc": auroc, **means, "calibration_error": error, "auroc_border": near, "auroc_at_borders": at}
    title = (
        f"Uncertainty and suggested images on {model}, {len(repeats)} repeats, pool of {POOL}, "
        f"{setting.images} judged images"
    )
    return Table("uncertainty", title, values, rows, {"calibration": plot})


def _random(setting: common.Setting, pool: list[int], repeat: int) -> dict[int, Extractor]:
    annotations = common.annotate(setting, pool[: max(SHOTS)])
    return {n: _fit(setting, annotations[:n], repeat) for n in SHOTS}


def _suggested(setting: common.Setting, pool: list[int], repeat: int) -> dict[int, Extractor]:
    """Extractors for suggested images, of which the first is that of the random ones."""
    first = common.annotate(setting, pool[:1])
    options = {"psi": setting.psi, "labelled": first[0].ws[None]}
    chosen = suggest_next(setting.generator, None, pool[1:], max(SHOTS) - 1, **options)
    annotations = first + common.annotate(setting, chosen)
    return {n: _fit(setting, annotations[:n], repeat) for n in SHOTS}


def _fit(setting: common.Setting, annotations: list, repeat: int) -> Extractor:
    return fit_few_shot(setting.generator, annotations, setting.teacher.categories, missing="keep", seed=repeat)


@torch.no_grad()
def _measure(
    setting: common.Setting, extractor: Extractor
) -> tuple[float, float, float, float, np.ndarray, np.ndarray]:
    """Three AUROCs for wrong pixels (`run`), the expected calibration error, and right pixels and pixels per bin."""
    unsure, wrong, sure, away = [], [], [], []
    step = max(1, round((setting.images * math.prod(setting.generator.size) / PIXELS) ** 0.5))
    grid = np.s_[:, step // 2 :: step, step // 2 :: step]
    for part in batches(setting.images, setting.batch):
        ws = common.latents(setting, range(common.JUDGED_SEED + part.start, common.JUDGED_SEED + part.stop))
        image, features = setting.generator.synthesize(ws)
        truth = setting.teacher(image).long()
        size = tuple(truth.shape[-2:])
        probability, label = extractor.probabilities(features, size).max(1)
        unsure.append(extractor.uncertainty(features, size)[grid].ravel())
        wrong.append((label != truth)[grid].cpu().numpy().ravel())
        sure.append(probability[grid].cpu().numpy().ravel())
        away.append(from_border(label)[grid].cpu().numpy().ravel())
    unsure, wrong, sure, away = (np.concatenate(each) for each in (unsure, wrong, sure, away))
    at = away == 0
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    right = np.bincount(bins, weights=~wrong, minlength=_BINS)
    said = np.bincount(bins, weights=sure, minlength=_BINS)
    error = float(np.abs(right - said).sum() / counts.sum())
    return auroc(unsure, wrong), auroc(-away, wrong), auroc(unsure[at], wrong[at]), error, right, counts


def from_border(labels: torch.Tensor) -> torch.Tensor:
    """(N, H, W): steps from each pixel to the nearest one beside which there is another label; at most `NEAR`."""
    reached = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    down, right = labels[:, 1:] != labels[:, :-1], labels[:, :, 1:] != labels[:, :, :-1]
    for part, differs in (
        (np.s_[:, 1:], down),
        (np.s_[:, :-1], down),
        (np.s_[:, :, 1:], right),
        (np.s_[:, :, :-1], right),
    ):
        reached[part] |= differs
    away = torch.full(labels.shape, NEAR, device=labels.device)
    for steps in range(NEAR):
        away[reached & (away > steps)] = steps
        reached = F.max_pool2d(reached[:, None].float(), 3, 1, 1)[:, 0] > 0
    return away


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a random positive has the higher score; ties count half; nan if either class is empty."""
    if positive.all() or not positive.any():
        return float("nan")
    _, index, counts = np.unique(score, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    ranks = (below + (counts + 1) / 2)[index]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(positive) - hits)))
