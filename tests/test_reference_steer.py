"""The paper's editing and sampling are what a loop written out from the paper gives, with its constants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsem.generator import seed_z
from linsem.lab import reference_steer
from linsem.pixels import IGNORE
from tests.toys import ToyGenerator

FEW = 20


@pytest.fixture(scope="module")
def small():
    return ToyGenerator(8)


def descended(start, cost, weight, lr=0.01):
    """FEW steps of Adam on the cost, 1e-3 * |z - z0|^2 and weight * |z|^2."""
    latent = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([latent], lr=lr)
    for _ in range(FEW):
        adam.zero_grad()
        (cost(latent) + 1e-3 * (latent - start).square().sum() + weight * latent.square().sum()).backward()
        adam.step()
    return latent.detach()


def by_layer(toy, z_layers):
    """The ws (1, num_ws, w_dim) of one z per layer (1, num_ws, z_dim)."""
    return torch.stack([toy.map(z_layers[:, i])[:, i] for i in range(toy.num_ws)], 1)


def entropy(toy, ws, labels):
    logits = toy.known_extractor().logits(toy.synthesize(ws)[1], toy.size)
    return F.cross_entropy(logits, torch.from_numpy(labels).long()[None])


def wished(toy, z):
    """A stroke of category 1, the predicted labels of an image, and both in one map."""
    predicted = toy.truth(toy.map(z))[0]
    target = np.full(toy.size, IGNORE, np.uint8)
    target[:3, :4] = 1
    fused = predicted.copy()
    fused[:3, :4] = 1
    assert 0 < (fused != predicted).mean() < 0.5
    return target, predicted, fused


def test_the_constants_are_the_paper_s():
    assert (reference_steer.STEPS, reference_steer.PENALTY) == (50, 1e-3)
    assert (reference_steer.LR, reference_steer.SLOW) == (0.01, 0.002)
    for edit in (reference_steer.edit, reference_steer.edit_by_color):
        assert edit.__kwdefaults__ == {"steps": 50, "lr": 0.01}
    assert reference_steer.sample.__kwdefaults__ == {"inits": 100, "steps": 50, "in_w": False}


def test_an_edit_moves_one_z_per_layer_towards_strokes_and_predicted_labels(small):
    z = seed_z(small, [3])
    target, predicted, fused = wished(small, z)
    last = reference_steer.edit(small, small.known_extractor(), z, target, predicted, steps=FEW)
    start = z[:, None].repeat(1, small.num_ws, 1)
    moved = descended(start, lambda z: entropy(small, by_layer(small, z), fused), 1e-3 / small.num_ws)
    assert (last.ws - small.map(z)).abs().max() > 0.01
    torch.testing.assert_close(last.ws, by_layer(small, moved), atol=1e-4, rtol=0)


def test_the_result_is_the_last_iterate_though_one_before_it_was_better(small):
    z = seed_z(small, [3])
    target, predicted, _ = wished(small, z)
    ends = [
        reference_steer.edit(small, small.known_extractor(), z, target, predicted, steps=steps, lr=1.0)
        for steps in range(6)
    ]
    assert (np.diff([end.loss[0] for end in ends]) > 0).any()


def test_an_edit_by_color_moves_to_the_color_inside_and_to_the_start_outside(small):
    z = seed_z(small, [3])
    color = np.full((*small.size, 3), 230, np.uint8)
    mask = np.zeros(small.size, bool)
    mask[:3, :4] = True
    last = reference_steer.edit_by_color(small, small.known_extractor(), z, color, mask, steps=FEW)
    before, inside = small.synthesize(small.map(z))[0], torch.from_numpy(mask)

    def cost(z_layers):
        image = small.synthesize(by_layer(small, z_layers))[0]
        wish, kept = (image - (230 / 127.5 - 1)).square(), (image - before).square()
        return wish[..., inside].mean() + kept[..., ~inside].mean()

    moved = descended(z[:, None].repeat(1, small.num_ws, 1), cost, 1e-3 / small.num_ws)
    torch.testing.assert_close(last.ws, by_layer(small, moved), atol=1e-4, rtol=0)


def test_a_sample_starts_from_the_best_of_its_seeds_and_moves_a_single_z(small):
    layout = small.truth(small.map(seed_z(small, [50])))[0]
    hits = [(small.truth(small.map(seed_z(small, [seed])))[0] == layout).sum() for seed in range(20, 26)]
    best = seed_z(small, [20 + int(np.argmax(hits))])
    last = reference_steer.sample(small, small.known_extractor(), layout, 20, inits=6, steps=FEW)
    moved = descended(best, lambda z: entropy(small, small.map(z), layout), 1e-3)
    torch.testing.assert_close(last.ws, small.map(moved), atol=2e-5, rtol=0)


def test_in_w_there_is_no_prior_and_the_rates_are_higher(small):
    z = seed_z(small, [3])
    target, predicted, fused = wished(small, z)
    ws, known = small.map(z), small.known_extractor()
    edited = reference_steer.edit_in_w(small, known, ws, target, predicted, steps=FEW)
    sampled = reference_steer.sample(small, known, fused, 3, inits=1, steps=FEW, in_w=True)
    for last, lr in ((edited, 0.03), (sampled, 0.05)):
        moved = descended(ws, lambda ws: entropy(small, ws, fused), 0.0, lr)
        read = np.s_[:, :3]  # the others do not change the labels, and Adam magnifies the rounding of a gradient of 0
        torch.testing.assert_close(last.ws[read], moved[read], atol=1e-4, rtol=0)
