"""The functions behind the tabs Segment and Sample, on a toy generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linsem.errors import InputError
from linsem.frames import SampleFrame
from linsem.looks import Looks
from linsem.session import new_session
from linsem.settings import Settings
from linsem.ui import segment
from linsem.ui.sample import _Wiring
from linsem.ui.sampling import Results
from linsem.ui.services import Services
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture
def services(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = Services.make(Settings(device="cpu"))
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
    results, wiring = Results("one", frame, None, 0), object.__new__(_Wiring)
    with pytest.raises(InputError, match="these results are of one, and other is chosen now"):
        wiring.to_edit(new_session("other", CATEGORIES), None, results)
    with pytest.raises(InputError, match="choose a result first"):
        wiring.to_edit(new_session("one", CATEGORIES), None, replace(results, current=None))
