"""The starts of a sampling match its layout, and look unlike each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest

from linsem import conditional
from linsem.bank import Bank
from linsem.candidates import choose_starts, rank_starts
from linsem.generator import seed_z
from linsem.pixels import IGNORE


@pytest.fixture(scope="module")
def bank(toy, extractor):
    return conditional.make_bank(toy, extractor, range(120), batch=32)


def unlike(values, chosen):
    """The mean difference of the chosen, pair by pair."""
    pairs = combinations(np.array(values, np.int16)[chosen], 2)
    return np.mean([np.abs(a - b).mean() for a, b in pairs])


def labels_unlike(labels, chosen):
    """The mean share of pixels whose labels differ, pair by pair."""
    return np.mean([(labels[i] != labels[j]).mean() for i, j in combinations(chosen, 2)])


def test_the_seed_that_drew_the_layout_ranks_first(toy, bank):
    own = toy.truth(toy.map(seed_z(toy, [bank.seeds[42]])))[0]
    scores = rank_starts(bank, own)
    assert scores.argmax() == 42 and scores[42] == pytest.approx(1.0)
    assert np.median(scores) < 0.7


def test_starts_are_unlike_each_other_when_that_is_asked(toy, bank):
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    blind = replace(bank, colors=None)  # then their labels differ
    for known, difference in ((bank, partial(unlike, bank.colors)), (blind, partial(labels_unlike, bank.labels))):
        greedy, spread, wide = (choose_starts(known, layout, 6, diversity=much) for much in (0.0, 2.5, 20.0))
        assert len(set(spread)) == 6 and greedy[0] == spread[0] == wide[0]
        assert difference(greedy) < difference(spread) < difference(wide)


def test_starts_that_match_are_chosen_by_colour_not_by_what_they_lack():
    """Half of the candidates show what is asked for, in many colours; the others do not, and all differ in labels."""
    rng = np.random.default_rng(0)
    layout = np.zeros((8, 8), np.uint8)
    layout[:4] = 1
    labels = np.repeat(layout[None], 20, axis=0)
    labels[10:] = rng.integers(0, 4, (10, 8, 8))
    colors = np.broadcast_to(rng.integers(0, 256, (20, 1, 1, 3)), (20, 8, 8, 3)).astype(np.uint8)
    bank = Bank(tuple(range(20)), labels, 1.0, None, colors)
    chosen = choose_starts(bank, layout, 3)
    assert max(chosen) < 10
    others = [unlike(colors, list(each)) for each in combinations(range(10), 3)]
    assert unlike(colors, chosen) > np.quantile(others, 0.8)


def test_a_start_is_far_from_all_that_were_chosen_and_not_from_the_last_alone():
    """Of four that match alike, black comes first, white is farthest from it, and grey from both."""
    colors = np.array([0, 20, 128, 255], np.uint8)[:, None, None, None].repeat(3, axis=3)
    layout = np.zeros((1, 1), np.uint8)
    bank = Bank(tuple(range(4)), layout[None].repeat(4, axis=0), 1.0, None, colors)
    assert choose_starts(bank, layout, 4) == [0, 3, 2, 1]


def test_what_is_free_does_not_count(toy, bank):
    layout = toy.truth(toy.map(seed_z(toy, [1007])))[0]
    half, other = layout.copy(), bank.labels.copy()
    half[:, 16:] = IGNORE
    other[:, :, 16:] = 0
    assert choose_starts(bank, half, 4) == choose_starts(replace(bank, labels=other), half, 4)
    assert choose_starts(bank, layout, 4) != choose_starts(replace(bank, labels=other), layout, 4)


def test_no_more_starts_than_candidates(bank):
    layout = np.zeros((32, 32), np.uint8)
    assert sorted(choose_starts(bank, layout, 500)) == list(range(120))
