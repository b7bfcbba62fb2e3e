"""The training recipe: seeds determine drawings, drawings determine labels, and the mapping starts by reading codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.lab import dataset, drawings, edits, mapping_start, train, training_run
from linsem.lab.discriminator import Discriminator
from linsem.lab.muon import Muon, orthogonalize
from linsem.stylegan2 import Mapping, StyleGAN2Config
from linsem.zoo import assets, load_generator

SHIPPED = assets() / "avatars-128.safetensors"


def test_a_drawing_follows_from_its_seed():
    first, labels = drawings.render_seed(11, 64)
    again, _ = drawings.render_seed(11, 64)
    other, _ = drawings.render_seed(12, 64)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert labels.shape == (64, 64) and labels.max() < len(drawings.CATEGORIES)


def test_labels_lie_where_the_colors_are():
    """Repainting the clothes changes the picture where it is labelled clothes, and nowhere else."""
    drawing = drawings.drawing_of(drawings.code_of(3))
    drawing = replace(drawing, variants=drawing.variants | {"clothes": "shirtScoopNeck"})
    red, labels = drawings.render(replace(drawing, colors=drawing.colors | {"clothes": "#ff5c5c"}), 128)
    blue, _ = drawings.render(replace(drawing, colors=drawing.colors | {"clothes": "#5199e4"}), 128)
    changed = (red != blue).any(-1)
    assert changed[labels == drawings.CLOTHES].mean() > 0.98
    assert changed[labels != drawings.CLOTHES].mean() < 0.02


def test_every_category_occurs():
    seen = set()
    for seed in range(40):
        seen |= set(np.unique(drawings.render_seed(seed, 64)[1]))
    assert seen == set(range(len(drawings.CATEGORIES)))


def test_cached_arrays_are_the_drawings(tmp_path):
    rgb, labels = dataset.cached(tmp_path, 5, 3, 32, labels=True)
    for i in range(3):
        picture, label = drawings.render_seed(5 + i, 32)
        assert np.array_equal(rgb[i], picture) and np.array_equal(labels[i], label)


def probe(mapping: Mapping) -> float:
    """How often a linear map of w predicts the drawing's eyes."""
    codes = dataset.codes(0, 1500)
    eyes = list(drawings.choices()["eyes"])
    wanted = torch.tensor([eyes.index(drawings.drawing_of(code).variants["eyes"]) for code in codes])
    with torch.no_grad():
        w = mapping(torch.from_numpy(codes))
    x = torch.cat([w, torch.ones(len(w), 1)], dim=1)
    y = torch.nn.functional.one_hot(wanted, len(eyes)).float()
    solution = torch.linalg.lstsq(x[:1000], y[:1000]).solution
    return float(((x[1000:] @ solution).argmax(1) == wanted[1000:]).float().mean())


def test_the_mapping_starts_out_reading_codes():
    torch.manual_seed(0)
    mapping = Mapping(training_run.CONFIG)
    assert probe(mapping) < 0.6  # it was not so before
    mapping_start.construct(mapping)
    assert probe(mapping) > 0.9
    assert mapping_start.units_needed() <= training_run.CONFIG.mapping_width


def test_narrower_ramps_change_nothing_but_codes_that_lay_in_them():
    torch.manual_seed(0)
    mapping = Mapping(training_run.CONFIG)
    mapping_start.construct(mapping)
    with torch.no_grad():  # as training leaves it: not quite what was written
        for layer in (mapping.fc0, mapping.fc1):
            layer.weight *= 1 + 0.02 * torch.randn_like(layer.weight)
    coordinate, cut = mapping_start._plan()[0][0]
    codes = torch.randn(4000, drawings.CODE_DIM)
    far = torch.stack([(codes[:, c] - v).abs() for c, v in mapping_start._plan()[0]]).amin(0) > 1.5 * mapping_start.RAMP
    line = torch.zeros(41, drawings.CODE_DIM)
    line[:, coordinate] = cut + torch.linspace(-0.1, 0.1, 41)

    def steepest(w):
        return float((w[1:] - w[:-1]).norm(dim=1).max() / (w[-1] - w[0]).norm())

    with torch.no_grad():
        before, slow = mapping(codes), steepest(mapping(line))
        mapping_start.sharpen(mapping, 4.0)
        after, fast = mapping(codes), steepest(mapping(line))
    change = (after - before).norm(dim=1) / before.norm(dim=1)
    assert far.sum() > 5 and float(change[far].max()) < 0.1 < float(change[~far].max())
    assert fast > 2 * slow


