"""The functions behind the tab Edit and its history, on a toy generator: no edit is lost."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from linsem import track
from linsem.edit import NO_WAY
from linsem.errors import InputError
from linsem.looks import Looks
from linsem.pixels import IGNORE
from linsem.presence import GUESSED
from linsem.project import ProjectError, load_project
from linsem.seeds import parse_seeds
from linsem.session import Fitted, paint
from linsem.settings import Settings
from linsem.studio import EditFrame
from linsem.track import EditPoint, goes_on, known_track, new_track, painted_here, push, step, turned
from linsem.ui import copies
from linsem.ui.bench import Bench
from linsem.ui.canvas import PainterLabels
from linsem.ui.edit import _Asked as Asked
from linsem.ui.edit import _turned, _Wiring
from linsem.ui.edit_frames import frames_of
from linsem.ui.editing import Editing, _choice, _most_changed
from linsem.ui.labelling import Labelling
from linsem.ui.layouts import Layouts
from linsem.ui.outcome import ended, going, too_small
from linsem.ui.projects import Projects
from linsem.ui.services import Services
from linsem.ui.strokes import painted_since
from tests.toys import CATEGORIES, ToyGenerator

SEEDS = "11,12,13"


@pytest.fixture(params=["shipped", "none shipped"])
def services(request, tmp_path, monkeypatch):
    """Replaces a zoo generator by a toy, with and without its own extractor."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = Services.make(Settings(device="cpu"))
    made.studio._looks.get("avatars-64", lambda: Looks(ToyGenerator(id="avatars-64"), 64 << 20))
    own = ToyGenerator(id="avatars-64").known_extractor() if request.param == "shipped" else None
    made.studio._shipped.get("avatars-64", lambda: own)
    return made


def bench_of(services):
    """A bench with correct strokes, and a fit."""
    bench, toy = Bench(services), ToyGenerator(id="avatars-64")
    session = replace(bench.begin("avatars-64"), categories=CATEGORIES)
    truth = toy.known_extractor()
    for picture in session.pictures[:2]:
        labels = services.gpu.read("avatars-64", truth, [picture.ws]).labels[0]
        session = paint(session, picture.key, labels)
    fitted = bench.fit(session, None, None)[0]
    assert isinstance(fitted, Fitted)
    return session, fitted


def edited(services, session, fitted):
    """A track with an image and two others as its edits."""
    editing = Editing(services)
    track = editing.from_bench(session, fitted)
    for seed in parse_seeds(SEEDS)[:2]:
        ws = services.gpu.draw("avatars-64", [seed], 0.7)[0][0]
        read = services.gpu.read("avatars-64", track.extractor, [ws])
        track = push(track, EditPoint(ws, read.rgb[0], read.labels[0], f"edit {seed}", {}))
    return editing, track


def test_a_state_is_told_of_by_the_labels_of_its_time(services):
    """Also one that is come back to by undo, long after another extractor was learnt."""
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    report = {"added": "hat", "there": 0.99, "outside_change": 1, "seconds": 2, "steps": 5}
    points = [replace(point, report=report, told_by=track.extractor) for point in track.points[1:]]
    track = replace(track, points=(track.points[0], *points))
    other = replace(track.extractor, temperature=2.0)
    assert "as the labels read it, 99" in editing.look(track)[1]
    now = editing.read(track, other)
    assert "labels read then, 99" in editing.look(now)[1]
    back, _, line = editing.move(now, None, -1)
    assert back.position == 1 and "labels read then, 99" in line
    assert "as the labels read it, 99" in editing.look(editing.read(back, track.extractor))[1]  # and they again


def read_by(services, track):
    return services.gpu.read(track.model, track.extractor, [track.now.ws]).labels[0]


def test_a_fit_between_two_visits_keeps_all_edits_and_each_is_read_anew_when_it_is_shown(services, monkeypatch):
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    other = fitted.extractor.weights
    other = {name: value.flip(0) if name.endswith("bias") else value * -1 for name, value in other.items()}
    later = replace(fitted, extractor=replace(fitted.extractor, weights=other))
    seen = []
    read = services.gpu.read
    monkeypatch.setattr(services.gpu, "read", lambda *call: seen.append(len(call[2])) or read(*call))
    visited = editing.visit(session, later, track)
    assert seen == [1] and [p.caption for p in visited.points] == [p.caption for p in track.points]
    assert visited.extractor is later.extractor and visited.position == 2
    assert not np.array_equal(visited.now.labels, track.now.labels)
    for by in (-1, -1, 1, 1):
        visited, *_ = editing.move(visited, None, by)
        assert np.array_equal(visited.now.labels, read(track.model, later.extractor, [visited.now.ws]).labels[0])
    assert seen == [1, 1, 1] and not visited.stale  # the way forth needs none
    assert visited.position == 2 and np.array_equal(editing.settle(visited)[1][0], track.points[0].rgb)
    assert editing.visit(session, later, visited) is visited


