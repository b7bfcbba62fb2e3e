"""IoU against manual counts and plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from linsem.metrics import class_iou, confusion, dataset_iou, dataset_miou, paper_iou, paper_miou, table_miou

K = 4


def _looped(pred: torch.Tensor, target: torch.Tensor) -> list[list[float]]:
    table = []
    for p, t in zip(pred, target, strict=True):
        row = [math.nan]
        for k in range(1, K):
            known = (t != 255) & (p != 255)
            hit = ((p == k) & (t == k) & known).sum().item()
            either = (((p == k) | (t == k)) & known).sum().item()
            row.append(hit / either if either else math.nan)
        table.append(row)
    return table


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, K, (5, 8, 6), generator=generator).to(torch.uint8)
    pred = torch.where(torch.rand(target.shape, generator=generator) < 0.6, target, target.roll(1, 2))
    target[1][target[1] == 3] = 0
    pred[1][pred[1] == 3] = 0  # absent in both
    target[2][target[2] == 2] = 0  # present in the prediction alone
    return pred, target


def test_paper_iou_is_what_plain_loops_count(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    table = paper_iou(*pair, K)
    assert table.shape == (5, K)
    torch.testing.assert_close(table, torch.tensor(_looped(*pair), dtype=torch.float64), equal_nan=True)
    assert table[:, 0].isnan().all() and table[1, 3].isnan() and table[2, 2] == 0
    assert not table[0, 1:].isnan().any() and 0 < table[0, 1] < 1


def test_a_perfect_prediction_is_one_and_a_disjoint_one_zero() -> None:
    target = torch.tensor([[[0, 1], [2, 3]]])
    assert paper_miou(target, target, K) == 1 == dataset_miou(confusion(target, target, K))
    assert paper_miou(target.flip(1), target, K) == 0 == dataset_miou(confusion(target.flip(1), target, K))


def test_mean_over_images_comes_before_the_mean_over_categories() -> None:
    target = torch.tensor([[[1, 1]], [[1, 1]], [[1, 2]]])
    pred = torch.tensor([[[1, 0]], [[1, 1]], [[1, 2]]])
    assert class_iou(paper_iou(pred, target, 3))[1:].tolist() == pytest.approx([(0.5 + 1 + 1) / 3, 1.0])
    assert paper_miou(pred, target, 3) == pytest.approx((2.5 / 3 + 1) / 2)
    mean_of_images = (0.5 + 1 + 1) / 3
    assert paper_miou(pred, target, 3) != pytest.approx(mean_of_images)


def test_background_taken_for_a_part_is_that_part_s_false_positive() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    assert paper_iou(torch.tensor([[[0, 1, 1, 1]]]), target, 2)[0, 1].item() == pytest.approx(2 / 3)


def test_a_data_set_s_iou_differs_from_the_paper_s_and_keeps_the_background() -> None:
    target = torch.tensor([[[1, 1, 1, 1]], [[0, 0, 0, 1]]])
    pred = torch.tensor([[[1, 1, 1, 1]], [[0, 0, 1, 0]]])
    assert dataset_iou(confusion(pred, target, 2)).tolist() == pytest.approx([2 / 4, 4 / 6])
    assert dataset_miou(confusion(pred, target, 2)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert paper_miou(pred, target, 2) == pytest.approx((1 + 0) / 2)


def test_unknown_pixels_are_not_compared(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = pair
    unknown = target.clone()
    unknown[pred != target] = 255
    before, after = paper_miou(pred, target, K), paper_miou(pred, unknown, K)
    assert before < 0.9 and after == 1
    assert confusion(pred, unknown, K).sum() == (pred == target).sum()
    assert torch.equal(paper_iou(pred, unknown, K).isnan(), paper_iou(unknown, pred, K).isnan())
    assert math.isnan(paper_miou(pred, torch.full_like(target, 255), K))


def test_batches_add_up(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = pair
    tables = [paper_iou(pred[rows], target[rows], K) for rows in (slice(0, 2), slice(2, 5))]
    assert table_miou(torch.cat(tables)) == paper_miou(pred, target, K)
    parts = confusion(pred[:2], target[:2], K) + confusion(pred[2:], target[2:], K)
    assert torch.equal(parts, confusion(pred, target, K))
    assert confusion(pred, target, K)[1, 2] == ((target == 1) & (pred == 2)).sum()


@pytest.mark.parametrize(
    ("pred", "target", "classes", "message"),
    [
        (torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long), 3, r"expected \(N, H, W\)"),
        (torch.zeros(1, 2, 4, dtype=torch.long), torch.zeros(1, 2, 5, dtype=torch.long), 3, r"\(1, 2, 5\)"),
        (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4, dtype=torch.long), 3, "integers"),
        (torch.full((1, 2, 2), 3), torch.zeros(1, 2, 2, dtype=torch.long), 3, r"0\.\.2"),
        (torch.zeros(1, 2, 2, dtype=torch.long), torch.zeros(1, 2, 2, dtype=torch.long), 256, "num_classes"),
    ],
)
def test_bad_input_is_told_what_was_expected(
    pred: torch.Tensor, target: torch.Tensor, classes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paper_iou(pred, target, classes)


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.int32, torch.uint64])
def test_labels_of_any_integer_type_are_counted(pair: tuple[torch.Tensor, torch.Tensor], kind: torch.dtype) -> None:
    pred, target = pair
    assert paper_miou(pred.to(kind), target.to(kind), K) == paper_miou(pred, target, K)
