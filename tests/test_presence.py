"""Taking a category out and bringing one in: what is wished for is what a sample shows, so an image can meet it."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

import linsem
from linsem.asked import ask_for
from linsem.bank import make_bank
from linsem.edit_maps import grown
from linsem.errors import InputError
from linsem.extractor import NEVER
from linsem.generator import seed_z
from linsem.jump import make_atlas
from linsem.pixels import IGNORE
from linsem.presence import (
    GUESSED,
    add,
    iter_add,
    iter_remove,
    plan_addition,
    plan_removal,
    removal_target,
    remove,
)
from linsem.similar import giving_way, lacking, showing
from linsem.studio import Studio
from tests.toys import Sometimes

presence = importlib.import_module("linsem.presence")
HAT = 3  # of the avatars
SMALL = 3  # of the toys


@pytest.fixture(scope="module")
def some():
    return Sometimes(32)


@pytest.fixture(scope="module")
def atlas(some):
    return make_atlas(some, make_bank(some, some.known_extractor(), range(100, 180)))


def images(toy, there, count=6):
    """(ws (num_ws, w_dim), labels) of images of the toy with the smallest disc, or without it."""
    found = []
    for seed in range(200):
        ws = toy.map(seed_z(toy, [seed]))
        labels = toy.truth(ws)[0]
        share = (labels == SMALL).mean()
        if share > 0.02 if there else share == 0:
            found.append((ws[0], labels))
    return found[:count]


# --- which sample ----------------------------------------------------------------------------------------------------


def test_of_the_samples_without_a_category_those_most_like_the_image_elsewhere_come_first():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10], labels[12, 12] = 1, 3
    bare = np.where(labels == 3, 0, labels)
    maps = np.stack([labels, bare, 1 - np.minimum(labels, 1), np.zeros_like(labels)])
    all_over, upper = np.ones((20, 20), bool), np.arange(20)[:, None] < 10 + np.zeros((1, 20))
    assert lacking(maps, labels, 3, all_over).tolist() == [1, 3, 2]  # and not the image itself, which shows it
    assert lacking(maps[:1], labels, 3, all_over).tolist() == []
    assert 0 in lacking(maps, labels, 3, upper)  # there it lacks it
    inside, elsewhere = np.where(grown(labels == 3), 1, bare).astype(np.uint8), bare.copy()
    elsewhere[0, :4] = 0  # in fewer pixels, but what is in its place does not count
    assert (inside != bare).sum() > (elsewhere != bare).sum() > 0
    assert lacking(np.stack([elsewhere, inside]), labels, 3, all_over).tolist() == [1, 0]


def test_what_is_neither_usual_nor_in_the_image_does_not_come_to_light():
    """Where hair was is no hat, though what has one is more alike elsewhere; but it is if there is nothing else."""
    labels = np.zeros((20, 20), np.uint8)
    labels[:6, :6] = 1
    hat, bald = np.where(labels == 1, 2, 0).astype(np.uint8), np.zeros_like(labels)
    bald[15:] = 3  # unlike the image
    maps = np.stack([labels, labels, labels, hat, bald])
    assert lacking(maps, labels, 1, np.ones((20, 20), bool)).tolist() == [4]
    assert lacking(maps[:4], labels, 1, np.ones((20, 20), bool)).tolist() == [3]
    hatted = np.where(labels == 1, 2, labels).astype(np.uint8)
    assert lacking(maps, hatted, 2, np.ones((20, 20), bool))[0] in (0, 1, 2)  # hair is usual


def test_of_the_samples_with_a_category_those_that_show_it_whole_are_taken():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10] = 1
    whole, speck, other = labels.copy(), labels.copy(), np.zeros_like(labels)
    whole[3:9, 3:9], speck[3, 3], other[12:18, 12:18] = 3, 3, 3
    maps, all_over = np.stack([labels, speck, other, whole]), np.ones((20, 20), bool)
    assert showing(maps, labels, 3, all_over).tolist() == [3, 2]
    assert showing(maps, labels, 3, np.arange(20)[:, None] >= 10 + np.zeros((1, 20))).tolist() == [2]
    assert showing(maps, labels, 3, np.arange(20)[:, None] < 7 + np.zeros((1, 20))).tolist() == []  # the half of one
    assert showing(maps, labels, 2, all_over).tolist() == showing(maps[:1], labels, 3, all_over).tolist() == []


def test_hair_gives_way_to_a_hat_and_what_is_seen_beside_it_does_not():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 2, (40, 8, 8)).astype(np.uint8)
    maps[:20, 0], maps[20:, 0] = 3, 2
    assert giving_way(maps, 3).tolist() == [2] and giving_way(maps, 2).tolist() == [3]
    assert giving_way(maps, 0).tolist() == giving_way(maps[15:], 3).tolist() == []  # of too few nothing follows


# --- the wish --------------------------------------------------------------------------------------------------------


def test_what_a_sample_shows_in_the_place_is_asked_for_and_nothing_elsewhere(some, atlas):
    extractor = some.known_extractor()
    for ws, labels in images(some, True):
        target = plan_removal(ask_for(some, extractor, ws, SMALL), atlas).wish.target
        row = lacking(atlas.labels, labels, SMALL, np.ones(labels.shape, bool))[0]
        theirs = some.truth(atlas.w[row].expand(1, some.num_ws, some.w_dim))[0]
        asked = target != IGNORE
        assert not (theirs == SMALL).any() and np.array_equal(asked, grown(labels == SMALL))
        assert np.array_equal(target[asked], theirs[asked])
        alone = plan_removal(ask_for(some, extractor, ws, SMALL))
        assert np.array_equal(alone.wish.target != IGNORE, labels == SMALL)  # the twin: the pixels' own next guesses
        assert GUESSED in alone.note and plan_removal(ask_for(some, extractor, ws, SMALL), atlas).note == ""


def test_a_sample_that_shows_it_after_all_is_passed_over(some, atlas):
    """A bank's maps are small; in the end the next guesses are asked for."""
    (ws, labels), extractor = images(some, True)[0], some.known_extractor()
    blind = replace(atlas, labels=np.where(atlas.labels == SMALL, 0, atlas.labels).astype(np.uint8))
    for each in (blind, atlas):
        target = plan_removal(ask_for(some, extractor, ws, SMALL), each).wish.target
        assert np.isin(target[labels == SMALL], (SMALL, IGNORE)).sum() == 0
    there = (atlas.labels == SMALL).any((1, 2))
    only = replace(atlas, w=atlas.w[there], labels=blind.labels[there])  # all of them do
    assert GUESSED in plan_removal(ask_for(some, extractor, ws, SMALL), only).note


