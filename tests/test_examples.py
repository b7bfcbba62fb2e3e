"""From annotations to rows: which are of one image, and what each category weighs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import examples, fitting
from linsem.examples import _weights, images_of
from linsem.fewshot import fit_few_shot
from linsem.pixels import IGNORE
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture
def groups(monkeypatch):
    """The groups by which each fit leaves rows out."""
    seen, plain = [], fitting.cross_validate
    monkeypatch.setattr(fitting, "cross_validate", lambda p, of, *a, **k: seen.append(of) or plain(p, of, *a, **k))
    return seen


def copy(annotation):
    return replace(annotation, ws=annotation.ws.clone())


def test_annotations_of_the_same_ws_are_of_one_image(dense):
    """It has the labels of all, and of two for one pixel the first."""
    upper, lower, empty = (dense[0].labels.copy() for _ in range(3))
    upper[12:], lower[:10], empty[:] = IGNORE, IGNORE, IGNORE
    lower[10] = (lower[10] + 1) % 4
    parts = [replace(copy(dense[0]), labels=each) for each in (upper, lower, empty)]
    images, maps = images_of([parts[2], parts[0], dense[1], parts[1], dense[2]])
    assert images == [0, 0, 1, 0, 2]
    assert all(np.array_equal(found, each.labels) for found, each in zip(maps, dense[:3], strict=True))


def test_a_copy_is_left_out_together_with_its_image(toy, dense, groups):
    two, three, twice = (
        fit_few_shot(toy, each, CATEGORIES, ridge=0.01) for each in (dense[:2], dense[:3], [*dense[:2], copy(dense[0])])
    )
    assert [of.unique_consecutive().tolist() for of in groups] == [[0, 1], [0, 1, 2], [0, 1, 0]]
    assert [each.notes["images"] for each in (two, three, twice)] == ["2", "3", "2"]
    assert twice.least == pytest.approx(two.least) and three.least != pytest.approx(two.least)


def test_copies_of_the_only_image_are_not_held_for_others(toy, dense, groups):
    """Blocks of it are left out, as of one alone, and the ridge is that of one image."""
    alone, twice = (fit_few_shot(toy, each, CATEGORIES) for each in (dense[:1], [dense[0], copy(dense[0])]))
    assert twice.notes["images"] == "1" and twice.notes["ridge"] == alone.notes["ridge"]
    assert torch.equal(groups[1], groups[0].repeat(2)) and int(groups[0].max()) == 3
    features = toy.synthesize(dense[3].ws[None])[1]
    assert (alone.predict(features) == twice.predict(features)).mean() > 0.97


def shares(classes, common=10_000):
    """The weight of each category, of which the first has many pixels and each other one."""
    y = torch.cat([torch.zeros(common, dtype=torch.long), torch.arange(1, classes)])
    weight = _weights(y, torch.ones(len(y)), classes, 0.0).double()
    return weight.new_zeros(classes).index_add_(0, y, weight).numpy()


@pytest.mark.parametrize("classes", [2, 20, 21, 250])
def test_a_rare_category_has_a_least_weight_and_many_together_a_tenth_at_most(monkeypatch, classes):
    found = shares(classes)
    least = min(0.005, 0.1 / classes)
    assert found.sum() == pytest.approx(1, rel=1e-4)
    assert found[1:] == pytest.approx(least / (1 + (classes - 1) * least), rel=0.03)
    assert found[0] > 0.9
    monkeypatch.setattr(examples, "MANY", 10**9)
    assert np.array_equal(shares(classes), found) == (classes <= 20)
    monkeypatch.setattr(examples, "LEAST_WEIGHT", 0.0)
    assert shares(classes)[1:].max() < 2e-4
