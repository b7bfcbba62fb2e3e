"""StyleGAN2 against a plain implementation of the published one, and the Generator protocol."""

from __future__ import annotations

import pytest
import torch

from linsem import ops
from linsem.generator import Generator, freeze, seed_z
from linsem.lab import plain_stylegan2
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config


def network(**changes) -> StyleGAN2:
    torch.manual_seed(0)
    config = StyleGAN2Config(**({"channels": (24, 16, 12, 8), "z_dim": 20, "w_dim": 16, "mapping_layers": 2} | changes))
    made = StyleGAN2(config, id="small")
    for name, parameter in made.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            parameter.data += 0.3 * torch.randn_like(parameter)
    made.mapping.w_avg.normal_()
    return freeze(made)


@pytest.fixture(scope="module")
def small():
    return network()


def test_it_satisfies_the_protocol(small):
    assert isinstance(small, Generator)
    image, features = small.synthesize(small.map(seed_z(small, [1, 2])))
    assert image.shape == (2, 3, *small.size)
    assert [tuple(x.shape[1:]) for x in features] == [(c.channels, c.height, c.width) for c in small.layers]
    assert not any(p.requires_grad for p in small.parameters())


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_it_equals_the_published_operations(clamp, seeds):
    made = network(conv_clamp=clamp)
    ws = made.map(seed_z(made, seeds))
    ws = ws + 0.3 * torch.randn(ws.shape, generator=torch.Generator().manual_seed(1))
    image, features = made.synthesize(ws)
    plain_image, plain_features = plain_stylegan2.synthesize(made, ws)
    assert torch.allclose(image, plain_image, atol=1e-5)
    for ours, theirs in zip(features, plain_features, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert clamp is None or max(float(x.abs().max()) for x in features) <= clamp


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
def test_a_gradient_is_that_of_the_published_operations(small, seeds):
    random = torch.Generator().manual_seed(2)
    start = small.map(seed_z(small, seeds)) + 0.3 * torch.randn((len(seeds), small.num_ws, 16), generator=random)
    gradients = []
    for draw in (small.synthesize, lambda ws: plain_stylegan2.synthesize(small, ws)):
        ws = start.clone().requires_grad_(True)
        image, features = draw(ws)
        (image.square().sum() + sum((x * x.detach().cos()).sum() for x in features)).backward()
        gradients.append(ws.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-4 * float(gradients[1].abs().max()))
    assert float(gradients[0].abs().max()) > 0


def test_what_has_a_gradient_and_what_has_none_draw_the_same(small):
    ws = small.map(seed_z(small, [1]))
    fast, features = small.synthesize(ws)
    slow, others = small.synthesize(ws.clone().requires_grad_(True))
    assert slow.requires_grad and not fast.requires_grad
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip([fast, *features], [slow, *others], strict=True))


def test_features_are_not_changed_by_the_layers_after_them(small):
    ws = small.map(seed_z(small, [4, 5]))
    _, part = small.synthesize(ws, image=False, last_layer=0)
    kept = part[0].clone()
    assert torch.equal(small.synthesize(ws)[1][0], kept)


def test_a_frozen_kernel_keeps_less_for_the_backward_pass(small):
    def kept(made):
        numbers = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: numbers.append(x.numel()) or x, lambda x: x):
            made.synthesize(made.map(seed_z(made, [1, 2])).clone().requires_grad_(True))
        return sum(numbers)

    assert kept(small) < 0.8 * kept(network().requires_grad_(True))


def test_a_laid_out_network_is_the_same_network(small):
    made = network().lay_out()
    for name, value in small.state_dict().items():
        assert torch.equal(value, made.state_dict()[name])
    strides = [made.synthesis.b8.conv1.weight.stride(), small.synthesis.b8.conv1.weight.stride()]
    assert strides[0] != strides[1]
    ws = small.map(seed_z(small, [1, 2]))
    assert torch.allclose(small.synthesize(ws)[0], made.synthesize(ws)[0], atol=1e-5)


def test_a_changed_kernel_is_noticed():
    made = network()
    ws = made.map(seed_z(made, [1]))
    before, _ = made.synthesize(ws)  # the sums of squares are remembered from here on
    conv = made.synthesis.b8.conv0
    with torch.no_grad():
        conv.weight[:, :4] *= 3
    after, _ = made.synthesize(ws)
    assert torch.allclose(after, plain_stylegan2.synthesize(made, ws)[0], atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-3)
    other = network(channels=(24, 16, 12, 8))
    made.load_state_dict(other.state_dict(), assign=True)
    assert torch.allclose(made.synthesize(ws)[0], before, atol=1e-5)


