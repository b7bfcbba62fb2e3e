"""Suggestions of what to label next: images with parts that no labelled image shows, unlike each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from linsem.extractor import ExtractorError, load_extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import seed_z
from linsem.suggest import BASIS_IMAGES, CROWD, covering, least_like, looked_at, rarity, suggest_next
from linsem.zoo import load_generator
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
    assert chosen == suggest_next(toy, None, range(50, 70), 5)  # an extractor has no say
    assert chosen != list(range(50, 55))
    mine = toy.map(seed_z(toy, [3, 4]))
    known = suggest_next(toy, None, range(50, 70), 5, labelled=mine)
    assert suggest_next(toy, None, range(50, 70), 5, labelled=(w for w in mine)) == known
    assert sorted(suggest_next(toy, extractor, range(50, 55), 5)) == list(range(50, 55))


def test_the_suggested_leave_smaller_gaps_than_others(toy):
    """Over several pools: all pixels together are nearer to the suggested than to as many others."""
    for first in range(50, 122, 24):
        seeds = list(range(first, first + 24))
        places = looked_at(toy, toy.map(seed_z(toy, seeds), psi=0.7))
        weight = rarity(places)
        chosen = [seed - first for seed in suggest_next(toy, None, seeds, 6)]
        others = [list(range(start, start + 6)) for start in range(0, 24, 6)]
        assert gaps(places, weight, chosen) < min(gaps(places, weight, each) for each in others)


def gaps(places: torch.Tensor, weight: torch.Tensor, chosen: list[int]) -> float:
    apart = torch.cdist(places.flatten(0, 1), places[chosen].flatten(0, 1)).min(1).values.square()
    return float(apart @ weight.flatten())


def test_the_suggested_show_what_is_rare():
    """On the shipped generator: four suggested images of forty show more categories than four others, on average."""
    generator = load_generator("avatars-128")
    extractor = load_extractor("avatars-128", generator)
    shown, usual = [], []
    for first in (100, 200, 300):
        ws = generator.map(seed_z(generator, range(first, first + 40)), 0.7)
        found = np.stack([extractor.predict(generator.synthesize(w[None])[1])[0] for w in ws])
        there = np.stack([(found == k).sum((1, 2)) > 20 for k in range(len(extractor.categories))], axis=1)
        chosen = [seed - first for seed in suggest_next(generator, None, range(first, first + 40), 4)]
        shown.append(there[chosen].any(0).sum())
        usual += [there[start : start + 4].any(0).sum() for start in range(0, 40, 4)]
    assert np.mean(shown) > np.mean(usual) + 0.5


def pixels(*images: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.tensor(images)
    return places, torch.ones(places.shape[:2])


FACE, HAT, BEARD = [0.0, 0.1], [3.0, 0.0], [0.0, 3.0]


def test_an_image_with_a_part_that_nothing_taken_has_comes_first():
    """Small as it is; the images' means would have it otherwise."""
    wild, plain = [[0.7, 0.7]] * 4, [FACE] * 4
    places, weight = pixels(plain, [FACE, FACE, FACE, HAT], [FACE, FACE, FACE, BEARD], wild, [FACE, FACE, FACE, HAT])
    chosen = covering(places, weight, 3, [0])
    assert set(chosen[:2]) in ({1, 2}, {2, 4}) and chosen[2] == 3
    assert places.mean(1).norm(dim=1).argmax() == 3


def test_a_twin_of_a_taken_or_a_labelled_image_is_passed_over():
    places, weight = pixels([HAT, HAT], [HAT, HAT], [FACE, BEARD], [FACE, FACE])
    assert covering(places, weight, 2)[1] == 2
    assert covering(places, weight, 1, [1]) == [2]
    assert covering(places, weight, 1, [2]) == [0]


def test_what_many_have_comes_before_what_is_alone():
    places, weight = pixels([FACE, BEARD], [FACE, HAT], [FACE, HAT], [FACE, HAT], [FACE, FACE])
    assert covering(places, weight, 2, [4])[1] == 0
    assert covering(places, weight, 1, [4])[0] in (1, 2, 3)


def test_what_counts_little_is_left():
    places, weight = pixels([FACE, HAT], [FACE, BEARD], [FACE, FACE])
    for less, first in ((0, 1), (1, 0)):
        uneven = weight.clone()
        uneven[less] = 0.1
        assert covering(places, uneven, 1, [2]) == [first]


def test_labelled_images_change_what_is_suggested(toy, extractor):
    seeds = list(range(50, 60))
    first = suggest_next(toy, extractor, seeds, 1)[0]
    labelled = toy.map(seed_z(toy, [first]), psi=0.7)
    assert suggest_next(toy, extractor, seeds, 1, labelled=labelled) != [first]


