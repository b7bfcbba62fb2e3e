"""Values that are made once: callers wait for the one that is making them."""

from __future__ import annotations

import threading

import pytest

from linsem import zoo
from linsem.once import Once
from linsem.settings import Settings
from linsem.studio import Studio
from tests.toys import ToyGenerator

SOON = 30  # seconds; nothing here takes one


class Slow:
    """A value whose making waits for a signal."""

    def __init__(self):
        self.begun, self.go, self.times = threading.Event(), threading.Event(), 0

    def __call__(self):
        self.times += 1
        self.begun.set()
        assert self.go.wait(SOON)
        return "slow"


def started(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def test_one_that_takes_long_holds_up_no_other():
    once, slow = Once(), Slow()
    thread, results = started(lambda: once.get("a", slow))
    assert slow.begun.wait(SOON)
    other, quick = started(lambda: once.get("b", lambda: "quick"))
    other.join(SOON)
    assert quick == ["quick"] and results == [] and "a" not in once  # the first is still at it
    slow.go.set()
    thread.join(SOON)
    assert results == ["slow"] and "a" in once


def test_the_least_recently_used_are_dropped_and_made_again():
    made: list[str] = []

    def get(key):
        return once.get(key, lambda: made.append(key) or key.upper())

    once = Once(2)
    assert [get(key) for key in "abaca"] == list("ABACA")
    assert made == ["a", "b", "c"] and "b" not in once  # a was used after it
    assert get("b") == "B" and made[3:] == ["b"] and "c" not in once
    nothing = Once(1)
    assert [nothing.get("n", lambda: made.append("n")) for _ in range(2)] == [None, None] and made[4:] == ["n"]


def test_whoever_asks_for_the_same_waits_for_it_and_it_is_made_once():
    once, slow = Once(), Slow()
    threads = [started(lambda: once.get("a", slow)) for _ in range(3)]
    assert slow.begun.wait(SOON)
    assert [results for _, results in threads] == [[]] * 3
    slow.go.set()
    for thread, _ in threads:
        thread.join(SOON)
    assert [results for _, results in threads] == [["slow"]] * 3 and slow.times == 1


def test_nothing_is_kept_of_what_failed():
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.get("a", lambda: 1 / 0)
    assert "a" not in once
    assert once.get("a", lambda: None) is None and "a" in once
    assert once.get("a", lambda: 1) is None  # nothing is a value too


def test_a_download_of_one_visitor_holds_up_nobody_with_another_generator(monkeypatch):
    slow = Slow()

    def load(model, **options):
        return ToyGenerator(16, id=model) if model == "here" else slow()

    monkeypatch.setattr(zoo, "load_generator", load)
    studio = Studio(Settings())
    monkeypatch.setattr(studio, "check_model", lambda model: model)
    thread, _ = started(lambda: studio.generator("far"))
    assert slow.begun.wait(SOON)
    other, found = started(lambda: studio.draw("here", [1], 0.7)[1].shape)
    other.join(SOON)
    assert found == [(1, 16, 16, 3)] and thread.is_alive()
    slow.go.set()
    thread.join(SOON)
    assert studio.generator("far") == "slow"


def test_after_a_failure_it_is_still_made_by_one_at_a_time():
    once, at_once, most = Once(), [], []
    gates = [threading.Event() for _ in range(3)]

    def make(i):
        at_once.append(i)
        most.append(len(at_once))
        assert gates[i].wait(SOON)
        at_once.remove(i)
        if i == 0:
            raise ZeroDivisionError
        return i

    def ask(i):
        try:
            return once.get("a", lambda: make(i))
        except ZeroDivisionError:
            return None

    first, _ = started(lambda: ask(0))
    while not most:
        first.join(0.01)
    second, _ = started(lambda: ask(1))  # waits for the first
    second.join(0.1)
    gates[0].set()
    first.join(SOON)
    third, found = started(lambda: ask(2))  # comes after the failure, while the second is at it
    third.join(0.1)
    for gate in gates[1:]:
        gate.set()
    for thread in (second, third):
        thread.join(SOON)
    assert max(most) == 1 and found[0] in (1, 2)
