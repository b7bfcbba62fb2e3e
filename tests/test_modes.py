"""The modes of torch that a caller may be in: none of them changes a result, or what later code may do with it."""

from __future__ import annotations

import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import linsem
from linsem.bank import Banks, bank_key
from linsem.export import export
from linsem.generator import freeze, seed_z
from linsem.pixels import IGNORE
from linsem.steer import Wish, steer
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from linsem.suggest import least_like
from linsem.teacher import load_teacher


@contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def elsewhere():
    """What is made without a device has no data."""
    return torch.device("meta")


MODES = {
    "another device": elsewhere,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "float64": lambda: default(torch.float64),
    "bfloat16": lambda: default(torch.bfloat16),
}


def results(toy, extractor, ws, layout):
    """What each long call gives: arrays by name."""
    target = np.where(layout == 3, 3, IGNORE).astype(np.uint8)
    bank = linsem.make_bank(toy, extractor, range(40))
    edited = linsem.edit(toy, extractor, ws, target, steps=20)
    sampled = linsem.sample(toy, extractor, layout, 1, bank=bank, steps=4, look=3)[0]
    *_, steered = steer(toy, extractor, ws[None], Wish(target), steps=2)

    def teacher(image):
        return (image[:, 0] > 0).long() + 1

    fitted = linsem.fit_supervised(toy, teacher, recipes=["LSE", "centroid"], images=16, batch=8)
    asked = np.array(linsem.suggest_next(toy, None, range(30), 5))
    return {
        "suggested": asked, "next": np.array(least_like(toy, ws[None].repeat(3, 1, 1), [1])),
        **{f"{kind} {name}": w for kind, each in fitted.items() for name, w in each.weights.items()},
        "bank": bank.labels, "atlas": linsem.make_atlas(toy, bank).basis, "steer": steered.ws, "edit": edited.ws,
        "edited": edited.image, "sample": sampled.ws, "sampled": sampled.image, "labels": sampled.labels,
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_no_mode_of_the_caller_changes_a_result(toy, extractor, mode):
    ws, layout = toy.map(seed_z(toy, [5]))[0], toy.truth(toy.map(seed_z(toy, [9])))[0]
    plain = results(toy, extractor, ws, layout)
    assert not torch.equal(plain["edit"], ws)
    with mode():
        inside = results(toy, extractor, ws, layout)
    for name, value in plain.items():
        assert np.array_equal(value, inside[name]), name


def test_nor_what_is_exported(toy, extractor, tmp_path):
    first = export(toy, extractor, count=3, out_path=tmp_path / "a.zip")
    with torch.autocast("cpu", torch.bfloat16):
        second = export(toy, extractor, count=3, out_path=tmp_path / "b.zip")
    with zipfile.ZipFile(first.path) as one, zipfile.ZipFile(second.path) as other:
        assert all(one.read(name) == other.read(name) for name in one.namelist())


def test_a_bank_on_disk_is_the_same_under_autocast(toy, extractor, tmp_path):
    class Plain:  # known by what it draws alone
        def __getattr__(self, name):
            return getattr(toy, name)

    with torch.autocast("cpu", torch.bfloat16):
        bank = Banks(tmp_path).make(Plain(), extractor, range(8))
    assert [path.stem for path in tmp_path.iterdir()] == [f"bank-{bank_key(Plain(), extractor, range(8), 1.0)}"]
    assert np.array_equal(bank.labels, linsem.make_bank(toy, extractor, range(8)).labels)


def test_the_mode_is_the_caller_s_again_between_two_steps(toy, extractor):
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        for _ in linsem.iter_sample(toy, extractor, np.zeros(toy.size, np.uint8), 1, candidates=9, steps=1):
            assert torch.is_autocast_enabled("cpu") and torch.is_inference_mode_enabled()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return freeze(StyleGAN2(StyleGAN2Config(channels=(8, 8))))


def test_a_mapping_truncates_under_autocast(net):
    with torch.autocast("cpu", torch.bfloat16):
        ws = net.map(seed_z(net, [1]), 0.5)
    assert ws.dtype == torch.float32 and torch.allclose(ws, net.map(seed_z(net, [1]), 0.5), atol=0.05)


def test_the_noise_of_a_seed_does_not_depend_on_the_default_dtype(net):
    ws, noise = net.map(seed_z(net, [1])), {"noise_mode": "random", "noise_seeds": [3]}
    for k in (0, 1):
        getattr(net.synthesis, f"b{4 * 2**k}").conv1.noise_strength.fill_(0.5)
    plain = net.synthesize(ws, **noise)[0]
    assert not torch.equal(plain, net.synthesize(ws)[0])
    with default(torch.float64):
        assert torch.equal(net.synthesize(ws, **noise)[0], plain)


@pytest.fixture
def wish():
    target = np.full((64, 64), IGNORE, np.uint8)
    target[10:20, 20:40] = 3
    return target


def test_what_is_loaded_in_inference_mode_can_be_differentiated_later(wish):
    with torch.inference_mode():
        generator, teacher = linsem.load_generator("avatars-64"), load_teacher("avatars-128")
        extractor = linsem.load_extractor("avatars-64")
        ws = generator.map(seed_z(generator, [5]))[0]
        inside = linsem.edit(generator, extractor, ws, wish, steps=2)
    outside = linsem.edit(generator, extractor, ws, wish, steps=2)
    assert torch.equal(inside.ws, outside.ws) and not torch.equal(inside.ws, ws)
    assert not inside.image.is_inference()
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    teacher.logits(image).sum().backward()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_teacher_is_the_same_whatever_the_default_dtype(dtype):
    with default(dtype):
        inside = load_teacher("avatars-128")
    for key, value in load_teacher("avatars-128").network.state_dict().items():
        assert torch.equal(value, inside.network.state_dict()[key]), key
