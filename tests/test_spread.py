"""Strokes spread over the areas of one colour that they touch, and no further."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from linsem.generator import seed_z
from linsem.pixels import IGNORE, to_rgb
from linsem.settings import Settings
from linsem.spread import Spreads, guess, spread
from linsem.studio import Studio
from linsem.walk import Walk

module = importlib.import_module("linsem.spread")  # `linsem.spread` itself is the function
studio_module = importlib.import_module("linsem.studio")


def scene(size=64):
    """A face with two eyes on a wall: rgb, and the masks of the four regions."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    face = x**2 + y**2 < 0.3**2
    left, right = ((x - at) ** 2 + (y + 0.05) ** 2 < 0.05**2 for at in (-0.12, 0.12))
    rgb = np.full((size, size, 3), (90, 140, 200), np.uint8)
    rgb[face] = (230, 180, 140)
    rgb[left | right] = (30, 30, 30)
    rgb = (rgb + np.random.default_rng(0).integers(0, 4, rgb.shape)).astype(np.uint8)
    return rgb, {"wall": ~face, "face": face & ~left & ~right, "left": left, "right": right}


def strokes(size=64):
    labels = np.full((size, size), IGNORE, np.uint8)
    labels[3, size // 12 : size // 4] = 0
    labels[size * 2 // 3, size // 2 - 6 : size // 2 + 6] = 1
    labels[int(0.45 * size), int(0.38 * size)] = 2  # one pixel of the left eye
    return labels


@pytest.mark.parametrize("size", [64, 256])
def test_each_region_takes_its_strokes_label_and_an_untouched_one_stays_unknown(size):
    rgb, parts = scene(size)
    before = strokes(size)
    found = spread(rgb, before)
    assert np.array_equal(found[before != IGNORE], before[before != IGNORE])
    for name, label in (("wall", 0), ("face", 1), ("left", 2)):
        inside = found[parts[name]]
        assert (inside == label).mean() > 0.7 > 0.2 > (before[parts[name]] != IGNORE).mean()
        assert ((inside != label) & (inside != IGNORE)).mean() < 0.05
    assert (found[parts["right"]] == IGNORE).mean() > 0.8  # no stroke lies in it


def test_without_edges_the_other_eye_would_be_skin(monkeypatch):
    rgb, parts = scene()
    monkeypatch.setattr("linsem.walk.SHARP", 0.01)
    assert (spread(rgb, strokes())[parts["right"]] == 1).mean() > 0.6


def careless(size=64):
    """Labels with a dab for the left eye, twice as wide as the eye, and one for the face."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    labels = np.full((size, size), IGNORE, np.uint8)
    labels[(x + 0.12) ** 2 + (y + 0.05) ** 2 < 0.1**2] = 2
    labels[(x - 0.02) ** 2 + (y - 0.15) ** 2 < 0.06**2] = 1
    return labels


@pytest.mark.parametrize("size", [64, 96])
def test_the_rim_of_a_careless_stroke_does_not_spread(size, monkeypatch):
    rgb, parts = scene(size)
    before = careless(size)
    face = parts["face"] & (before == IGNORE)
    found = spread(rgb, before)
    assert np.array_equal(found[before != IGNORE], before[before != IGNORE])  # what was painted stays
    assert (found[face] == 2).mean() < 0.05 < 0.7 < (found[face] == 1).mean()
    monkeypatch.setattr(module, "_middles", lambda labels: labels)
    monkeypatch.setattr(module, "_settled", lambda seeds, *_: seeds)
    assert (spread(rgb, before)[face] == 2).mean() > 0.2  # else the eye takes its share of the face


def test_where_another_category_was_painted_far_more_a_stray_stroke_stays_alone():
    rgb, parts = scene()
    labels = np.full((64, 64), IGNORE, np.uint8)
    labels[44, 22:42] = 1
    labels[34, 32:34] = 2  # between the eyes
    found = spread(rgb, labels)
    assert (found == 2).sum() == 2 and (found[parts["face"]] == 1).mean() > 0.7
    labels[44, 22:42] = IGNORE
    assert (spread(rgb, labels) == 2).sum() > 50  # nobody else claims the area


def test_a_small_part_with_a_colour_of_its_own_is_no_stray_where_edges_are_soft(monkeypatch):
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    soft = 1 / (1 + np.exp((np.hypot(x / 1.5, y - 0.1) - 0.15) * 30))[..., None]
    rgb = ((1 - soft) * (225, 175, 140) + soft * (190, 90, 90)).astype(np.uint8)
    labels = np.full((96, 96), IGNORE, np.uint8)
    labels[20:24, 10:70] = 1
    labels[56:59, 45:51] = 2
    mouth = soft[..., 0] > 0.9
    assert (spread(rgb, labels)[mouth] == 2).mean() > 0.8
    monkeypatch.setattr(module, "OTHER", 10.0)
    assert (spread(rgb, labels)[mouth] == 2).mean() < 0.5


def test_nothing_and_everything_stay_what_they_are():
    rgb, _ = scene()
    for labels in (np.full((64, 64), IGNORE, np.uint8), np.zeros((64, 64), np.uint8)):
        assert np.array_equal(spread(rgb, labels), labels)
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        spread(rgb[:32], strokes())


def test_what_is_remembered_is_checked_as_spread_checks_it_and_told_apart_by_its_shape():
    again, (rgb, _) = Spreads(), scene()
    for image, labels in (
        (rgb, strokes()[:32, :32]), (rgb, strokes().astype(np.float32)), (rgb / 255, strokes()),
        (rgb, strokes().astype(np.int64) - 1), (rgb, strokes().astype(np.int64) + 45),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^spread: expected"):
            again(image, labels)
    for size in ((64, 128), (128, 64)):
        black, labels = np.zeros((*size, 3), np.uint8), np.full(size, IGNORE, np.uint8)
        labels[:5, :5], labels[-5:, -5:] = 0, 1
        assert np.array_equal(again(black, labels), spread(black, labels))


def test_what_was_spread_is_remembered_and_of_the_strokes_a_digest(monkeypatch):
    (rgb, _), calls = scene(), []
    once = module.Ground.spread
    monkeypatch.setattr(module.Ground, "spread", lambda *given: calls.append(1) or once(*given))
    again, expected = Spreads(bytes_limit=64 * 64), spread(rgb, strokes())
    calls.clear()
    for _ in range(2):
        assert np.array_equal(again(rgb, strokes()), expected)
    assert len(calls) == 1
    [(kept, _)] = again._found._entries.values()
    assert (kept[strokes() != IGNORE] == IGNORE).all()
    again(rgb, np.where(np.arange(64) < 60, strokes(), 1).astype(np.uint8))
    again(rgb, strokes())
    assert len(calls) == 3  # it was the oldest of more than one


def test_a_stroke_spreads_on_from_the_last_one_as_from_nothing(monkeypatch):
    """Also where strokes are taken back; an image on which somebody else spreads meanwhile begins from nothing."""
    rgb, _ = scene()
    made = []
    begin = module.Ground.__init__
    monkeypatch.setattr(module.Ground, "__init__", lambda self, rgb: made.append(1) or begin(self, rgb))
    again, other = Spreads(), strokes()
    other[2:4, 50:60] = strokes()[strokes() != IGNORE][0]
    expected = [spread(rgb, each) for each in (strokes(), other)]
    made.clear()
    for labels, wanted in zip((strokes(), other), expected, strict=True):
        assert np.array_equal(again(rgb, labels), wanted)
    assert len(made) == 1
    again(255 - rgb, strokes())
    assert len(made) == 2
    once = module.Ground.spread

    def meanwhile(self, labels):
        if len(made) == 2:
            assert np.array_equal(again(rgb, np.roll(other, 1, 0)), spread(rgb, np.roll(other, 1, 0)))
        return once(self, labels)

    monkeypatch.setattr(module.Ground, "spread", meanwhile)
    assert np.array_equal(again(rgb, np.roll(other, 2, 0)), spread(rgb, np.roll(other, 2, 0)))


def test_the_studio_spreads_only_when_asked():
    studio = Studio(Settings())
    model = studio.default_model()
    ws, _ = studio.draw(model, [3], 0.7)
    with torch.no_grad():
        generator = studio.generator(model)
        labels = studio.shipped(model).predict(generator.synthesize(torch.from_numpy(ws))[1])[0]
    sparse = np.full_like(labels, IGNORE)
    for k in np.unique(labels):
        where = np.flatnonzero(labels == k)
        sparse.ravel()[where[:: max(1, len(where) // 6)]] = k
    pixels = {
        on: int(studio.fit(model, ws, [sparse], studio.categories(model), spread=on).notes["pixels"]) for on in (0, 1)
    }
    assert pixels[0] == (sparse != IGNORE).sum() < 0.2 * pixels[1]
    assert pixels[1] <= module.PIXELS_OF_ONE  # as well as of more, and the annotator waits


def test_on_the_page_a_fit_has_fewer_pixels_and_directions(monkeypatch):
    studio = Studio(Settings())
    model = studio.default_model()
    ws, _ = studio.draw(model, [3, 4], 0.7)
    labels = np.full((2, *studio.generator(model).size), IGNORE, np.uint8)
    labels[:, 4:8, 4:60], labels[:, 60:64, 60:68] = 0, 1
    asked = []

    def watched(*given, **options):
        asked.append({name: options.get(name) for name in ("pixels", "rank")})
        yield from iter_few_shot(*given, **options)

    iter_few_shot = studio_module.iter_few_shot
    monkeypatch.setattr(studio_module, "iter_few_shot", watched)
    for on in (True, False):
        studio.fit(model, ws, labels, studio.categories(model), spread=on)
    assert asked == [{"pixels": 2 * module.PIXELS_OF_ONE, "rank": module.RANK}, {"pixels": None, "rank": None}]


def test_spread_strokes_say_more_of_other_images(toy):
    from linsem.fewshot import Annotation, fit_few_shot

    ws = toy.map(seed_z(toy, [5]))
    rgb, truth = to_rgb(toy.synthesize(ws)[0])[0], toy.truth(ws)[0]
    sparse = np.full_like(truth, IGNORE)
    for k in np.unique(truth):
        rows, columns = np.nonzero(truth == k)
        sparse[rows[len(rows) // 2], columns[len(rows) // 2]] = k
    others = toy.map(seed_z(toy, range(60, 80)))
    features = toy.synthesize(others, image=False)[1]
    right, pixels = [], []
    for on in (False, True, None):
        extractor = fit_few_shot(toy, [Annotation(ws[0], sparse)], toy.categories, missing="keep", spread=on)
        right.append((extractor.predict(features) == toy.truth(others)).mean())
        pixels.append(int(extractor.notes["pixels"]))
    assert pixels[0] == (sparse != IGNORE).sum() and right[1] > right[0]
    assert (right[2], pixels[2]) == (right[1], pixels[1])  # so few are strokes, and spread unless that is refused
    by_hand = guess(Annotation(ws[0], sparse), rgb)
    assert (by_hand.guessed == (by_hand.labels != sparse)).all() and by_hand.guessed.sum() + pixels[0] == pixels[1]


def test_what_is_labelled_in_most_places_is_no_stroke_and_guesses_are_not_spread_again(toy, monkeypatch):
    from linsem import fewshot
    from linsem.fewshot import Annotation, fit_few_shot

    ws = toy.map(seed_z(toy, [5]))
    truth = toy.truth(ws)[0]
    strokes = np.where(np.indices(truth.shape)[0] % 5 == 1, truth, IGNORE)
    gaps = np.where(strokes == IGNORE, truth, IGNORE)  # four fifths are labelled
    spread_on = []
    monkeypatch.setattr(fewshot, "guess", lambda annotation, rgb: spread_on.append(annotation) or annotation)
    for labels, guessed in ((gaps, None), (strokes, np.zeros(truth.shape, bool)), (strokes, None)):
        fit_few_shot(toy, [Annotation(ws[0], labels.astype(np.uint8), guessed)], toy.categories, missing="keep")
    assert len(spread_on) == 1 and (spread_on[0].labels == strokes).all()


def test_a_wide_image_is_walked_on_as_a_tall_one():
    rgb, _ = scene()
    wide, labels = rgb[:20], strokes()[:20]
    labels[15, 30] = 1
    found = spread(wide, labels)
    assert np.array_equal(found, spread(np.ascontiguousarray(wide.transpose(1, 0, 2)), labels.T.copy()).T)
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("size", [(100, 300), (48, 200)])
def test_a_high_image_spreads_as_a_wide_one_does(size, monkeypatch):
    """What a side has beyond the other one does not make its pixels coarser."""
    monkeypatch.setattr(module, "SIDE", 64)
    rgb = np.full((*size, 3), (90, 140, 200), np.uint8)
    rgb[size[0] // 4 : size[0] // 2, size[1] // 8 : size[1] // 2] = (230, 180, 140)
    labels = np.full(size, IGNORE, np.uint8)
    labels[5, 5 : size[1] // 2] = 0
    labels[size[0] // 3, size[1] // 4 : size[1] // 3] = 1
    wide, high = spread(rgb, labels), spread(rgb.swapaxes(0, 1), labels.T)
    assert (wide == high.T).mean() > 0.99
    assert (wide[size[0] // 4 : size[0] // 2, size[1] // 8 : size[1] // 2] == 1).mean() > 0.8


def test_a_picture_that_is_far_longer_than_wide_is_made_coarser(monkeypatch):
    sizes = []
    monkeypatch.setattr(module, "Walk", lambda picture: sizes.append(picture.shape[1:]) or Walk(picture))
    for size in ((1, 3000), (32, 6000)):
        labels = np.full(size, IGNORE, np.uint8)
        labels[:, 0], labels[:, -1] = 0, 1
        found = spread(np.zeros((*size, 3), np.uint8), labels)
        assert found[0, 8] == 0 and found[0, -8] == 1 and found[0, size[1] // 2] == IGNORE
    assert sizes == [(1, 2048), (11, 2048)]


@pytest.mark.parametrize("label", [300, -1])
def test_labels_that_bytes_do_not_hold_are_refused(label):
    rgb, _ = scene()
    labels = strokes().astype(np.int64)
    assert np.array_equal(spread(rgb, labels), spread(rgb, strokes()))
    labels[0, 0] = label
    with pytest.raises(ValueError, match=r"expected labels in 0\.\.255"):
        spread(rgb, labels)
