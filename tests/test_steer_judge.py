"""The judge of edits: what counts as done, and what changes outside a region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.lab.steer_judge import Verdict, judge, summary
from linsem.pixels import IGNORE


class Bright:
    """A teacher that finds category 1 where the image is bright, with the mean colour as features."""

    def __call__(self, image):
        return (image.mean(dim=1) > 0).to(torch.uint8)

    def features(self, image):
        return image.mean(dim=(2, 3))


@pytest.fixture
def edit():
    """Before and after, the wish, and the region: its half is brightened, and nothing else."""
    region = np.zeros((8, 8), bool)
    region[:, :4] = True
    wished = np.where(region, 1, IGNORE).astype(np.uint8)
    before = torch.full((1, 3, 8, 8), -0.5)
    after = before.clone()
    after[..., :2] = 0.9
    return before, after, wished, region


def test_an_edit_is_done_if_the_target_is_met_and_the_rest_unchanged():
    good = Verdict(0.81, 5.9, 9.0)
    assert good.done
    assert not replace(good, agreement=0.8).done and not replace(good, outside_mae=6.0).done
    assert summary([good, replace(good, outside_mae=7.0)])["done"] == 0.5


def test_a_change_inside_the_region_is_none_outside(edit):
    before, after, wished, region = edit
    assert judge(Bright(), before, after, wished, region) == Verdict(0.5, 0, 0)


def test_a_change_outside_is_told_in_pixels_and_in_features(edit):
    before, after, wished, region = edit
    after[..., 4:] += 0.2
    found = judge(Bright(), before, after, wished, region)
    assert found.agreement == 0.5
    assert found.outside_mae == pytest.approx(0.2 * 127.5, rel=1e-5)
    assert found.outside_feature == pytest.approx(0.2 / 2 * 3**0.5, rel=1e-5)  # over half of the image, in 3 colours
