"""Rows of features at single pixels are what upsampling would hold there, and are remembered by what they were of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsem import fewshot
from linsem import gather as module
from linsem.fewshot import Annotation, fit_few_shot
from linsem.gather import Gathered, gather
from linsem.generator import seed_z
from linsem.pixels import IGNORE
from tests.toys import ToyGenerator


@pytest.mark.parametrize("small", [0, 256, 100_000])
def test_a_row_is_what_upsampling_would_hold(small, monkeypatch):
    """Whether rows are fetched or multiplied out, which is only a matter of speed."""
    monkeypatch.setattr(module, "SMALL", small)
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, c, h, w, generator=random) for c, h, w in ((3, 4, 4), (5, 16, 12), (2, 40, 30))]
    pixels = np.random.default_rng(0).choice(40 * 30, 200, replace=False)
    up = [F.interpolate(x, size=(40, 30), mode="bilinear", align_corners=True)[0].flatten(1) for x in maps]
    expected = torch.cat(up)[:, pixels].t()
    torch.testing.assert_close(gather(maps, [0, 1, 2], pixels, (40, 30)), expected, atol=1e-5, rtol=1e-5)


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
    assert len(counted) == 3
    labels[1, 5] = IGNORE
    changed = fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of, **some)
    assert len(counted) == 4
    for each in remembered:
        assert all(torch.equal(each.weights[name], w) for name, w in plain.weights.items())
    assert not torch.equal(changed.weights["bias"], plain.weights["bias"])


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
    for seed in range(module.BASES):
        fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of, seed=seed + 1)
    fit_few_shot(toy, annotations, toy.categories, rows_of=rows_of)
    assert len(made) == 3 + module.BASES + 1


def test_the_oldest_rows_go_first_and_what_never_fits_is_not_kept():
    toy = ToyGenerator(16)
    ws = toy.map(seed_z(toy, range(3)))
    features = [[x[i : i + 1] for x in toy.synthesize(ws, image=False)[1]] for i in range(3)]
    some = np.arange(10)
    size = gather(features[0], [0, 1], some, (16, 16)).nbytes
    rows_of = Gathered(bytes_limit=2 * size)
    first = rows_of(ws[0], features[0], [0, 1], some, (16, 16))
    assert rows_of(ws[0], features[0], [0, 1], some, (16, 16)) is first
    assert rows_of(ws[0], features[0], [0, 1], some + 1, (16, 16)) is not first
    rows_of(ws[1], features[1], [0, 1], some, (16, 16))
    assert rows_of(ws[0], features[0], [0, 1], some, (16, 16)) is not first  # it was the oldest of three
    tight = Gathered(bytes_limit=size - 1)
    assert tight(ws[0], features[0], [0, 1], some, (16, 16)) is not tight(ws[0], features[0], [0, 1], some, (16, 16))