def test_of_the_images_shown_the_next_is_the_one_that_would_be_suggested(toy):
    """Beside those that are labelled, wherever they stand; remembered features are as good as a pass."""
    seeds = list(range(50, 58))
    ws = torch.cat([toy.map(seed_z(toy, [s]), psi=0.7) for s in seeds])
    free = [i for i in range(8) if i not in (6, 2)]
    nearest = suggest_next(toy, None, [seeds[i] for i in free], 1, labelled=ws[[2, 6]])
    order = torch.tensor([2, 6, *free])  # in which `suggest_next` looks at them: pixels are compared by chance
    assert [seeds[order[least_like(toy, ws[order], [0, 1])]]] == nearest
    chosen = least_like(toy, ws, [6, 2])
    assert chosen in free and chosen == least_like(toy, ws, [2, 6, 2])
    assert chosen == least_like(toy, ws, [2, 6], lambda each: toy.synthesize(each[None])[1])
    assert least_like(toy, ws, [chosen]) != chosen  # once it is labelled it is another


def test_a_twin_of_a_labelled_image_is_the_last_to_be_labelled(toy):
    ws = toy.map(seed_z(toy, [50, 51, 50, 52]), psi=0.7)
    left = [0]
    while len(left) < 4:
        left.append(least_like(toy, ws, left))
    assert left[-1] == 2 and least_like(toy, ws, left) is None


def test_positions_that_are_not_there_are_told(toy):
    ws = toy.map(seed_z(toy, [50, 51]), psi=0.7)
    for labelled in ([2], [-1]):
        with pytest.raises(ValueError, match=r"positions in 0\.\.1"):
            least_like(toy, ws, labelled)


def many(*parts: tuple[list[float], int], images: int = 40) -> torch.Tensor:
    """Images with given pixel counts of each part, slightly varied, with more pixels than are compared."""
    places = torch.tensor([[at for at, count in parts for _ in range(count)]] * images)
    return places + 0.01 * torch.randn(places.shape, generator=torch.Generator().manual_seed(0))


def test_a_pixel_counts_by_how_few_are_like_it():
    """Half of a face, most others of the ground, some of a beard, few of a hat; compared with or not."""
    weight = rarity(many((FACE, 50), ([0.0, -3.0], 40), (BEARD, 8), (HAT, 2)))
    assert weight.numel() > CROWD and weight.shape == (40, 100)
    for part, share in zip(weight.split([50, 40, 8, 2], dim=1), (0.5, 0.4, 0.08, 0.02), strict=True):
        assert part.max() < 1.5 * part.min() and 0.6 / share < part.mean() < 1.5 / share


def test_no_pixel_is_like_itself_in_the_count():
    """Ten pixels: of two alike, each has one among nine others that resembles it."""
    places = torch.tensor([[FACE] * 5, [HAT] * 3 + [BEARD] * 2])
    weight = rarity(100 * places)
    for part, others in ((weight[0], 4), (weight[1, :3], 2), (weight[1, 3:], 1)):
        assert part.tolist() == pytest.approx([9 / others] * len(part), rel=0.01)


def test_pixels_that_are_all_the_same_count_the_same():
    places = torch.tensor([[FACE] * 100] * 8)
    weight = rarity(places)
    assert weight.max() < 1.1 * weight.min() and covering(places, weight, 2) == [0, 1]


def test_any_number_of_images_can_be_looked_at(toy):
    """Those after the first many lie in the same coordinates."""
    ws = toy.map(seed_z(toy, [*range(BASIS_IMAGES), 7, 9]), psi=0.7)
    places = looked_at(toy, ws)
    assert len(places) == BASIS_IMAGES + 2
    assert torch.allclose(places[-2:], places[[7, 9]], atol=1e-4)


def test_features_that_are_no_numbers_are_told(toy, monkeypatch):
    broken = [x * float("nan") for x in toy.synthesize(toy.map(seed_z(toy, [1])), image=False)[1]]
    monkeypatch.setattr(toy, "synthesize", lambda ws, **options: (None, broken))
    with pytest.raises(ValueError, match=r"seed 4 of .*not finite"):
        suggest_next(toy, None, [4, 2], 1)
    with pytest.raises(ValueError, match=r"labelled image 1 of .*not finite"):
        suggest_next(toy, None, [4, 2], 1, labelled=toy.map(seed_z(toy, [3])))


def test_labelled_images_of_another_shape_are_told(toy):
    with pytest.raises(ValueError, match=r"labelled: expected \(n, "):
        suggest_next(toy, None, [1, 2], 1, labelled=toy.map(seed_z(toy, [3]))[0])


@pytest.mark.parametrize(
    ("seeds", "count"), [([1, 2, 2], 1), ([1, 2], 3), ([1, 2], 0), ([], 1), ([1, 2], 1.5), ([1.5, 2], 1), ([-1, 2], 1)]
)
def test_bad_input_is_told(toy, extractor, seeds, count):
    with pytest.raises(ValueError, match="expected"):
        suggest_next(toy, extractor, seeds, count)


def test_an_extractor_of_another_generator_is_refused(extractor):
    with pytest.raises(ExtractorError, match="made for the generator"):
        suggest_next(ToyGenerator(24, id="other"), extractor, [1, 2], 1)
