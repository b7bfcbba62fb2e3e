"""What to label next: images that the extractor is unsure of, and that are unlike each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.extractor import ExtractorError
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import seed_z
from linsem.suggest import covering, steps_of, suggest_next
from tests.toys import CATEGORIES, ToyGenerator, scribbles


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator(24)


@pytest.fixture(scope="module")
def extractor(toy):
    ws = toy.map(seed_z(toy, [0]), psi=0.7)
    sparse = scribbles(toy.truth(ws)[0], 0.05)
    return fit_few_shot(toy, [Annotation(ws[0], sparse)], CATEGORIES)


def test_the_suggested_are_some_of_the_seeds_each_once_and_always_the_same(toy, extractor):
    chosen = suggest_next(toy, extractor, range(50, 70), 5)
    assert len(set(chosen)) == 5 and set(chosen) <= set(range(50, 70))
    assert chosen == suggest_next(toy, extractor, range(50, 70), 5)
    assert sorted(suggest_next(toy, extractor, range(50, 55), 5)) == list(range(50, 55))


def test_the_suggested_are_such_as_the_extractor_is_unsure_of(toy, extractor):
    """Over several pools, the suggested are less sure than the pool, and those that are left are surer."""
    suggested, left = [], []
    for first in range(50, 200, 24):
        seeds = list(range(first, first + 24))
        _, features = toy.synthesize(toy.map(seed_z(toy, seeds), psi=0.7), image=False)
        unsure = dict(zip(seeds, extractor.uncertainty(features).mean((1, 2)), strict=True))
        chosen = suggest_next(toy, extractor, seeds, 6)
        suggested += [unsure[seed] for seed in chosen]
        left += [unsure[seed] for seed in seeds if seed not in chosen]
    assert np.mean(suggested) > 1.04 * np.mean(left)


def test_a_twin_of_a_taken_or_a_labelled_image_is_passed_over():
    steps = torch.tensor([[3.0, 0.0], [2.9, 0.1], [0.0, 1.0], [0.1, 0.1]])
    assert covering(steps, 2) == [0, 2]
    assert covering(steps, 1, [torch.tensor([3.0, 0.0])]) == [2]
    assert torch.argsort(steps.norm(dim=1), descending=True)[:2].tolist() == [0, 1]  # length alone takes the twin


def test_what_stands_for_many_comes_before_what_is_alone():
    crowd = torch.tensor([[0.0, 2.0]] * 5) + 0.1 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    steps = torch.cat([torch.tensor([[3.0, 0.0]]), crowd])
    first, second = covering(steps, 2)
    assert first > 0 and second == 0
    assert steps.norm(dim=1).argmax() == 0


def test_labelled_images_change_what_is_suggested(toy, extractor):
    seeds = list(range(50, 60))
    first = suggest_next(toy, extractor, seeds, 1)[0]
    labelled = toy.map(seed_z(toy, [first]), psi=0.7)
    assert suggest_next(toy, extractor, seeds, 1, labelled=labelled) != [first]


def test_a_sure_extractor_asks_for_a_shorter_step(toy, extractor):
    ws = toy.map(seed_z(toy, [60]), psi=0.7)
    (unsure,), (sure,) = (steps_of(toy, replace(extractor, temperature=t), ws) for t in (4.0, 0.25))
    assert unsure.shape[0] == len(CATEGORIES) * 25
    assert sure.norm() < 0.7 * unsure.norm()


@pytest.mark.parametrize(("seeds", "count"), [([1, 2, 2], 1), ([1, 2], 3), ([1, 2], 0), ([], 1)])
def test_bad_input_is_told(toy, extractor, seeds, count):
    with pytest.raises(ValueError, match="expected"):
        suggest_next(toy, extractor, seeds, count)


def test_an_extractor_of_another_generator_is_refused(extractor):
    with pytest.raises(ExtractorError, match="made for the generator"):
        suggest_next(ToyGenerator(24, id="other"), extractor, [1, 2], 1)
