"""The walk: each pixel is the mean of its neighbours, however the picture is divided."""

import sys

import numpy as np
import pytest
import torch

from linsem.pixels import IGNORE
from linsem.walk import Walk, walk

module = sys.modules["linsem.walk"]


def scene(size, contrast=0.05, seed=0):
    """A picture (3, h, w) of noise, and seeds of the categories 0 and 3, three pixels or more."""
    rng = np.random.default_rng([seed, *size])
    picture = torch.from_numpy(rng.random((3, *size), np.float32) * contrast)
    seeds = torch.full(size, IGNORE, dtype=torch.uint8)
    chosen = rng.permutation(size[0] * size[1])[: max(3, size[0] * size[1] // 60)]
    seeds.view(-1)[chosen] = torch.from_numpy(np.where(np.arange(len(chosen)) % 2, 0, 3).astype(np.uint8))
    return picture, seeds


def solved(picture, seeds, categories):
    """The same probabilities from one dense system in double precision, set up one neighbour at a time."""
    (h, w), picture = seeds.shape, picture.double()
    known = seeds.flatten() != IGNORE
    system, right = torch.eye(h * w, dtype=torch.float64), torch.zeros(h * w, len(categories), dtype=torch.float64)
    right[known] = (seeds.flatten()[known, None] == categories).double()
    for y in range(h):
        for x in range(w):
            if seeds[y, x] != IGNORE:
                continue
            system[y * w + x, y * w + x] = module.REACH**-2
            for v in range(max(y - 1, 0), min(y + 2, h)):
                for u in range(max(x - 1, 0), min(x + 2, w)):
                    if (v, u) != (y, x):
                        rate = float((-module.SHARP * (picture[:, y, x] - picture[:, v, u]).square().sum()).exp())
                        rate *= 1 if v == y or u == x else module.SLANT
                        system[y * w + x, y * w + x] += rate
                        system[y * w + x, v * w + u] -= rate
    return torch.linalg.solve(system, right).T.reshape(-1, h, w)


@pytest.mark.parametrize("size", [(1, 3), (1, 40), (3, 4), (5, 5), (16, 16), (17, 33), (40, 25), (9, 70)])
@pytest.mark.parametrize("contrast", [0.02, 1.0])
def test_the_walk_solves_the_walkers_equations(size, contrast):
    picture, seeds = scene(size, contrast)
    categories = torch.tensor([0, 3])
    found, expected = walk(picture, seeds, categories), solved(picture, seeds, categories)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert (found >= 0).all() and (found.sum(0) <= 1 + 1e-5).all()
    assert (found[0][seeds == 0] == 1).all() and (found[1][seeds == 0] == 0).all()


@pytest.mark.parametrize("sides", [(4,), (3, 5), (7,)])
def test_how_the_picture_is_divided_does_not_matter(sides, monkeypatch):
    picture, seeds = scene((61, 97))
    whole = walk(picture, seeds, torch.tensor([0, 3]))
    monkeypatch.setattr(module, "SIDES", sides)
    assert torch.allclose(walk(picture, seeds, torch.tensor([0, 3])), whole, atol=2e-5)


def test_another_stroke_is_walked_to_from_where_the_last_walk_ended(monkeypatch):
    """Added, moved, taken back and of another category: each time as from nothing, though few pieces are eliminated."""
    (picture, seeds), sizes = scene((50, 90)), []
    categories = torch.tensor([0, 3])
    before = module.eliminate
    monkeypatch.setattr(module, "eliminate", lambda rows, rest: sizes.append(len(rows)) or before(rows, rest))
    again = Walk(picture)
    assert torch.allclose(again.to(seeds, categories), walk(picture, seeds, categories), atol=1e-6)
    from_nothing = sum(sizes) // 2
    added, moved = seeds.clone(), seeds.clone()
    added[20:23, 40:48] = 3
    moved[2:4, 2:4], moved[-1, -1] = 0, 0
    for strokes in (added, moved, seeds):
        sizes.clear()
        found = again.to(strokes, categories)
        assert sum(sizes) < 0.5 * from_nothing
        assert torch.allclose(found, walk(picture, strokes, categories), atol=1e-6)
    sizes.clear()
    assert torch.equal(again.to(seeds, categories), found) and not sizes
    added[0, 0] = 7
    three = torch.tensor([0, 3, 7])
    assert torch.allclose(again.to(added, three), walk(picture, added, three), atol=1e-6)
    sizes.clear()
    assert torch.allclose(again.to(seeds, categories), walk(picture, seeds, categories), atol=1e-6)
    assert sum(sizes) < 1.5 * from_nothing  # the walk from nothing, and what has changed


def test_a_walk_that_failed_leaves_nothing_to_go_on_from(monkeypatch):
    picture, seeds = scene((40, 70))
    categories, again, calls = torch.tensor([0, 3]), Walk(picture), []
    again.to(seeds, categories)
    more = seeds.clone()
    more[10:14, 10:14] = 3
    before = module.eliminate

    def failing(rows, rest):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return before(rows, rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "eliminate", failing)
        with pytest.raises(MemoryError):
            again.to(more, categories)
    assert torch.allclose(again.to(more, categories), walk(picture, more, categories), atol=1e-6)


def test_what_others_painted_does_not_stay_for_ever():
    """Categories that occur no more are forgotten once they are more than those that do."""
    picture, seeds = scene((20, 20))
    again = Walk(picture)
    many = seeds.clone()
    many[0, :12] = torch.arange(20, 32, dtype=torch.uint8)
    again.to(many, many[many != IGNORE].unique())
    wide = again.bytes
    categories = torch.tensor([0, 3])
    assert torch.allclose(again.to(seeds, categories), walk(picture, seeds, categories), atol=1e-6)
    assert again.bytes < 0.8 * wide


@pytest.mark.parametrize("pieces", [(5, 8, 1, 1), (8, 8, 2, 2), (6, 7, 4, 2), (7, 5, 1, 8)])
def test_the_pixels_left_are_counted_without_listing_them(pieces):
    dissection = sys.modules["linsem.dissection"]
    assert dissection.unknowns(*pieces) == int(dissection.frame(*pieces).max())


def test_of_hard_edges_no_subnormal_numbers_are_left():
    """They would take many times as long, and there are some without `normal`."""
    picture, seeds = scene((40, 40), contrast=0.7)

    def subnormal():
        again = Walk(picture)
        again.to(seeds, torch.tensor([0, 3]))
        kept = torch.cat([x.flatten() for each in again._levels for x in (each.ring, each.share, each.constant)])
        return int(((kept != 0) & (kept.abs() < 1e-37)).sum())

    assert subnormal() == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "normal", lambda x: x)
        patch.setattr(sys.modules["linsem.dissection"], "normal", lambda x: x)
        assert subnormal() > 100


def test_a_picture_on_its_side_is_walked_on_alike():
    picture, seeds = scene((30, 84))
    found = walk(picture, seeds, torch.tensor([0, 3]))
    assert torch.allclose(walk(picture.mT, seeds.mT, torch.tensor([0, 3])), found.mT, atol=2e-5)


def test_far_from_all_seeds_most_walkers_stop():
    seeds = torch.full((4, 400), IGNORE, dtype=torch.uint8)
    seeds[:, 0] = 3
    found = walk(torch.zeros(3, 4, 400), seeds, torch.tensor([3]))[0]
    near, far = found[:, 20].mean(), found[:, 300].mean()
    assert near > 0.5 > 0.05 > far > 0
    assert (found.diff(dim=1) < 0).all()  # the farther, the fewer


def test_a_slanted_line_is_one_part(monkeypatch):
    """A line one pixel wide, from corner to corner, takes its label from its first pixel to its last."""
    line = torch.eye(24)
    picture, seeds = line.expand(3, -1, -1), torch.full((24, 24), IGNORE, dtype=torch.uint8)
    seeds[0, 0], seeds[3, 12], seeds[12, 3] = 1, 0, 0
    there = line == 1
    assert (walk(picture, seeds, torch.tensor([0, 1]))[1][there] > 0.5).all()
    monkeypatch.setattr(module, "SLANT", 0.0)
    assert (walk(picture, seeds, torch.tensor([0, 1]))[1][there] > 0.5).sum() == 1


def test_neither_autocast_nor_a_default_of_torch_matters():
    picture, seeds = scene((20, 33))
    expected = walk(picture, seeds, torch.tensor([0, 3]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(walk(picture, seeds, torch.tensor([0, 3])), expected)
    for cache in (module._order, module.joint, sys.modules["linsem.dissection"].frame):
        cache.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = walk(picture, seeds, torch.tensor([0, 3], device="cpu"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
