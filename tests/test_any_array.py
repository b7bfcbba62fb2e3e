"""Fits and readings accept arrays of any kind and refuse those that would silently give wrong results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import edit, iter_sample, metrics, seed_z, spread, suggest_next
from linsem.conditional import LayoutError
from linsem.errors import InputError
from linsem.examples import AnnotationError
from linsem.extractor import ExtractorError, load_extractor, save_extractor
from linsem.fewshot import fit_few_shot, iter_few_shot
from linsem.palette import Category
from linsem.wish import SteerError
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: replace(a, labels=torch.from_numpy(a.labels)),  # as a teacher gives them
        lambda a: replace(a, labels=a.labels.tolist()),
        lambda a: replace(a, ws=a.ws.numpy()),
    ],
    ids=["tensor", "list", "numpy ws"],
)
def test_labels_and_latents_may_be_arrays_of_any_kind(toy, dense, change):
    one = fit_few_shot(toy, (change(a) for a in dense), CATEGORIES)
    other = fit_few_shot(toy, dense, CATEGORIES)
    assert all(torch.equal(one.weights[k], other.weights[k]) for k in other.weights)


def test_categories_of_one_name_are_refused_before_the_fit(toy, dense):
    twice = (*CATEGORIES[:3], Category("large", "#123456"))
    with pytest.raises(AnnotationError, match="each name once, got 'large' 2 times"):
        fit_few_shot(toy, dense, twice)


@pytest.mark.parametrize("pixels", [0, -5])
def test_fewer_pixels_than_categories_are_refused(toy, dense, pixels):
    with pytest.raises(ValueError, match=f"pixels: expected a whole number of at least 4, got {pixels}"):
        fit_few_shot(toy, dense, CATEGORIES, pixels=pixels)


def test_a_few_iterations_are_a_few(toy, dense):
    losses = [list(iter_few_shot(toy, dense, CATEGORIES, iterations=n, ridge=0.01))[-1].loss for n in (1, 3, 8, 9, 16)]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 5


def test_no_fit_claims_to_be_surer_than_its_logits(toy, dense):
    """What temperatures are found on is solved roughly; sharpened by that, a fit would be too sure of new images."""
    for count in (1, 2, 4):
        assert fit_few_shot(toy, dense[:count], CATEGORIES, missing="keep").temperature >= 1


def test_the_image_and_the_category_of_a_number_that_is_not_finite_are_named(toy, dense):
    def features_of(ws):
        features = toy.synthesize(ws[None], image=False)[1]
        return [x * torch.inf for x in features] if torch.equal(ws, dense[2].ws) else features

    first = CATEGORIES[dense[2].labels.flat[0]].name
    with pytest.raises(AnnotationError, match=rf"image 3: .* not finite, for one at a pixel of '{first}'"):
        fit_few_shot(toy, dense, CATEGORIES, features_of=features_of)


def test_one_number_that_is_not_finite_gives_no_labels(toy, dense):
    extractor = fit_few_shot(toy, dense, CATEGORIES)
    features = toy.synthesize(torch.stack([a.ws for a in dense]))[1]
    assert extractor.predict(features).shape == (4, 24, 24)
    features[0][2, 0, 0, 0] = torch.nan
    for read in (extractor.predict, extractor.uncertainty):
        with pytest.raises(ExtractorError, match="image 3: not finite"):
            read(features)


def test_seeds_are_whole_numbers_of_any_kind(toy):
    same = [seed_z(toy, each) for each in ([3], (np.int64(3),), range(3, 4), torch.tensor([3]))]
    assert all(torch.equal(each, same[0]) for each in same)
    for wrong in ([1.5], [-0.5], ["3"], "12", 7, [2**32], []):
        with pytest.raises(InputError, match="expected a"):
            seed_z(toy, wrong)


def test_what_could_not_be_read_back_is_not_taken(toy, dense, tmp_path):
    known = dense
    for names, colors in (("ab", ("red", "blue")), ("ab", ("#112233", "#112233")), (("", "b"), ("#112233", "#445566"))):
        wrong = [Category(*each) for each in zip(names, colors, strict=True)]
        with pytest.raises(AnnotationError, match="categories"):
            fit_few_shot(toy, known, wrong, missing="keep")
    named = fit_few_shot(toy, known, [" background", *"abc"])
    save_extractor(named, tmp_path / "e.safetensors")
    assert load_extractor(tmp_path / "e.safetensors").categories == named.categories
    with pytest.raises(InputError, match="categories"):
        save_extractor(replace(named, categories=(Category(" a", "#FF0100"), *named.categories[1:])), tmp_path / "f")


def test_metrics_take_what_predict_gives(toy):
    labels = toy.truth(toy.map(seed_z(toy, [1, 2])))
    assert isinstance(labels, np.ndarray) and metrics.paper_miou(labels, labels.copy(), 4) == 1


def test_strokes_are_spread_on_bytes_and_labels_alone():
    rgb, labels = np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 255, np.uint8)
    labels[2:6, 2:6] = 0
    assert (spread(torch.from_numpy(rgb), torch.from_numpy(labels)) == 0).all()
    minus = np.where(labels == 255, -1, labels.astype(np.int64))
    for picture, painted in ((rgb / 255, labels), (rgb, labels / 1.0), (rgb[None], labels[None]), (rgb, minus)):
        with pytest.raises(InputError, match="spread: expected"):
            spread(picture, painted)


def test_labelled_latents_are_taken_as_arrays_too(toy):
    ws = toy.map(seed_z(toy, [1, 2]))
    first = suggest_next(toy, None, range(10, 20), 2, labelled=ws)
    for given in (ws.numpy(), list(ws), [each.numpy() for each in ws]):
        assert suggest_next(toy, None, range(10, 20), 2, labelled=given) == first


def test_a_layout_may_be_of_any_whole_numbers_and_what_is_left_out_of_it_is_said(toy, dense):
    never = fit_few_shot(toy, dense, (*CATEGORIES, Category("moon", "#123456")), missing="keep")
    layout = toy.truth(toy.map(seed_z(toy, [5])))[0].astype(np.int64)
    *_, plain = iter_sample(toy, never, layout, 1, candidates=4, steps=1)
    layout[:4] = 4
    *_, last = iter_sample(toy, never, layout, 1, candidates=4, steps=1)
    assert plain.note == "" and "'moon'" in last.note
    for wrong in (layout / 1.0, np.full((8, 8), -1)):
        with pytest.raises(LayoutError, match="label"):
            next(iter_sample(toy, never, wrong, 1, candidates=4))


def test_a_colour_needs_its_place_and_bytes(toy):
    ws, target, extractor = toy.map(seed_z(toy, [5]))[0], np.zeros((24, 24), np.uint8), toy.known_extractor()
    color, where = np.zeros((24, 24, 3), np.uint8), np.eye(24, dtype=bool)
    for options in ({"color": color}, {"color": color / 255, "color_mask": where}):
        with pytest.raises(SteerError, match="color"):
            edit(toy, extractor, ws, target, steps=1, **options)
    edit(toy, extractor, ws, target, steps=1, color=color, color_mask=where)
