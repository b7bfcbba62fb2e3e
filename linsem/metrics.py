"""Intersection over union, as the paper computes it (per image) and as data sets do (one confusion matrix).

Predictions and targets are integer labels (N, H, W) in {0..K-1}. Pixels that are `IGNORE` (255) in either are not
compared. There are no loops over images or categories, and one device synchronisation per call.
"""

from __future__ import annotations

import torch

from linsem.arguments import whole_number
from linsem.errors import InputError
from linsem.pixels import IGNORE


def paper_iou(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> torch.Tensor:
    """IoU of each category in each image, (N, K) float64: TP / (TP + FP + FN) over the image's pixels.

    nan where it is not counted: category 0 (the background) always, and categories absent from both the prediction and
    the target. A category that is only predicted, or only missed, counts as 0. Background pixels predicted as something
    else are that category's FP. (Xu & Zheng, CVPR 2021, section 5.1, as its code evaluates it.)
    """
    table = _iou(_per_image(pred, target, num_classes))
    table[:, 0] = torch.nan
    return table


def class_iou(table: torch.Tensor) -> torch.Tensor:
    """Each category's mean IoU, from a table of `paper_iou` (N, K), over the images that have it or are said to.

    (K,) float64, nan for a category that no image has.
    """
    table = torch.as_tensor(table)
    if table.ndim != 2:
        raise InputError(f"table: expected (N, K), as paper_iou gives it, got {tuple(table.shape)}")
    return table.double().nanmean(dim=0)


def table_miou(table: torch.Tensor) -> float:
    """The mIoU of a table of `paper_iou`, (N, K): the mean over images, then over categories; nan if it is empty."""
    return class_iou(table).nanmean().item()


def paper_miou(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> float:
    """The paper's mIoU of labels (N, H, W); for more images than fit, join `paper_iou` tables and use `table_miou`."""
    return table_miou(paper_iou(pred, target, num_classes))


def confusion(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Confusion matrix (K, K) int64: pixels of category [row] predicted as category [column]. Matrices can be added."""
    return _per_image(pred, target, num_classes).sum(dim=0)


def dataset_iou(matrix: torch.Tensor) -> torch.Tensor:
    """The IoU of each category of a confusion matrix (K, K): (K,) float64, nan for categories that never occur.

    The background is included.
    """
    matrix = torch.as_tensor(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"matrix: expected (K, K), as confusion gives it, got {tuple(matrix.shape)}")
    return _iou(matrix[None])[0]


def dataset_miou(matrix: torch.Tensor) -> float:
    """The mean of `dataset_iou` over the categories that occur, background included."""
    return dataset_iou(matrix).nanmean().item()


def _iou(matrices: torch.Tensor) -> torch.Tensor:
    """IoUs (N, K) of confusion matrices (N, K, K); 0 / 0 is nan."""
    hits = matrices.diagonal(dim1=1, dim2=2).double()
    return hits / (matrices.sum(dim=1) + matrices.sum(dim=2) - hits)


def _per_image(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> torch.Tensor:
    """One confusion matrix per image, (N, K, K) int64."""
    pred, target = torch.as_tensor(pred), torch.as_tensor(target)
    num_classes = whole_number("num_classes", num_classes, 1, IGNORE)
    _check(pred, target)
    pred, target = pred.to(target.device).long().flatten(1), target.long().flatten(1)
    _check_labels(pred, target, num_classes)
    known = (pred != IGNORE) & (target != IGNORE)
    cells = num_classes * num_classes
    cell = torch.where(known, target * num_classes + pred, cells)  # unknown pixels get a cell of their own
    counts = cell.new_zeros(len(cell), cells + 1).scatter_add_(1, cell, torch.ones_like(cell))
    return counts[:, :cells].reshape(-1, num_classes, num_classes)


def _check(pred: torch.Tensor, target: torch.Tensor) -> None:
    if pred.ndim != 3 or pred.shape != target.shape:
        raise InputError(f"pred, target: expected (N, H, W) twice, got {tuple(pred.shape)} and {tuple(target.shape)}")
    if pred.is_floating_point() or target.is_floating_point():
        raise InputError(f"pred, target: expected integers, got {pred.dtype} and {target.dtype}")


def _check_labels(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> None:
    wrong = [((x < 0) | ((x >= num_classes) & (x != IGNORE))).any() for x in (pred, target)]
    if bool(wrong[0] | wrong[1]):
        raise InputError(f"pred, target: expected labels in 0..{num_classes - 1} or {IGNORE}, got others")
