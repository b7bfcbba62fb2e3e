"""Jumps: the bank's samples give the direction that fulfils a wish, and the generator's own directions."""

from __future__ import annotations

import importlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import jump, steer
from linsem.bank import Bank
from linsem.conditional import make_bank
from linsem.errors import InputError
from linsem.generator import seed_z
from linsem.pixels import IGNORE
from linsem.studio import Studio
from linsem.wish import category_weight

editing = importlib.import_module("linsem.edit")  # `linsem.edit` itself is the function


@pytest.fixture
def atlas(toy, extractor):
    return jump.make_atlas(toy, make_bank(toy, extractor, range(300)))


def small_disc_elsewhere(toy, ws, donor):
    """A wish: the smallest disc at its place in another image."""
    there = toy.truth(toy.map(seed_z(toy, [donor])))[0] == 3
    return np.where(there, 3, IGNORE).astype(np.uint8), toy.truth(ws)[0]


def test_the_basis_is_what_samples_vary_in(toy, atlas):
    w = toy.map(seed_z(toy, range(1000, 1100)))[:, 0] - atlas.w.mean(0)
    coordinates = torch.linalg.lstsq(atlas.basis.T, w.T).solution
    assert torch.allclose(atlas.basis.T @ coordinates, w.T, atol=1e-3)
    assert float(coordinates.std()) == pytest.approx(1.0, abs=0.2)


def test_the_basis_is_the_same_from_the_samples_as_from_the_covariance(toy, extractor, monkeypatch):
    """The one is for many numbers of w and few samples, the other for the reverse."""
    bank = make_bank(toy, extractor, range(60))
    usual = jump.make_atlas(toy, replace(bank, seeds=bank.seeds[:23], labels=bank.labels[:23])).basis
    monkeypatch.setattr(jump, "MOST_SQUARE", 23)
    other = jump.make_atlas(toy, replace(bank, seeds=bank.seeds[:23], labels=bank.labels[:23])).basis
    assert len(usual) == len(other)
    assert torch.allclose(usual.T @ usual, other.T @ other, atol=1e-4)  # the covariance, whatever the signs


def test_an_edited_image_jumps_from_the_mean_of_its_layers(toy, atlas):
    """Its layers differ by then, and the samples have one w for all."""
    ws = toy.map(seed_z(toy, [5]))
    apart = ws + torch.randn(ws.shape, generator=torch.Generator().manual_seed(0)) * 0.3
    alike = apart.mean(1, keepdim=True).expand_as(apart)
    wish, weight = small_disc_elsewhere(toy, ws, 45)[0], np.ones(toy.size)
    moves = [jump.starts(atlas, each[0], wish, weight) - each for each in (apart, alike)]
    assert torch.allclose(*moves, atol=1e-5) and float(moves[0].abs().max()) > 0.1


def test_share_met_is_the_weighted_agreement():
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[1, :2] = 5
    wished = np.full((8, 8), IGNORE, np.uint8)
    wished[:4] = 5
    weight = np.ones((8, 8))
    weight[:2] = 3.0
    assert jump.share_met(labels, wished, weight).tolist() == [0.0, 1.0]
    wished[4:] = 5  # half of it is not met by the second, and counts less
    assert jump.share_met(labels, wished, weight)[1] == pytest.approx(8 / 12)


def test_share_met_takes_little_more_memory_than_its_answer():
    labels = np.random.default_rng(0).integers(0, 6, (4 * jump.PART + 3, 16, 16), np.uint8)
    wished, weight = labels[7], np.random.default_rng(1).random((16, 16)).astype(np.float32)
    tracemalloc.start()
    found = jump.share_met(labels, wished, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    plain = ((labels == wished) * weight).sum((1, 2)) / weight.sum()
    assert np.allclose(found, plain, rtol=1e-5) and found.argmax() == 7
    assert peak < 2 * labels.nbytes  # in one piece: five times


def test_a_jump_comes_nearer_to_the_wish_than_the_image(toy, extractor, atlas):
    nearer = 0
    for seed in range(8):
        ws = toy.map(seed_z(toy, [seed]))
        target, _ = small_disc_elsewhere(toy, ws, seed + 40)
        candidates = jump.starts(atlas, ws[0], target, np.ones(target.shape))
        assert torch.equal(candidates[0], ws[0])
        agreed = [editing.agreement(labels, target) for labels in toy.truth(candidates)]
        nearer += max(agreed[1:]) > agreed[0]
    assert nearer >= 6


def test_an_edit_with_an_atlas_holds_to_the_image_it_began_with(toy, extractor, atlas):
    ws = toy.map(seed_z(toy, [5]))
    target, labels = small_disc_elsewhere(toy, ws, 44)
    target[(labels == 3) & (target == IGNORE)] = 0
    with torch.no_grad():
        before = toy.synthesize(ws)[0]
    results = list(editing.iter_edit(toy, extractor, ws[0], target, steps=40, atlas=atlas))
    region = editing.region_of(target != IGNORE, 1)
    report = results[-1].report
    assert report["agreement_after"] > 0.8 > report["agreement_before"]
    assert report["outside_change"] == pytest.approx(
        editing.outside_change(results[-1].image, before, region), abs=0.02
    )
    steps = [each.report["steps"] for each in results]
    assert steps == sorted(steps) and steps[-1] <= 40


def test_a_latent_of_a_basis_is_a_step_of_all_layers(toy, extractor, atlas):
    ws = toy.map(seed_z(toy, [5, 6]))
    target, _ = small_disc_elsewhere(toy, ws[:1], 44)
    first, *_, last = steer.steer(toy, extractor, ws, steer.Wish(target), space=atlas.basis, steps=5, lr=0.1)
    assert torch.equal(first.ws, ws)
    moved = last.ws - ws
    assert moved.abs().max() > 0 and torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-5)