def test_edits_go_on_while_there_is_no_extractor_for_the_categories(services):
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    visited = editing.visit(replace(session, categories=CATEGORIES[:3]), None, track)
    assert len(visited.points) == 3
    own = services.studio.shipped("avatars-64")
    assert visited.extractor is (own or track.extractor)


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")  # its choices are those of the page
def test_the_copy_in_the_browser_brings_the_edits_back_and_the_fit_after_it_leaves_them(services):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    projects, labelling = Projects(services, Bench(services)), Labelling(services)
    kept = copies.keep(session, None, track)
    back = projects.resume([("mine", kept, "")])
    session, fitted, again = back.session, back.fitted, back.track
    assert [p.caption for p in again.points] == [p.caption for p in track.points]
    first = labelling.first_fit(session, fitted, None)[0]
    fitted = first if isinstance(first, Fitted) else fitted
    assert fitted.version == session.version
    visited = Editing(services).visit(session, fitted, again)
    assert visited.extractor is fitted.extractor and visited.position == 2
    for mine, theirs in zip(visited.points, track.points, strict=True):
        assert np.array_equal(mine.ws, theirs.ws) and np.array_equal(mine.rgb, theirs.rgb)
    assert np.array_equal(visited.now.labels, read_by(services, visited))
    assert len(projects.resume([("mine", copies.keep(session, None, visited), "")]).track.points) == 3


@pytest.mark.parametrize(
    ("report", "said", "not_said"),
    [
        (
            {"steps": 4, "note": "the whole image may change: nothing is held"},
            "92 % of your strokes are matched (10 % before)",
            "Nothing to do",
        ),
        ({"steps": 4, "note": "the whole image may change: nothing is held"}, "The whole image may change", "{"),
        ({"steps": 4, "note": ""}, "4 steps", "Nothing to do"),
        ({"steps": 4, "added": "hat", "there": 0.9}, "90 % of &#x27;hat&#x27; is there", "strokes"),
        ({"steps": 4, "removed": "hat", "gone": 1.0}, "100 % of &#x27;hat&#x27; is gone. Elsewhere", "before"),
        ({"steps": 7, "of": 50, "left_out": "Note: no hat."}, "Stopped after 7 of 50 steps: 92 % of your", "ls-good"),
        ({"steps": 4, "note": "x", "left_out": "Note: no hat."}, "2.0\u00a0s. Note: no hat.", "X."),
        ({"steps": 0, "note": "the image already shows it"}, "Nothing to do: the image already shows it", "92 %"),
        ({"steps": 4}, "Elsewhere it hardly changed (colours moved by 1.0 of 255)", "a little"),
        ({"steps": 4, "outside_change": 3.0}, "Elsewhere it changed a little (colours moved by 3.0", "hardly"),
        ({"steps": 4, "outside_change": 30.0}, "Elsewhere it changed too (colours moved by 30.0", "ls-good"),
        ({"steps": 4, "color_off": 60.0, "note": NO_WAY}, "Not changed: no way to it was found", "Done"),
        ({"steps": 4, "color_off": 60.0, "note": NO_WAY}, "The colour there is off by 60 of 255", "ls-good"),
        ({"steps": 4, "added": "hat", "there": 0.1, "note": NO_WAY}, "ls-bad", "Your strokes"),
        ({"steps": 4, "lost": ["hair"]}, "It also took much of &#x27;hair&#x27;. Elsewhere", "brought"),
        ({"steps": 4, "gained": ["a", "b"]}, "It also brought &#x27;a&#x27; and &#x27;b&#x27;.", "took"),
        ({"steps": 4, "lost": ["a"], "gained": ["b"]}, "much of &#x27;a&#x27; and brought &#x27;b&#x27;.", "more"),
        (
            {"steps": 4, "lost": list("abcde")},
            "of &#x27;a&#x27;, &#x27;b&#x27;, &#x27;c&#x27; and more.",
            "&#x27;d&#x27;",
        ),
        ({"steps": 4, "of": 50, "lost": ["a"]}, "It also took much of &#x27;a&#x27;.", "brought"),
        ({"steps": 4, "lost": [], "gained": []}, "ls-good", "It also"),
    ],
)
def test_the_end_of_an_edit_says_what_was_done_whatever_there_is_to_note(report, said, not_said):
    line = ended({"agreement_before": 0.1, "agreement_after": 0.92, "outside_change": 1, "seconds": 2} | report)
    assert said in line and not_said not in line