def test_ramps_are_narrowed_once(tmp_path, monkeypatch):
    small = StyleGAN2Config(
        channels=(8, 8), z_dim=drawings.CODE_DIM, w_dim=32, mapping_layers=4, mapping_width=512, normalize_z=False
    )
    monkeypatch.setattr(training_run, "CONFIG", small)
    run = training_run.Run.open(tmp_path)
    written = run.mapping.fc1.weight.detach().clone()
    run.sharpen(4.0)
    once = run.mapping.fc1.weight.detach().clone()
    run.save()
    again = training_run.Run.open(tmp_path)
    again.sharpen(4.0)
    assert torch.equal(again.mapping.fc1.weight, once) and not torch.equal(once, written)


def test_a_face_weighs_more_than_what_surrounds_it():
    weight = train._busyness(torch.zeros(1, 3, 64, 64))[0, 0]
    assert float(weight[32, 32]) == train.FACE_WEIGHT and float(weight[2, 2]) == float(weight[60, 32]) == 1


def test_training_resumes_where_it_was(tmp_path, monkeypatch):
    small = StyleGAN2Config(
        channels=(8, 8, 8), z_dim=drawings.CODE_DIM, w_dim=32, mapping_layers=4, mapping_width=512, normalize_z=False
    )
    for module in (train, training_run):
        monkeypatch.setattr(module, "CONFIG", small)
    monkeypatch.setattr(train, "ALONE", 1)
    rgb, _ = dataset.cached(tmp_path, 0, 16, 32, labels=False)
    codes = torch.from_numpy(dataset.codes(0, 16))
    run = training_run.Run.open(tmp_path / "run")
    run.dtype = torch.float32
    train.reconstruct(run, rgb, codes, 16, images=160, batch=8, lr=5e-3)
    losses = [float(line.split("loss ")[1].split()[0]) for line in (tmp_path / "run/log.txt").read_text().splitlines()]
    assert np.isfinite(losses).all() and run.seen == 160
    again = training_run.Run.open(tmp_path / "run")
    assert again.seen == 160
    again.dtype = torch.float32
    for mine, theirs in zip(run.synthesis.parameters(), again.synthesis.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    train.adversarial(again, rgb, codes, 16, images=16, batch=8, lr=1e-3, r1=1.0, keep=1.0)
    assert again.seen == 176


@pytest.mark.parametrize(("name", "factor"), training_run.SHARPENED.items())
def test_the_shipped_ramps_are_about_as_narrow_as_is_said(tmp_path, name, factor):
    def heights(mapping):
        bias = mapping.fc0.bias.detach()[: 2 * len(mapping_start._plan()[0])]
        return (bias[0::2] - bias[1::2]).abs()

    written = training_run.Run.open(tmp_path / "written")
    run = training_run.Run.open(tmp_path / "run", [assets() / f"{name}.safetensors"])
    narrower = (heights(written.mapping) / heights(run.mapping)).median()
    assert factor / 2 < narrower < factor * 2 and run.sharpened == factor  # training moves them a little
    run.sharpen(2 * factor)
    assert (heights(written.mapping) / heights(run.mapping)).median() == pytest.approx(2 * float(narrower), rel=1e-3)


def test_a_new_run_goes_on_from_the_shipped_weights(tmp_path):
    blank, run = training_run.Run.open(tmp_path / "blank"), training_run.Run.open(tmp_path / "run", [SHIPPED])
    shipped, z = load_generator("avatars-128"), torch.from_numpy(dataset.codes(7, 2))
    with torch.no_grad():
        wanted = shipped.synthesize(shipped.map(z))[0]
        for each, same in ((run, True), (blank, False)):
            image = train._draw(each, train._untruncated(each, z), 128) if each is blank else each.ema["synthesis"](
                each.ema["mapping"](z)[:, None].repeat(1, training_run.CONFIG.num_ws, 1), noise_mode="none"
            )[0]  # fmt: skip
            assert (float((image - wanted).abs().max()) < 1e-3) == same
    assert run.sharpened == training_run.SHARPENED["avatars-128"] != blank.sharpened
    for name, network in (("mapping", run.mapping), ("synthesis", run.synthesis)):  # what is trained is what is shown
        averaged = run.ema[name].state_dict()
        assert all(torch.equal(value, averaged[key]) for key, value in network.state_dict().items())
        assert not torch.equal(next(iter(network.parameters())), next(iter(getattr(blank, name).parameters())))


@torch.no_grad()
def test_latents_without_a_drawing_are_truncated_or_mixed(tmp_path):
    run = training_run.Run.open(tmp_path)
    run.mapping.w_avg.normal_(generator=torch.Generator().manual_seed(0))
    ws = train._loose(run, 6, torch.Generator().manual_seed(3))
    random = torch.Generator().manual_seed(3)
    first, second = (run.mapping(torch.randn(6, drawings.CODE_DIM, generator=random)) for _ in range(2))
    for i in (0, 2, 4):
        psi = (ws[i] - run.mapping.w_avg).norm(dim=1) / (first[i] - run.mapping.w_avg).norm()
        assert torch.allclose(ws[i], run.mapping.w_avg.lerp(first[i], psi[0]), atol=1e-5)
        assert train.LEAST_PSI <= float(psi[0]) <= 1
    for i in (1, 3, 5):
        of = [(ws[i] == each[i]).all(dim=1) for each in (first, second)]
        assert bool((of[0] ^ of[1]).all()) and bool(of[0][0]) and bool(of[1][-1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(24, 80), (80, 24)])
def test_orthogonalised_steps_have_singular_values_alike(shape, dtype):
    torch.manual_seed(0)
    uneven = torch.randn(2, *shape) * torch.logspace(0, -1, shape[1])
    before = torch.linalg.svdvals(uneven)
    after = torch.linalg.svdvals(orthogonalize(uneven, dtype))
    assert float((before[:, 0] / before[:, -1]).min()) > 4  # they were not alike
    assert 0.5 < float(after.min()) and float(after.max()) < 1.4


def test_a_matrix_moves_by_the_learning_rate_whatever_the_gradient():
    torch.manual_seed(0)
    moved = []
    for scale in (1.0, 1000.0):
        weight = torch.nn.Parameter(torch.randn(16, 8, 3, 3))
        before = weight.detach().clone()
        weight.grad = scale * torch.randn(16, 8, 3, 3)
        Muon([weight], lr=0.01).step()
        moved.append(float((weight.detach() - before).square().mean().sqrt()))
    assert moved == pytest.approx([0.01, 0.01], rel=0.3)


def test_the_discriminator_sees_patches():
    """A change in one corner moves the logits near it, and those alone."""
    torch.manual_seed(0)
    network = Discriminator((8, 8, 8, 8))
    images = torch.randn(2, 3, 128, 128)
    network.requires_grad_(False)
    before = network(images)
    assert before.shape == (2, 1, 16, 16)
    images[:, :, :8, :8] += 1
    moved = (network(images) - before).abs().amax(dim=(0, 1))
    assert float(moved[0, 0]) > 0 and not moved[8:, 8:].any()


@pytest.fixture(scope="module")
def drawn():
    return [edits.known(drawings.render_seed(seed, 64)[1]) for seed in range(300, 380)]


@pytest.mark.parametrize("name", list(edits.SCRIPTS))
def test_each_scripted_edit_fits_some_drawing_and_asks_for_change(name, drawn):
    script = edits.SCRIPTS[name]
    wishes = (edits.wish(script, each, drawn[:place] + drawn[place + 1 :]) for place, each in enumerate(drawn))
    target, labels = next((target, each[0]) for target, each in zip(wishes, drawn, strict=True) if target is not None)
    asked = target != 255
    assert 0 < asked.mean() < 0.5
    assert (target[asked] != labels[asked]).any()
    assert edits.wish(script, (labels, None), drawn) is None  # no face, no edit
