"""Layouts in the Sample tab: taken to the painter and back, and kept with what was sampled."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from linsem.errors import InputError
from linsem.palette import Category, colorize, read_label_map, write_label_map
from linsem.pixels import IGNORE, resize_labels
from linsem.session import new_session
from linsem.ui import sampling as sampling_tab
from linsem.ui import show
from linsem.ui.canvas import PainterLabels
from linsem.ui.events import WAITING, not_started
from linsem.ui.examples import example_masks
from linsem.ui.layouts import MASK, PAINTING, Layout, Layouts
from linsem.ui.sample import _Wiring
from linsem.ui.sampling import Results, Sampling
from linsem.ui.thumbs import Thumb
from linsem.zoo import GENERATORS
from tests.test_segment import services
from tests.toys import CATEGORIES

__all__ = ["services"]


@pytest.fixture
def session():
    return new_session("avatars-64", CATEGORIES)


def halves(size=(32, 32), categories=CATEGORIES):
    labels = np.full(size, IGNORE, np.uint8)
    labels[: size[0] // 2], labels[size[0] // 2 :, : size[1] // 2] = 0, 2
    return Layout(labels, categories, "two halves")


def test_a_layout_is_painted_on_as_it_is_and_what_is_not_known_is_free(services, session):
    layouts, layout = Layouts(services), halves((64, 64))
    base, state, line = layouts.paint_on(session, None, layout, None)
    assert np.array_equal(state.labels, halves().labels) and "two halves" in line
    other = (CATEGORIES[2], CATEGORIES[0], Category("a cat", "#123456"))
    turned = layouts.paint_on(session, None, halves(categories=other), base)[1]
    assert np.array_equal(turned.labels, np.where(halves().labels == 0, 2, IGNORE))  # the cat is left free
    with pytest.raises(InputError, match="there is no layout yet"):
        layouts.paint_on(session, None, None, base)


@pytest.mark.parametrize(("former", "used"), [(halves(), "Still in use: two halves."), (None, "No layout is in use.")])
def test_a_file_that_is_refused_says_which_layout_is_in_use_after_all(services, session, former, used):
    file = services.downloads.write("mask.png", b"a text")
    *kept, line, removed = Layouts(services).upload(session, None, file, former)
    assert kept == [gr.skip()] * 3 and removed is None and "ls-bad" in line and used in line


def test_a_mask_is_shown_as_it_is_sampled_and_if_that_leaves_nothing_of_it_as_it_is(services, session):
    """Of another shape it is stretched, and what is lost in that is neither shown nor among the shares."""
    layouts, wide, dot = Layouts(services), np.full((64, 200), IGNORE, np.uint8), np.full((320, 320), IGNORE, np.uint8)
    wide[:, :100], wide[0, 150], dot[0, 0] = 0, 2, 1
    files = [services.downloads.write("mask.png", write_label_map(each, CATEGORIES)) for each in (wide, dot)]
    layout, strip, legend, line, _ = layouts.upload(session, None, files[0])
    used = resize_labels(wide, (32, 32))
    assert "Stretched from 200 " in line and set(np.unique(used)) == {0, IGNORE}
    assert np.array_equal(strip.items[0].rgb, colorize(used, CATEGORIES))
    assert legend == layouts.show_layout(replace(layout, labels=used))[1] != layouts.show_layout(layout)[1]
    layout, strip, *_ = layouts.upload(session, None, files[1])
    assert np.array_equal(strip.items[0].rgb, colorize(dot, CATEGORIES))
    with pytest.raises(gr.Error, match="lost in resizing the layout from 320 x 320 to 32 x 32"):
        list(Sampling(services).run(session, None, layout, 1, 12, 0, 0))


def test_the_painter_keeps_its_strokes_until_a_layout_is_taken_to_it_again(services, session):
    layouts = Layouts(services)
    empty = layouts.canvas(session, None, None)
    assert (empty.labels == IGNORE).all()
    base, state, _ = layouts.paint_on(session, None, halves(), None)
    assert layouts.canvas(session, None, base).key == state.key != empty.key
    again, anew, _ = layouts.paint_on(session, None, halves(), base)
    assert anew.key not in (state.key, empty.key) and layouts.canvas(session, None, again).key == anew.key
    mine = np.full(state.labels.shape, 1, np.uint8)
    assert layouts.paint_on(session, None, halves(), base, PainterLabels(state.key, mine, 4))[1].back is mine
    assert layouts.paint_on(session, None, halves(), base, PainterLabels(empty.key, mine, 4))[1].back is None


def test_what_is_erased_from_a_layout_is_free(services, session):
    layouts = Layouts(services)
    base, state, _ = layouts.paint_on(session, None, halves(), None)
    less = np.where(state.labels == 2, IGNORE, state.labels)
    layout = layouts.painted(session, None, PainterLabels(state.key, less, 1), base)[0]
    assert np.array_equal(layout.labels, less)


def test_strokes_of_other_categories_are_refused(services, session):
    """Their indices would mean something else: the painter shows what it was given when it was opened."""
    layouts, labels = Layouts(services), np.full((32, 32), 3, np.uint8)
    state = layouts.canvas(session, None, None)
    assert layouts.painted(session, None, PainterLabels(state.key, labels, 1))[0].labels.max() == 3
    known = services.studio.shipped("avatars-64")
    turned = replace(known, categories=known.categories[::-1])
    services.studio._shipped._values["avatars-64"] = turned
    with pytest.raises(InputError, match="categories have changed"):
        layouts.painted(session, None, PainterLabels(state.key, labels, 1))
    assert layouts.canvas(session, None, None).key != state.key


def test_a_run_that_fails_says_why_and_keeps_what_was_there(services, session, monkeypatch):
    wiring = object.__new__(_Wiring)
    wiring.logic = Sampling(services)
    *_, (results, *_) = wiring.run(session, None, halves(), 1, 12, 0, 0)
    whole = services.gpu.sample

    def broken(*asked, **more):
        yield next(whole(*asked, **more))
        raise InputError("the quota is used up")

    monkeypatch.setattr(services.gpu, "sample", broken)
    for layout, said in ((halves(), "The quota is used up."), (None, "There is no layout yet")):
        frames = []
        with pytest.raises(gr.Error):
            frames.extend(wiring.run(session, None, layout, 1, 12, 0, 0))
        assert said in frames[-1][2] and "ls-bad" in frames[-1][2]
        assert not any(isinstance(frame[0], type(results)) or frame[0] is None for frame in frames)
    assert len(frames) == 1 and frames[0][3:] == (gr.skip(),) * 5  # refused: what was chosen stays


def test_another_layout_is_told_from_that_of_the_results(services, session):
    wiring = object.__new__(_Wiring)
    wiring.logic = Sampling(services)
    layout, good = halves(), show.status("4 results", "good")
    *_, (results, *_) = wiring.run(session, None, layout, 1, 12, 0, 0)
    other = replace(layout, labels=1 - layout.labels)
    assert "of another layout" in wiring.there(other, good, results)[1]
    assert "of another layout" in wiring.there(None, good, results)[1]
    for now, line in ((layout, good), (other, show.progress(0.5, "half"))):  # its own; and a run says what it is of
        assert wiring.there(now, line, results)[1] == gr.skip()
    told = wiring.there(other, good, results)[1]
    assert "of this layout" in wiring.there(layout, told, results)[1]  # it has come back
    refused = show.status("There is no layout yet", "bad")
    assert "appear here" in wiring.there(layout, refused, None)[1] and wiring.there(None, refused, None)[1] == gr.skip()


def test_stop_before_the_first_result_says_whose_the_results_are_that_are_shown(services, session, monkeypatch):
    monkeypatch.setattr(sampling_tab, "EVERY", 0)
    wiring, layout = object.__new__(_Wiring), halves()
    wiring.logic = Sampling(services)
    frames = list(wiring.run(session, None, layout, 1, 12, 5, 0))
    (early, *_), (late, *_) = (
        [frame[2] for frame in frames if isinstance(frame[0], Results) == found and "ls-busy" in frame[2]]
        for found in (False, True)
    )
    results, other = frames[-1][0], replace(layout, labels=1 - layout.labels)
    kept, of_another = "Stopped; what is shown is kept.", "These are the results of another layout."
    assert f">Stopped before the first result. {of_another}<" in wiring.stopped(other, early, results)
    assert f">Stopped before the first result. {of_another}<" in wiring.left(session, other, early, results)[0]
    assert f">{kept} {of_another}<" in wiring.stopped(other, late, results)  # chosen while results came
    assert all(f">{kept}<" in wiring.stopped(layout, line, results) for line in (early, late))
    assert ">Stopped.<" in wiring.stopped(layout, early, None)


def test_the_example_and_the_file_that_are_shown_are_those_of_the_layout(services, session, monkeypatch):
    wiring, reads = object.__new__(_Wiring), []
    wiring.layouts = Layouts(services)
    offered = [(None, Thumb(np.zeros((4, 4, 3), np.uint8), title)) for title in ("a hat", "two halves")]
    monkeypatch.setattr(wiring.layouts, "examples", lambda *who: reads.append(who) or offered)

    def shown(origin, last):
        layout = replace(halves(), origin=origin) if origin else None
        return wiring.follow(session, None, layout, "", None, last)[2:]

    kept = gr.skip()
    for origin, last, current, box in (
        ("two halves", MASK, 1, None), (MASK, "two halves", None, kept),
        (PAINTING, MASK, None, None), ("", MASK, None, kept), ("a hat", PAINTING, 0, kept),
    ):  # fmt: skip
        strip, file, seen = shown(origin, last)
        assert [each.title for each in strip.items] == ["a hat", "two halves"]
        assert (strip.current, file, seen) == (current, box, origin)
    assert shown(PAINTING, PAINTING) == (kept, kept, PAINTING) and len(reads) == 5  # no file is read at each stroke
    wiring.at = SimpleNamespace(reader=SimpleNamespace(look=lambda *who: ()))
    assert wiring.visit(session, None, halves())[1]["value"].current == 1  # nor is it lost when the tab is left


def test_the_layout_goes_with_its_file_only(services, session):
    layouts = Layouts(services)
    assert layouts.cleared(halves()) == (gr.skip(),) * 4
    assert layouts.cleared(replace(halves(), origin=MASK))[0] is None


def test_a_run_that_is_stopped_says_nothing_of_its_own(services, session, monkeypatch):
    """What is closed must not yield a frame more: Python raises RuntimeError for that."""
    monkeypatch.setattr(sampling_tab, "EVERY", 0)
    run = Sampling(services).run(session, None, halves(), 1, 12, 5, 0)
    frames = [next(run), next(run)]  # the second is of the run itself
    run.close()
    assert "did not work" not in frames[-1][2] and next(run, None) is None


@pytest.mark.parametrize(("count", "told"), [(1, "1 result in "), (2, "2 results in ")])
def test_one_result_is_not_called_several_nor_the_best_of_them(services, session, count, told):
    *_, (_, _, line) = Sampling(services).run(session, None, halves(), count, 12, 0, 0)
    assert told in line and ("best first" in line) == (count > 1)


def test_the_zip_of_results_holds_the_layout_and_the_scores(services, session):
    layouts, sampling = Layouts(services), Sampling(services)
    *_, (results, _, _) = sampling.run(session, None, halves(), 2, 12, 0, 0)
    with zipfile.ZipFile(sampling.files(results)) as archive:
        path = services.downloads.path("layout.png")
        path.write_bytes(archive.read("layout.png"))
        found = json.loads(archive.read("results.json"))["results"]
    assert found == [{"seed": s, "score": x} for s, x in zip(results.frame.seeds, results.frame.scores, strict=True)]
    assert np.array_equal(read_label_map(path, CATEGORIES).labels, halves().labels)
    taken = layouts.upload(session, None, str(path))[0]
    assert np.array_equal(taken.labels, halves().labels)


def test_a_category_that_the_extractor_does_not_know_stops_a_run(services, session):
    other = (CATEGORIES[0], CATEGORIES[1], Category("a cat", "#123456"))
    with pytest.raises(InputError, match="'a cat', which the extractor does not know"):
        list(Sampling(services).run(session, None, halves(categories=other), 2, 12, 0, 0))


def test_a_painted_layout_survives_categories_that_go(services, session):
    layouts = Layouts(services)
    labels = np.full((32, 32), IGNORE, np.uint8)
    labels[2:5], labels[8:9] = 1, 2
    known = services.studio.shipped("avatars-64")
    categories = (known.categories[0], known.categories[2], known.categories[1])
    mine = Layout(labels, (*categories[:2], Category("gone", "#123456")), PAINTING)
    now, strip, _, line = layouts.renamed(session, None, mine)
    assert now.categories == known.categories and now.origin == strip.items[0].title == PAINTING
    assert (now.labels[2:5] == 2).all() and (now.labels[8:9] == IGNORE).all() and "9 % of the layout" in line
    assert np.array_equal(layouts.canvas(session, None, None, mine).labels, now.labels)
    skipped = (gr.skip(),) * 4
    for other in (None, now, replace(mine, origin="your mask")):
        assert layouts.renamed(session, None, other) == skipped
    only = replace(mine, labels=np.where(labels == 2, labels, IGNORE).astype(np.uint8))
    assert layouts.renamed(session, None, only)[0] is None


def test_what_is_on_the_painter_is_the_layout_again_when_it_is_shown(services, session):
    layouts = Layouts(services)
    labels = np.full((32, 32), IGNORE, np.uint8)
    other, skipped = halves(), (gr.skip(),) * 4
    painted = PainterLabels(layouts.canvas(session, None, None).key, labels, 1)
    assert layouts.back_to(session, None, painted, None, other) == skipped  # nothing is painted
    labels[2:5] = 1
    back = layouts.back_to(session, None, painted, None, other)[0]
    assert back.origin == PAINTING and np.array_equal(back.labels, labels)
    assert layouts.back_to(session, None, painted, None, back) == skipped
    base, state, _ = layouts.paint_on(session, None, other, None)
    taken = PainterLabels(state.key, state.labels, 2)
    assert layouts.back_to(session, None, taken, base, other) == skipped  # only taken to the painter
    assert layouts.back_to(session, None, painted, base, other) == skipped  # it shows another one by now


def test_results_of_a_generator_that_was_left_say_whose_they_are(services, session):
    wiring = object.__new__(_Wiring)
    wiring.logic = Sampling(services)
    *_, (results, *_) = wiring.run(session, None, halves(), 1, 12, 0, 0)
    line, button = wiring.left(replace(session, model="avatars-128"), halves(), "", results)
    assert "These results are of avatars-64." in line and not button.interactive
    assert wiring.left(session, halves(), "done", results) == (gr.skip(), gr.skip())
    assert "Stopped" in wiring.left(session, halves(), WAITING, results)[0]


def test_a_line_that_waits_is_not_left_behind_by_a_queue_that_refuses():
    assert "Not started" in not_started(WAITING) and not_started("Step 3 of 24") == gr.skip()


def test_no_shipped_layout_asks_for_a_few_pixels_of_what_makes_a_head():
    """A speck of hair says neither that there is hair nor that there is none: a head of hair obeyed it as well."""
    categories = GENERATORS["avatars-128"].categories
    names = [category.name for category in categories]
    heads = [names.index(name) for name in ("hair", "hat", "facial hair", "glasses", "clothes")]
    masks = example_masks("avatars-128", categories)
    assert len(masks) == 6
    for path, _ in masks:
        labels = read_label_map(path, categories).labels
        counts = np.bincount(labels.ravel(), minlength=len(names))[heads]
        assert ((counts == 0) | (counts > 0.02 * labels.size)).all(), path.stem
