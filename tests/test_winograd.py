"""The Winograd convolution equals the direct one."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from linsem import winograd
from linsem.generator import freeze
from linsem.remembered import Remembered
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config


@pytest.mark.parametrize(
    ("count", "size", "strip"), [(1, (16, 24), 10 << 20), (3, (16, 16), 10 << 20), (2, (32, 16), 1)]
)
def test_it_is_the_convolution(count, size, strip, monkeypatch):
    monkeypatch.setattr(winograd, "STRIP", strip)
    torch.manual_seed(0)
    x, weight = torch.randn(count, 7, *size), torch.randn(5, 7, 3, 3)
    scale, gain = torch.randn(count, 7), torch.randn(count, 5)
    exact = F.conv2d((x * scale[..., None, None]).double(), weight.double(), padding=1) * gain[..., None, None]
    found = winograd.convolve(x, winograd.transformed(weight), scale, gain)
    assert found.shape == exact.shape
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-5
    other = winograd.convolve(x, winograd.transformed(weight.flip(3)), scale, gain)
    assert float((other - exact).abs().max() / exact.abs().max()) > 0.1


def test_a_wide_network_draws_the_same_with_and_without(monkeypatch):
    torch.manual_seed(0)
    config = StyleGAN2Config(channels=(256, 256, 256), z_dim=8, w_dim=8, mapping_layers=1)
    network = freeze(StyleGAN2(config, id="wide"))
    ws = network.map(torch.randn(3, 8))
    used = []
    real = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *a: used.append(1) or real(*a))
    with torch.no_grad():
        image, features = network.synthesize(ws)
        assert len(used) == 1  # the one layer of 16 px that does not double the size
        alone = network.synthesize(ws[1:2])[0]
        monkeypatch.setattr(winograd, "WIDE", 1000)
        plain, maps = network.synthesize(ws)
    assert len(used) == 2
    span = float(plain.max() - plain.min())
    assert float((image - plain).abs().max()) < 1e-5 * span and float((alone - image[1:2]).abs().max()) < 1e-5 * span
    for one, other in zip(features, maps, strict=True):
        assert float((one - other).abs().max()) < 2e-5 * float(other.max() - other.min())


def test_with_a_gradient_and_in_other_precisions_it_is_not_used(monkeypatch):
    network = freeze(
        StyleGAN2(StyleGAN2Config(channels=(256, 256, 256), z_dim=8, w_dim=8, mapping_layers=1), id="wide")
    )
    monkeypatch.setattr(winograd, "convolve", lambda *a: pytest.fail("used"))
    ws = network.map(torch.randn(1, 8)).requires_grad_(True)
    network.synthesize(ws)[0].sum().backward()
    with torch.no_grad():
        network.synthesize(ws, dtype=torch.bfloat16)


def test_what_is_remembered_follows_the_weight():
    asked = []
    double = Remembered(lambda weight: asked.append(1) or weight * 2)
    weight = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    assert double(weight) is double(weight) and len(asked) == 1
    weight.data.add_(1)
    weight.mul_(1)
    assert double(weight).tolist() == [4, 4, 4] and len(asked) == 2
    assert copy.deepcopy(double)(weight).tolist() == [4, 4, 4] and len(asked) == 3
    weight.requires_grad_(True)
    assert double(weight) is not double(weight)
