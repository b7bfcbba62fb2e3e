"""The rows of a fit are the gathered features in the images' coordinates, and are cached by their origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsem import fewshot
from linsem import rows as module
from linsem.basis import fit_basis
from linsem.fewshot import Annotation, fit_few_shot
from linsem.gather import gather
from linsem.generator import seed_z
from linsem.pixels import IGNORE
from linsem.rows import Gathered, NotFiniteError, Views, read
from tests.toys import ToyGenerator


def views_of(toy, **changes):
    """Views of the toy's two layers, with doubled features as a second view in place of other noise."""

    def features(ws):
        return toy.synthesize(ws[None], image=False)[1]

    options = {
        "layers": (0, 1), "size": tuple(toy.size), "constant": features,
        "fresh": lambda ws, i: [[2 * x for x in features(ws)]],
        "basis_of": lambda rest: fit_basis(rest, [each.channels for each in toy.layers[:2]]),
        "rest": 60, "seed": 0, "said": None, "map_bytes": 10_000,
    }  # fmt: skip
    return Views(**options | changes)


@pytest.mark.parametrize("memory", [None, Gathered()])
def test_rows_are_the_gathered_features_in_the_coordinates_of_all_images(memory):
    """Seen as often as there is noise, and the same the second time, when nothing of the constant noise is left."""
    toy = ToyGenerator(16)
    ws, pixels = toy.map(seed_z(toy, range(3))), [np.arange(10), np.arange(40, 47), np.zeros(0, np.int64)]
    for _ in range(2):
        seen, found = read(list(ws), pixels, views_of(toy), memory)
        assert found.rest.shape == (60, found.basis.variance.shape[0])
        assert float(found.rest.mean(0).abs().max()) < 1e-4  # they are about the mean of these very pixels
        for each, chosen, (constant, noisy) in zip(ws, pixels, seen, strict=True):
            raw = gather(toy.synthesize(each[None], image=False)[1], [0, 1], chosen, (16, 16))
            torch.testing.assert_close(constant, found.basis.project(raw))
            torch.testing.assert_close(noisy, found.basis.project(2 * raw))


@pytest.mark.parametrize(("memory", "room", "times"), [(None, 1e9, 1), (Gathered(), 1e9, 2), (Gathered(), 25_000, 1)])
def test_each_image_is_looked_at_once_or_where_its_map_is_kept_twice(memory, room, times, monkeypatch):
    """The basis must be known before a map is projected; where not all maps have room, the pixels are read at once.

    What is in a cache of features is used: the last image is looked at twice in a row.
    """
    toy, looked = ToyGenerator(16), []
    monkeypatch.setattr(module, "MAPS", room)

    def constant(ws):
        looked.append(ws)
        return toy.synthesize(ws[None], image=False)[1]

    ws, pixels = list(toy.map(seed_z(toy, range(3)))), [np.arange(10)] * 3
    for _ in range(2):
        read(ws, pixels, views_of(toy, constant=constant), memory)
        assert len(looked) == 3 * times
        assert times == 1 or looked[2] is looked[3]
        if memory is None:
            looked.clear()


def test_a_stroke_looks_at_no_features_and_without_its_map_at_one_image_s():
    """Maps that were pushed out take nothing else along: the rows of the other images are still there."""
    toy, looked = ToyGenerator(16), []

    def constant(ws):
        looked.append(ws)
        return toy.synthesize(ws[None], image=False)[1]

    ws, pixels, memory = list(toy.map(seed_z(toy, range(3)))), [np.arange(10)] * 3, Gathered()
    views = views_of(toy, constant=constant)
    read(ws, pixels, views, memory)
    looked.clear()
    pixels[1] = np.arange(12)
    read(ws, pixels, views, memory)
    assert not looked
    memory.maps.clear()
    pixels[1] = np.arange(14)
    seen, found = read(ws, pixels, views, memory)
    assert [each is ws[1] for each in looked] == [True]
    raw = gather(toy.synthesize(ws[1][None], image=False)[1], [0, 1], pixels[1], (16, 16))
    torch.testing.assert_close(seen[1][0], found.basis.project(raw))


def test_a_number_that_is_not_finite_is_told_by_its_image_and_the_pixels_that_read_it():
    toy = ToyGenerator(16)
    ws = toy.map(seed_z(toy, range(2)))

    def broken(each):
        features = [x.clone() for x in toy.synthesize(each[None], image=False)[1]]
        if torch.equal(each, ws[1]):
            features[1][0, 0, 0, 2] = torch.inf  # pixels 3 to 6 of 16 lie between it and its neighbours
        return features

    memory = Gathered()
    for options in ({"constant": broken}, {"fresh": lambda each, i: [broken(each)]}):
        with pytest.raises(NotFiniteError, match="image 2") as told:
            read(list(ws), [np.arange(3), np.array([9, 12])], views_of(toy, **options), memory)  # none of those pixels
        assert told.value.image == 1
        assert told.value.pixels[[9, 5, 12]].tolist() == [False, True, False]


