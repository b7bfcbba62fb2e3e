"""Evaluation of editing and sampling by the teacher, independent of the extractor that guided them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linsem.edit import agreement, outside_change
from linsem.extractor import Extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import Generator, batches, seed_z
from linsem.lab.evidence_setting import random_seeds
from linsem.lab.reference_fewshot import SEEDS
from linsem.teacher import Teacher

DONE_AGREEMENT = 0.8
DONE_CHANGE = 6.0  # of 255: the largest mean absolute difference outside that counts as unchanged
SHOTS, FIRST_SEED = 8, 900


@dataclass(frozen=True)
class Verdict:
    """The evaluation of an edit: agreement inside; change outside, in 0..255 and in the teacher's features."""

    agreement: float
    outside_mae: float
    outside_feature: float

    @property
    def done(self) -> bool:
        """Whether the target is met and the rest unchanged."""
        return self.agreement > DONE_AGREEMENT and self.outside_mae < DONE_CHANGE


def judge(
    teacher: Teacher, before: torch.Tensor, after: torch.Tensor, wished: np.ndarray, region: np.ndarray
) -> Verdict:
    """Evaluate an edit: images (1, 3, H, W), wished (H, W) uint8 with 255 = no wish, region (H, W) bool."""
    labels = teacher(after)[0].cpu().numpy()
    inside = torch.from_numpy(region).to(after.device)
    hidden = [torch.where(inside, torch.zeros_like(x), x.clamp(-1, 1)) for x in (before, after)]
    distance = (teacher.features(hidden[0]) - teacher.features(hidden[1])).norm(dim=1)
    return Verdict(agreement(labels, wished), outside_change(after, before, region), float(distance[0]))


def summary(verdicts: list[Verdict]) -> dict[str, float]:
    """The mean of each figure, and the share of edits that are done."""
    return {
        "agreement": round(float(np.mean([v.agreement for v in verdicts])), 4),
        "outside_mae": round(float(np.mean([v.outside_mae for v in verdicts])), 3),
        "outside_feature": round(float(np.mean([v.outside_feature for v in verdicts])), 4),
        "done": round(float(np.mean([v.done for v in verdicts])), 3),
    }


def few_shot(
    generator: Generator, teacher: Teacher, seeds: Sequence[int] = range(FIRST_SEED, FIRST_SEED + SHOTS), *,
    psi: float = 0.5,
) -> Extractor:  # fmt: skip
    """An extractor fitted to the images of seeds, labelled by the teacher.

    Those of the default show every category, which not every eight do: `others` are fitted to random ones.
    """
    ws = generator.map(seed_z(generator, seeds), psi)
    with torch.no_grad():
        labels = teacher(generator.synthesize(ws)[0]).cpu().numpy()
    annotations = [Annotation(w, each) for w, each in zip(ws, labels, strict=True)]
    return fit_few_shot(generator, annotations, teacher.categories, missing="keep")


def others(generator: Generator, teacher: Teacher) -> list[Extractor]:
    """Fits to the images of `evidence few-shot`, the first eight of each repeat, which are random."""
    return [few_shot(generator, teacher, random_seeds(repeat, SHOTS)) for repeat in SEEDS]


def label_images(
    generator: Generator, teacher: Teacher, seeds: range, psi: float = 1.0, batch: int = 8
) -> list[tuple[int, np.ndarray]]:
    """(seed, teacher's label map) of each generated image."""
    pairs: list[tuple[int, np.ndarray]] = []
    for part in batches(len(seeds), batch):
        with torch.no_grad():
            image, _ = generator.synthesize(generator.map(seed_z(generator, seeds[part]), psi))
        pairs.extend(zip(seeds[part], teacher(image).cpu().numpy(), strict=True))
    return pairs
