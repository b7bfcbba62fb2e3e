"""The functions behind the tabs Segment and Sample, on a toy generator."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from linsem.edit import SAMPLES, WORTH
from linsem.errors import InputError
from linsem.frames import SampleFrame
from linsem.looks import Looks
from linsem.pixels import IGNORE
from linsem.session import new_session
from linsem.settings import Settings
from linsem.track import step
from linsem.ui import segment
from linsem.ui.canvas import PainterLabels
from linsem.ui.editing import Editing
from linsem.ui.sample import _Wiring
from linsem.ui.sampling import Results, Sampling
from linsem.ui.services import Services
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture
def services(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = Services.make(Settings(device="cpu", cache=str(tmp_path / "cache")))
    made.studio._looks.get("avatars-64", lambda: Looks(ToyGenerator(id="avatars-64"), 64 << 20))
    made.studio._shipped.get("avatars-64", lambda: ToyGenerator(id="avatars-64").known_extractor())
    return made


def test_no_more_images_are_shown_at_once_than_a_visitor_may_keep(services, monkeypatch):
    session, tab = new_session("avatars-64", CATEGORIES), segment.Segment(services)
    *_, last = tab.run(session, None, "1-5", 0.7, "Overlay")
    assert len(last[0].seeds) == 5
    monkeypatch.setattr(segment, "SHOWN_PIXELS", 4 * 32 * 32)
    with pytest.raises(InputError, match="at most 4 images of 32 px can be shown at once, got 5"):
        list(tab.run(session, None, "1-5", 0.7, "Overlay"))
    *_, last = tab.run(session, None, "1-4", 0.7, "Overlay")
    assert len(last[0].seeds) == 4


def test_results_of_another_generator_are_not_sent_to_edit():
    """Their latents may fit the chosen one, and would draw another image."""
    frame = SampleFrame(1, 1, np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4)), np.zeros((1, 5, 24)), (1.0,), (7,))
    results, wiring = Results("one", frame, None, None), object.__new__(_Wiring)
    with pytest.raises(InputError, match="these results are of one, and other is chosen now"):
        wiring.to_edit(new_session("other", CATEGORIES), None, results, None)
    with pytest.raises(InputError, match="choose a result first"):
        wiring.to_edit(new_session("one", CATEGORIES), None, None, None)


def test_a_result_is_chosen_by_its_seed_since_a_run_may_have_reordered_them_meanwhile():
    zeros = np.zeros((2, 4, 4), np.uint8)
    rgb = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (10, 20)])
    extractor = SimpleNamespace(categories=CATEGORIES)
    before, after = (
        Results("one", SampleFrame(1, 9, rgb[order], zeros, np.zeros((2, 5, 24)), (0.9, 0.8), seeds), extractor, zeros)
        for order, seeds in (([0, 1], (7, 3)), ([1, 0], (3, 7)))
    )
    clicked = SimpleNamespace(index=1, value=Sampling.strip(before).items[1].key)
    seed, sides = Sampling.choose(Sampling, after, clicked)
    assert seed == 3 and (sides.items[0].rgb == 20).all()
    for gone in (SimpleNamespace(index=0, value="8"), SimpleNamespace(index=0, value="")):
        assert Sampling.choose(Sampling, after, gone) == (gr.skip(), gr.skip())
    assert Sampling.choose(Sampling, None, clicked) == (gr.skip(), gr.skip())


def test_coming_back_to_the_tab_changes_nothing_and_another_extractor_is_followed(services):
    """A generator that yields nothing would empty the tab."""
    tab, session = segment.Segment(services), new_session("avatars-64", CATEGORIES)
    asked = (session, None, "1-2", 0.7, "Overlay")
    *_, last = tab.run(*asked)
    (frame,) = tab.visit(*asked, last[0])
    assert frame[0] is last[0] and frame[2] == last[2] and frame[-1] == last[-1]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(frame[1].items, last[1].items, strict=True))
    other = replace(services.studio.shipped("avatars-64"))
    services.studio._shipped._values["avatars-64"] = other
    *_, followed = tab.visit(*asked, last[0])
    assert followed[0].extractor is other


def test_an_edit_tells_of_the_samples_that_it_may_start_from_once_and_keeps_its_strokes(services):
    """So that Stop is heard, and what was stopped or undone can be run again."""
    editing, session = Editing(services), new_session("avatars-64", CATEGORIES)
    track = editing.from_seed(session, None, 3, 0.7)
    wish = np.full((32, 32), IGNORE, np.uint8)
    wish[2:6, 2:6] = 1
    painted = PainterLabels(track.key, wish, 1)
    asked = ("avatars-64", track.extractor, track.now.ws, wish, None, WORTH)
    told = [[frame.sampled for frame in services.gpu.edit(*asked)] for _ in range(2)]
    assert told[0][:2] == [8, 16] and SAMPLES in told[0] and told[0][-1] is None
    assert set(told[1]) == {None}
    frames = editing.run(track, painted, 5, False, False, "#000000")
    first, part = next(frames)[0], next(frames)[0]
    frames.close()
    *_, (done, _, _) = editing.run(track, painted, 60, False, False, "#000000")
    assert np.array_equal(first.now.wish, wish) and np.array_equal(part.now.wish, wish) and done.now.wish is None
    assert np.array_equal(step(done, -1).now.wish, wish) and track.now.wish is None


def test_an_export_that_is_refused_says_so_in_place_of_the_one_before(services):
    tab, session = segment.Segment(services), new_session("avatars-64", CATEGORIES)
    run = tab.export(session, None, 0, 0, 0.7)
    file, line = next(run)
    assert not file.visible and "nothing was kept" in line
    assert "whole number from 1" in line  # the message above the page goes away
    with pytest.raises(gr.Error, match="whole number from 1"):
        next(run)
