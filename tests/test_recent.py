"""A cache bounded in bytes: the least recently used value goes first, and none larger than the bound is kept."""

from __future__ import annotations

import pytest

from linsem.generator import seed_z
from linsem.looks import Looks
from linsem.recent import Recent
from tests.toys import ToyGenerator


@pytest.fixture
def three():
    """A cache that fits two of three values, the second of which was used last."""
    kept = Recent(10)
    for key in (b"a", b"b"):
        kept.keep(key, key.decode(), 4)
    assert kept.find(b"a") == "a"
    kept.keep(b"c", "c", 4)
    return kept


def test_the_one_used_longest_ago_goes_first(three):
    assert [three.find(key) for key in (b"a", b"b", b"c")] == ["a", None, "c"]
    assert len(three) == 2 and three.bytes == 8


def test_what_is_larger_than_the_bound_is_not_kept_and_drives_nothing_out(three):
    three.keep(b"d", "d", 11)
    assert three.find(b"d") is None and len(three) == 2


def test_the_first_value_of_a_key_stays_and_counts_once(three):
    three.keep(b"a", "another", 4)
    assert three.find(b"a") == "a" and three.bytes == 8


def test_what_is_taken_is_kept_no_longer_and_makes_room(three):
    assert three.take(b"a") == "a"
    assert three.take(b"a") is None and three.find(b"a") is None
    assert len(three) == 1 and three.bytes == 4


def test_after_clear_there_is_room_again(three):
    three.clear()
    assert len(three) == three.bytes == 0
    three.keep(b"d", "d", 10)
    assert three.find(b"d") == "d"


class Counted(ToyGenerator):
    """A toy that counts its passes."""

    passes = 0

    def synthesize(self, ws, **options):
        self.passes += 1
        return super().synthesize(ws, **options)


def test_an_image_is_kept_where_its_features_do_not_fit():
    toy = Counted(64)
    ws = toy.map(seed_z(toy, [1]))[0].numpy()
    rgb, features = Looks(toy).look(ws)
    limit, toy.passes = 8 * rgb.nbytes, 0
    assert sum(x.numel() * x.element_size() for x in features) > limit
    looks = Looks(toy, limit)
    assert looks.image(ws) is looks.image(ws) and toy.passes == 1 and len(looks.kept) == 0
    looks, toy.passes = Looks(toy, limit - 8), 0  # where it does not fit either, each look is a pass
    assert looks.image(ws) is not looks.image(ws) and toy.passes == 2