def test_a_run_is_not_about_to_settle_while_its_colour_is_far_off():
    report = {"agreement_before": 0.1, "agreement_after": 1.0, "steps": 14, "of": 50}
    assert "still settles" in going(report) and "still settles" in going(report | {"color_off": 3.0})
    far = going(report | {"color_off": 60.0})
    assert "The colour there is off by 60 of 255" in far and "settles" not in far


def test_a_run_that_settles_says_so_until_its_end(services, monkeypatch):
    """Shares that are shown alike lie on both sides of the bar: the line would come and go, and move the page."""
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    now, shares = track.now, (0.5, 0.981, 0.979, 0.982)
    report = {"agreement_before": 0, "outside_change": 0, "seconds": 1}
    reports = [report | {"agreement_after": share, "steps": k} for k, share in enumerate(shares)]
    frames = (EditFrame(now.rgb, now.labels, now.ws, each) for each in [*reports, reports[-1]])
    monkeypatch.setitem(frames_of.__globals__, "EVERY", 0.0)
    lines = [line for *_, line in frames_of(track, frames, 50, "more hat", {}, None)]
    assert ["still settles" in line for line in lines[1:5]] == [False, True, True, True]


def test_what_led_nowhere_stays_painted(services):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    now, wish = track.now, np.full(track.now.labels.shape, IGNORE, np.uint8)
    wish[:4] = 1
    for note, stays in ((NO_WAY, True), ("", False)):
        report = {"agreement_before": 0, "agreement_after": 0, "outside_change": 0, "steps": 3, "note": note}
        frames = iter([EditFrame(now.rgb, now.labels, now.ws, report)] * 2)
        *_, (last, _, _) = frames_of(track, frames, 50, "more hat", {}, wish)
        assert (last.now.wish is wish) == stays


def test_an_edit_is_named_by_what_changes_most_and_by_the_background_last():
    now, wish = np.zeros((8, 8), np.uint8), np.full((8, 8), IGNORE, np.uint8)
    now[:4] = 1
    wish[4:] = 0  # there already
    wish[4, :6], wish[0, :2], wish[1, :5] = 3, 2, 1  # of which 1 is there already
    assert _most_changed(now, wish) == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("verb", "choices", "others", "says"),
    [
        ("Add", [("hat", 3)], True, "What to add"),
        ("Add", [], True, "What to add (no other is learnt)"),
        ("Add", [], False, "What to add (none is missing)"),
        ("Remove", [], True, "What to remove (none is there)"),
    ],
)
def test_an_empty_list_says_why_it_is_empty(verb, choices, others, says):
    found = _choice(verb, choices, others)
    assert found.label == says and found.interactive == bool(choices)


def opened(services, session):
    """The session after saving to a file and loading."""
    projects = Projects(services, Bench(services))
    return projects._open(load_project(projects.save(session, None, None, None)))[0]


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")
def test_a_project_of_more_labelled_images_than_there_is_room_for_is_refused_whole(services):
    session, _ = bench_of(services)
    most, painted = services.settings.max_pictures, np.zeros_like(session.pictures[0].labels)
    pictures = tuple(replace(session.pictures[0], labels=painted, key=str(i)) for i in range(most + 1))
    assert len(opened(services, replace(session, pictures=pictures[:most])).pictures) == most
    with pytest.raises(ProjectError, match=f"it has {most + 1} labelled images, and there is room for {most}"):
        opened(services, replace(session, pictures=pictures))


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")
def test_unlabelled_images_of_a_project_make_room_for_its_labelled_ones(services):
    """A stroke that ends after its image made room brings it back, beyond what there is room for."""
    session, _ = bench_of(services)
    most, blank = services.settings.max_pictures, np.full_like(session.pictures[0].labels, 255)
    last = replace(session.pictures[0], labels=np.zeros_like(blank), key="last")
    pictures = (*[replace(session.pictures[1], labels=blank, key=str(i)) for i in range(most)], last)
    found = opened(services, replace(session, pictures=pictures)).pictures
    assert len(found) == most and [p.painted for p in found] == [0] * (most - 1) + [blank.size]


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")
def test_a_latent_of_no_seed_stays_itself_in_a_file_and_in_what_the_browser_keeps(services):
    session, _ = bench_of(services)
    other = replace(session.pictures[0], ws=session.pictures[0].ws + 1)
    session = replace(session, pictures=(other, session.pictures[1]))
    first = opened(services, session)
    projects = Projects(services, Bench(services))
    kept = projects.resume([("mine", copies.keep(first, None, None), "")]).session
    for back in (first, kept, opened(services, kept)):
        assert [each.title for each in back.pictures] == ["own latent", session.pictures[1].title]
        assert all(np.array_equal(a.ws, b.ws) for a, b in zip(back.pictures, session.pictures, strict=True))


