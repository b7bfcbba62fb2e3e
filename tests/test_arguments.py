"""Numbers at the public doors: of any numeric type, and otherwise refused by a sentence that names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import linsem
from linsem.arguments import number, whole_number
from linsem.errors import InputError
from linsem.export import export
from linsem.generator import seed_z
from linsem.pixels import IGNORE
from linsem.steer import Wish, steer


class Sum(ValueError):
    """An error that is not the default one."""


@pytest.mark.parametrize("value", [3, np.uint8(3), np.int64(3), torch.tensor(3), np.array(3)])
def test_a_whole_number_is_of_any_integer_type(value):
    found = whole_number("n", value, 1, 3)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize("value", [3.0, "3", None, [3], 0, 4, torch.tensor([1, 2]), math.nan])
def test_what_is_no_whole_number_of_the_range_is_refused(value):
    with pytest.raises(InputError, match=r"n: expected a whole number in 1\.\.3, got "):
        whole_number("n", value, 1, 3)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), 1, np.int8(1), True])
def test_a_number_is_of_any_real_type(value):
    found = number("x", value, 0, 2)
    assert found == float(value) and type(found) in (int, float)


@pytest.mark.parametrize("value", ["1", None, [1], 1j, math.nan, math.inf, -0.1, torch.ones(2), np.ones(2)])
def test_what_is_no_number_of_the_range_is_refused(value):
    with pytest.raises(InputError, match="x: expected 0 to 2, got "):
        number("x", value, 0, 2)


def test_a_number_beyond_any_float_is_refused():
    with pytest.raises(InputError, match="x: expected a number, got 1000"):
        number("x", 10**400)


def test_a_wrong_value_is_shown_no_longer_than_a_line():
    with pytest.raises(InputError) as caught:
        number("x", "long" * 1000)
    assert len(str(caught.value)) < 120


@pytest.fixture(scope="module")
def doors(toy, extractor, tmp_path_factory):
    """The public doors that take numbers, as functions of their options."""
    ws = toy.map(seed_z(toy, [5]))
    layout = toy.truth(toy.map(seed_z(toy, [9])))[0]
    target = np.where(layout == 3, 3, IGNORE).astype(np.uint8)
    path = tmp_path_factory.mktemp("export") / "set.zip"
    return {
        "edit": lambda **o: linsem.edit(toy, extractor, o.pop("ws", ws[0]), target, **{"steps": 1, **o}),
        "sample": lambda **o: linsem.sample(toy, extractor, layout, **{"count": 1, "candidates": 4, "steps": 1, **o}),
        "bank": lambda **o: linsem.make_bank(toy, extractor, range(4), **o),
        "export": lambda **o: export(toy, extractor, **{"count": 2, "out_path": path, **o}),
        "steer": lambda **o: list(steer(toy, extractor, ws, Wish(target), **{"steps": 1, **o})),
    }


@pytest.mark.parametrize(
    ("door", "name", "values"),
    [
        ("edit", "steps", (2.5, "3", None)),
        ("edit", "lr", (-1, math.nan, math.inf, "a", None)),
        ("edit", "enough", (None, "a", math.nan)),
        ("edit", "ws", (None, "a", [[1.0], [1.0, 2.0]])),
        ("sample", "count", (2.0, None)),
        ("sample", "candidates", (4.0, "4")),
        ("sample", "steps", (2.5,)),
        ("sample", "lr", (-1, math.nan)),
        ("sample", "psi", ("a", None)),
        ("sample", "look", ("a", 2.5)),
        ("sample", "seed", (0.5, "1", None)),
        ("sample", "draw_every", ("a", 1.5)),
        ("sample", "diversity", ("a", None)),
        ("bank", "batch", (1.5, 0, None)),
        ("bank", "psi", ("a", None, math.nan)),
        ("export", "count", (2.0, "2")),
        ("export", "batch", (1.5,)),
        ("export", "first_seed", (0.5, "1")),
        ("export", "psi", ("a", None)),
        ("export", "shard", (None, (0, 1, 2), (0.0, 1))),
        ("steer", "steps", (2.5,)),
        ("steer", "lr", (-1, math.nan)),
        ("steer", "enough", (None,)),
        ("steer", "patience", ("a", -1)),
        ("steer", "psi", ("a",)),
    ],
)
def test_each_door_names_the_number_that_it_refuses(doors, door, name, values):
    for value in values:
        with pytest.raises(InputError, match=f"{name}: expected "):
            doors[door](**{name: value})
    doors[door]()


def test_numbers_of_small_types_do_not_overflow(doors):
    """300 more than 250 is no number of one byte."""
    plain, small = (doors["sample"](seed=kind(250), candidates=300) for kind in (int, np.uint8))
    assert plain[0].seed == small[0].seed and torch.equal(plain[0].ws, small[0].ws)
    assert doors["sample"](count=np.uint8(2), candidates=np.uint8(200))
    assert doors["export"](first_seed=np.uint8(250), count=np.uint8(10)).done == 10
