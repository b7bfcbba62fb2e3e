"""What a fit makes of images without labels, of layers that tell nothing, of odd notes and of odd options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.basis import fit_basis
from linsem.errors import InputError
from linsem.fewshot import AnnotationError, fit_few_shot
from linsem.generator import Layer, seed_z
from linsem.metrics import paper_miou
from linsem.pixels import IGNORE
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


class WithGlobal:
    """A toy before whose maps is one of a single position, which w alone decides."""

    def __init__(self, toy):
        self.toy, self.layers = toy, (Layer(8, 1, 1, last_w=0), *toy.layers)

    def __getattr__(self, name):
        return getattr(self.toy, name)

    def synthesize(self, ws, *, image=True, last_layer=None):
        picture, features = self.toy.synthesize(ws, image=image)
        everywhere = 3 + ws[:, 0, :8, None, None]
        return picture, [everywhere, *features][: None if last_layer is None else last_layer + 1]


def miou(generator, extractor):
    ws = generator.map(seed_z(generator, range(100, 120)), psi=0.7)
    found = torch.from_numpy(extractor.predict(generator.synthesize(ws)[1]))
    return paper_miou(found, torch.from_numpy(generator.truth(ws)), len(CATEGORIES))


def test_a_layer_that_is_constant_on_the_only_image_does_no_harm(toy, dense):
    wide = WithGlobal(toy)
    alone = miou(toy, fit_few_shot(toy, dense[:1], CATEGORIES, missing="keep"))
    beside = miou(wide, fit_few_shot(wide, dense[:1], CATEGORIES, missing="keep"))
    assert alone > 0.7 and beside > alone - 0.05


def test_a_constant_layer_is_not_read_and_others_are():
    x = torch.cat([torch.full((50, 3), 7.3), torch.randn(50, 2, generator=torch.Generator().manual_seed(0))], dim=1)
    x[:, :3] += 1e-7 * torch.arange(50)[:, None]  # rounding
    basis = fit_basis(x, [3, 2])
    assert not basis.forward[0].any() and basis.forward[1].any()
    shifted = x.clone()
    shifted[:, :3] += 100
    assert torch.equal(basis.project(shifted), basis.project(x)) and not torch.equal(
        basis.project(x + 1), basis.project(x)
    )


def test_images_without_labels_change_nothing_in_the_choice(toy, dense):
    """The same ridge as without them, wherever they lie, and folds by labelled image."""
    empty = [replace(a, labels=np.full_like(a.labels, IGNORE)) for a in dense]
    one, two = fit_few_shot(toy, dense[:1], CATEGORIES), fit_few_shot(toy, [dense[0], dense[3]], CATEGORIES)
    padded = fit_few_shot(toy, [dense[0], empty[1]], CATEGORIES)
    apart = fit_few_shot(toy, [dense[0], empty[1], empty[2], dense[3]], CATEGORIES)
    for found, wanted, images in ((padded, one, "1"), (apart, two, "2")):
        assert {k: found.notes[k] for k in ("ridge", "images")} == {"ridge": wanted.notes["ridge"], "images": images}
    assert one.notes["images"] == "1" and two.notes["images"] == "2"
    assert apart.temperature == pytest.approx(two.temperature, rel=0.3)
    many = fit_few_shot(toy, [dense[0], *empty, *empty, dense[3]], CATEGORIES)
    assert many.least == two.least  # dense labels are not taken for strokes
    assert int(fit_few_shot(toy, [dense[0], *empty], CATEGORIES, pixels=400).notes["pixels"]) == 400


@pytest.mark.parametrize(
    ("note", "value"),
    [*(("ridge", bad) for bad in ("x", "nan", "-1", "1e400", "1e39", "")), ("pixels", "9" * 400), ("power", "2")],
)
def test_a_start_whose_notes_are_nonsense_is_a_start_all_the_same(toy, dense, note, value):
    first = fit_few_shot(toy, dense[:2], CATEGORIES)
    odd = replace(first, notes=first.notes | {note: value})
    found = fit_few_shot(toy, dense[:2], CATEGORIES, start=odd)
    assert found.notes["ridge"] == first.notes["ridge"]
    assert all(torch.isfinite(w).all() for w in found.weights.values())
    kept = fit_few_shot(toy, dense[:2], CATEGORIES, start=replace(first, notes=first.notes | {"ridge": "0.07"}))
    assert kept.notes["ridge"] == "0.07"
    count = int(first.notes["pixels"])
    for before, goes_on in ((count, True), (count // 2 + 1, True), (count // 2 - 1, False)):
        notes = first.notes | {"ridge": "0.07", "pixels": str(before)}
        found = fit_few_shot(toy, dense[:2], CATEGORIES, start=replace(first, notes=notes))
        assert (found.notes["ridge"] == "0.07") == goes_on  # chosen on much less, it is chosen anew


@pytest.mark.parametrize(
    "options",
    [
        {"balance": np.nan},
        {"balance": 2},
        {"power": np.nan},
        {"power": -1},
        {"rank": 0},
        {"rank": -3},
        {"noise": -1},
        {"ridge": "x"},
        {"ridge": np.inf},
        {"balance": "x"},
        {"balance": None},
        {"power": "x"},
        {"start": "x"},
    ],
)
def test_options_that_mean_nothing_are_told(toy, dense, options):
    with pytest.raises(InputError, match="expected"):
        fit_few_shot(toy, dense, CATEGORIES, **options)


@pytest.mark.parametrize("ws", ["sky", [[1.0], [1.0, 2.0]], object()])
def test_ws_that_are_no_numbers_are_told(toy, dense, ws):
    with pytest.raises(AnnotationError, match=r"image 2: ws: expected numbers \(num_ws, w_dim\)"):
        fit_few_shot(toy, [dense[0], replace(dense[1], ws=ws)], CATEGORIES)


def test_ws_of_any_precision_are_taken(toy, dense):
    found = [
        fit_few_shot(toy, [replace(each, ws=each.ws.to(dtype)) for each in dense[:2]], CATEGORIES, iterations=2)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    assert torch.equal(found[0].weights["bias"], found[1].weights["bias"])
    assert torch.isfinite(found[2].weights["bias"]).all()


def test_the_twin_options_are_taken(toy, dense):
    found = fit_few_shot(toy, dense[:2], CATEGORIES, balance=1.0, power=0.0, rank=1, noise=0)
    assert found.notes["power"] == "0.0"
