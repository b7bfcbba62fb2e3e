"""Specks: categories with too few pixels give way to the next likely one, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem.agree import labels_of
from linsem.extractor import ExtractorError, load_extractor, save_extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import Layer, seed_z
from linsem.pixels import IGNORE
from linsem.specks import SHARE, areas, least_areas, without_specks
from linsem.supervised import fit_supervised
from tests.toys import CATEGORIES, ToyGenerator, scribbles


def logits_for(labels: list[list[int]], classes: int, then: int) -> torch.Tensor:
    """Logits (1, K, H, W) in which each pixel's label is the likeliest and `then` the next likely."""
    rows = torch.tensor(labels)
    logits = torch.nn.functional.one_hot(rows, classes).float() * 2
    logits[..., then] += 1
    return logits.permute(2, 0, 1)[None]


IMAGE = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 2]]  # twelve, three and one of sixteen pixels


@pytest.mark.parametrize(("least", "expected"), [(0.0, 2), (1 / 16, 2), (1.1 / 16, 1)])
def test_a_speck_takes_the_next_likely_category(least, expected):
    found = without_specks(logits_for(IMAGE, 3, then=1), (0.0, 0.0, least))[0]
    assert found[3, 3] == expected and found.dtype == torch.uint8
    changed = found != torch.tensor(IMAGE)
    assert int(changed.sum()) == (expected != 2)


def test_a_speck_goes_to_a_category_that_is_no_speck_itself():
    """The next likely is a speck too, or nowhere: then it is the one after."""
    for next_one in (1, 3):
        found = without_specks(logits_for(IMAGE, 4, then=next_one), (0.0, 0.25, 0.25, 0.25))[0]
        assert set(found.unique().tolist()) == {0}


def test_the_largest_category_is_no_speck_and_images_do_not_know_of_each_other():
    logits = torch.cat([logits_for(IMAGE, 3, then=1), logits_for([[2] * 4] * 4, 3, then=1)])
    assert (without_specks(logits, (1.0, 1.0, 1.0)) == torch.tensor([[[0]], [[2]]])).all()
    least = (0.0, 0.0, 0.5)
    both = without_specks(logits, least)
    assert all(torch.equal(both[i], without_specks(logits[i : i + 1], least)[0]) for i in range(2))
    assert (both[1] == 2).all() and not (both[0] == 2).any()


def test_many_pixels_are_counted_exactly_in_half_precision():
    """257 is not a number of bfloat16."""
    labels = torch.zeros(1, 40, 40, dtype=torch.long)
    labels[0].view(-1)[:257] = 1
    logits = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).bfloat16()
    assert (without_specks(logits, (0.0, 257 / 1600)) == 1).sum() == 257
    assert (without_specks(logits, (0.0, 257.5 / 1600)) == 1).sum() == 0


def test_least_areas_are_a_share_of_the_mean_where_there_is_any():
    half, quarter, none = (np.full((4, 4), IGNORE, np.uint8) for _ in range(3))
    half[:2], quarter[:1] = 1, 1
    none[:] = 0
    assert least_areas(areas([half, quarter, none], 3)) == pytest.approx((SHARE, SHARE * 3 / 8, 0.0))


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator()


def test_a_fit_knows_how_large_categories_are_and_predicts_without_specks(toy):
    ws = toy.map(seed_z(toy, range(4)), psi=0.7)
    maps = toy.truth(ws)
    fitted = fit_few_shot(toy, [Annotation(w, each) for w, each in zip(ws, maps, strict=True)], CATEGORIES)
    assert fitted.least == least_areas(areas(list(maps), len(CATEGORIES))) and min(fitted.least) > 0
    features = toy.synthesize(ws)[1]
    fussy = replace(fitted, least=tuple(0.9 * (maps == k).mean() for k in range(len(CATEGORIES))))
    logits = fussy.logits(features)
    assert np.array_equal(fussy.predict(features), without_specks(logits, fussy.least).numpy())
    assert not np.array_equal(fussy.predict(features), labels_of(logits).numpy())
    assert np.array_equal(replace(fussy, least=()).predict(features), labels_of(logits).numpy())


