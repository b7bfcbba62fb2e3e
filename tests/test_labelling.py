"""The functions with which the tab Label chooses images, on a toy generator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch

from linsem.errors import InputError
from linsem.extractor import NEVER
from linsem.looks import Looks
from linsem.offers import ModelError
from linsem.palette import Category
from linsem.pixels import IGNORE
from linsem.seeds import MAX_SEED, next_seeds, parse_seeds
from linsem.session import Fitted, Session, add_category, add_pictures, change_category, new_session, set_labels
from linsem.settings import Settings
from linsem.ui.bench import POOL, SUGGESTED, Bench, _what_next, absorb, usable
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.categories import UNDO, farewell
from linsem.ui.copies import EXAMPLE, aside, changed, copies, keep, offer, store
from linsem.ui.editing import Editing
from linsem.ui.labelling import Labelling
from linsem.ui.opened import Opened
from linsem.ui.projects import UNLABELLED, Projects
from linsem.ui.reader import chosen_extractor
from linsem.ui.services import Services
from tests.toys import CATEGORIES, ToyGenerator

MOST = 6


@pytest.fixture(scope="module")
def services():
    made = Services.make(Settings(device="cpu", max_pictures=MOST))
    made.studio._looks.get("toy", lambda: Looks(ToyGenerator(), 64 << 20))
    made.studio._fetched["toy"] = Path()
    return made


def session_of(services, seeds, labelled=(), psi=0.7):
    """A session with the images of seeds, some of them painted."""
    ws, rgb = services.studio.draw("toy", seeds, psi)
    session = add_pictures(new_session("toy", CATEGORIES), ws, seeds, psi, rgb.shape[1:3], 100)
    for i in labelled:
        session = set_labels(session, i, np.full(rgb.shape[1:3], i % 2, np.uint8))
    return session


def test_seeds_worth_labelling_are_new_and_as_many_as_there_is_room_for(services):
    for painted, count in ((0, SUGGESTED), (2, SUGGESTED), (4, 2), (5, 1)):
        session = session_of(services, list(range(1, 7)), range(painted))
        seeds = parse_seeds(Bench(services).suggested(session, None, 0.7))
        assert len(set(seeds)) == count and set(seeds) <= set(range(7, 7 + POOL))


def test_they_follow_from_what_is_labelled_and_not_from_what_is_only_shown(services):
    bench = Bench(services)
    first = bench.suggested(session_of(services, [1, 2, 3]), None, 0.7)
    assert first == bench.suggested(session_of(services, [2, 3]), None, 0.7)
    own = parse_seeds(first)[0]
    picture = replace(session_of(services, [own], [0]).pictures[0], seed=3)  # its twin, labelled under another seed
    twin = replace(session_of(services, [3]), pictures=(picture,))
    assert own not in parse_seeds(bench.suggested(twin, None, 0.7))


def test_work_that_is_gone_is_said_to_be_gone(services):
    """As after a restart: the page has its image, and the server an empty session."""
    tab, painted = Labelling(services), PainterLabels("gone-0", np.zeros((24, 24), np.uint8), 1)
    for handler in (tab.bench.fit, tab.bench.overview, tab.clear, tab.back):
        more = ("Overlay",) if handler == tab.bench.overview else ()
        with pytest.raises(ValueError, match="This server no longer holds your work"):
            handler(Session(), None, painted, *more)
    with pytest.raises(ValueError, match="This server no longer holds your work"):
        chosen_extractor(services, Session(), None)


def test_a_bench_that_is_full_says_so_before_anything_is_drawn(services, monkeypatch):
    session = session_of(services, list(range(1, 7)), range(MOST))
    monkeypatch.setattr(services.gpu, "suggest", None)
    with pytest.raises(ValueError, match=f"all {MOST} images are labelled"):
        Bench(services).suggested(session, None, 0.7)


def test_after_the_largest_seed_it_begins_again(services):
    session = session_of(services, [MAX_SEED - 3])
    seeds = parse_seeds(Bench(services).suggested(session, None, 0.7))
    assert max(seeds) < POOL
    *_, seeds = Labelling(services).more(session, None, None, "", 0.7)
    assert seeds == "0-5" and list(next_seeds(MAX_SEED - 3, 3)) == [MAX_SEED - 2, MAX_SEED - 1, MAX_SEED]


def test_the_button_names_the_image_least_like_the_labelled(services):
    """Of four images, the second of which is labelled and the third its twin: never the twin."""
    session = session_of(services, [1, 2, 3, 4], [1])
    first, labelled, third, last = session.pictures
    session = replace(session, pictures=(first, labelled, replace(third, ws=labelled.ws), last))
    fitted = Fitted(ToyGenerator().known_extractor(), session.version, 0.1)
    strip, _, button, key = Bench(services).overview(session, fitted, None, "labels")
    position = session.find(key)
    assert [thumb.key for thumb in strip.items] == [picture.key for picture in session.pictures]
    assert position in (0, 3) and f"seed {session.pictures[position].seed} next" in button.value and button.interactive
    assert button.value.endswith("after this image")  # the first is shown, and not labelled yet
    seen = PainterLabels(labelled.key, labelled.labels, labelled.stamp)
    assert "after this" not in Bench(services).overview(session, fitted, seen, "labels")[2].value
    assert [thumb.badge for thumb in strip.items].count("label next") == 1
    full = session_of(services, [1, 2], [0, 1])
    _, _, button, position = Bench(services).overview(full, replace(fitted, version=full.version), None, "labels")
    assert position is None and not button.interactive


@pytest.mark.parametrize(
    ("learnt", "says"),
    [
        (2, "Everything counts as background or large until you paint what else there is, such as middle."),
        (3, "Everything counts as background, large or middle until you paint what else there is, such as small."),
        (4, "Paint more, or use it in Segment, Edit and Sample."),
        (5, "Paint more, or use it in Segment, Edit and Sample."),
    ],
)
def test_what_a_fit_means_is_said_for_as_many_categories_as_it_knows(learnt, says):
    known = ToyGenerator().known_extractor()
    weights = {"layer0.weight": torch.zeros(5, 10), "bias": torch.full((5,), NEVER)}
    weights["bias"][:learnt] = 0
    line = _what_next(replace(known, categories=(*CATEGORIES, Category("moon", "#123456")), weights=weights))
    assert line == says


def test_a_fit_of_another_bench_is_not_used(services):
    """It may end after another project of the same categories has been opened."""
    one, other = (session_of(services, [1, 2], [0]) for _ in range(2))
    fitted = Fitted(ToyGenerator().known_extractor(), one.version, 0.1, one.token)
    assert usable(one, fitted) and not usable(other, fitted)


def test_what_the_labels_no_longer_bear_is_not_shown_either(services):
    """Of two categories one is undone: what was learnt from both goes, and a loaded extractor stays."""
    bench, both, one = Bench(services), session_of(services, [1, 2], [0, 1]), session_of(services, [1, 2], [0])
    fitted = bench.fit(both, None, None)[0]
    for session, said in ((one, "Only"), (session_of(services, [1, 2]), "No image is labelled yet")):
        left, state, line = bench.fit(session, fitted, None)
        assert left is None and state.prediction is None and not state.opens and said in line
        assert bench.fit(session, replace(fitted, seconds=0.0), None)[:2] == (gr.skip(), gr.skip())


@pytest.mark.parametrize("psi", [-1, float("nan"), "much", None])
def test_a_bad_psi_is_told(services, psi):
    with pytest.raises(ValueError, match="psi"):
        Bench(services).suggested(session_of(services, [1]), None, psi)


def test_undo_shows_the_picture_that_got_something_back_and_what_is_fitted_follows_the_names(services):
    tab, session = Labelling(services), session_of(services, [1, 2, 3], [0, 1])
    session = replace(session, past=())
    fitted = Fitted(ToyGenerator().known_extractor(), session.version, 0.1)
    shown = tab.bench.show_picture(session, fitted, 1)
    removed, _ = tab.remove(session, fitted, PainterLabels(shown.key, shown.labels, 1))
    assert [p.seed for p in removed.pictures] == [1, 3]
    back, still, goal = tab.back(removed, fitted, None)
    state = tab.show(back, still, None, goal)
    assert [p.seed for p in back.pictures] == [1, 2, 3] and state.key == goal == back.pictures[1].key
    assert tab.show(back, still, None, None) == gr.skip()
    assert np.array_equal(state.labels, session.pictures[1].labels)
    assert still.extractor.categories == fitted.extractor.categories
    more = add_category(session, "more")
    assert tab.back(more, fitted, None)[1] is not None
    fitted = replace(fitted, extractor=replace(fitted.extractor, categories=more.categories))
    assert tab.back(more, fitted, None)[1] is None  # of five categories, and there are four again


def test_clear_and_remove_are_for_the_image_shown_and_read_none(services, monkeypatch):
    """What takes time comes after the bench has changed, so that strokes of the meantime are not undone by it."""
    tab, session = Labelling(services), session_of(services, [1, 2, 3], [0, 1])
    monkeypatch.setattr(tab.bench, "show_picture", None)
    second = session.pictures[1]
    cleared, goal = tab.clear(session, None, PainterLabels(second.key, second.labels, 0))
    assert goal == cleared.pictures[1].key != second.key and cleared.pictures[1].painted == 0
    assert cleared.pictures[0] is session.pictures[0]
    for act in (tab.clear, tab.remove):  # the painter still shows what it was
        with pytest.raises(InputError, match="the image is about to change"):
            act(cleared, None, PainterLabels(second.key, second.labels, 0))
    last = session.pictures[2]
    removed, goal = tab.remove(session, None, PainterLabels(last.key, last.labels, 0))
    assert goal == removed.pictures[1].key and len(removed.pictures) == 2


def test_a_list_that_is_only_left_changes_nothing_and_one_that_fails_is_told(services, monkeypatch):
    tab, session = Labelling(services), session_of(services, [1, 2], [0])
    told = []
    monkeypatch.setattr("gradio.Warning", told.append)
    monkeypatch.setattr(tab.bench, "begin", None)
    assert tab.switch("toy", session) is None and told == []

    def begin(model):
        raise ModelError(f"no connection to https://huggingface.co, and {model} is not in the Hub's cache")

    monkeypatch.setattr(tab.bench, "begin", begin)
    assert tab.switch("far", session) is None
    text = "This generator could not be downloaded: no connection to huggingface.co. You still have toy."
    assert told == [text]


def opened_by(services, session, **more):
    return replace(Opened(session, None, None, Bench(services).show_picture(session, None, 0), ""), **more)


def test_what_was_on_the_bench_is_offered_first_and_nothing_where_nothing_was(services, monkeypatch):
    monkeypatch.setattr(services.studio, "check_model", str)
    projects, older, oldest = Projects(services, Bench(services)), ("o", "older", "s1"), ("p", "oldest", "s2")
    new = opened_by(services, session_of(services, [3]))
    assert aside(Session(), None, None, [older], new) == [older]  # as after a restart
    assert aside(session_of(services, [1]), None, None, [], new) == []
    session = session_of(services, [1, 2], [1])
    mine, *others = aside(session, None, None, [older, oldest], new)
    assert others == [older, oldest] and mine[0] == session.token
    back = projects.resume([mine, older])
    assert [p.painted > 0 for p in back.session.pictures] == [False, True]
    assert (back.origin, back.tried) == (session.token, (session.token,))  # not stored by the browser yet
    assert projects.resume([(*mine[:2], "s3"), older]).origin == "s3"


def test_resuming_again_and_again_goes_round_and_no_copy_is_lost(services, monkeypatch):
    monkeypatch.setattr(services.studio, "check_model", str)
    projects = Projects(services, Bench(services))
    here = session_of(services, [9], [0])
    benches = [session_of(services, [i, i + 1], [0]) for i in (1, 3, 5)]
    found, seen = [(each.token, keep(each, None, None), "") for each in benches], []
    for _ in range(4):
        back = projects.resume(found)
        found, here = aside(here, None, None, found, back), back.session
        seen.append([p.seed for p in here.pictures])
        assert len(found) == 3
    assert seen == [[1, 2], [3, 4], [5, 6], [9]]


def test_a_copy_that_cannot_be_had_does_not_bar_the_one_behind_it(services, monkeypatch):
    projects = Projects(services, Bench(services))
    session = session_of(services, [1, 2], [1])
    good = (session.token, keep(session, None, None), "")
    known = services.studio.check_model
    monkeypatch.setattr(services.studio, "check_model", str)
    back = projects.resume([("bad", "%%%", ""), ("far", "AAAA", ""), good])
    assert back.session.pictures[0].seed == 1 and back.tried == ("bad", "far", session.token)
    monkeypatch.setattr(services.studio, "check_model", known)
    with pytest.raises(ValueError, match="toy"):  # a generator that is not offered
        projects.resume([good])
    with pytest.raises(ValueError, match="keeps no earlier work"):
        projects.resume([])


def test_the_button_says_what_would_come_back(services):
    session = session_of(services, [1, 2, 3], [1, 2])
    mine = (session.token, keep(session, None, None), "")
    there = offer([mine], "avatars-128")
    assert there.value == "Continue: 2048 px on 2 images of toy" and there.visible
    assert offer([mine], "toy").value == "Continue: 2048 px on 2 images"
    assert offer([mine, ("o", "%%%", "")], "toy").value.endswith("(1 of 2)")
    assert offer([("o", "%%%", "")], "toy").value == offer([], "toy").value == "Continue where you left off"
    assert not offer([], "toy").visible


def test_an_example_that_was_only_looked_at_is_not_kept(services):
    session = replace(session_of(services, [1, 2], [1]), past=())  # as it is opened
    new = opened_by(services, session_of(services, [3]))
    assert store(session, None, None, EXAMPLE) == gr.skip()
    assert aside(session, None, None, [], new, (), EXAMPLE) == []
    stroke = PainterLabels(session.pictures[0].key, np.full((32, 32), 1, np.uint8), 3)
    assert store(session, stroke, None, EXAMPLE) != gr.skip()
    assert len(aside(session, stroke, None, [], new, (), EXAMPLE)) == 1
    assert len(aside(session, None, None, [], new)) == 1  # the twin: the visitor's own
    renamed = change_category(session, 0, "sky", "#123456")
    assert store(renamed, None, None, EXAMPLE) != gr.skip()


@pytest.mark.parametrize("said", ["", None, "{", "3", "[3]", '[["a"]]', '[["a", 3]]', '[["a", ""]]', "[" * 10_000])
def test_what_the_browser_says_of_copies_is_not_trusted(said):
    assert copies(said) == []
    assert copies('[["a", "b", "s"], 7, ["c", "d"], ["e", 3, "s"], ["f", "g", 5]]') == [("a", "b", "s"), ("c", "d", "")]
    assert copies('[["a", "b", "s"], ["c", "d", "t"], ["e", "b", "u"]]') == [
        ("a", "b", "s"),
        ("c", "d", "t"),
    ]  # one work


def test_the_example_brings_images_that_nobody_labelled():
    services = Services.make(Settings(device="cpu"))
    model = services.studio.default_model()
    opened = Projects(services, Bench(services)).example(Session(model))
    session = opened.session
    assert session.model == model and opened.painter.key == session.pictures[0].key
    assert len(session.pictures) == len(session.labelled) + UNLABELLED
    seeds, _ = Labelling(services).arrived(session)
    assert parse_seeds(seeds) == tuple(picture.seed for picture in session.pictures)
    assert f"{len(session.labelled)} labelled images teach {len(session.categories)} categories" in opened.line
    assert opened.origin == EXAMPLE and not changed(session, None, ())


def test_strokes_made_while_images_are_drawn_are_kept(services):
    """Drawing gives no session back: the strokes and the bench of the moment are joined with what was drawn."""
    tab, session = Labelling(services), session_of(services, [1, 2, 3], [0])
    fresh, seeds = tab.more(session, None, None, "", 0.7)
    labels = np.full((32, 32), IGNORE, np.uint8)
    labels[4:8] = 1
    stroke = PainterLabels(session.pictures[1].key, labels, 5)
    joined, goal = tab.join(tab.keep(session, stroke), None, stroke, fresh)
    assert seeds == "4-8" and [p.seed for p in joined.pictures] == [1, 2, 4, 5, 6, 7]  # as many as there is room for
    assert np.array_equal(joined.pictures[1].labels, labels) and goal == joined.pictures[2].key
    late = PainterLabels(session.pictures[1].key, labels * 0 + 2, 4)  # sent before, and here only now
    assert np.array_equal(absorb(joined, late).pictures[1].labels, labels)
    assert tab.join(joined, None, None, fresh)[0].pictures[2:] != ()  # twice is once
    assert [p.seed for p in tab.join(joined, None, None, fresh)[0].pictures] == [p.seed for p in joined.pictures]


def test_images_drawn_for_a_bench_that_is_gone_change_nothing(services):
    tab, session, other = Labelling(services), session_of(services, [1]), session_of(services, [2])
    fresh = tab.draw(session, None, None, "7,8", 0.7)
    assert [p.seed for p in tab.join(session, None, None, fresh)[0].pictures] == [7, 8]
    for gone in (fresh, None):
        assert not any(isinstance(each, Session) for each in tab.join(other, None, None, gone))


def test_what_is_the_same_is_not_stored_again(services):
    tab, session = Labelling(services), session_of(services, [1, 2])
    labels = np.full((32, 32), IGNORE, np.uint8)
    labels[4:8] = 1
    stroke = PainterLabels(session.pictures[0].key, labels, 1)
    kept = tab.keep(session, stroke)
    assert isinstance(kept, Session) and not isinstance(tab.keep(kept, stroke), Session)


def test_looking_for_images_is_said_and_so_is_its_failure(services):
    tab, session = Labelling(services), session_of(services, [1, 2])
    busy, done = tab.suggest(session, None, 0.7)
    assert "Looking through 60 images" in busy[1] and len(parse_seeds(done[0])) == SUGGESTED
    steps = tab.suggest(session, None, -1)
    next(steps)
    assert "No images" in next(steps)[1]
    with pytest.raises(ValueError, match="psi"):
        next(steps)


def test_a_stroke_that_ends_while_another_image_is_loaded_is_kept(services):
    """What chooses an image gives no session back, so what `keep` stored meanwhile stays."""
    tab, session = Labelling(services), session_of(services, [1, 2])
    labels = np.full((32, 32), 255, np.uint8)
    labels[3:5] = 1
    stroke = PainterLabels(session.pictures[0].key, labels, 1)
    other = tab.choose(session, None, None, SimpleNamespace(value=session.pictures[1].key))
    following = tab.next_one(session, None, None, session.pictures[1].key)
    assert isinstance(other, PainterState) and isinstance(following, PainterState)
    assert other.key == following.key == session.pictures[1].key
    assert tab.keep(session, stroke).pictures[0].painted == 64
    again = tab.choose(session, None, stroke, SimpleNamespace(value=session.pictures[0].key))  # before `keep`, or after
    assert np.array_equal(again.labels, labels)


def test_a_strip_that_is_older_than_the_bench_opens_what_it_shows(services):
    tab, session = Labelling(services), session_of(services, [1, 2, 3], [0])
    _, second, third = (picture.key for picture in session.pictures)
    painted = PainterLabels(second, session.pictures[1].labels, 0)
    fewer, _ = tab.remove(session, None, painted)
    assert tab.choose(fewer, None, None, SimpleNamespace(value=third)).key == third  # at another position by now
    here = PainterLabels(third, session.pictures[2].labels, 0)
    assert tab.choose(fewer, None, here, SimpleNamespace(value=second)).key == third  # it is gone: nothing happens
    assert tab.next_one(fewer, None, here, None).key == third
    with pytest.raises(ValueError, match="not on the bench any more"):
        Editing(services).from_bench(fewer, None, second)


def test_the_image_that_is_shown_is_not_the_next_one(services):
    session = session_of(services, [1, 2, 3], [1])
    fitted = Fitted(ToyGenerator().known_extractor(), session.version, 0.1)
    bench = Bench(services)
    first = bench.overview(session, fitted, None, "labels")[3]
    for index in (0, 2):
        shown = PainterLabels(session.pictures[index].key, session.pictures[index].labels, 0)
        assert bench.overview(session, fitted, shown, "labels")[3] == session.pictures[2 - index].key
    assert first == session.pictures[2].key  # without a painter, the first image is taken to be shown
    few = session_of(services, [1, 2], [1])
    _, _, button, position = bench.overview(few, replace(fitted, version=few.version), None, "labels")
    assert position is None and button.value == "All other images here are labelled"


def test_one_category_is_refused_without_a_job(services, monkeypatch):
    bench, asked = Bench(services), []
    job = services.gpu.fit_and_read
    monkeypatch.setattr(services.gpu, "fit_and_read", lambda *args: (asked.append(args), job(*args))[1])
    *_, line = bench.fit(session_of(services, [1, 2], [0]), None, None)
    assert "paint at least one other category too" in line and not asked
    fitted, *_ = bench.fit(session_of(services, [1, 2], [0, 1]), None, None)
    assert fitted.extractor.kind == "LSE" and len(asked) == 1


def test_what_goes_with_a_category_is_told_and_its_name_is_no_markup():
    session = add_category(new_session("toy", CATEGORIES), "<b>hat")
    session = add_pictures(session, np.zeros((2, 4, 3), np.float32), [1, 2], 0.7, (4, 4))
    assert farewell(session, 0) == f"Deleted {CATEGORIES[0].name!r}. {UNDO!r} brings it back."
    labels = np.full((4, 4), IGNORE, np.uint8)
    labels[:2] = len(CATEGORIES)
    session = set_labels(set_labels(session, 0, labels), 1, labels)
    assert farewell(session, len(CATEGORIES)).startswith("Deleted '&lt;b&gt;hat' and the 16 px that were painted")


def test_a_generator_that_is_not_here_is_told_of_once_for_a_click(services, monkeypatch):
    """The list of generators tells of one click twice."""
    told, clock = [], [100.0]
    monkeypatch.setattr("gradio.Warning", told.append)
    now = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setitem(Labelling.switch.__globals__, "time", now)  # whichever copy of the module this is
    labelling = Labelling(services)
    one, other = (new_session("toy", CATEGORIES) for _ in range(2))
    for session, model, seconds, count in (
        (one, "nothing", 0, 1), (one, "nothing", 0.1, 1), (other, "nothing", 0.1, 2), (other, "neither", 0.1, 3),
        (other, "neither", 5, 4),
    ):  # fmt: skip
        clock[0] += seconds
        assert labelling.switch(model, session) is None and len(told) == count
