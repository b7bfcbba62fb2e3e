"""Of a visitor's calls that overlap, the one begun last is shown."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from linsem.errors import InputError
from linsem.session import Fitted
from linsem.ui import edit, label, segment
from linsem.ui.canvas import PainterLabels
from linsem.ui.editing import Editing
from linsem.ui.labelling import Labelling
from linsem.ui.opened import Opened
from linsem.ui.turns import Turns, latest
from tests.test_labelling import services, session_of
from tests.toys import ToyGenerator

__all__ = ["services"]


def test_a_turn_is_the_last_until_another_of_its_kind_begins_on_its_bench():
    turns = Turns(most=2)
    first, other = turns.take("a", "fit"), turns.take("a", "picture")
    assert turns.is_last("a", "fit", first) and turns.is_last("a", "picture", other)
    second, elsewhere = turns.take("a", "fit"), turns.take("b", "fit")
    assert not turns.is_last("a", "fit", first) and turns.is_last("a", "picture", other)
    assert turns.is_last("a", "fit", second) and turns.is_last("b", "fit", elsewhere)
    turns.leave("b")
    turns.leave("never seen")
    assert not turns.is_last("b", "fit", elsewhere) and turns.is_last("a", "fit", second)
    assert turns.is_last("b", "fit", turns.take("b", "fit"))  # come back to
    turns.take("a", "fit")
    turns.take("c", "fit")
    assert len(turns) == 2 and turns.is_last("b", "fit", elsewhere)  # of a dropped bench nothing newer is known


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
    tab, begun = overlapping("fit_and_read", lambda tab: tab.turns.leave(session.token))
    assert tab.bench.fit(session, None, None) == (gr.skip(),) * 3  # a project was opened meanwhile
    tab, begun = overlapping("fit_and_read", lambda tab: tab.bench.fit(other, None, None))
    assert isinstance(tab.bench.fit(session, None, None)[0], Fitted)  # another visitor's is no reason


def test_a_fit_shows_no_image_once_another_one_was_chosen(services, overlapping):
    """A browser that gets both at once would look at the last alone: at the image that was left."""
    session = session_of(services, [1, 2], [0])
    session.pictures[0].labels[:8] = np.arange(2).repeat(4)[:, None]
    other = SimpleNamespace(value=session.pictures[1].key)
    tab, begun = overlapping("fit_and_read", lambda tab: tab.choose(session, None, None, other))
    fitted, state, line = tab.bench.fit(session, None, None)
    assert isinstance(fitted, Fitted) and state == gr.skip() and "Learnt from" in line and begun[1].key == other.value
    again = tab.refit(session, None, PainterLabels(other.value, session.pictures[1].labels, 0), True)
    assert again[1].key == other.value  # which follows every choice, and shows what was learnt
    assert tab.bench.fit(session, None, None)[1].key == session.pictures[0].key  # none was chosen meanwhile


def test_of_two_segmentations_the_second_is_shown_however_long_the_first_takes(services, overlapping):
    session = session_of(services, [1, 2])
    tab = segment.Segment(services)
    extractor = ToyGenerator(id=session.model).known_extractor()
    services.studio._shipped._values[session.model] = extractor
    _, begun = overlapping("draw", lambda _: list(tab.run(session, None, "5", 0.7, "Overlay"))[-1])
    *_, last = tab.run(session, None, "200-203", 0.7, "Overlay")
    assert last == (gr.skip(),) * 5 and begun[1][0].seeds == (5,)
    there = begun[1][0]
    _, begun = overlapping("draw", lambda _: list(tab.visit(session, None, "5", 0.7, "Overlay", there))[-1])
    *_, last = tab.run(session, None, "200-203", 0.7, "Overlay")
    assert last == (gr.skip(),) * 5 and begun[1][0] is there  # gone back to what is there already
    frames = list(tab.fresh(session, None, "5-6", 0.7, "Overlay"))
    assert [frame[-1] for frame in frames] == ["7-8", gr.skip()] and frames[-1][0].seeds == (7, 8)


def test_of_two_calls_that_show_the_same_the_second_is_shown(services):
    session, other = session_of(services, [1, 2]), session_of(services, [1, 2])
    begun = []

    def handler(session, word):
        if word == "slow":
            begun.append(call(inner, "quick"))
        return session.token, word

    call = latest(services.turns, "overview", handler, 2)
    inner = session
    assert call(session, "slow") == (gr.skip(),) * 2 and begun == [(session.token, "quick")]
    inner = other
    assert call(session, "slow") == (session.token, "slow")  # another visitor's is no reason


def test_of_two_images_chosen_for_an_edit_the_second_is_shown(services):
    """By different ways: a seed that is typed takes long, and an image of the bench is clicked meanwhile."""
    session = session_of(services, [1, 2])
    services.studio._shipped._values[session.model] = ToyGenerator(id=session.model).known_extractor()
    tab = object.__new__(edit._Wiring)
    tab.services, tab.logic = services, Editing(services)
    typed = tab._seed_and_psi(session, 12, 0.7)[0]
    event = SimpleNamespace(value=session.pictures[1].key)
    clicked = tab._noting(lambda event: event.value)(session, event)[0]
    shown = tab._taking(tab.logic.from_bench)(session, None, clicked, None, ())
    late = tab._taking(tab.logic.from_seed)(session, None, typed, shown, ())
    assert shown.points[0].caption == session.pictures[1].title and late is None
    assert edit._turned(late, shown, ()) == (gr.skip(), gr.skip()) and edit._turned(shown, None, ()) == (shown, ())


def test_what_is_opened_replaces_the_bench_once_and_nothing_else_does(services):
    """The list of generators fires when it loses focus too, and what waits for its edits must still be there."""
    wiring = object.__new__(label._Wiring)
    wiring.logic = Labelling(services)
    wiring.services = services
    session, new = session_of(services, [1]), session_of(services, [2])
    turn = services.turns.take(session.token, "fit")
    opened = Opened(new, None, None, None, "line")
    assert label._opening(lambda _: opened)(session) == (opened, gr.skip())
    assert label._opening(lambda _: None)(session) == (gr.skip(), session.model)
    assert wiring._adopt(session, None, None, (), [], opened, "")[0] is new
    assert not services.turns.is_last(session.token, "fit", turn)
    turn = services.turns.take(new.token, "fit")
    assert wiring._adopt(new, None, None, (), [], opened, "")[0] == gr.skip()
    assert services.turns.is_last(new.token, "fit", turn)


def test_what_was_suggested_for_a_bench_that_was_left_is_not_drawn(services, overlapping):
    session = session_of(services, [1, 2], [0])
    tab, _ = overlapping("suggest", lambda tab: tab.turns.leave(session.token))
    suggesting = tab.suggest(session, None, 0.7)
    assert "Looking through" in next(suggesting)[1]
    with pytest.raises(InputError, match="other images have come meanwhile"):
        next(suggesting)
    *_, (seeds, _) = tab.suggest(session, None, 0.7)  # nothing has come
    assert seeds
