"""A generator on another device than the CPU: everything works on it, and gives what it gives on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import linsem
from linsem.dcgan import DCGAN
from linsem.fewshot import Annotation
from linsem.generator import freeze, seed_z
from linsem.looks import Looks
from linsem.metrics import paper_miou
from linsem.pggan import PGGAN
from linsem.pixels import IGNORE, to_rgb
from linsem.settings import Settings
from linsem.spread import guess
from linsem.steer import Wish, steer
from linsem.studio import Studio
from linsem.stylegan import StyleGAN
from linsem.stylegan2 import StyleGAN2
from linsem.suggest import least_like
from linsem.teacher import Teacher, TeacherConfig, UNet
from tests.elsewhere import CPU, There, second_device
from tests.test_dcgan import TOY as DCGAN_CONFIG
from tests.toys import CATEGORIES, Sometimes, ToyGenerator, scribbles
from tests.writers import nets


@pytest.fixture
def second():
    with second_device() as device:
        yield device


def on_the_cpu(tensor):
    """It, of which that is promised."""
    assert not isinstance(tensor, There)
    return tensor


def plain(value):
    """Arrays of whatever a call gives."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return np.asarray(value.held if isinstance(value, There) else value)


def agree(here, there, where=""):
    """Up to rounding: some operations are others on a CPU."""
    if isinstance(here, dict):
        assert here.keys() == there.keys()
        return [agree(here[name], there[name], f"{where} {name}") for name in here]
    if isinstance(here, list):
        assert len(here) == len(there)
        return [agree(one, other, where) for one, other in zip(here, there, strict=True)]
    np.testing.assert_allclose(there.astype(float), here.astype(float), rtol=1e-3, atol=1e-3, err_msg=where)


# --- the device itself -----------------------------------------------------------------------------------------------


def test_tensors_of_two_devices_do_not_meet(second):
    there, here = torch.ones(3, device=second), torch.ones(3)
    assert there.device == second and (there + 1).device == second and torch.equal((there + 1).cpu(), here + 1)
    assert float((there * torch.tensor(2.0)).sum()) == 6  # a single number may come from anywhere
    assert torch.equal(there[torch.tensor([0, 2])].cpu(), here[:2]) and there[[1]].tolist() == [1.0]
    for meet in (lambda: there + here, lambda: here.add_(there), lambda: torch.cat([there, here]),
                 lambda: here[there > 0], lambda: torch.where(here > 0, there, 0), lambda: here.sum().add_(there.sum()),
                 lambda: torch.stack([here[0], there[0]]), lambda: there.index_select(0, torch.tensor(0)),
                 lambda: there.__setitem__(there > 0, torch.zeros(3))):  # fmt: skip
        with pytest.raises(RuntimeError, match="two devices"):
            meet()
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, generator=torch.Generator(), device=second)
    with pytest.raises(RuntimeError, match="other numbers"):
        torch.randn_like(there)
    here.copy_(there * 5)
    assert here.tolist() == [5.0] * 3


def test_gradients_are_there_too(second):
    x = torch.ones(2, 2, device=second, requires_grad=True)
    (x.exp() @ torch.eye(2, device=second)).sum().backward()
    assert x.grad.device == second and torch.allclose(x.grad.cpu(), torch.full((2, 2), torch.e))


# --- the networks ----------------------------------------------------------------------------------------------------


NETWORKS = {
    "stylegan2": (StyleGAN2, nets.STYLEGAN2), "stylegan": (StyleGAN, nets.STYLEGAN), "pggan": (PGGAN, nets.PGGAN_),
}  # fmt: skip


def network(family):
    if family == "dcgan":
        return freeze(DCGAN(DCGAN_CONFIG, id="toy"))
    make, config = NETWORKS[family]
    made = make(config, id="toy")
    made.load_state_dict(nets.random_state(config, 0))
    return freeze(made)


@pytest.mark.parametrize("family", ["stylegan2", "stylegan", "pggan", "dcgan"])
def test_a_seed_is_one_image_on_both(second, family):
    made, found = network(family), []
    noise = {"noise_mode": "random", "noise_seeds": [3, 4]} if family == "stylegan2" else {}
    for device in (CPU, second):
        made.to(device)
        assert made.device == device
        ws = made.map(seed_z(made, [1, 2]), psi=0.7)
        image, features = made.synthesize(ws)
        assert image.device == device and ws.device == device
        found.append(plain([ws, image, features, made.synthesize(ws, **noise)[0]]))
    agree(*found)


# --- what is done with them ------------------------------------------------------------------------------------------


