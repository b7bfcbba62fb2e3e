"""What all tables share: the model and its teacher, images by seed, and the evaluation of extractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linsem import metrics
from linsem.agree import labels_of
from linsem.extractor import Extractor, ExtractorError, check_fits, load_extractor
from linsem.fewshot import Annotation
from linsem.generator import Generator, batches, seed_z
from linsem.supervised import fit_supervised
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import load_generator

PSI = 0.5  # as in this part of the paper
JUDGED_SEED = 10_000_000  # images for evaluation; nothing is fitted to them
TABLE_IMAGES, QUICK_IMAGES = 2000, 200
FULL_IMAGES, QUICK_FULL_IMAGES = 8192, 1024


@dataclass(frozen=True)
class Setting:
    """A generator, its teacher, and the size of the experiment."""

    model: str
    generator: Generator
    teacher: Teacher
    quick: bool
    psi: float = PSI
    batch: int = 8

    @property
    def images(self) -> int:
        """The number of images that an extractor is evaluated on."""
        return QUICK_IMAGES if self.quick else TABLE_IMAGES

    @property
    def classes(self) -> int:
        """The number of categories."""
        return len(self.teacher.categories)


def setting_of(model: str, *, quick: bool) -> Setting:
    """The shipped generator and teacher of a model."""
    return Setting(model, load_generator(model), load_teacher(model), quick)


@torch.no_grad()
def latents(setting: Setting, seeds: Sequence[int]) -> torch.Tensor:
    """ws (N, num_ws, w_dim) of seeds."""
    return setting.generator.map(seed_z(setting.generator, seeds), psi=setting.psi)


@torch.no_grad()
def annotate(setting: Setting, seeds: Sequence[int]) -> list[Annotation]:
    """The images of the seeds with the teacher's dense labels."""
    made = []
    for part in batches(len(seeds), setting.batch):
        ws = latents(setting, seeds[part])
        labels = setting.teacher(setting.generator.synthesize(ws)[0]).cpu().numpy()
        made += [Annotation(w, each) for w, each in zip(ws, labels, strict=True)]
    return made


def random_seeds(repeat: int, count: int) -> list[int]:
    """The images of a repeat, drawn by its seed from 1,000,000 that nothing else uses."""
    picks = np.random.RandomState(repeat).permutation(1_000_000)[:count]
    return [30_000_000 + int(p) for p in picks]


@dataclass(frozen=True)
class Score:
    """The accuracy of an extractor: as the paper computes it and as data sets do; (K,) by class.

    Both are for the largest logits, as in the paper. `predicted` (K,) is the paper's figure for `predict`, without
    specks.
    """

    miou: float
    dataset_miou: float
    by_class: tuple[float, ...]
    predicted: tuple[float, ...]

    @property
    def predicted_miou(self) -> float:
        """The mean of `predicted` over the categories."""
        return float(np.nanmean(self.predicted))


@torch.no_grad()
def judge(setting: Setting, extractors: Mapping[str, Extractor], images: int | None = None) -> dict[str, Score]:
    """Evaluate every extractor on the same images, each generated and labelled once."""
    count = setting.images if images is None else images
    tables: dict[str, list[torch.Tensor]] = {name: [] for name in extractors}
    predicted: dict[str, list[torch.Tensor]] = {name: [] for name in extractors}
    matrices: dict[str, torch.Tensor | int] = dict.fromkeys(extractors, 0)
    for part in batches(count, setting.batch):
        ws = latents(setting, range(JUDGED_SEED + part.start, JUDGED_SEED + part.stop))
        image, features = setting.generator.synthesize(ws)
        truth = setting.teacher(image).long()
        for name, extractor in extractors.items():
            logits = extractor.logits(features, tuple(truth.shape[-2:]))
            found, kept = labels_of(logits), extractor.labels(logits)
            tables[name].append(metrics.paper_iou(found, truth, setting.classes))
            predicted[name].append(metrics.paper_iou(kept, truth, setting.classes))
            matrices[name] = matrices[name] + metrics.confusion(found, truth, setting.classes)
    return {name: _score(torch.cat(tables[name]), torch.cat(predicted[name]), matrices[name]) for name in extractors}


def _score(table: torch.Tensor, predicted: torch.Tensor, matrix: torch.Tensor) -> Score:
    by_class, kept = (tuple(metrics.class_iou(each).tolist()) for each in (table, predicted))
    return Score(metrics.table_miou(table), metrics.dataset_miou(matrix), by_class, kept)


def full_lse(setting: Setting) -> Extractor:
    """The fully supervised LSE: the shipped one if it was trained by the teacher, else one trained now."""
    try:
        shipped = load_extractor(setting.model)
        check_fits(shipped, setting.generator)
    except ExtractorError:
        shipped = None
    if shipped is not None and shipped.kind == "LSE" and shipped.notes.get("supervision") == "teacher":
        return shipped
    return trained_lse(setting)


def trained_lse(setting: Setting) -> Extractor:
    """An LSE supervised at the setting's psi, on the images of the table of extractors."""
    images = QUICK_FULL_IMAGES if setting.quick else FULL_IMAGES
    fitted = fit_supervised(
        setting.generator, setting.teacher, recipes=["LSE"], images=images, batch=setting.batch, psi=setting.psi
    )
    return fitted["LSE"]


def rounded(value: float) -> float:
    """Round to four decimals; more are noise."""
    return round(float(value), 4)
