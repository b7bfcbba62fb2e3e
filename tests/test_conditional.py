"""Sampling to a layout: banks, distinct starts, and results that agree better than chance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from linsem import conditional
from linsem.generator import seed_z
from linsem.pixels import IGNORE


@pytest.fixture(scope="module")
def bank(toy, extractor):
    return conditional.make_bank(toy, extractor, range(120), batch=32)


@pytest.fixture(scope="module")
def layout(toy):
    return toy.truth(toy.map(seed_z(toy, [1007])))[0]


def test_a_bank_does_not_depend_on_its_batches(toy, extractor, bank):
    again = conditional.make_bank(toy, extractor, range(120), batch=7)
    assert again.seeds == bank.seeds and np.array_equal(again.labels, bank.labels)
    assert not np.array_equal(bank.labels[0], bank.labels[1])


def test_a_bank_of_large_images_is_made_in_small_passes(toy, extractor, monkeypatch):
    whole = conditional.make_bank(toy, extractor, range(6), batch=4)
    sizes, synthesize = [], toy.synthesize
    monkeypatch.setattr(toy, "synthesize", lambda ws, **options: sizes.append(len(ws)) or synthesize(ws, **options))
    monkeypatch.setattr("linsem.generator.PASS_NUMBERS", 1)
    assert np.array_equal(conditional.make_bank(toy, extractor, range(6), batch=4).labels, whole.labels)
    assert sizes == [1] * 6


def test_a_cached_bank_is_read_back_and_another_extractor_has_another(toy, extractor, tmp_path):
    first = conditional.cached_bank(tmp_path, toy, extractor, range(8))
    second = conditional.cached_bank(tmp_path, toy, extractor, range(8))
    assert np.array_equal(first.labels, second.labels) and first.seeds == second.seeds
    assert len(list(tmp_path.iterdir())) == 1
    conditional.cached_bank(tmp_path, toy, extractor, range(9))
    assert len(list(tmp_path.iterdir())) == 2


def test_results_obey_better_than_their_starts_and_than_chance(toy, extractor, bank, layout):
    steps = list(conditional.iter_sample(toy, extractor, layout, 4, bank=bank, steps=40))
    first, last = steps[0].results, steps[-1].results
    assert len(last) == 4
    assert np.mean([r.score for r in last]) > np.mean([r.score for r in first]) + 0.02
    chance = conditional.rank_starts(bank, layout).mean()
    assert min(r.score for r in last) > chance + 0.1
    assert [r.score for r in last] == sorted((r.score for r in last), reverse=True)
    for result in last:
        assert conditional.score(toy.truth(result.ws[None])[0], layout) == pytest.approx(result.score)


def test_steps_that_are_not_drawn_carry_the_last_results_and_the_end_is_the_same(toy, extractor, bank, layout):
    each, some = (
        list(conditional.iter_sample(toy, extractor, layout, 2, bank=bank, steps=8, draw_every=every))
        for every in (1, 3)
    )
    assert [step.index for step in each] == [step.index for step in some]
    for before, step in pairwise(some[:-1]):
        assert (step.results is before.results) == (step.index % 3 != 0)
    assert all(a.results is not b.results for a, b in pairwise(each))
    assert [r.score for r in each[-1].results] == [r.score for r in some[-1].results]
    assert torch.equal(each[-1].results[0].image, some[-1].results[0].image)


def test_a_result_s_seed_draws_its_start(toy, extractor, layout):
    results = conditional.sample(toy, extractor, layout, 2, candidates=30, steps=0)
    for result in results:
        assert torch.allclose(toy.map(seed_z(toy, [result.seed]))[0], result.ws, atol=1e-6)


def test_no_result_obeys_less_than_the_image_that_it_starts_from(toy, extractor, bank, monkeypatch):
    """The loss is not the score: without looking at it, some do."""

    def falls():
        found = []
        for i in range(10):
            layout = extractor.predict(toy.synthesize(toy.map(seed_z(toy, [bank.seeds[i]])))[1])[0]
            for each in conditional.sample(toy, extractor, layout, 2, bank=bank, steps=12):
                start = extractor.predict(toy.synthesize(toy.map(seed_z(toy, [each.seed])))[1])[0]
                found.append(conditional.score(start, layout) - each.score)
                drawn = extractor.predict(toy.synthesize(each.ws[None])[1])[0]
                assert conditional.score(drawn, layout) == pytest.approx(each.score, abs=0.01)
        return np.array(found)

    assert falls().max() <= 0
    monkeypatch.setattr(conditional, "_never_below", lambda first, step, *rest: step)
    assert falls().max() > 0


def test_no_result_obeys_less_than_a_step_before(toy, extractor, bank, monkeypatch):
    """What was shown would be taken away again."""

    def falls():
        most = 0.0
        for i in range(6):
            layout = extractor.predict(toy.synthesize(toy.map(seed_z(toy, [bank.seeds[i]])))[1])[0]
            scores: dict[int, float] = {}
            for step in conditional.iter_sample(toy, extractor, layout, 3, bank=bank, steps=16):
                for each in step.results:
                    most = max(most, scores.get(each.seed, 0.0) - each.score)
                    scores[each.seed] = each.score
        return most

    assert falls() <= 0
    monkeypatch.setattr(conditional, "_never_below", lambda before, now, *rest: now)
    assert falls() > 0


def test_the_score_is_the_mean_iou_over_what_is_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, layout = rng.integers(0, 5, (2, 12, 9)).astype(np.uint8)
        layout[rng.random(layout.shape) < 0.3] = IGNORE
        layout[layout == 4] = 3
        asked, ious = layout != IGNORE, []
        for k in np.unique(layout[asked]):
            ours, theirs = labels[asked] == k, layout[asked] == k
            ious.append((ours & theirs).sum() / (ours | theirs).sum())
        assert conditional.score(labels, layout) == pytest.approx(np.mean(ious))


def test_a_free_area_is_free(toy, extractor, bank, layout):
    partial = layout.copy()
    partial[:, 16:] = IGNORE
    result = conditional.sample(toy, extractor, partial, 1, bank=bank, steps=30)[0]
    assert result.score == pytest.approx(conditional.score(result.labels, partial))
    changed = result.labels.copy()
    changed[:, 16:] = 0
    assert conditional.score(changed, partial) == pytest.approx(result.score)


def test_a_layout_of_any_size_is_taken(toy, extractor, bank, layout):
    large = layout.repeat(4, 0).repeat(3, 1)
    small = conditional.sample(toy, extractor, layout, 1, bank=bank, steps=2)[0]
    again = conditional.sample(toy, extractor, large, 1, bank=bank, steps=2)[0]
    assert again.seed == small.seed and again.score == pytest.approx(small.score)


def test_stop_acts_while_the_bank_is_made(toy, extractor, layout):
    steps = conditional.iter_sample(toy, extractor, layout, 2, candidates=64, steps=3)
    assert next(steps).results == ()
    steps.close()
    assert list(steps) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": np.full((32, 32), IGNORE, np.uint8)}, "layout is empty"),
        ({"layout": np.full((32, 32), 7, np.uint8)}, "label 7"),
        ({"layout": np.zeros((32, 32), np.float32)}, "layout: expected"),
        ({"count": 0}, "count: expected"),
        ({"count": 8, "candidates": 3}, "candidates: expected"),
    ],
)
def test_bad_input(toy, extractor, layout, arguments, message):
    arguments = {"layout": layout, "count": 1} | arguments
    with pytest.raises(conditional.LayoutError, match=message):
        conditional.sample(toy, extractor, arguments.pop("layout"), arguments.pop("count"), **arguments)


def test_a_layout_that_nothing_resembles_says_how_far_the_best_is(toy, extractor, bank, layout):
    absurd = np.full((32, 32), 3, np.uint8)  # the smallest disc, everywhere
    for asked, far in ((layout, False), (absurd, True)):
        *_, last = conditional.iter_sample(toy, extractor, asked, 2, bank=bank, steps=2)
        assert last.nearest == pytest.approx(conditional.rank_starts(bank, asked).max()) and len(last.results) == 2
        sentence = conditional.far_off(last.nearest, 120)
        assert bool(sentence) == far
    assert "120" in sentence and f"{last.nearest:.2f}" in sentence
    assert conditional.far_off(None, 120) == ""
    growing = next(conditional.iter_sample(toy, extractor, layout, 2, candidates=16, steps=1))
    assert growing.nearest is None


def test_a_line_that_is_lost_in_the_bank_s_size_is_sampled_all_the_same(toy, extractor, bank):
    small = conditional.Bank(bank.seeds, bank.labels[:, 1::2, 1::2], bank.psi)
    layout = np.full((32, 32), IGNORE, np.uint8)
    layout[10] = 1
    assert not conditional.rank_starts(small, layout).any()
    *_, last = conditional.iter_sample(toy, extractor, layout, 2, bank=small, steps=2)
    assert last.nearest is None and len(last.results) == 2


def test_a_line_that_is_lost_in_the_image_s_size_is_refused(toy, extractor, bank):
    layout = np.full((64, 64), IGNORE, np.uint8)
    layout[10] = 1
    with pytest.raises(conditional.LayoutError, match="lost in resizing the layout from 64 x 64 to 32 x 32"):
        conditional.sample(toy, extractor, layout, 1, bank=bank, steps=1)


def test_more_results_than_the_bank_has_seeds_are_refused(toy, extractor, layout):
    three = conditional.make_bank(toy, extractor, range(3))
    assert len(conditional.sample(toy, extractor, layout, 3, bank=three, steps=1)) == 3
    with pytest.raises(conditional.LayoutError, match="at most the 3 seeds of the bank, got 4"):
        conditional.sample(toy, extractor, layout, 4, bank=three)


@pytest.mark.parametrize("psi", [float("nan"), float("inf"), -0.1, 2.1])
def test_a_psi_that_is_none_is_refused(toy, extractor, layout, psi):
    with pytest.raises(conditional.LayoutError, match="psi: expected 0 to 2"):
        conditional.sample(toy, extractor, layout, 2, candidates=40, steps=2, psi=psi)


def test_samples_that_are_all_one_image_are_steered_one_layer_at_a_time(toy, extractor, layout):
    assert len(conditional.sample(toy, extractor, layout, 2, candidates=40, steps=3, psi=0.0)) == 2


@pytest.mark.parametrize("steps", [-1, 10_001])
def test_steps_are_checked_before_the_bank_is_made(toy, extractor, layout, steps):
    with pytest.raises(ValueError, match="steps: expected"):
        next(conditional.iter_sample(toy, extractor, layout, 2, candidates=8, steps=steps))
    assert next(conditional.iter_sample(toy, extractor, layout, 2, candidates=8, steps=2)).index == 0