class Corners(torch.nn.Module):
    """Draws a square in a corner, whose side w says, and has it as its only features."""

    id, size, z_dim, w_dim, num_ws = "corners", (32, 32), 1, 1, 1
    layers = (Layer(channels=2, height=32, width=32, last_w=0),)
    categories = CATEGORIES[:2]
    device = torch.device("cpu")

    def map(self, z, psi=1.0):
        return z[:, None]

    def synthesize(self, ws, *, image=True, last_layer=None):
        at = torch.arange(32)
        square = ((at[:, None] < ws[:, :, :1]) & (at < ws[:, :, :1])).float()
        features = torch.stack([1 - square, square], dim=1)
        return (square[:, None].repeat(1, 3, 1, 1) if image else None), [features]


@pytest.mark.parametrize("hidden", [0, 300])
def test_what_is_labelled_on_an_image_is_no_speck_there(hidden):
    """However much larger it is on the others, and also if a part of the image is left unknown."""
    corners, ws = Corners(), torch.tensor([24.0, 20.0, 3.0])[:, None, None]
    _, features = corners.synthesize(ws)
    maps = features[0].argmax(1).to(torch.uint8).numpy()
    maps.reshape(3, -1)[:, 1024 - hidden :] = IGNORE
    annotations = [Annotation(w, each) for w, each in zip(ws, maps, strict=True)]
    fitted = fit_few_shot(corners, annotations, corners.categories, pixels=500, spread=False)
    assert least_areas(areas(list(maps), 2))[1] > 9 / 1024  # so it would be one
    assert (fitted.predict(features) == 1).sum(axis=(1, 2)).tolist() == [576, 400, 9]
    assert (fitted.predict(corners.synthesize(torch.tensor([[[2.0]]]))[1]) == 1).sum() == 0  # less than any labelled


def test_of_few_strokes_an_area_is_what_the_fit_sees(toy):
    """Some pixels painted of a sky that is a third of all images: not less than a share of that, and of the others."""
    ws = toy.map(seed_z(toy, range(4)), psi=0.7)
    maps = toy.truth(ws)
    sparse = [scribbles(each, 0.03) for each in maps]
    annotations = [Annotation(w, each) for w, each in zip(ws, sparse, strict=True)]
    fitted = fit_few_shot(toy, annotations, CATEGORIES, spread=False)
    painted, shares = least_areas(areas(sparse, len(CATEGORIES))), np.bincount(maps.ravel(), minlength=4) / maps.size
    assert all(a >= b for a, b in zip(fitted.least, painted, strict=True))
    assert fitted.least[0] > 3 * painted[0] and fitted.least[0] == pytest.approx(SHARE * shares[0], rel=0.3)


def test_a_fully_supervised_extractor_knows_it_too(toy):
    def teacher(image: torch.Tensor) -> torch.Tensor:
        seen.append(torch.zeros(len(image), *image.shape[-2:], dtype=torch.uint8))
        seen[-1][:, :8] = 1
        seen[-1][0, -1, :2] = 2
        return seen[-1]

    seen: list[torch.Tensor] = []
    fitted = fit_supervised(toy, teacher, categories=CATEGORIES, recipes=["LSE", "NSE-1"], images=12, batch=4)
    area = toy.size[0] * toy.size[1]
    expected = (
        SHARE * (1 - 8 * toy.size[1] / area - 2 / area / 4),
        SHARE * 8 * toy.size[1] / area,
        SHARE * 2 / area,
        0,
    )
    assert fitted["LSE"].least == fitted["NSE-1"].least == pytest.approx(expected, abs=1e-6)


def test_least_areas_are_saved_and_damaged_ones_are_told(toy, tmp_path):
    known = replace(toy.known_extractor(), least=(0.0, 0.1, 0.25, 1.0))
    save_extractor(known, tmp_path / "own.safetensors")
    assert load_extractor(tmp_path / "own.safetensors").least == known.least
    for least in ((0.1,), (0.0, 0.1, 0.2, 1.5), (0.0, 0.1, 0.2, float("nan")), (0.0, -0.1, 0.2, 0.3)):
        save_extractor(replace(known, least=least), tmp_path / "bad.safetensors")
        with pytest.raises(ExtractorError, match="least: expected 4 shares"):
            load_extractor(tmp_path / "bad.safetensors")