def test_edits_of_another_generator_are_no_reason_to_keep_an_empty_bench(services):
    """Else empty copies push out the work that the browser keeps."""
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    empty = Bench(services).begin("avatars-64")
    stored = json.loads(copies.store(empty, None, track, "former"))
    *entry, stamp = stored.pop("entry")
    assert entry == [empty.token, copies.keep(empty, None, track)] and stored == {"origin": "former"}
    assert json.loads(copies.store(empty, None, track, "former"))["entry"][2] != stamp
    assert copies.keep(empty, None, replace(track, model="avatars-128")) is None
    assert copies.keep(empty, None, None) is None
    assert not isinstance(copies.store(empty, None, None, ""), str)  # what the browser keeps stays


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")
def test_the_edits_of_all_images_are_in_a_file_and_in_what_the_browser_keeps(services, monkeypatch):
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    other = editing.from_bench(session, fitted, session.pictures[1].key)
    other = push(other, replace(other.now, caption="more hat"))
    shown = editing.from_bench(session, fitted, session.pictures[2].key)  # without an edit
    module = Projects(services, Bench(services))
    file = module._opened(module._open(load_project(module.save(session, fitted, None, shown, (other, track)))))
    assert "edits of 2 images" in file.line and file.track is None
    kept = module.resume([("mine", copies.keep(session, None, track, (other,)), "")])
    assert [p.caption for p in kept.track.points] == [p.caption for p in track.points]
    for back, mine in ((file.kept[0], other), (file.kept[1], track), (kept.kept[0], other)):
        assert [p.caption for p in back.points] == [p.caption for p in mine.points]
        assert known_track(new_track(mine.model, mine.extractor, mine.points[0]), [back]) is back  # found by its image
    mine = ("mine", copies.keep(session, None, track, (other,)), "")
    assert " px on " in copies.offer([mine], "").value and " and edits of 2 images" in copies.offer([mine], "").value
    size = len(base64.b64decode(copies.keep(session, None, track)))
    monkeypatch.setattr(copies, "KEPT_BYTES", size)  # rather without them than not at all
    assert not module.resume([("mine", copies.keep(session, None, track, (other,)), "")]).kept
    monkeypatch.setattr(copies, "KEPT_BYTES", size - 1)  # rather without any
    labels = copies.keep(session, None, track, (other,))
    back = module.resume([("mine", labels, "")])
    assert back.track is None and len(back.session.labelled) == len(session.labelled) > 0
    monkeypatch.setattr(copies, "KEPT_BYTES", len(base64.b64decode(labels)) - 1)
    assert copies.keep(session, None, track, (other,)) is None


@pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")
def test_opening_a_project_draws_its_seeds_at_once(services, monkeypatch):
    session, _ = bench_of(services)
    other = replace(session.pictures[2], psi=0.3, ws=services.studio.draw("avatars-64", [3], 0.3)[0][0], seed=3)
    session = replace(session, pictures=(*session.pictures[:2], other))
    jobs, stream = [], services.gpu._stream
    monkeypatch.setattr(services.gpu, "_stream", lambda job, *a, **k: jobs.append(job) or stream(job, *a, **k))
    again = opened(services, session)
    assert jobs.count("draw") == 2 and [each.psi for each in again.pictures] == [0.7, 0.7, 0.3]  # one a psi
    for mine, theirs in zip(session.pictures, again.pictures, strict=True):
        assert (mine.seed, mine.psi) == (theirs.seed, theirs.psi) and np.array_equal(mine.ws, theirs.ws)
    assert jobs.count("render") <= 2