def test_a_removal_says_how_much_is_gone_and_takes_a_name(some, atlas):
    extractor = some.known_extractor()
    for ws, labels in images(some, True, 3):
        steps = list(iter_remove(some, extractor, ws, "small", steps=40, atlas=atlas))
        shares, last = [each.report["gone"] for each in steps], steps[-1]
        assert shares[-1] == pytest.approx((last.labels[labels == SMALL] != SMALL).mean(), abs=1e-4)
        assert shares[-1] > 0.8
        again = remove(some, extractor, ws, extractor.categories[SMALL], steps=40, atlas=atlas)
        assert torch.equal(again.ws, last.ws) and again.report["gone"] == shares[-1]


def test_an_addition_says_how_much_is_there_and_takes_a_name(some, atlas):
    extractor = some.known_extractor()
    for ws, labels in images(some, False, 3):
        plan = plan_addition(ask_for(some, extractor, ws, "small"), atlas)
        wished = plan.wish.target == SMALL
        assert wished.any() and not (labels == SMALL).any()
        steps = list(iter_add(some, extractor, ws, "small", steps=40, atlas=atlas))
        last = steps[-1]
        assert last.report["there"] == pytest.approx((last.labels[wished] == SMALL).mean(), abs=1e-4)
        assert last.report["there"] > 0.8
        assert torch.equal(add(some, extractor, ws, SMALL, steps=40, atlas=atlas).ws, last.ws)


def test_small_things_are_not_called_met_before_they_are_gone():
    """Most of what is asked for is the ring around them, which is there."""
    toy = Sometimes(128)
    extractor = toy.known_extractor()
    made = make_atlas(toy, make_bank(toy, extractor, range(100, 160)))
    small = [(ws, labels) for ws, labels in images(toy, True, 100) if (labels == SMALL).mean() < 0.04]
    assert len(small) >= 3
    for ws, _ in small[:3]:
        plan = plan_removal(ask_for(toy, extractor, ws, SMALL), made)
        assert not plan.met
        assert remove(toy, extractor, ws, SMALL, steps=30, atlas=made).report["gone"] > 0.5


