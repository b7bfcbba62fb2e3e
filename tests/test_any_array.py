"""What a fit and a reading take and refuse: arrays of any kind, and nothing that would be wrong without a word."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from linsem.examples import AnnotationError
from linsem.extractor import ExtractorError
from linsem.fewshot import fit_few_shot, iter_few_shot
from linsem.palette import Category
from tests.toys import CATEGORIES, ToyGenerator, labelled


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture(scope="module")
def dense(toy):
    return labelled(toy)


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
    with pytest.raises(ValueError, match=f"pixels: expected at least one a category .4., got {pixels}"):
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
        with pytest.raises(ExtractorError, match="image 2: not finite"):
            read(features)