def test_stopping_a_removal_tells_of_the_removal():
    report = {"agreement_after": 0.4, "steps": 7, "of": 50}
    assert "40 % of your strokes are matched" in ended(report)
    assert "40 % of 'hat' is gone" in html.unescape(ended(report | {"removed": "hat", "gone": 0.4}))


def test_how_near_the_colour_came_is_said_where_one_was_asked_for():
    report = {"agreement_before": 0, "agreement_after": 0.9, "outside_change": 1, "seconds": 2, "steps": 5}
    assert "colour there" not in ended(report)
    for more in ({}, {"of": 50}):
        assert "The colour there is off by 38 of 255." in ended(report | {"color_off": 37.6} | more)


def test_what_other_labels_read_is_said_to_be_of_then():
    report = {"added": "hat", "there": 0.99, "outside_change": 1, "seconds": 2, "steps": 5}
    assert "as the labels read it, 99" in ended(report) and "ls-good" in ended(report)
    then = ended(report, earlier=True)
    assert "Done: by the labels read then, 99" in then and "By now other labels are read." in then and "ls-idle" in then
    assert "steps: by the labels read then, 99" in ended(report | {"of": 50}, earlier=True)


def test_an_object_that_is_painted_in_part_gets_a_hint_and_no_green_line():
    toy = ToyGenerator().known_extractor()
    extractor = replace(toy, least=(0.0, 0.012, 0.012, 0.012))  # usually a tenth of the image
    name = extractor.categories[1].name
    before, target = np.zeros((20, 20), np.uint8), np.full((20, 20), IGNORE, np.uint8)
    target[0, :15] = 1
    hint = too_small(before, target, extractor)
    assert repr(name) in hint and too_small(before, target, toy) == ""
    assert too_small(np.where(target == 1, target, before), target, extractor) == ""  # more of what is there
    target[:2] = 1
    assert too_small(before, target, extractor) == ""
    report = {"agreement_before": 0.1, "agreement_after": 1.0, "outside_change": 1, "seconds": 2, "steps": 4}
    assert "ls-good" in ended(report) and "ls-idle" in ended(report | {"hint": hint})
    for more in ({}, {"of": 9}):
        assert hint in html.unescape(ended(report | {"hint": hint} | more))


def test_how_much_of_a_category_is_gone_is_said_while_it_is_removed_and_after(services):
    """However much of what was asked for is there: another thing in its place will do."""
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    report = {"agreement_before": 0.0, "agreement_after": 0.1, "outside_change": 1.0, "steps": 3}
    more = {"removed": track.extractor.categories[1].name}

    def frames(gone):
        now = track.now
        return iter([EditFrame(now.rgb, now.labels, now.ws, {**report, "gone": each}) for each in (0.0, gone)])

    *_, (last, _, line) = frames_of(track, frames(0.75), 50, "", more)
    assert f"75 % of '{more['removed']}' is gone" in html.unescape(line) and "ls-good" in line
    assert last.now.report["gone"] == 0.75
    *_, (*_, line) = frames_of(track, frames(0.75), 50, "", more | {"note": GUESSED})
    assert "may be left" in line and "ls-idle" in line
    running = list(frames_of(track, iter(list(frames(0.75))[1:]), 50, "", more))[1]
    assert f"Step 3 of 50: 75 % of '{more['removed']}' is gone." in html.unescape(running[2])
    *_, (*_, line) = frames_of(track, frames(0.0), 50, "", more)
    assert f"0 % of '{more['removed']}' is gone" in html.unescape(line) and "ls-bad" in line


@pytest.mark.parametrize("way", ["add", "remove"])
def test_strokes_stay_on_their_state_when_something_is_added_or_removed(services, monkeypatch, way):
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    strokes = np.full(track.now.labels.shape, IGNORE, np.uint8)
    strokes[2:5] = 1
    painted = PainterLabels(track.key, strokes, 3)
    report = {"agreement_before": 0.0, "agreement_after": 1.0, "outside_change": 1.0, "steps": 3, "gone": 1, "there": 1}
    frame = EditFrame(track.now.rgb, track.now.labels, track.now.ws, report)
    monkeypatch.setattr(services.gpu, way, lambda *asked: iter([frame]))
    *_, (last, *_) = getattr(editing, way)(track, painted, 0, 5)
    assert np.array_equal(last.points[last.position - 1].wish, strokes)
    assert (painted_since(last, painted) == IGNORE).all()  # and not on the next one too
    assert np.array_equal(step(last, -1).now.wish, strokes)
    with pytest.raises(InputError, match=f"choose what to {way} first"):
        list(getattr(editing, way)(track, painted, None, 5))


