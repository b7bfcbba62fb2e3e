"""Removals: what takes the place of a category is what a similar sample shows there, so that an image can meet it."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import linsem
from linsem.bank import make_bank
from linsem.edit_maps import grown
from linsem.errors import InputError
from linsem.generator import seed_z
from linsem.jump import make_atlas
from linsem.pixels import IGNORE
from linsem.removal import GUESSED, iter_remove, most_similar, plan_removal, removal_target, remove

editing = importlib.import_module("linsem.edit")  # `linsem.edit` itself is the function
HAT = 3  # of the avatars


@pytest.fixture(scope="module")
def atlas(toy, extractor):
    """Of samples of which every other one is taken to lack the smallest disc, which all of them show."""
    made = make_atlas(toy, make_bank(toy, extractor, range(100, 160)))
    made.labels[::2][made.labels[::2] == 3] = 0
    return made


@pytest.fixture
def hatted(toy):
    """The ws of an image of a toy generator that shows its smallest disc, and its labels."""
    ws = toy.map(seed_z(toy, [5]))
    labels = toy.truth(ws)[0]
    assert (labels == 3).any()
    return ws[0], labels


def test_of_the_samples_without_a_category_the_one_most_like_the_image_elsewhere_is_taken():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10], labels[12, 12] = 1, 3
    maps = np.stack([labels, np.where(labels == 3, 0, labels), 1 - np.minimum(labels, 1), np.zeros_like(labels)])
    assert most_similar(maps, labels, 3) == 1  # and not the image itself, which shows it
    assert most_similar(maps[2:], labels, 3) == 1  # half of it is right rather than nothing
    assert most_similar(maps[:1], labels, 3) is None
    inside = np.where(grown(labels == 3), 1, maps[1]).astype(np.uint8)  # what is in its place does not count
    assert most_similar(np.stack([maps[3], inside]), labels, 3) == 1


def test_what_a_sample_shows_in_the_place_is_asked_for_and_nothing_elsewhere(toy, extractor, atlas, hatted):
    ws, labels = hatted
    target = plan_removal(toy, extractor, ws, 3, atlas=atlas).wish.target
    sample = most_similar(atlas.labels, labels, 3)
    theirs = toy.truth(atlas.w[sample].expand(1, toy.num_ws, toy.w_dim))[0]
    asked = target != IGNORE
    assert np.array_equal(asked, grown(labels == 3) & (theirs != 3)) and np.array_equal(target[asked], theirs[asked])
    alone = plan_removal(toy, extractor, ws, 3)
    assert np.array_equal(alone.wish.target != IGNORE, labels == 3)  # the twin, of the pixels' own next guesses
    assert GUESSED in alone.note and plan_removal(toy, extractor, ws, 3, atlas=atlas).note == ""


def test_a_removal_says_how_much_is_gone_and_takes_a_name(toy, extractor, atlas, hatted):
    ws, labels = hatted
    steps = list(iter_remove(toy, extractor, ws, "small", steps=20, atlas=atlas))
    shares = [each.report["gone"] for each in steps]
    last = steps[-1]
    assert shares[-1] == pytest.approx((last.labels[labels == 3] != 3).mean(), abs=1e-4) and shares[-1] > 0.5
    assert shares[0] < shares[-1]
    again = remove(toy, extractor, ws, 3, steps=20, atlas=atlas)
    assert torch.equal(again.ws, last.ws) and again.report["gone"] == shares[-1]


def test_a_region_limits_what_is_removed(toy, extractor, atlas, hatted):
    ws, labels = hatted
    region = np.zeros(labels.shape, bool)
    rows = np.flatnonzero((labels == 3).any(1))
    region[: rows[len(rows) // 2]] = True
    for given in (None, atlas):
        target = plan_removal(toy, extractor, ws, 3, region, given).wish.target
        assert (target != IGNORE).any() and (target[~region] == IGNORE).all()


def test_what_all_samples_show_is_removed_by_the_next_guesses(toy, extractor, hatted):
    full = make_atlas(toy, make_bank(toy, extractor, range(2)))
    assert (full.labels == 3).any((1, 2)).all()
    found, alone = (plan_removal(toy, extractor, hatted[0], 3, atlas=each).wish.target for each in (full, None))
    assert np.array_equal(found, alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category": "halo"}, "category: expected one of background, large, middle, small, or its number, got 'halo'"),
        ({"category": 4}, "or its number, got 4"),
        ({"category": True}, "or its number, got True"),
        ({"region": np.ones((3, 3), bool)}, "region: expected a mask of"),
        ({"region": np.zeros((32, 32), bool)}, "there is no small in this image"),
        ({"ws": torch.zeros(2, 2)}, "ws: expected"),
        ({"steps": 0.5}, "steps"),
        ({"atlas": 3}, "atlas: expected"),
    ],
)
def test_what_cannot_be_removed_is_refused_with_a_sentence(toy, extractor, hatted, change, message):
    given = {"ws": hatted[0], "category": 3, "steps": 2, "atlas": False} | change
    with pytest.raises(InputError, match=message):
        remove(toy, extractor, **given)


def test_the_next_guess_is_what_the_extractor_expects_next(toy, extractor, hatted):
    ws, labels = hatted
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


def test_the_teacher_too_finds_that_a_hat_is_gone():
    """By the pixels' next guesses it finds most of it still there, though the labels say that it is gone."""
    generator, teacher = linsem.load_generator("avatars-128"), linsem.load_teacher("avatars-128")
    extractor = linsem.load_extractor("avatars-128")
    atlas = make_atlas(generator, make_bank(generator, extractor, range(200)))
    ws, left = generator.map(seed_z(generator, [30045]), 0.7)[0], {}
    with torch.no_grad():
        had = (teacher(generator.synthesize(ws[None])[0]) == HAT).sum()
    for name, given in (("sample", atlas), ("guesses", False)):
        result = remove(generator, extractor, ws, "hat", steps=30, atlas=given)
        assert result.report["gone"] > 0.95
        left[name] = float((teacher(result.image) == HAT).sum() / had)
    assert left["sample"] < 0.1 and left["guesses"] > 0.5
