"""The wishes shipped for the tab Edit: one click paints them, and a run removes them again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from linsem.pixels import IGNORE
from linsem.session import new_session
from linsem.settings import Settings
from linsem.track import EditPoint, push
from linsem.ui.editing import Editing
from linsem.ui.examples import example_edits, example_masks
from linsem.ui.services import Services
from linsem.zoo import assets

MODEL = "avatars-128"


@pytest.fixture(scope="module")
def services():
    return Services.make(Settings(device="cpu"))


@pytest.fixture(scope="module")
def session(services):
    return new_session(MODEL, services.studio.categories(MODEL))


def test_the_wishes_are_sparse_maps_of_the_shipped_categories(services):
    categories = services.studio.shipped(MODEL).categories
    found = example_edits(MODEL, categories)
    assert len(found) >= 3 and len({each.words for each in found}) == len(found)
    for each in found:
        known = each.labels[each.labels != IGNORE]
        assert 0 < known.size < each.labels.size / 2 and known.max() < len(categories), each.words
        assert not any(character.isdigit() for character in each.words)
    masks = [path for path, _ in example_masks(MODEL, categories)]
    assert masks and all(path.parent.name == MODEL for path in masks)  # the wishes are no layouts


def test_a_wish_that_names_no_seed_is_passed_over(services, monkeypatch, tmp_path):
    categories = services.studio.shipped(MODEL).categories
    shipped = assets() / "examples" / MODEL
    folder = tmp_path / "examples" / MODEL / "edits"
    shutil.copytree(shipped / "edits", folder)
    shutil.copy(next(folder.glob("*.png")), folder / "a-hat.png")
    found = example_edits(MODEL, categories)
    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path))
    assert [each.words for each in example_edits(MODEL, categories)] == [each.words for each in found]


def test_one_click_paints_a_wish_and_what_follows_a_run_is_unpainted(services, session):
    editing = Editing(services)
    strip = editing.shelf(session, None)
    assert len(strip.items) == len(editing.examples(session, None)) > 0 and strip.current is None
    wish = editing.examples(session, None)[0]
    track = editing.from_example(session, None, 0)
    assert "press Run" in editing.look(track)[1] and "already" in editing.look(track)[1]
    state, *_ = editing.settle(track)
    assert np.array_equal(state.labels, wish.labels) and track.now.caption == f"seed {wish.seed}, {wish.words}"
    assert editing.shelf(session, None, track).current == 0
    done = push(track, EditPoint(track.now.ws, track.now.rgb, track.now.labels, "more", {}))
    assert (editing.settle(done)[0].labels == IGNORE).all()


def test_where_none_fit_nothing_is_offered(services, session):
    editing = Editing(services)
    other = replace(session, model="avatars-64")
    assert editing.examples(other, None) == [] and not editing.shelf(other, None).items
    with pytest.raises(ValueError, match="not there any more"):
        editing.from_example(session, None, 99)