def test_an_image_chosen_again_during_its_run_keeps_what_the_run_has_made(services, tab):
    """Its click ends the run, as Stop does; what it had made is taken over while the image is read."""
    session, fitted = bench_of(services)
    editing = Editing(services)
    begun = editing.from_bench(session, fitted)
    longer = push(begun, replace(begun.now, caption="more hat"))
    wanted = tab._taking(editing.from_bench)(session, fitted, Asked((session.pictures[0].key,), 0), begun, ())
    assert turned(wanted, longer, ()) == (longer, ())
    other = editing.from_bench(session, fitted, session.pictures[1].key)
    assert turned(other, longer, ())[0] is other and turned(wanted, None, ())[0] is wanted


def test_what_is_painted_during_a_run_is_there_after_it_and_what_was_asked_for_is_not(services):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    asked, more = np.full((32, 32), IGNORE, np.uint8), np.full((32, 32), IGNORE, np.uint8)
    asked[2:5], more[20:22] = 1, 2
    begun = painted_here(track, asked)
    done = push(begun, replace(begun.now, wish=None))
    painted = PainterLabels(begun.key, np.where(more != IGNORE, more, asked), 3)
    assert np.array_equal(painted_since(done, painted), more)
    assert (painted_since(done, replace(painted, labels=asked)) == IGNORE).all()
    state = Editing(services).settle(done, painted)[0]
    assert np.array_equal(state.labels, more) and (state.back == IGNORE).all()  # so that undo takes them away
    assert state.since is painted  # the browser has more by then, and takes that along
    assert Editing(services).settle(done, PainterLabels(done.key, more, 3))[0].since is None
    stopped = push(begun, replace(begun.now, wish=asked))  # Stop keeps what was asked for
    assert np.array_equal(painted_since(stopped, painted), painted.labels)
    for other in (None, PainterLabels(done.key, more, 3), PainterLabels("x.1", more, 3)):
        assert (painted_since(done, other) == IGNORE).all()
    back = step(done, -1)  # undone: the strokes that led away from it
    assert np.array_equal(painted_since(back, PainterLabels(done.key, more, 4)), asked)


def test_what_is_painted_on_a_state_is_there_again_after_undo_and_redo_and_only_there(services):
    session, fitted = bench_of(services)
    editing, track = edited(services, session, fitted)
    wish = np.full(track.now.labels.shape, IGNORE, np.uint8)
    wish[:3] = 1
    painted = PainterLabels(track.key, wish, 4)
    before, *_ = editing.move(track, painted, -1)
    assert before.now.wish is None
    other = np.where(wish == 1, 2, IGNORE).astype(np.uint8)
    again, *_ = editing.move(before, PainterLabels(before.key, other, 5), 1)
    assert np.array_equal(again.now.wish, wish) and np.array_equal(again.points[1].wish, other)
    assert np.array_equal(editing.settle(again)[0].labels, wish)
    late, *_ = editing.move(again, replace(painted, key="another"), -1)  # the painter does not show this state yet
    assert np.array_equal(late.now.wish, other) and np.array_equal(late.points[2].wish, wish)


def test_the_bar_of_an_edit_never_goes_back(services, monkeypatch):
    """The samples that are drawn first take a part of it."""
    session, fitted = bench_of(services)
    editing = Editing(services)
    track = editing.from_bench(session, fitted)
    wish = np.full(track.now.labels.shape, IGNORE, np.uint8)
    wish[:3] = 1
    frames = Editing.run.__globals__["frames_of"]  # whichever copy of the module this is
    monkeypatch.setitem(frames.__globals__, "EVERY", 0.0)
    lines = [f[2] for f in editing.run(track, PainterLabels(track.key, wish, 1), 20, False, False, "#000000")]
    bar = [float(each) for line in lines for each in re.findall(r'aria-valuenow="(\d+)"', line)]
    assert any("samples drawn" in line for line in lines) and any("Step" in line for line in lines)
    assert bar == sorted(bar) and bar[-1] <= 100


