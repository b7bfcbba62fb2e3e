"""Of a visitor's calls that overlap, the one begun last is shown."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from linsem.session import Fitted
from linsem.ui.labelling import Labelling
from linsem.ui.turns import Turns
from tests.test_labelling import services, session_of

__all__ = ["services"]


def test_a_turn_is_the_last_until_another_of_its_name_begins():
    turns = Turns(most=2)
    first = turns.take("a")
    other = turns.take("b")
    assert turns.is_last("a", first) and turns.is_last("b", other)
    second = turns.take("a")
    assert not turns.is_last("a", first) and turns.is_last("a", second) and turns.is_last("b", other)
    turns.take("c")
    assert len(turns) == 2 and turns.is_last("a", second)  # "b", the least recently used, was dropped
    turns.take("d")
    assert turns.is_last("a", second)  # of a dropped name nothing newer is known


@pytest.fixture
def overlapping(services, monkeypatch):
    """Make a tab, of which the first call of a method of its accelerator lets another call in before it ends."""

    def make(method, inner):
        tab = Labelling(services)
        plain, begun = getattr(services.gpu, method), []

        def slow(*given):
            found = plain(*given)
            if not begun:
                begun.append(True)
                begun.append(inner(tab))
            return found

        monkeypatch.setattr(services.gpu, method, slow)
        return tab, begun

    return make


def test_of_two_images_chosen_quickly_the_second_is_shown_however_long_the_first_takes(services, overlapping):
    session = session_of(services, [1, 2, 3])
    first, second = (SimpleNamespace(value=session.pictures[i].key) for i in (1, 2))
    tab, begun = overlapping("render", lambda tab: tab.choose(session, None, None, second))
    assert tab.choose(session, None, None, first) == gr.skip()
    assert begun[1].key == second.value
    assert tab.choose(session, None, None, first).key == first.value  # nothing is on its way any more


def test_of_two_changes_of_the_bench_the_second_is_shown_however_long_the_first_takes(services, overlapping):
    """Clear an image, and undo that while the cleared one is still being read."""
    session = session_of(services, [1, 2], [0])
    cleared, first = Labelling(services).clear(session, None, None)
    back, _, second = Labelling(services).back(cleared, None, None)
    assert first != second
    tab, begun = overlapping("render", lambda tab: tab.show(back, None, None, second))
    assert tab.show(cleared, None, None, first) == gr.skip()
    assert begun[1].key == second


def test_a_fit_that_ends_after_one_begun_later_is_dropped(services, overlapping):
    session, other = session_of(services, [1, 2], [0, 1]), session_of(services, [1, 2], [0, 1])
    for each in (session, other):
        each.pictures[0].labels[:8] = np.arange(2).repeat(4)[:, None]
    tab, begun = overlapping("fit_and_read", lambda tab: tab.bench.fit(session, None, None))
    assert tab.bench.fit(session, None, None) == (gr.skip(),) * 3
    assert isinstance(begun[1][0], Fitted) and "Learnt from" in begun[1][2]
    tab, begun = overlapping("fit_and_read", lambda tab: tab.bench.fit(other, None, None))
    assert isinstance(tab.bench.fit(session, None, None)[0], Fitted)  # another visitor's is no reason
