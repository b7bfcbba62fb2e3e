"""Evaluation of the teacher: its mIoU on drawings with exact label maps, clean and degraded."""

from __future__ import annotations

import numpy as np
import torch

from linsem import metrics, pixels
from linsem.lab import degrade
from linsem.teacher import Teacher


def scores_of(teacher: Teacher, rgb: np.ndarray, labels: np.ndarray, *, batch: int = 50) -> dict[str, float]:
    """mIoU of a teacher on drawings, (N, H, W, 3) and (N, H, W) uint8: clean and degraded, by both definitions."""
    scores = {}
    for suffix, harm in (("", False), ("_degraded", True)):
        table, matrix = judged(teacher, rgb, labels, degraded=harm, batch=batch)
        scores[f"miou{suffix}"] = metrics.table_miou(table)
        scores[f"dataset_miou{suffix}"] = metrics.dataset_miou(matrix)
    return scores


def judged(
    teacher: Teacher, rgb: np.ndarray, labels: np.ndarray, *, degraded: bool, batch: int = 50
) -> tuple[torch.Tensor, torch.Tensor]:
    """The table of `paper_iou` (N, K) and the confusion matrix (K, K) of a teacher on drawings."""
    categories, tables, matrix = len(teacher.categories), [], 0
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(rgb), batch):
        image = pixels.to_image(np.array(rgb[start : start + batch]))  # memory-mapped arrays are read-only
        truth = torch.from_numpy(np.array(labels[start : start + batch]))
        if degraded:
            image, truth = degrade.degraded(image, truth, generator)
        found = teacher(image)
        tables.append(metrics.paper_iou(found, truth, categories))
        matrix = matrix + metrics.confusion(found, truth, categories)
    return torch.cat(tables), matrix
