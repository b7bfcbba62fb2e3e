"""Another look: the layout stays, the colours come from another seed, and reports describe the image shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from linsem import conditional, swap
from linsem.generator import seed_z


@pytest.fixture(scope="module")
def layout(toy):
    return toy.truth(toy.map(seed_z(toy, [1007])))[0]


@pytest.fixture(scope="module")
def bank(toy, extractor):
    return conditional.make_bank(toy, extractor, range(60), batch=32)


def results(toy, extractor, layout, bank, **options):
    found = conditional.sample(toy, extractor, layout, 3, bank=bank, steps=6, **options)
    return {each.seed: each for each in found}


def test_the_layout_stays_and_the_colours_are_those_of_the_seed(toy, extractor, layout, bank):
    own, other = results(toy, extractor, layout, bank), results(toy, extractor, layout, bank, look=5)
    look = toy.map(seed_z(toy, [5]))[0]
    assert own.keys() == other.keys()
    for seed, each in other.items():
        assert each.score >= own[seed].score - swap.GIVEN_UP
        assert (each.image - own[seed].image).abs().mean() > 0.02
        assert torch.allclose(each.ws[3:], look[3:])  # of which the toy's geometry knows nothing
        assert not torch.allclose(each.ws[0], look[0])


def test_image_labels_and_score_are_those_of_the_latent(toy, extractor, layout, bank):
    for each in results(toy, extractor, layout, bank, look=5).values():
        with torch.no_grad():
            image, features = toy.synthesize(each.ws[None])
        assert torch.allclose(image[0], each.image, atol=1e-5)
        assert np.array_equal(extractor.predict(features)[0], each.labels)
        assert each.score == pytest.approx(conditional.score(each.labels, layout))


def test_where_every_style_matters_none_is_taken(toy, extractor, layout):
    ws = toy.map(seed_z(toy, [1, 2]))
    first = toy.truth(ws)
    scores = iter([1.0, 1.0, *[0.9] * 50])
    now, _, labels = swap.with_look(toy, extractor, ws, 5, 1.0, lambda _: next(scores))
    assert torch.equal(now, ws) and np.array_equal(labels, first)


def test_a_look_is_of_a_seed_and_of_a_generator_with_several_styles(toy, extractor, layout, monkeypatch):
    for look in (-1, 2**32, True):
        with pytest.raises(ValueError, match="look: expected a seed"):
            next(conditional.iter_sample(toy, extractor, layout, 2, candidates=8, look=look))
    monkeypatch.setattr(toy, "num_ws", 1, raising=False)
    with pytest.raises(ValueError, match="one latent"):
        next(conditional.iter_sample(toy, extractor, layout, 2, candidates=8, look=3))
    swap.check_look(toy, None)