def test_a_region_limits_what_is_asked_for_what_may_change_and_what_is_counted(some, atlas):
    extractor = some.known_extractor()
    ws, labels = images(some, True)[0]
    rows = np.flatnonzero((labels == SMALL).any(1))
    region = np.zeros(labels.shape, bool)
    region[: rows[len(rows) // 2]] = True
    for given in (None, atlas):
        plan = plan_removal(ask_for(some, extractor, ws, SMALL, region), given)
        target = plan.wish.target
        assert (target != IGNORE).any() and (target[~region] == IGNORE).all() and not (plan.region & ~region).any()
    result = remove(some, extractor, ws, SMALL, region, steps=20, atlas=atlas)
    place = region & (labels == SMALL)
    assert result.report["gone"] == pytest.approx((result.labels[place] != SMALL).mean(), abs=1e-4)
    bare, _ = images(some, False)[0]
    plan = plan_addition(ask_for(some, extractor, bare, SMALL, region), atlas)
    assert (plan.wish.target[region] == SMALL).any() and (plan.wish.target[~region] == IGNORE).all()
    assert not (plan.region & ~region).any()


def test_what_hardly_any_sample_lacks_is_not_taken_out(some, toy, extractor, atlas):
    """Skin, say: what would be in its place is met by no image. Without samples the next guesses are asked for."""
    ws = toy.map(seed_z(toy, [5]))[0]
    full = make_atlas(toy, make_bank(toy, extractor, range(2)))
    with pytest.raises(InputError, match="none of 2 samples is without small: nothing can take its place"):
        plan_removal(ask_for(toy, extractor, ws, SMALL), full)
    assert plan_removal(ask_for(toy, extractor, ws, SMALL)).note == GUESSED
    asked = ask_for(some, some.known_extractor(), images(some, True)[0][0], SMALL)
    there = (atlas.labels == SMALL).any((1, 2))
    for count in (49, 50):  # with one without it: two percent, and less
        rows = np.concatenate([np.resize(np.flatnonzero(there), count), np.flatnonzero(~there)[:1]])
        few = replace(atlas, w=atlas.w[rows], labels=atlas.labels[rows])
        if count == 49:
            assert plan_removal(asked, few).note == ""
        else:
            with pytest.raises(InputError, match="only 1 of 51 samples is without small"):
                plan_removal(asked, few)


def test_what_is_there_already_is_not_added(some, atlas):
    ws, _ = max(images(some, True, 50), key=lambda each: (each[1] == SMALL).sum())
    with pytest.raises(InputError, match="the image shows small already, so there is nothing to add"):
        add(some, some.known_extractor(), ws, SMALL, atlas=atlas)


def test_samples_are_drawn_by_default(some, monkeypatch):
    drawn, extractor = [], some.known_extractor()
    monkeypatch.setattr(presence, "SAMPLES", 12)
    monkeypatch.setattr(presence, "make_bank", lambda *a: drawn.append(1) or make_bank(*a))
    ws, _ = images(some, True)[0]
    for options, count in (({}, 1), ({"atlas": True}, 1), ({"atlas": False}, 0)):
        drawn.clear()
        report = remove(some, extractor, ws, SMALL, steps=3, **options).report
        assert len(drawn) == count and (GUESSED in report["note"]) == (count == 0)
    drawn.clear()
    assert add(some, extractor, images(some, False)[0][0], SMALL, steps=3).report["steps"] == 3 and len(drawn) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category": "halo"}, "category: expected one of background, large, middle, small, got 'halo'"),
        ({"category": 4}, "category: expected one of .* got 4"),
        ({"category": True}, "category: expected one of .* got True"),
        ({"category": None}, "category: expected one of .* got None"),
        ({"region": np.ones((3, 3), bool)}, "region: expected a mask of"),
        ({"region": [[1], [1, 2]]}, "region: expected an array"),
        ({"region": np.zeros((32, 32), bool)}, "the region is empty"),
        ({"region": np.eye(32, dtype=bool) & (np.arange(32) < 1)}, "there is no small in this region of the image"),
        ({"ws": torch.zeros(2, 2)}, "ws: expected"),
        ({"steps": 0.5}, "steps"),
        ({"lr": "a"}, "lr: expected"),
        ({"weights": 3}, "weights: expected"),
        ({"atlas": 3}, "atlas: expected"),
        ({"atlas": 0}, "atlas: expected"),
    ],
)
def test_what_cannot_be_removed_is_refused_with_a_sentence(some, change, message):
    given = {"ws": images(some, True)[0][0], "category": SMALL, "steps": 2, "atlas": False} | change
    with pytest.raises(InputError, match=message):
        remove(some, some.known_extractor(), **given)


@pytest.mark.parametrize("change", [{"lr": "a"}, {"weights": 3}, {"steps": 0.5}])
def test_no_sample_is_drawn_for_options_that_cannot_be_used(some, change, monkeypatch):
    monkeypatch.setattr(presence, "make_bank", lambda *a: pytest.fail("samples were drawn"))
    for there, call in ((True, remove), (False, add)):
        with pytest.raises(InputError, match=next(iter(change))):
            call(some, some.known_extractor(), images(some, there)[0][0], SMALL, **change)