def test_what_holds_is_the_anchor_and_not_the_start(toy, extractor):
    ws = toy.map(seed_z(toy, [5, 6]))
    free = np.full(tuple(toy.size), IGNORE, np.uint8)
    weights = steer.Weights(agree=0.0, preserve=1.0)
    loss = {}
    for name, anchor in (("own", None), ("other", ws[:1])):
        step = next(steer.steer(toy, extractor, ws[1:], steer.Wish(free), steps=1, weights=weights, anchor=anchor))
        loss[name] = float(step.loss[0])
    assert loss["own"] == 0 and loss["other"] > 0.01


def test_the_studio_makes_an_atlas_once_and_only_for_edits_that_use_it(monkeypatch):
    made = []
    monkeypatch.setattr("linsem.edits.SAMPLES", 20)
    monkeypatch.setattr("linsem.edits.make_atlas", lambda *a: made.append(1) or jump.make_atlas(*a))
    monkeypatch.setattr(editing, "WORTH", 2)
    studio, drawn = Studio(), []

    def edit(model, steps=2, **wish):
        ws = studio.latents(model, [1], 0.7)[0]
        extractor = studio.shipped(model)
        target = studio.read(model, extractor, [ws]).labels[0]
        target = np.where(target == 2, 3, IGNORE).astype(np.uint8)  # a hat for hair
        frames = list(studio.edit(model, extractor, ws, target, None, steps, **wish))
        drawn.append([frame.sampled for frame in frames if frame.sampled is not None])

    for _ in range(2):
        edit("avatars-128")
    own = studio.shipped("avatars-128")  # a visitor renames a category: the samples are the same
    renamed = replace(own, categories=(replace(own.categories[0], name="behind"), *own.categories[1:]))
    studio.shipped = lambda model: renamed
    edit("avatars-128")
    assert drawn.pop() == [] and len(made) == 1
    del studio.shipped
    edit("avatars-64")
    assert len(made) == 2 and [bool(each) for each in drawn] == [True, False, True] and drawn[0][-1] == 20
    studio = Studio()  # whose banks are on disk, but which has no atlas yet
    edit("avatars-128", steps=1)  # too few steps for it to be worth while
    edit("avatars-128", enough=0.0)  # met already
    monkeypatch.setattr(editing, "QUICK", 32)
    edit("avatars-128")  # so large that it would take long
    assert len(made) == 2 and drawn[3:] == [[], [], []]


def test_labels_that_are_held_stay_where_nothing_is_wished(toy, extractor):
    ws = toy.map(seed_z(toy, [5]))
    target, labels = small_disc_elsewhere(toy, ws, 44)
    wish = steer.Wish(target, held=labels, held_weight=category_weight(labels))
    stays = {}
    for hold in (0.0, 3.0):
        weights = steer.Weights(hold=hold)
        *_, last = steer.steer(toy, extractor, ws, wish, steps=40, lr=0.1, weights=weights, enough=2.0)
        stays[hold] = float((last.labels[0] == labels)[target == IGNORE].mean())
    assert stays[3.0] > stays[0.0]


def test_an_edit_with_an_atlas_holds_the_rest_and_its_labels(monkeypatch, toy, extractor, atlas):
    ws = toy.map(seed_z(toy, [5]))
    target, _ = small_disc_elsewhere(toy, ws, 44)
    seen = []
    plain = jump.together_then_apart
    monkeypatch.setattr(
        jump, "together_then_apart", lambda *a, **k: seen.append((a[3], k["weights"])) or plain(*a, **k)
    )
    for given in (False, atlas):
        editing.edit(toy, extractor, ws[0], target, steps=2, atlas=given)
    (_, alone), (wish, helped) = seen
    assert alone == editing.WEIGHTS
    assert helped.preserve == editing.HELD_MORE * alone.preserve and helped.hold == editing.HOLD
    wished = wish.target != IGNORE
    assert (wish.held[wished] == IGNORE).all() and (wish.held_weight[wished] == 0).all() and wish.held_weight.max() > 0


def test_one_number_a_latent_is_a_direction():
    class Line:
        id, z_dim, w_dim, num_ws, device = "line", 1, 1, 1, torch.device("cpu")

        def map(self, z, psi=1.0):
            return 3 * z[:, None]

    bank = Bank(tuple(range(400)), np.zeros((400, 2, 2), np.uint8), 1.0)
    basis = jump.make_atlas(Line(), bank).basis
    assert basis.shape == (1, 1) and abs(float(basis)) == pytest.approx(3, rel=0.1)


def test_a_bank_of_one_seed_has_no_directions(toy, extractor):
    with pytest.raises(InputError, match="bank: expected at least 2 seeds, got 1"):
        jump.make_atlas(toy, make_bank(toy, extractor, [3]))
    assert len(jump.make_atlas(toy, make_bank(toy, extractor, [3, 4])).basis) == 1


def test_numbers_that_are_not_finite_have_no_directions():
    class Broken:
        id, z_dim, w_dim, num_ws, device = "broken", 2, 2, 1, torch.device("cpu")

        def map(self, z, psi=1.0):
            return z[:, None] * torch.nan

    with pytest.raises(InputError, match="not finite"):
        jump.make_atlas(Broken(), Bank((0, 1, 2), np.zeros((3, 2, 2), np.uint8), 1.0))
