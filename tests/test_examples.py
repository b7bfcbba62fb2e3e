"""From annotations to rows: what each category weighs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from linsem import examples
from linsem.examples import _weights


def shares(classes, common=10_000):
    """The weight of each category, of which the first has many pixels and each other one."""
    y = torch.cat([torch.zeros(common, dtype=torch.long), torch.arange(1, classes)])
    weight = _weights(y, torch.ones(len(y)), classes, 0.0).double()
    return weight.new_zeros(classes).index_add_(0, y, weight).numpy()


@pytest.mark.parametrize("classes", [2, 20, 21, 250])
def test_a_rare_category_has_a_least_weight_and_many_together_a_tenth_at_most(monkeypatch, classes):
    found = shares(classes)
    least = min(0.005, 0.1 / classes)
    assert found.sum() == pytest.approx(1, rel=1e-4)
    assert found[1:] == pytest.approx(least / (1 + (classes - 1) * least), rel=0.03)
    assert found[0] > 0.9
    monkeypatch.setattr(examples, "MANY", 10**9)
    assert np.array_equal(shares(classes), found) == (classes <= 20)
    monkeypatch.setattr(examples, "LEAST_WEIGHT", 0.0)
    assert shares(classes)[1:].max() < 2e-4
