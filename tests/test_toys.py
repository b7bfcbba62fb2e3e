"""The toy generator has the properties that the other tests rely on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from linsem.generator import Generator, seed_z, seeded
from tests.toys import CATEGORIES, ToyGenerator, scribbles


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator((32, 24))


def test_it_satisfies_the_protocol(toy):
    assert isinstance(toy, Generator)
    ws = toy.map(seed_z(toy, range(3)))
    image, features = toy.synthesize(ws)
    assert ws.shape == (3, toy.num_ws, toy.w_dim)
    assert image.shape == (3, 3, 32, 24)
    assert [tuple(x.shape[1:]) for x in features] == [(c.channels, c.height, c.width) for c in toy.layers]
    assert image.abs().max() < 1.3
    assert len({layer.channels for layer in toy.layers}) > 2


def test_a_layer_depends_on_the_ws_up_to_its_own_and_on_no_other(toy):
    ws = toy.map(seed_z(toy, [0]))
    before = toy.synthesize(ws)[1]
    for i, layer in enumerate(toy.layers):
        moved = ws.clone()
        moved[:, layer.last_w + 1 :] += 1
        assert torch.equal(toy.synthesize(moved)[1][i], before[i])
        moved[:, layer.last_w] += 1
        assert not torch.equal(toy.synthesize(moved)[1][i], before[i])


def test_the_known_matrix_gives_the_known_labels_and_another_does_not(toy):
    ws = toy.map(seed_z(toy, range(20)))
    features = toy.synthesize(ws, image=False)[1]
    truth = toy.truth(ws)
    assert np.array_equal(toy.known_extractor().predict(features), truth)
    last = torch.einsum("kc,nchw->nkhw", toy.matrices()[-1], features[-1])
    assert torch.allclose(last, toy.memberships(ws), atol=1e-5)
    random = torch.einsum("kc,nchw->nkhw", torch.randn(toy.matrices()[-1].shape), features[-1])
    assert (random.argmax(1).numpy() == truth).mean() < 0.8


def test_images_are_different_and_every_category_is_seen(toy):
    truth = toy.truth(toy.map(seed_z(toy, range(50))))
    for k in range(len(CATEGORIES)):
        assert (truth == k).any(axis=(1, 2)).mean() > 0.8
    assert (truth[0] != truth[1]).mean() > 0.1


def test_no_two_seeds_are_the_same_image(toy):
    """Torch drops what is above 32 bits, so that no larger seed is taken."""
    same = [torch.randn(4, generator=seeded(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*same)
    assert not torch.equal(*seed_z(toy, [5, 2**32 - 1]))
    for seed in (5 + 2**32, -1):
        with pytest.raises(ValueError, match=rf"seed: expected a whole number in 0\.\.4294967295, got {seed}"):
            seed_z(toy, [4, seed])


def test_one_seed_is_one_image_in_any_batch(toy):
    many = toy.synthesize(toy.map(seed_z(toy, [5, 6, 7])))[0]
    one = toy.synthesize(toy.map(seed_z(toy, [6])))[0]
    assert torch.allclose(many[1:2], one, atol=1e-6)
    assert not torch.allclose(many[0:1], one, atol=1e-2)


def test_truncation_goes_to_the_mean(toy):
    z = seed_z(toy, [0, 1])
    assert torch.equal(toy.map(z, psi=0)[0], toy.map(z, psi=0)[1])
    assert toy.map(z, psi=0).abs().max() > 0
    assert torch.allclose(toy.map(z, 0.5), (toy.map(z, 0) + toy.map(z, 1)) / 2, atol=1e-6)


def test_a_latent_can_be_moved_by_its_gradient_to_where_a_disc_should_be():
    toy = ToyGenerator(16)
    ws = toy.map(seed_z(toy, [0])).requires_grad_()
    target = toy.memberships(toy.map(seed_z(toy, [1])))
    optimizer = torch.optim.Adam([ws], lr=0.1)

    def loss():
        return (toy.memberships(ws) - target).square().mean()

    before = loss().item()
    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < before / 10


def test_it_stops_early_and_refuses_what_it_cannot_do(toy):
    ws = toy.map(seed_z(toy, [0]))
    image, features = toy.synthesize(ws, image=False, last_layer=1)
    assert image is None
    assert len(features) == 2
    with pytest.raises(ValueError, match="needs the last layer"):
        toy.synthesize(ws, last_layer=1)
    with pytest.raises(ValueError, match="expected"):
        toy.synthesize(ws[0])


def test_scribbles_are_sparse_and_true(toy):
    labels = toy.truth(toy.map(seed_z(toy, [0])))[0]
    sparse = scribbles(labels)
    known = sparse != 255
    assert np.array_equal(sparse[known], labels[known])
    assert 0 < known.mean() < 0.08
    assert set(np.unique(sparse[known])) == set(np.unique(labels))
