"""StyleGAN: its operations equal their definitions, and it satisfies the Generator protocol."""

import pytest
import torch
import torch.nn.functional as F

from linsem.generator import Generator
from linsem.stylegan import StyleGAN, StyleGANConfig, blur, double
from tests.writers import nets


def network(config=nets.STYLEGAN, seed=0):
    G = StyleGAN(config, id="toy")
    G.load_state_dict(nets.random_state(config, seed))
    return G


def latents(G, count=2):
    return torch.randn(count, G.z_dim, generator=torch.Generator().manual_seed(1))


def test_doubling_is_nearest_then_convolution():
    x, weight = torch.randn(2, 3, 5, 4), torch.randn(6, 3, 3, 3)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    torch.testing.assert_close(double(x, weight), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(double(x, weight.flip(2, 3)), expected, atol=1e-2)  # the twin: the turned kernel differs


def test_blur_keeps_a_constant_inside_and_is_the_outer_product():
    point = torch.zeros(1, 2, 5, 5)
    point[:, :, 2, 2] = 16
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(blur(point)[0, 1, 1:4, 1:4], expected)
    assert torch.equal(blur(torch.ones(1, 2, 5, 5))[:, :, 1:-1, 1:-1], torch.ones(1, 2, 3, 3))


def test_it_is_a_frozen_generator_with_one_map_a_resolution():
    G = network()
    image, features = G.synthesize(G.map(latents(G)))
    assert isinstance(G, Generator) and G.size == (16, 16) and image.shape == (2, 3, 16, 16)
    assert [(f.shape[1], *f.shape[2:]) for f in features] == [(x.channels, x.height, x.width) for x in G.layers]
    assert not any(p.requires_grad for p in G.parameters())


def test_each_map_depends_on_the_ws_up_to_its_last_w_and_on_no_later_one():
    G = network()
    ws = G.map(latents(G, 1))
    features = G.synthesize(ws)[1]
    for index in range(G.num_ws):
        changed = ws.clone()
        changed[:, index] += 1
        others = G.synthesize(changed)[1]
        for layer, one, other in zip(G.layers, features, others, strict=True):
            assert torch.equal(one, other) == (layer.last_w < index)


def test_every_map_has_the_style_as_its_mean_and_spread():
    G = network()
    ws = G.map(latents(G))
    for k, feature in enumerate(G.synthesize(ws)[1]):
        scale, shift = getattr(G.synthesis, f"layer{2 * k + 1}").style(ws[:, 2 * k + 1]).chunk(2, dim=1)
        torch.testing.assert_close(feature.mean(dim=(2, 3)), shift, rtol=1e-3, atol=1e-3)
        spread = feature.std(dim=(2, 3), unbiased=False)
        torch.testing.assert_close(spread, (scale + 1).abs(), rtol=1e-2, atol=1e-3)
        assert not torch.allclose(spread, torch.ones_like(spread), atol=0.1)


def test_last_layer_stops_early_with_the_same_maps():
    G = network()
    ws = G.map(latents(G))
    every = G.synthesize(ws)[1]
    image, some = G.synthesize(ws, image=False, last_layer=1)
    assert image is None and len(some) == 2 and all(torch.equal(a, b) for a, b in zip(some, every, strict=False))


def test_truncation_moves_to_the_mean_below_the_cutoff():
    G = network()
    z = latents(G)
    plain, mean, half = G.map(z), G.map(z, 0.0), G.map(z, 0.5, cutoff=2)
    torch.testing.assert_close(mean, G.mapping.w_avg.expand_as(mean))
    torch.testing.assert_close(half[:, :2], (plain + mean)[:, :2] / 2, rtol=1e-4, atol=1e-4)
    assert torch.equal(half[:, 2:], plain[:, 2:]) and not torch.allclose(half[:, :2], plain[:, :2], atol=1e-2)


def test_random_noise_follows_from_the_sample_not_from_the_batch():
    G = network()
    ws = G.map(latents(G))
    both = G.synthesize(ws, noise_mode="random", noise_seeds=[3, 4])[0]
    second = G.synthesize(ws[1:], noise_mode="random", noise_seeds=[4])[0]
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(both, G.synthesize(ws)[0], atol=1e-2)
    assert not torch.allclose(G.synthesize(ws, noise_mode="none")[0], G.synthesize(ws)[0], atol=1e-2)


def test_labels_choose_the_image():
    G = network(nets.LARGE_STYLEGAN)
    z = latents(G, 1)
    images = [G.synthesize(G.map(z, c=torch.eye(3)[k : k + 1]))[0] for k in (0, 1, 0)]
    assert torch.equal(images[0], images[2]) and not torch.allclose(images[0], images[1], atol=1e-3)


def test_bad_input_says_what_was_expected():
    G = network()
    ws = G.map(latents(G))
    with pytest.raises(ValueError, match=r"z: expected \(N, 12\), got \(2, 5\)"):
        G.map(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"c: expected \(2, 0\)"):
        G.map(latents(G), c=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"ws: expected \(N, 6, 10\)"):
        G.synthesize(ws[:, 1:])
    with pytest.raises(ValueError, match=r"last_layer: expected 0\.\.2, got 3"):
        G.synthesize(ws, image=False, last_layer=3)
    with pytest.raises(ValueError, match="image needs all 3 layers"):
        G.synthesize(ws, last_layer=1)
    with pytest.raises(ValueError, match="noise_mode: expected one of"):
        G.synthesize(ws, noise_mode="loud")
    with pytest.raises(ValueError, match="noise_seeds"):
        G.synthesize(ws, noise_mode="random", noise_seeds=[1])


def test_sizes_follow_from_the_channels():
    assert StyleGANConfig((512,) * 4 + (256, 128, 64, 32, 16)).size == (1024, 1024)
    assert StyleGANConfig((512,) * 4 + (256, 128, 64, 32, 16)).num_ws == 18