def test_a_gradient_can_be_taken_after_inference_mode():
    made = network()
    ws = made.map(seed_z(made, [1]))
    with torch.inference_mode():
        made.synthesize(ws)
    ws = ws.clone().requires_grad_(True)
    made.synthesize(ws)[0].sum().backward()
    assert float(ws.grad.abs().max()) > 0


def test_one_seed_is_one_image_in_any_batch(small):
    alone, _ = small.synthesize(small.map(seed_z(small, [7])))
    among, _ = small.synthesize(small.map(seed_z(small, [3, 9, 7, 1])))
    assert torch.allclose(alone[0], among[2], atol=1e-5)
    assert not torch.allclose(alone[0], among[1], atol=1e-2)


def test_random_noise_follows_from_the_samples_own_seed(small):
    ws = small.map(seed_z(small, [7, 8]))
    both, _ = small.synthesize(ws, noise_mode="random", noise_seeds=[5, 6])
    alone, _ = small.synthesize(ws[1:], noise_mode="random", noise_seeds=[6])
    other, _ = small.synthesize(ws[1:], noise_mode="random", noise_seeds=[5])
    assert torch.allclose(both[1], alone[0], atol=1e-5)
    assert not torch.allclose(other[0], alone[0], atol=1e-3)


def test_noise_modes_differ(small):
    ws = small.map(seed_z(small, [7]))
    const, none = (small.synthesize(ws, noise_mode=mode)[0] for mode in ("const", "none"))
    assert not torch.allclose(const, none, atol=1e-3)


def test_a_run_cut_short_is_the_beginning_of_a_whole_one(small):
    ws = small.map(seed_z(small, [4]))
    _, whole = small.synthesize(ws)
    for last in range(len(small.layers)):
        image, part = small.synthesize(ws, image=False, last_layer=last)
        assert image is None and len(part) == last + 1
        assert all(torch.equal(a, b) for a, b in zip(part, whole, strict=False))


def test_a_layer_depends_on_the_ws_up_to_its_own_and_no_further(small):
    ws = small.map(seed_z(small, [4]))
    _, whole = small.synthesize(ws)
    for index, layer in enumerate(small.layers):
        later, own = ws.clone(), ws.clone()
        later[:, layer.last_w + 1 :] += 1
        own[:, layer.last_w] += 1
        assert torch.equal(small.synthesize(later)[1][index], whole[index])
        assert not torch.allclose(small.synthesize(own)[1][index], whole[index], atol=1e-3)


def test_truncation_moves_towards_the_mean_up_to_the_cutoff(small):
    z = seed_z(small, [1, 2])
    free, mean = small.map(z), small.mapping.w_avg
    assert torch.allclose(small.map(z, 0.0), mean.expand_as(free), atol=1e-6)
    half = small.map(z, 0.5, cutoff=3)
    assert torch.allclose(half[:, :3], (free[:, :3] + mean) / 2, atol=1e-6)
    assert torch.equal(half[:, 3:], free[:, 3:])


def test_upsampling_by_zero_insertion_is_the_transposed_filter():
    x = torch.randn(2, 3, 5, 7)
    assert torch.allclose(ops.upsample2(x), plain_stylegan2.upsample(x), atol=1e-6)


def test_bfloat16_is_near_and_comes_out_as_float32(small):
    ws = small.map(seed_z(small, [4]))
    exact, _ = small.synthesize(ws)
    rough, features = small.synthesize(ws, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32 and all(x.dtype == torch.float32 for x in features)
    error = float((rough - exact).abs().mean() / exact.abs().mean())
    assert 0 < error < 0.05


def test_a_label_is_heeded():
    made = network(c_dim=3)
    z = seed_z(made, [1])
    first, second = (made.map(z, c=torch.eye(3)[i : i + 1]) for i in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    with pytest.raises(ValueError, match="c: expected"):
        made.map(z, c=torch.zeros(1, 5))


def test_twice_as_high_as_wide():
    made = network(const_size=(4, 2))
    image, _ = made.synthesize(made.map(seed_z(made, [1])))
    assert image.shape == (1, 3, 32, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ws": torch.zeros(1, 3, 16)}, "ws: expected"),
        ({"last_layer": 99, "image": False}, "last_layer: expected 0..6"),
        ({"last_layer": 2}, "image needs all 7 layers"),
        ({"noise_mode": "loud"}, "noise_mode: expected"),
        ({"noise_mode": "random"}, "noise_seeds: expected"),
    ],
)
def test_bad_input(small, change, message):
    arguments = {"ws": small.map(seed_z(small, [1]))} | change
    with pytest.raises(ValueError, match=message):
        small.synthesize(arguments.pop("ws"), **arguments)
    with pytest.raises(ValueError, match="z: expected"):
        small.map(torch.zeros(1, 3))
