"""PGGAN: its layers, its two taps, and the Generator protocol."""

import dataclasses

import pytest
import torch

from linsem import ops
from linsem.generator import Generator
from linsem.pggan import PGGAN, PGGANConfig
from tests.writers import nets


def network(tap="activation", seed=0):
    config = dataclasses.replace(nets.PGGAN_, tap=tap)
    G = PGGAN(config, id="toy")
    G.load_state_dict(nets.random_state(config, seed))
    return G


def latents(count=2):
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(1))


def test_it_is_a_frozen_generator_with_one_w():
    G = network()
    ws = G.map(latents())
    image, features = G.synthesize(ws)
    assert isinstance(G, Generator) and ws.shape == (2, 1, 12) and image.shape == (2, 3, 16, 16)
    assert [(f.shape[1], *f.shape[2:]) for f in features] == [(x.channels, x.height, x.width) for x in G.layers]
    assert not any(p.requires_grad for p in G.parameters())


def test_the_taps_are_one_pixel_norm_apart_and_the_image_is_the_same():
    before, after = network("activation"), network("normalized")
    ws = before.map(latents())
    (image, raw), (other, normal) = before.synthesize(ws), after.synthesize(ws)
    assert torch.equal(image, other)
    for x, y in zip(raw, normal, strict=True):
        torch.testing.assert_close(ops.pixel_norm(x), y)
        torch.testing.assert_close(y.square().mean(dim=1), torch.ones_like(y[:, 0]), rtol=1e-3, atol=1e-3)
        assert not torch.allclose(x, y, atol=1e-2)


def test_the_first_layer_is_fully_connected():
    G = network()
    z = ops.pixel_norm(latents())
    weight = G.layer0.weight * G.layer0.gain
    expected = torch.einsum("ni,oiyx->noyx", z, weight) + G.layer0.bias[:, None, None]
    torch.testing.assert_close(G.layer0(z), ops.leaky(expected, gain=1), rtol=1e-4, atol=1e-5)


def test_only_the_direction_of_z_counts():
    G = network()
    ws = G.map(latents())
    image = G.synthesize(ws)[0]
    torch.testing.assert_close(G.synthesize(G.map(latents(), psi=0.5))[0], image, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(G.synthesize(-ws)[0], image, atol=1e-2)


def test_last_layer_stops_early_with_the_same_maps():
    G = network()
    ws = G.map(latents())
    every = G.synthesize(ws)[1]
    image, some = G.synthesize(ws, image=False, last_layer=0)
    assert image is None and len(some) == 1 and torch.equal(some[0], every[0])


def test_bad_input_says_what_was_expected():
    G = network()
    with pytest.raises(ValueError, match=r"z: expected \(N, 12\)"):
        G.map(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"ws: expected \(N, 1, 12\)"):
        G.synthesize(torch.zeros(2, 2, 12))
    with pytest.raises(ValueError, match="image needs all 3 layers"):
        G.synthesize(G.map(latents()), last_layer=1)
    with pytest.raises(ValueError, match="tap: expected one of activation, normalized, got 'x'"):
        PGGAN(PGGANConfig((4,), tap="x"))