def test_what_is_not_there_cannot_be_removed_and_what_no_sample_shows_not_added(some, toy, atlas):
    extractor = some.known_extractor()
    bare = images(some, False)[0][0]
    with pytest.raises(InputError, match="there is no small in this image, so there is nothing to remove"):
        remove(some, extractor, bare, SMALL, atlas=False)
    rows = ~(atlas.labels == SMALL).any((1, 2))
    with pytest.raises(InputError, match=f"none of {rows.sum()} samples shows small, so it is not known how to add it"):
        add(some, extractor, bare, SMALL, atlas=replace(atlas, w=atlas.w[rows], labels=atlas.labels[rows]))
    corner = np.zeros((32, 32), bool)
    corner[0, 0] = True
    with pytest.raises(InputError, match=r"has most of its small in this region, .* enlarge the region"):
        add(some, extractor, bare, SMALL, corner, atlas=atlas)
    ws, labels = images(some, True)[0]
    with pytest.raises(InputError, match="shows small already"):  # a region within it, which it fills
        add(some, extractor, ws, SMALL, labels == SMALL, atlas=atlas)
    never = torch.tensor([0.0, 0, 0, NEVER])
    with pytest.raises(InputError, match="small is not learnt"):
        add(some, replace(extractor, weights={**extractor.weights, "bias": never}), bare, SMALL, atlas=atlas)
    for wrong in (True, False, "x"):
        with pytest.raises(InputError, match="atlas: expected one of make_atlas"):
            add(some, extractor, bare, SMALL, atlas=wrong)
    with pytest.raises(InputError, match="atlas: expected w of 24 numbers"):
        add(some, extractor, bare, SMALL, atlas=replace(atlas, w=atlas.w[:, :5]))


# --- the next guesses ------------------------------------------------------------------------------------------------


def test_the_next_guess_is_what_the_extractor_expects_next(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))[0]
    labels = toy.truth(ws[None])[0]
    _, features = toy.synthesize(ws[None])
    target = removal_target(extractor.logits(features)[0], labels, 3, np.ones(toy.size, bool))
    assert (target[labels == 3] != 3).all() and (target[labels == 3] != IGNORE).all()
    assert (target[labels != 3] == IGNORE).all()


def test_the_next_guess_is_nothing_that_the_image_does_not_show():
    """Though it may be more likely than what is there; but if there is nothing else, the most likely is asked for."""
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0])[:, None, None].expand(4, 2, 2)
    labels, region = np.array([[3, 3], [1, 0]], np.uint8), np.ones((2, 2), bool)
    assert removal_target(logits, labels, 3, region).tolist() == [[1, 1], [IGNORE, IGNORE]]
    alone = np.full((2, 2), 3, np.uint8)
    assert (removal_target(logits, alone, 3, region) == 2).all()


# --- on what ships ---------------------------------------------------------------------------------------------------


def test_the_teacher_too_finds_that_a_hat_is_gone_and_that_there_is_one():
    """By the pixels' next guesses it finds most of it still there, though the labels say that it is gone."""
    studio, teacher = Studio(), linsem.load_teacher("avatars-128")
    generator, extractor = studio.generator("avatars-128"), studio.shipped("avatars-128")
    ws = generator.map(seed_z(generator, [30045]), 0.7)

    def hat(ws):
        with torch.no_grad():
            image = generator.synthesize(torch.as_tensor(ws).reshape(1, generator.num_ws, -1))[0]
        return int((teacher(image) == HAT).sum())

    guessed = remove(generator, extractor, ws[0], "hat", steps=30, atlas=False)
    *_, frame = studio.remove("avatars-128", extractor, ws[0].numpy(), "hat", steps=30)
    assert min(frame.report["gone"], guessed.report["gone"]) > 0.95
    assert hat(frame.ws) < 0.1 * hat(ws) and hat(frame.ws) < hat(guessed.ws)
    first, *_, again = studio.add("avatars-128", extractor, frame.ws, "hat", steps=30)
    assert again.report["there"] > 0.9 and hat(again.ws) > 0.5 * hat(ws)
    assert first.sampled is None  # drawn for the removal


def test_a_hat_that_takes_the_hair_with_it_says_so():
    """The wish around a hat is that of a sample, which has no hair: what goes there was not asked for by name."""
    studio = Studio()
    generator, extractor = studio.generator("avatars-128"), studio.shipped("avatars-128")
    ws = generator.map(seed_z(generator, [1]), 0.7)[0].numpy()
    *_, last = studio.add("avatars-128", extractor, ws, "hat", steps=20)
    assert last.report["there"] > 0.8 and last.report["lost"] == ["hair"] and last.report["gained"] == []
    hat = last.labels == HAT
    *_, painted = studio.edit("avatars-128", extractor, ws, np.where(hat, HAT, IGNORE).astype(np.uint8), steps=1)
    assert painted.report["lost"] == []  # the twin: hardly moved
