"""The public doors: what cannot be used is refused by a sentence, and nothing wrong is given without a word."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import linsem
from linsem import metrics
from linsem.errors import InputError
from linsem.export import iter_export
from linsem.fewshot import fit_few_shot
from linsem.generator import freeze
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.toys import CATEGORIES, ToyGenerator

NAMES = ["one", "two", "three", "four"]


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture(scope="module")
def known(toy):
    return toy.known_extractor()


class Blind(ToyGenerator):
    """Its features are fine, and its pixels are none."""

    def synthesize(self, ws, *, image=True, last_layer=None):
        drawn, features = super().synthesize(ws, image=image, last_layer=last_layer)
        return None if drawn is None else drawn * torch.nan, features


def test_pixels_that_are_no_numbers_are_refused_rather_than_black(known, tmp_path):
    blind = Blind(24)
    layout, target = np.zeros((24, 24), np.uint8), np.ones((24, 24), np.uint8)
    ws = blind.map(linsem.seed_z(blind, [7]))[0]
    with pytest.raises(InputError, match="seed 3: its pixels hold numbers that are not finite"):
        list(iter_export(blind, known, count=2, first_seed=3, out_path=tmp_path / "a.zip"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="seed 5: its pixels hold"):
        linsem.make_bank(blind, known, [5, 6])
    with pytest.raises(InputError, match="seed 0: its pixels hold"):
        linsem.sample(blind, known, layout, 1, candidates=4, steps=1)
    with pytest.raises(InputError, match="the image of ws holds numbers that are not finite"):
        linsem.edit(blind, known, ws, target, steps=1)
    with pytest.raises(InputError, match=r"image: expected numbers, got some that are none \(NaN\)"):
        linsem.to_rgb(torch.full((1, 3, 2, 2), torch.nan))
    beyond = torch.tensor([-torch.inf, torch.inf, 0.0]).expand(1, 3, 3, 3)
    assert (linsem.to_rgb(beyond) == [[[0] * 3, [255] * 3, [128] * 3]]).all()
    assert np.array_equal(linsem.to_rgb(beyond[0]), linsem.to_rgb(beyond))  # as a sampling gives it


def test_what_one_label_of_a_conditional_network_made_is_not_taken_for_another(tmp_path):
    network = freeze(StyleGAN2(StyleGAN2Config(channels=(8, 8), c_dim=3, z_dim=8, w_dim=8), id="conditional"))
    first, other = network.with_label(0), network.with_label(2)
    ws, names = first.map(linsem.seed_z(first, [1, 2])), ["left", "right"]
    labels = np.repeat((np.arange(first.size[1]) >= first.size[1] // 2).astype(np.uint8)[None], first.size[0], 0)
    extractor = fit_few_shot(first, [linsem.Annotation(each, labels) for each in ws], names)
    bank = linsem.make_bank(first, extractor, range(40))
    atlas = linsem.make_atlas(first, bank)
    for works in (
        lambda generator: linsem.sample(generator, extractor, labels, 1, bank=bank, steps=1),
        lambda generator: linsem.make_atlas(generator, bank),
        lambda generator: linsem.edit(generator, extractor, ws[0], 1 - labels, steps=1, atlas=atlas),
    ):
        works(first)
        with pytest.raises(InputError, match="expected one of the generator's label 2, got one of its label 0"):
            works(other)


def test_categories_are_names_everywhere(toy, known):
    labels = known.predict(toy.synthesize(toy.map(linsem.seed_z(toy, [1])))[1])[0]
    file = linsem.write_label_map(labels, NAMES)
    assert np.array_equal(linsem.read_label_map(file, NAMES).labels, labels)
    rgb, parsed = np.zeros((24, 24, 3), np.uint8), linsem.parse_categories(NAMES)
    assert np.array_equal(linsem.overlay(rgb, labels, NAMES), linsem.overlay(rgb, labels, parsed))
    for wrong in ("one", "", 5, None, [1, 2, 3, 4]):
        with pytest.raises(InputError, match="categories: expected"):
            linsem.write_label_map(labels, wrong)


def test_a_prediction_is_the_same_under_autocast(toy, known):
    features = [x + 0.001 for x in toy.synthesize(toy.map(linsem.seed_z(toy, [1, 2])))[1]]
    plain = known.read(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = known.read(features)
    assert all(np.array_equal(a, b) for a, b in zip(plain, rounded, strict=True))


@pytest.mark.parametrize("size", [5, (5,), (0, 5), (-5, 6), (2.5, 3), "23"])
def test_a_size_is_height_and_width(toy, known, size):
    file = linsem.write_label_map(np.zeros((4, 4), np.uint8), NAMES)
    features = toy.synthesize(toy.map(linsem.seed_z(toy, [1])))[1]
    for works in (lambda: linsem.read_label_map(file, NAMES, size=size), lambda: known.predict(features, size)):
        with pytest.raises(InputError, match="size"):
            works()


def test_two_exports_of_the_same_seeds_have_the_same_bytes(toy, known, tmp_path):
    for name in ("a", "b"):
        list(iter_export(toy, known, count=3, out_path=tmp_path / f"{name}.zip"))
    first, second = (zipfile.ZipFile(tmp_path / f"{name}.zip") for name in ("a", "b"))
    with first, second:
        assert {each.date_time[0] for each in first.infolist()} == {1980}
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_project_can_be_made_and_not_only_loaded(toy, tmp_path):
    labels = np.zeros(toy.size, np.uint8)
    image = linsem.ProjectImage(7, toy.map(linsem.seed_z(toy, [7]))[0].numpy(), labels, 0.7)
    linsem.save_project(linsem.Project(toy.id, 0.7, CATEGORIES, (image,), {}, None, ()), tmp_path / "p.zip")
    assert np.array_equal(linsem.load_project(tmp_path / "p.zip").images[0].labels, labels)


BAD = {
    "ridge": lambda toy, known, some: fit_few_shot(toy, some, CATEGORIES, missing="keep", ridge=1e38),
    "start": lambda toy, known, some: fit_few_shot(
        toy, some, CATEGORIES, missing="keep", start=replace(known, generator_id="another")
    ),
    "seeds": lambda toy, known, some: linsem.suggest_next(toy, known, 5),
    "seeds: expected": lambda toy, known, some: linsem.suggest_next(toy, known, []),
    "labelled": lambda toy, known, some: linsem.suggest_next(toy, known, range(9), labelled=5),
    "labelled: expected finite": lambda toy, known, some: linsem.suggest_next(
        toy, known, range(9), labelled=[some[0].ws * np.nan]
    ),
    "count: expected a whole number of at least 1, got '2'": lambda toy, known, some: linsem.suggest_next(
        toy, known, range(9), count="2"
    ),
    "ws: expected finite": lambda toy, known, some: linsem.edit(toy, known, some[0].ws * np.nan, some[0].labels),
    "region: expected finite": lambda toy, known, some: linsem.edit(
        toy, known, some[0].ws, some[0].labels, np.full(toy.size, np.nan)
    ),
    "target": lambda toy, known, some: linsem.edit(toy, known, some[0].ws, [[1], [1, 2]]),
    "layout": lambda toy, known, some: linsem.sample(toy, known, [[1], [1, 2]]),
    "weights": lambda toy, known, some: linsem.edit(toy, known, some[0].ws, some[0].labels, weights=5),
    "weights: expected": lambda toy, known, some: linsem.sample(toy, known, some[0].labels, weights="x"),
    "look: expected a whole number in 0..4294967295, got True": lambda toy, known, some: linsem.sample(
        toy, known, some[0].labels, look=True
    ),
    "num_classes": lambda toy, known, some: metrics.paper_miou(some[0].labels[None], some[0].labels[None], 3.0),
    "table": lambda toy, known, some: metrics.table_miou(np.zeros(3)),
    "matrix": lambda toy, known, some: metrics.dataset_miou(np.eye(3)[0]),
    "image": lambda toy, known, some: linsem.to_rgb(np.zeros((1, 3, 4, 4), np.float32)),
    "rgb": lambda toy, known, some: linsem.overlay(np.zeros((*toy.size, 4), np.uint8), some[0].labels, CATEGORIES),
    "label map": lambda toy, known, some: linsem.read_label_map(some[0].labels, CATEGORIES),
    "label map: expected the bytes": lambda toy, known, some: linsem.read_label_map(Image.new("P", (4, 4)), CATEGORIES),
    "label map: expected the bytes of a file, or its path, got BytesIO": lambda toy, known, some: linsem.read_label_map(
        io.BytesIO(b""), CATEGORIES
    ),
    "features": lambda toy, known, some: known.predict([x.numpy() for x in toy.synthesize(some[0].ws[None])[1]]),
    "out_path": lambda toy, known, some: list(iter_export(toy, known, count=1, out_path=None)),
    "extractor": lambda toy, known, some: linsem.save_extractor(None, "nowhere"),
    "project": lambda toy, known, some: linsem.save_project(None, "nowhere"),
    "generator": lambda toy, known, some: linsem.seed_z(None, [1]),
}


@pytest.mark.parametrize("says", list(BAD))
def test_what_cannot_be_used_is_named(toy, known, dense, says):
    with pytest.raises(InputError, match=f"^{says.replace('(', '.')}"):
        BAD[says](toy, known, dense)


@pytest.mark.parametrize("kind", [torch.tensor, lambda a: torch.tensor(a, requires_grad=True), list, np.float32])
def test_a_region_is_an_array_of_any_kind(toy, known, dense, kind):
    ws, target = dense[0].ws, np.where(dense[0].labels == 1, 2, 255).astype(np.uint8)
    region = np.ones(toy.size, np.float32)
    plain = linsem.edit(toy, known, ws, target, region > 0, steps=2)
    given = linsem.edit(toy, known, ws, target, kind(region), steps=2)
    assert torch.equal(plain.ws, given.ws)


def test_metrics_take_arrays(toy, dense):
    labels = np.stack([each.labels for each in dense[:2]])
    matrix = metrics.confusion(labels, labels, 4)
    assert metrics.dataset_miou(matrix.numpy()) == 1
    assert metrics.table_miou(metrics.paper_iou(labels, labels, 4).numpy()) == 1


def test_strokes_that_leave_nothing_to_spread_are_bytes_too():
    complete = np.zeros((8, 8), np.int64)
    assert linsem.spread(np.zeros((8, 8, 3), np.uint8), complete).dtype == np.uint8
