"""Drawings of variants that are drawn badly come up more often."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from linsem.lab import dataset
from linsem.lab.focus import CHOICES, MOST, Focus


@pytest.fixture
def focus():
    return Focus(dataset.codes(0, 600))


def _rows_of(focus, choice, name):
    place = CHOICES.index(choice)
    return (focus.variant[:, place] == focus.names[place].index(name)).nonzero()[0]


def _drawn(focus, rows, seed=0):
    """The share of the drawings `rows` among those of a hundred batches."""
    found = np.concatenate(list(islice(focus.batches(16, seed), 100)))
    return np.isin(found, rows).mean()


def test_all_drawings_are_alike_before_any_loss_is_known(focus):
    assert np.array_equal(focus.weights(), np.ones(600))


def test_a_variant_that_is_drawn_badly_comes_up_more_often(focus):
    dreads = _rows_of(focus, "top", "dreads02")
    assert 5 < len(dreads) < 60
    before = _drawn(focus, dreads)
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = rng.choice(600, 16, replace=False)
        focus.update(rows, 1 + 0.5 * np.isin(rows, dreads))
    assert _drawn(focus, dreads) > 1.6 * before
    assert focus.worst(1).startswith("top dreads02 1.")
    assert focus.weights().max() <= MOST


def test_even_losses_change_nothing_much(focus):
    for rows in islice(focus.batches(16, 1), 100):
        focus.update(rows, np.ones(len(rows)))
    assert np.allclose(focus.weights(), 1)


def test_a_part_that_is_not_shown_has_no_variant(focus):
    bare = _rows_of(focus, "accessories", "none")
    assert 0.6 < len(bare) / 600 < 0.9  # one in four wears glasses


def test_batches_hold_each_drawing_once_and_follow_from_the_seed(focus):
    first, again, other = (np.concatenate(list(islice(focus.batches(64, seed), 3))) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    rows = next(focus.batches(300, 0))
    assert len(np.unique(rows)) == len(rows)