def test_without_an_extractor_the_former_image_and_its_downloads_are_taken_away(services):
    editing = Editing(services)
    painter, slider, undo, redo, gone, *files = editing.nothing()
    assert painter is None and slider is None and gone.choices == []
    assert not any(button.interactive for button in (undo, redo, *files))
    session, fitted = bench_of(services)  # of a generator without an extractor, or with one
    own = services.studio.shipped("avatars-64")
    if own is None:
        with pytest.raises(InputError, match="ships without an extractor"):
            editing.visit(session, None, None)
    assert (Layouts(services).canvas(session, None, None) is None) == (own is None)
    assert Layouts(services).canvas(session, fitted, None) is not None


def test_what_a_run_has_made_is_taken_over_once_and_only_by_its_own_track(services):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    made = push(track, track.now)
    assert goes_on(track, made) and goes_on(track, push(made, made.now))
    assert not goes_on(made, made) and not goes_on(step(made, -1), made)  # it is there, or was undone
    other = Editing(services).from_bench(session, fitted)
    assert not goes_on(other, made) and not goes_on(None, made) and not goes_on(track, None)


@pytest.fixture
def tab(services):
    """The tab's wiring without its components."""
    made = object.__new__(_Wiring)
    made.services, made.logic = services, Editing(services)
    return made


def refit(fitted, categories=None):
    """A later fit, which finds other labels; of other categories, if given."""
    weights = {name: value * -1 for name, value in fitted.extractor.weights.items()}
    later = replace(fitted.extractor, weights=weights, categories=categories or fitted.extractor.categories)
    return replace(fitted, extractor=later)


def test_a_visit_writes_over_nothing_that_came_while_it_read(services, tab):
    """An image that was chosen, or an edit that was undone."""
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    later = refit(fitted)
    visited = tab.visit(session, later, track)
    other = tab.logic.from_bench(session, later, session.pictures[1].key)
    for meanwhile in (other, step(track, -1), None):
        assert tab.arrived(meanwhile, visited, track.name, 3) == (gr.skip(),) * 3 + (3,)
    taken, *_, drawn = tab.arrived(track, visited, track.name, 3)
    assert taken.extractor is later.extractor and drawn == 4
    again = tab.visit(session, later, taken)
    assert tab.arrived(taken, again, taken.name, 4)[0] == gr.skip()  # it is shown already
    assert tab.arrived(taken, again, "", 4)[0] is taken


def test_what_a_run_made_while_its_labels_were_exchanged_is_read_by_a_second_visit(services, tab):
    """The first one finds the track changed, and leaves it as it is: with the former labels, if it were the last."""
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    later = refit(fitted)
    visited = tab.visit(session, later, track)
    made = tab.adopt(track, push(track, track.now))
    assert made.extractor is fitted.extractor and tab.arrived(made, visited, track.name, 3)[0] == gr.skip()
    again, *_, drawn = tab.arrived(made, tab.visit(session, later, made), track.name, 3)
    assert again.extractor is later.extractor and len(again.points) == len(made.points) and drawn == 4
    assert np.array_equal(again.now.labels, read_by(services, again))


def test_a_run_starts_from_what_the_current_extractor_finds_or_not_at_all(services, tab):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    run, later = tab._current(lambda *asked: iter([asked])), refit(fitted)
    (found,) = run(session, fitted, track, 5)
    assert found[0] is track and found[1] == 5
    ((now, _),) = run(session, later, track, 5)
    assert now.extractor is later.extractor and now.key == track.key
    others = tuple(replace(each, name=f"other {each.name}") for each in session.categories)
    renamed = replace(session, categories=others)
    for asked in ((session, fitted, None), (renamed, refit(fitted, others), track)):
        refused = run(*asked, 5)
        assert "This image is still being read: wait a moment" in next(refused)[2]  # where it stays
        with pytest.raises(gr.Error, match="This image is still being read: wait a moment"):
            next(refused)


def test_what_a_run_has_made_is_read_by_the_extractor_that_was_learnt_meanwhile(services, tab):
    session, fitted = bench_of(services)
    _, track = edited(services, session, fitted)
    made = push(track, track.now)
    assert tab.adopt(track, made) is made
    others = tuple(replace(each, name=f"other {each.name}") for each in session.categories)
    for later in (refit(fitted), refit(fitted, others)):
        names = later.extractor.categories
        visited = tab.logic.visit(replace(session, categories=names), later, track)
        assert (visited.name == track.name) == (names == session.categories)
        taken = tab.adopt(visited, made)
        assert len(taken.points) == len(track.points) + 1 and taken.extractor is later.extractor
        assert np.array_equal(taken.now.labels, read_by(services, taken))
    assert tab.adopt(tab.logic.from_bench(session, fitted), made) == gr.skip()