def test_each_image_has_noise_of_its_own():
    toy, asked = ToyGenerator(16), []
    views = views_of(toy, fresh=lambda ws, i: asked.append(i) or [])
    read(list(toy.map(seed_z(toy, range(3)))), [np.arange(4)] * 3, views, None)
    assert asked == [0, 1, 2]


def test_only_what_changed_is_gathered_again(monkeypatch):
    toy, counted = ToyGenerator(24), []
    ws = toy.map(seed_z(toy, range(3)), psi=0.7)
    labels = toy.truth(ws)
    labels[:, ::2] = IGNORE
    annotations = [Annotation(w, each) for w, each in zip(ws, labels, strict=True)]
    some = {"pixels": 300}  # not all, and what is used of an image must not hang on the others
    plain = fit_few_shot(toy, annotations, toy.categories, **some)
    monkeypatch.setattr(module, "gather", lambda *options: counted.append(1) or gather(*options))
    rows_of = Gathered()
    remembered = [fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of, **some) for _ in range(2)]
    assert len(counted) == 6  # the pixels for the basis, and those that are labelled
    labels[1, 5] = IGNORE
    changed = fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of, **some)
    assert len(counted) == 7
    first, second = remembered
    for name, w in plain.weights.items():
        assert torch.equal(first.weights[name], second.weights[name])
        torch.testing.assert_close(first.weights[name], w, rtol=1e-3, atol=1e-3 * float(w.abs().max()))
    assert not torch.allclose(changed.weights["bias"], plain.weights["bias"], rtol=1e-2)


def test_coordinates_follow_from_the_images_and_are_made_once_for_them(monkeypatch):
    """Whatever their labels, and in this order; another set has others, and the set seen longest ago is forgotten."""
    toy, made = ToyGenerator(24), []
    fit_basis = fewshot.fit_basis
    monkeypatch.setattr(fewshot, "fit_basis", lambda *a, **options: made.append(1) or fit_basis(*a, **options))
    ws = toy.map(seed_z(toy, range(3)), psi=0.7)
    annotations = [Annotation(w, each) for w, each in zip(ws, toy.truth(ws), strict=True)]
    relabelled = [replace(a, labels=np.where(a.labels == 1, IGNORE, a.labels)) for a in annotations]
    rows_of = Gathered()
    for count, some in (
        (1, annotations),
        (1, relabelled),
        (2, annotations[:2]),
        (3, annotations[::-1]),
        (3, relabelled),
    ):
        fit_few_shot(toy, some, toy.categories, rows_of=rows_of, missing="keep")
        assert len(made) == count
    for seed in range(module.COORDINATES):
        fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of, seed=seed + 1)
    fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of)
    assert len(made) == 3 + module.COORDINATES + 1


def test_the_oldest_rows_go_first_and_what_never_fits_is_not_kept():
    made = []

    def ten():
        made.append((torch.ones(10, 2), np.ones(10, np.float32)))
        return made[-1]

    memory = Gathered(bytes_limit=2 * 120)
    first = memory.kept(b"first", ten)
    assert memory.kept(b"first", ten) is first
    assert memory.kept(b"second", ten) is not first
    assert memory.kept(b"first", ten) is first  # used again, and so it is the second that goes
    memory.kept(b"third", ten)
    assert memory.kept(b"first", ten) is first
    assert len(made) == 3
    memory.kept(b"second", ten)
    assert len(made) == 4
    tight = Gathered(bytes_limit=119)
    assert tight.kept(b"first", ten) is not tight.kept(b"first", ten)


def test_what_fits_leave_to_later_ones_is_bounded_in_bytes():
    """However many there are; the newest stay, and what is too large for all of it is not kept."""
    toy = ToyGenerator(24)
    ws = toy.map(seed_z(toy, range(2)), psi=0.7)
    annotations = [Annotation(w, each) for w, each in zip(ws, toy.truth(ws), strict=True)]
    memory, few = Gathered(), Gathered(bytes_limit=100)
    for seed in range(6):
        for each in (memory, few):
            fit_few_shot(toy, annotations, toy.categories, rows_of=each, seed=seed, ridge=0.01 + seed, missing="keep")
    assert len(memory.fits) == 6 and len(few.fits) == 0
    one = memory.fits.bytes // 6
    assert one > 4 * len(toy.categories)
    bounded = Gathered(bytes_limit=4 * (3 * one))
    for seed in range(6):
        fit_few_shot(toy, annotations, toy.categories, rows_of=bounded, seed=seed, ridge=0.01 + seed, missing="keep")
    assert 2 <= len(bounded.fits) <= 3 and bounded.fits.bytes <= 3 * one
