"""Which extractor the tabs use, and what they say and offer if it has not seen every category."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from linsem.categories import shares
from linsem.errors import InputError
from linsem.extractor import NEVER
from linsem.pixels import IGNORE
from linsem.session import Fitted, add_pictures, new_session
from linsem.settings import Settings
from linsem.track import Track
from linsem.ui import show
from linsem.ui.canvas import PainterLabels
from linsem.ui.editing import Editing
from linsem.ui.examples import example_edits
from linsem.ui.layouts import Layouts
from linsem.ui.reader import SHIPPED, Reader, all_known, chosen_extractor, left_out, looks, own_chosen
from linsem.ui.sampling import Sampling
from linsem.ui.segment import whose
from linsem.ui.services import Services, whole

MODEL = "avatars-128"
LEARNT = ("background", "skin", "hair")


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield Services.make(Settings(device="cpu"))


@pytest.fixture(scope="module")
def session(services):
    return new_session(MODEL, services.studio.categories(MODEL))


@pytest.fixture(scope="module")
def fitted(services):
    """A fit to strokes of three categories."""
    shipped = services.studio.shipped(MODEL)
    bias = shipped.weights["bias"].clone()
    for k, category in enumerate(shipped.categories):
        bias[k] = bias[k] if category.name in LEARNT else NEVER
    return Fitted(replace(shipped, weights={**shipped.weights, "bias": bias}), 1, 0.1)


def test_built_in_labels_that_know_other_categories_say_so(services, session, fitted):
    """A category that was added or renamed in Label is not known anywhere before something is painted."""
    other = replace(session, categories=(*session.categories[:-1], replace(session.categories[-1], name="scarf")))
    for each, taught, said in ((other, None, True), (other, fitted, True), (session, None, False)):
        row, radio, line = looks(services, each, taught)
        assert row.visible == line.visible == said and not radio.visible
        assert ("categories of their own" in line.value) == said
    assert "categories of their own" not in looks(services, session, fitted)[2].value


def test_what_is_taught_is_read_with_until_the_other_is_chosen(services, session, fitted):
    shipped = services.studio.shipped(MODEL)
    assert chosen_extractor(services, session, fitted) is fitted.extractor
    assert chosen_extractor(services, session, None) is shipped
    other = Reader.choose(session, SHIPPED)
    assert chosen_extractor(services, other, fitted) is shipped and not own_chosen(services, other, fitted)
    assert chosen_extractor(services, Reader.choose(other, ""), fitted) is fitted.extractor


def test_where_none_ships_there_is_no_other_to_choose(services, session, fitted, monkeypatch):
    monkeypatch.setattr(services.studio, "shipped", lambda model: None)
    other = Reader.choose(session, SHIPPED)
    assert chosen_extractor(services, other, fitted) is fitted.extractor
    row, radio, line = looks(services, other, fitted)
    assert row.visible and not radio.visible and "Not learnt yet: hat" in line.value


def test_examples_that_what_was_taught_cannot_read_are_told_of(services, session, fitted):
    for examples in (Editing(services).examples, Layouts(services).examples):
        told = looks(services, session, fitted, examples)[2].value
        assert "or read with the built-in labels, which the examples need." in told
        assert looks(services, session, fitted, lambda *who: [1])[2].value == looks(services, session, fitted)[2].value
    assert "examples" not in looks(services, session, fitted)[2].value


def test_the_choice_is_there_once_something_is_taught(services, session, fitted):
    assert [part.visible for part in looks(services, session, None)] == [False, False, False]
    assert [part.visible for part in looks(services, session, fitted)] == [True, True, True]
    row, radio, line = looks(services, Reader.choose(session, SHIPPED), fitted)
    assert row.visible and radio.value == SHIPPED and not line.visible
    assert whose(True, True) != whose(False, True) and "Teach your own" in whose(False, False)


def test_examples_that_ask_for_what_was_never_seen_are_not_offered(services, session, fitted):
    editing, layouts = Editing(services), Layouts(services)
    assert editing.examples(session, None) and layouts.examples(session, None)
    for each in editing.examples(session, fitted):
        assert all_known(fitted.extractor, each.labels)
    assert "a hat" not in {each.words for each in editing.examples(session, fitted)}
    assert layouts.examples(session, fitted) == []  # each has eyes
    other = Reader.choose(session, SHIPPED)
    assert len(layouts.examples(other, fitted)) == len(layouts.examples(session, None))


def test_what_is_left_out_is_named(services, fitted):
    names = [category.name for category in fitted.extractor.categories]
    labels = np.full((8, 8), IGNORE, np.uint8)
    labels[0] = names.index("hair")
    assert left_out(services, fitted.extractor, labels) == ""
    labels[1] = names.index("hat")
    said = "Note: 'hat' was left out, because you have not labelled it yet."
    assert left_out(services, fitted.extractor, labels) == said
    labels[2] = names.index("glasses")
    said = left_out(services, fitted.extractor, labels)
    assert said == "Note: 'hat' and 'glasses' were left out, because you have not labelled them yet."
    labels[0] = IGNORE
    with pytest.raises(InputError, match=r"'hat' and 'glasses' are not learnt yet: label .* or choose .*built-in"):
        left_out(services, fitted.extractor, labels)
    assert left_out(services, fitted.extractor, labels, alone=True) == said


def test_an_edit_and_a_sampling_say_what_they_left_out(services, session, fitted):
    editing, sampling = Editing(services), Sampling(services)
    track = editing.from_seed(session, fitted, 1, 0.7)
    names = [category.name for category in fitted.extractor.categories]
    labels = np.full(track.now.labels.shape, IGNORE, np.uint8)
    labels[8:14, 40:80], labels[60:90, 20:26] = names.index("hat"), names.index("hair")
    painted = PainterLabels(track.key, labels, 1)
    *_, (done, _, line) = editing.run(track, painted, 1, False, False, "#000000")
    assert "of your strokes are matched" in line and "hat&#x27; was left out" in line
    assert "hat&#x27; was left out" in editing.look(done)[1]  # and again when it is shown again
    layouts = Layouts(services)
    painted = PainterLabels(layouts.canvas(session, fitted, None).key, labels, 1)
    layout, _, _, line = layouts.painted(session, fitted, painted)
    assert "hat&#x27; was left out" in line
    *_, (results, _, line) = sampling.run(session, fitted, layout, 1, 12, 0, 0)
    assert "hat&#x27; was left out" in line and len(results.frame.seeds) == 1
    assert sampling.sides(results, None).items == () and len(sampling.sides(results, 0).items) == 3


def test_stop_says_how_far_an_edit_came(services, session):
    editing = Editing(services)
    track = editing.from_example(session, None, 0)
    wish = PainterLabels(track.key, track.now.wish, 1)
    frames = editing.run(track, wish, 9, False, False, "#000000")
    before, part = next(frames)[0], None
    while not isinstance(part, Track):  # before the first step come the samples that it may start from
        part = next(frames)[0]
    frames.close()
    assert np.array_equal(part.now.wish, wish.labels) and np.array_equal(before.now.wish, wish.labels)  # to go on from
    assert "painted already" in editing.look(before)[1]
    assert "of 9 steps" in editing.look(part)[1] and "Stopped after" in editing.look(part)[1]
    assert "ls-good" not in editing.look(part)[1]


def test_the_strips_mark_what_the_edits_began_with_and_nothing_else(services, session):
    editing = Editing(services)
    ws, rgb = services.gpu.draw(MODEL, [1, 2], 0.7)
    session = add_pictures(session, ws, (1, 2), 0.7, rgb.shape[1:3])
    where = {
        "bench": editing.from_bench(session, None, session.pictures[1].key),
        "example": editing.from_example(session, None, 0),
        "seed": editing.from_seed(session, None, 20, 0.7),
    }  # fmt: skip
    marks = {
        name: (editing.strip(session, track).current, editing.shelf(session, None, track).current)
        for name, track in where.items()
    }
    assert marks == {"bench": (1, None), "example": (None, 0), "seed": (None, None)}
    for track in where.values():  # an image without an edit is shown alone: there is nothing to compare
        assert len(editing.look(track)[0].items) == 1 and editing.settle(track)[1] is None


def test_a_photo_is_refused_in_a_line_and_the_layout_stays(services, session):
    folder = services.downloads.root.parent
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = folder / "photo.jpg"
    Image.fromarray(noise).save(path)
    *kept, line, file = Layouts(services).upload(session, None, str(path))
    assert "ls-bad" in line and "This looks like a photo, not a label map" in line and file is None
    assert len(line) < 260 and all(each == gr.skip() for each in kept)


def test_shares_of_a_layout_are_of_all_of_it(services, session):
    labels = np.full((10, 10), IGNORE, np.uint8)
    labels[0, 0] = 2
    assert shares(labels, session.categories)["hair"] == 1
    assert shares(labels, session.categories, of_all=True)["hair"] == 0.01
    legend = show.legend(session.categories, shares(labels, session.categories, of_all=True), "Asked for", 0.99)
    assert "1.0 %" in legend and ">free<" in legend and "99.0 %" in legend
    assert ">free<" not in show.legend(session.categories, {}, "Asked for")


def test_an_empty_field_is_told_what_to_enter():
    with pytest.raises(InputError, match=r"^seed: enter a whole number from 0 to 4294967295$"):
        whole("seed", None, 0, 4294967295)
    with pytest.raises(InputError, match=r"^seed: enter a whole number from 0 to 9, not 2.5$"):
        whole("seed", 2.5, 0, 9)


def test_every_shipped_wish_is_known_to_the_shipped_extractor(services):
    shipped = services.studio.shipped(MODEL)
    assert all(all_known(shipped, each.labels) for each in example_edits(MODEL, shipped.categories))