def calls(generator, extractor, folder):
    """What each call gives."""
    ws = generator.map(seed_z(generator, [5, 6, 7]))
    image, features = generator.synthesize(ws)
    labels = extractor.predict(features)
    sparse = [Annotation(w, scribbles(each, 0.1, seed=i)) for i, (w, each) in enumerate(zip(ws, labels, strict=True))]
    guessed = [guess(each, rgb) for each, rgb in zip(sparse, to_rgb(image), strict=True)]
    target = np.where(labels[1] == 2, 2, IGNORE).astype(np.uint8)
    paint = {"color": np.zeros((*labels[0].shape, 3), np.uint8), "color_mask": labels[0] == 2}
    bank = linsem.make_bank(generator, extractor, range(24))
    atlas = linsem.make_atlas(generator, bank)
    fit = linsem.fit_few_shot(generator, guessed, CATEGORIES, missing="keep")
    again = linsem.fit_few_shot(generator, guessed, CATEGORIES, missing="keep", start=fit)
    *_, steered = steer(generator, extractor, ws[:1], Wish(target), space=atlas.basis, steps=2)
    *_, exported = linsem.iter_export(generator, extractor, count=3, out_path=folder / "set.zip", batch=2)
    edit, sample = linsem.edit, linsem.sample
    return plain({
        "labels": labels, "uncertainty": extractor.uncertainty(features), "exported": exported.done,
        "fit": fit.weights, "again": again.weights,
        "dense": linsem.fit_few_shot(generator, [Annotation(ws[0], labels[0])], CATEGORIES, missing="keep").weights,
        "next": least_like(generator, ws, [1]),
        "suggested": linsem.suggest_next(generator, extractor, range(12), 3, labelled=ws[:1]),
        "bank": bank.labels, "basis": atlas.basis, "steered": steered.ws,
        "edit": on_the_cpu(edit(generator, extractor, ws[0], target, steps=3).ws),
        "from the CPU": edit(generator, extractor, ws[0].cpu(), target, steps=3, atlas=atlas).ws,
        "colour": edit(generator, extractor, ws[0], target, steps=3, **paint).image,
        "sample": [on_the_cpu(each.ws) for each in sample(generator, extractor, labels[1], 2, candidates=24, steps=3)],
        "look": [each.image for each in sample(generator, extractor, labels[1], 2, bank=bank, steps=3, look=8)],
    })  # fmt: skip


def test_every_call_gives_what_it_gives_on_the_cpu(second, tmp_path):
    toy = ToyGenerator(32)
    extractor = toy.known_extractor()
    here = calls(toy, extractor, tmp_path)
    toy.to(second)
    agree(here, calls(toy, extractor, tmp_path))  # which follows by itself
    assert extractor.to(second).weights["bias"].device == second
    agree(here["labels"], plain(extractor.to(second).predict(toy.synthesize(toy.map(seed_z(toy, [5, 6, 7])))[1])))


def test_a_category_is_taken_out_and_brought_in_there(second):
    found = []
    for device in (CPU, second):
        toy = Sometimes(32).to(device)
        extractor = toy.known_extractor()
        ws = toy.map(seed_z(toy, range(20)))
        shown = [i for i, each in enumerate(extractor.predict(toy.synthesize(ws)[1])) if (each == 3).any()]
        without = next(i for i in range(20) if i not in shown)
        options = {"steps": 4}
        gone = linsem.remove(toy, extractor, ws[shown[0]], "small", **options)
        there = linsem.add(toy, extractor, ws[without], "small", **options)
        found.append(plain([gone.ws, gone.report["gone"], there.ws, there.report["there"]]))
    agree(*found)


def small_teacher():
    torch.manual_seed(0)
    return Teacher(UNet(TeacherConfig(len(CATEGORIES), (4, 4, 4, 4))).eval(), CATEGORIES)


def test_full_supervision_goes_on_there_and_its_teacher_may_stay_here(second, tmp_path):
    found, options = [], {"recipes": ["LSE", "NSE-1", "NSE-2", "centroid"], "images": 16, "batch": 8, "report": 1}
    teacher = small_teacher()
    for device in (CPU, second):
        toy, state = ToyGenerator(32).to(device), tmp_path / f"{device.type}.pt"
        first = next(linsem.supervised.iter_supervised(toy, teacher, state=state, **options))
        *_, last = linsem.supervised.iter_supervised(toy, teacher, state=state, **options)
        assert first.images < last.images == 16
        found.append(plain({name: each.weights for name, each in last.extractors.items()}))
    agree(*found)


def test_predictions_are_judged_by_a_teacher_elsewhere(second):
    toy, teacher = ToyGenerator(32), small_teacher().to(second)
    image, features = toy.synthesize(toy.map(seed_z(toy, [1, 2])))
    labels, truth = toy.known_extractor().predict(features), teacher(image)
    assert truth.device == second and teacher.features(image).device == second
    assert paper_miou(labels, truth, 4) == paper_miou(labels, truth.cpu(), 4)


def test_a_visitor_s_studio_works_there(second):
    found = []
    for device in (CPU, second):
        studio = Studio(Settings(device=device.type))
        assert studio.device == device
        studio._looks.get("toy", lambda device=device: Looks(ToyGenerator().to(device), 64 << 20))
        studio.check_model = lambda model: model
        ws, rgb = studio.draw("toy", range(6), 0.7)
        truth = ToyGenerator().truth(torch.from_numpy(ws))
        strokes = [scribbles(each, 0.1, seed=i) for i, each in enumerate(truth[:2])]
        first = studio.fit("toy", ws[:1], strokes[:1], CATEGORIES, spread=True)
        fitted = studio.fit("toy", ws[:2], strokes, CATEGORIES, start=first, spread=True)
        assert fitted.weights["layer0.weight"].device == CPU
        reading, following = studio.overview("toy", fitted, ws, [0, 1])
        *_, edited = studio.edit("toy", fitted, ws[0], np.where(truth[1] == 2, 2, IGNORE).astype(np.uint8), steps=3)
        *_, sampled = studio.sample("toy", fitted, truth[3], count=2, candidates=20, steps=2)
        labelled = [each for part in studio.label("toy", fitted, range(3), 0.7) for each in part]
        found.append(plain([
            ws, rgb / 255, fitted.weights, reading.labels, reading.uncertainty, following, edited.ws, sampled.ws,
            studio.suggest("toy", range(20), 3, 0.7, [ws[0]]), [each.labels for each in labelled],
        ]))  # fmt: skip
    agree(*found)