def test_the_edits_of_an_image_are_there_again_when_it_is_chosen_again(services, tab):
    session, fitted = bench_of(services)
    keys = [picture.key for picture in session.pictures]
    first = tab.logic.from_bench(session, fitted, keys[0])
    first, other = push(first, first.now), tab.logic.from_bench(session, fitted, keys[1])
    take = tab._taking(tab.logic.from_bench)
    now, kept = turned(other, first, ())
    assert now is other and kept == (first,)
    later = refit(fitted)
    back = take(session, later, Asked((keys[0],), 0), now, kept)
    assert back.name == first.name and len(back.points) == 2 and back.extractor is later.extractor
    now, kept = turned(back, other, kept)
    assert now is back and kept == ()  # it is shown now, and the other one has no edits
    assert take(session, later, Asked((keys[0],), 0), now, kept) is now  # clicked again, nothing is lost either
    assert len(take(session, fitted, Asked((keys[1],), 0), now, kept).points) == 1
    seed = tab._taking(tab.logic.from_seed)(session, fitted, Asked((first.points[0].number + 5, 0.7), 0), now, kept)
    assert seed.points[0].caption == "seed 5" and turned(seed, now, kept)[1] == (now,)


def test_strokes_stay_with_their_image_when_another_one_is_chosen(services, tab):
    session, fitted = bench_of(services)
    keys = [picture.key for picture in session.pictures]
    first, other = (tab.logic.from_bench(session, fitted, key) for key in keys[:2])
    strokes = np.full((32, 32), IGNORE, np.uint8)
    assert _turned(other, first, (), PainterLabels(first.key, strokes, 1)) == (other, ())  # nothing painted
    assert _turned(other, first, (), PainterLabels("another", strokes * 0, 1)) == (other, ())
    strokes[2:5] = 1
    now, kept = _turned(other, first, (), PainterLabels(first.key, strokes, 2))
    assert now is other
    back = tab._taking(tab.logic.from_bench)(session, fitted, Asked((keys[0],), 0), now, kept)
    assert back.key == first.key and np.array_equal(tab.logic.settle(back)[0].labels, strokes)


def test_strokes_keep_the_categories_that_are_left(services, tab):
    session, fitted = bench_of(services)
    track = tab.logic.from_bench(session, fitted)
    names, strokes = session.categories, np.full((32, 32), IGNORE, np.uint8)
    strokes[2:5], strokes[8:9] = 1, 2
    fewer = (names[0], names[2], *names[3:], replace(names[1], name="new"))
    later = refit(fitted, fewer)
    painted = PainterLabels(track.key, strokes, 1)
    before, found, error = tab.visit(replace(session, categories=fewer), later, track, painted)
    assert before is track and not error and found.name != track.name
    assert (found.now.wish[8:9] == 1).all() and (found.now.wish[2:5] == IGNORE).all()
    assert np.array_equal(tab.logic.settle(found, painted)[0].labels, found.now.wish)
    assert tab.visit(session, fitted, track, painted)[1] is track  # nothing new: the painter keeps them itself
    alone = replace(track, points=(replace(track.now, wish=np.where(strokes == 2, IGNORE, strokes)),))
    assert tab.logic.read(alone, later.extractor).now.wish is None


def test_few_images_keep_their_edits_and_not_beyond_their_memory(services, tab, monkeypatch):
    session, fitted = bench_of(services)
    key = session.pictures[0].key
    tracks = [push(each, each.now) for each in (tab.logic.from_bench(session, fitted, key) for _ in range(12))]
    kept = ()
    for before, after in itertools.pairwise(tracks):
        kept = turned(after, before, kept)[1]
    assert kept == tuple(reversed(tracks[-track.KEPT - 1 : -1]))
    size = sum(point.rgb.nbytes + point.labels.nbytes for point in tracks[0].points)
    monkeypatch.setattr(track, "KEPT_BYTES", 3 * size)
    assert len(turned(tracks[-1], tracks[-2], kept[1:])[1]) == 3


def test_an_example_is_begun_anew(services, tab):
    session, fitted = bench_of(services)
    begun = tab.logic.from_bench(session, fitted, session.pictures[0].key)
    wished = replace(begun, points=(replace(begun.now, wish=np.zeros_like(begun.now.labels)),))
    assert track.known_track(wished, (push(wished, wished.now),)) is None
    assert track.known_track(begun, (push(begun, begun.now),)) is not None
