"""The bench and the track of edits: nothing is lost or shared between sessions, and undo is exact."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from toys import ToyGenerator

from linsem import session as bench
from linsem.extractor import Extractor
from linsem.palette import parse_categories
from linsem.seeds import MAX_SEED, format_seeds, parse_seeds
from linsem.session import SessionError
from linsem.settings import Settings, SettingsError, settings_table
from linsem.sureness import ONE_PICTURE, sureness
from linsem.track import EditPoint, new_track, push, reread, step

CATEGORIES = parse_categories(["sky", "tree", "road"])
SIZE = (6, 8)


@pytest.fixture
def session():
    empty = bench.new_session("toy", CATEGORIES)
    return bench.add_pictures(empty, np.zeros((3, 2, 4), np.float32), (5, 6, 7), 0.7, SIZE)


def labels(value=255, **at):
    each = np.full(SIZE, value, np.uint8)
    for row, label in at.items():
        each[int(row[1:])] = label
    return each


def test_a_value_of_the_painter_that_came_late_changes_nothing(session):
    key = session.pictures[0].key
    second = bench.paint(session, key, labels(r1=1, r2=2), 2)
    assert bench.paint(second, key, labels(r1=1), 1) is second  # the first stroke, which took longer
    undone = bench.paint(second, key, labels(r1=1), 3)
    assert undone.pictures[0].painted == 8 and undone.version == second.version + 1
    same = bench.paint(undone, key, labels(r1=1), 4)
    assert same.version == undone.version and bench.paint(same, key, labels(r2=2), 3) is same
    assert bench.paint(session, key, labels(r2=2), 1).pictures[0].stamp == 1


def test_strokes_are_kept_by_key_and_the_old_value_is_untouched(session):
    key = session.pictures[1].key
    after = bench.paint(session, key, labels(r2=1))
    assert after.pictures[1].painted == 8 and after.version == session.version + 1
    assert session.pictures[1].painted == 0
    assert after.pictures[0] is session.pictures[0]
    assert bench.paint(after, key, labels(r2=1)) is after  # the same labels are no change
    with pytest.raises(FrozenInstanceError):
        after.version = 0


def test_a_key_that_is_no_longer_current_changes_nothing(session):
    key = session.pictures[0].key
    cleared = bench.set_labels(bench.paint(session, key, labels(r1=2)), 0, labels())
    assert bench.paint(cleared, key, labels(r1=2)) is cleared
    assert bench.paint(cleared, cleared.pictures[0].key, labels(r1=2)).pictures[0].painted == 8


def test_no_two_benches_share_a_key(session):
    other = bench.new_session("toy", CATEGORIES)
    other = bench.add_pictures(other, np.zeros((3, 2, 4), np.float32), (5, 6, 7), 0.7, SIZE)
    assert not {p.key for p in session.pictures} & {p.key for p in other.pictures}


@pytest.mark.parametrize("bad", [np.zeros((3, 3), np.uint8), labels(3)])
def test_labels_that_do_not_fit_are_refused(session, bad):
    with pytest.raises(SessionError, match="labels"):
        bench.paint(session, session.pictures[0].key, bad)


def test_a_merge_moves_the_labels_and_a_deletion_frees_them(session):
    painted = bench.paint(session, session.pictures[0].key, labels(r0=0, r1=1, r2=2))
    merged = bench.merge_categories(painted, 0, 2)
    assert [c.name for c in merged.categories] == ["tree", "road"]
    assert merged.pictures[0].labels[:3, 0].tolist() == [1, 0, 1] and merged.pictures[0].labels[3, 0] == 255
    deleted = bench.delete_category(painted, 1)
    assert [c.name for c in deleted.categories] == ["sky", "road"]
    assert deleted.pictures[0].labels[:3, 0].tolist() == [0, 255, 1]
    assert merged.pictures[0].key != painted.pictures[0].key  # so that the painter takes the new labels over


def test_undo_gives_back_exactly_what_was_before_a_merge(session):
    painted = bench.paint(session, session.pictures[0].key, labels(r0=0, r1=1, r2=2))
    back = bench.undo(bench.merge_categories(painted, 0, 2))
    assert back.categories == painted.categories
    for mine, theirs in zip(back.pictures, painted.pictures, strict=True):
        assert np.array_equal(mine.labels, theirs.labels) and mine.seed == theirs.seed
    assert back.version > painted.version  # what is fitted must be fitted again
    with pytest.raises(SessionError, match="nothing to undo"):
        bench.undo(back)


def painted_on(session, index, **at):
    """Paint over the labels of an image: the given rows get the given labels."""
    picture = session.pictures[index]
    over = labels(**at)
    return bench.paint(session, picture.key, np.where(over == 255, picture.labels, over))


def column(session, index):
    return session.pictures[index].labels[:, 0].tolist()


def names(session):
    return [category.name for category in session.categories]


CHANGES = {
    "clear": lambda session: bench.set_labels(session, 0, labels()),
    "remove": lambda session: bench.remove_picture(session, 0),
    "add": lambda session: bench.add_category(session, "car"),
    "rename": lambda session: bench.change_category(session, 0, "heaven", "#0000aa"),
    "delete": lambda session: bench.delete_category(session, 0),
    "merge": lambda session: bench.merge_categories(session, 0, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_undo_gives_back_what_a_change_took_and_loses_nothing_painted_or_added_since(session, change):
    before = painted_on(painted_on(session, 0, r0=0, r1=1, r2=2), 1, r0=0)
    after = CHANGES[change](before)
    road = names(after).index("road")
    where = {picture.seed: i for i, picture in enumerate(after.pictures)}
    since = painted_on(after, where[7], r4=road)
    since = painted_on(since, where[5], r1=road, r4=road) if 5 in where else since
    since = bench.add_pictures(since, np.ones((1, 2, 4), np.float32), (9,), 0.7, SIZE)
    since = painted_on(since, len(since.pictures) - 1, r5=road)
    back = bench.undo(since)
    assert back.categories == before.categories and [p.seed for p in back.pictures] == [5, 6, 7, 9]
    assert column(back, 0) == ([0, 1, 2, 255, 255, 255] if change == "remove" else [0, 2, 2, 255, 2, 255])
    assert column(back, 1) == [0, 255, 255, 255, 255, 255]
    assert column(back, 2) == [255, 255, 255, 255, 2, 255] and column(back, 3) == [255] * 5 + [2]
    assert back.version > since.version and not back.past
    stale = {p.key for p in since.pictures}  # what the painter shows is taken over where it is no longer so
    for picture in back.pictures:
        same = any(picture.labels is each.labels for each in since.pictures)
        assert (picture.key in stale) <= same


@pytest.mark.parametrize("change", CHANGES)
def test_undo_of_the_last_change_alone_is_exact(session, change):
    before = painted_on(painted_on(session, 0, r0=0, r1=1, r2=2), 2, r3=1)
    back = bench.undo(CHANGES[change](before))
    assert back.categories == before.categories
    for mine, theirs in zip(back.pictures, before.pictures, strict=True):
        assert np.array_equal(mine.labels, theirs.labels) and mine.name == theirs.name


def test_all_changes_are_undone_in_turn(session):
    before = painted_on(painted_on(session, 0, r0=0, r1=1, r2=2), 2, r3=1)
    after = before
    for change in ("merge", "add", "rename", "remove", "clear"):
        after = CHANGES[change](after)
    for _ in range(5):
        after = bench.undo(after)
    assert after.categories == before.categories and [p.seed for p in after.pictures] == [5, 6, 7]
    assert [column(after, i) for i in range(3)] == [column(before, i) for i in range(3)]


def test_a_category_that_was_added_and_painted_stays_and_the_change_before_it_is_undone(session):
    deleted = bench.delete_category(painted_on(session, 0, r0=0, r1=1), 0)
    painted = painted_on(bench.add_category(deleted, "sky", CATEGORIES[0].color), 1, r2=2)
    back = bench.undo(painted)
    assert names(back) == ["sky 2", "tree", "road", "sky"] and len({c.color for c in back.categories}) == 4
    assert column(back, 0)[:2] == [0, 1] and column(back, 1)[2] == 3
    with pytest.raises(SessionError, match="nothing to undo"):
        bench.undo(painted_on(bench.add_category(session, "car"), 0, r0=3))


def test_a_cleared_picture_that_made_way_for_new_ones_comes_back(session):
    cleared = bench.set_labels(painted_on(session, 1, r0=2), 1, labels())
    fresh = bench.add_pictures(bench.keep_labelled(cleared), np.ones((2, 2, 4), np.float32), (8, 9), 0.7, SIZE)
    back = bench.undo(fresh)
    assert [p.seed for p in back.pictures] == [8, 6, 9] and column(back, 1)[0] == 2


def test_a_removed_picture_takes_the_place_of_an_unlabelled_one_and_of_no_other(session):
    removed = bench.remove_picture(painted_on(session, 0, r0=0), 0)
    full = bench.add_pictures(painted_on(removed, 0, r0=1), np.ones((1, 2, 4), np.float32), (9,), 0.7, SIZE, limit=3)
    assert [p.seed for p in bench.undo(full, limit=3).pictures] == [5, 6, 7]
    for i in (1, 2):
        full = painted_on(full, i, r0=1)
    with pytest.raises(SessionError, match="room for 3 images"):
        bench.undo(full, limit=3)


def test_what_was_erased_since_stays_erased_and_the_history_has_an_end(session):
    merged = bench.merge_categories(painted_on(session, 0, r0=0, r1=1), 0, 1)
    back = bench.undo(bench.paint(merged, merged.pictures[0].key, labels(r1=0)))
    assert column(back, 0)[:2] == [255, 1]
    for _ in range(2 * bench.HISTORY):
        session = bench.set_labels(session, 0, labels(r0=1))
    assert len(session.past) == bench.HISTORY


def test_a_rename_keeps_labels_and_keys(session):
    painted = bench.paint(session, session.pictures[0].key, labels(r0=0))
    renamed = bench.change_category(painted, 0, "heaven", "#0000aa")
    assert renamed.categories[0].name == "heaven" and renamed.pictures == painted.pictures
    for name, color in (("tree", "#0000aa"), ("", "#0000aa"), ("heaven", "blue"), ("heaven", CATEGORIES[1].color)):
        with pytest.raises(SessionError):
            bench.change_category(painted, 0, name, color)


def test_categories_cannot_run_out_or_be_twice(session):
    two = bench.delete_category(session, 0)
    with pytest.raises(SessionError, match="two categories"):
        bench.delete_category(two, 0)
    with pytest.raises(SessionError, match="two categories"):
        bench.merge_categories(two, 0, 1)
    for change in (lambda: bench.add_category(session, " sky"), lambda: bench.change_category(session, 1, "sky", "")):
        with pytest.raises(SessionError, match="already is a category called 'sky'"):
            change()
    with pytest.raises(SessionError, match="enter a name"):
        bench.add_category(session, " ")
    assert bench.change_category(session, 0, "sky", "#112233").categories[0].color == "#112233"
    with pytest.raises(SessionError, match="different"):
        bench.merge_categories(session, 1, 1)
    added = bench.add_category(session, "car")
    assert len({c.color for c in added.categories}) == 4


def test_new_images_keep_the_labelled_ones_and_there_is_a_limit(session):
    painted = bench.paint(session, session.pictures[2].key, labels(r0=0))
    kept = bench.keep_labelled(painted)
    assert [p.seed for p in kept.pictures] == [7]
    with pytest.raises(SessionError, match="room for 3"):
        bench.add_pictures(painted, np.zeros((1, 2, 4), np.float32), (8,), 0.7, SIZE, limit=3)
    with pytest.raises(SessionError, match="only image"):
        bench.remove_picture(kept, 0)


def test_a_stroke_that_ends_on_an_image_that_made_room_brings_it_back(session):
    """The images come while the finger is still down."""
    kept = bench.keep_labelled(bench.paint(session, session.pictures[2].key, labels(r0=0)))
    assert [p.seed for p in kept.pictures] == [7]
    gone = session.pictures[0]
    assert bench.paint(kept, gone.key, gone.labels) is kept  # nothing is painted on it
    back = bench.paint(kept, gone.key, labels(r3=1), 5)
    assert [p.seed for p in back.pictures] == [7, gone.seed] and (back.pictures[1].labels[3] == 1).all()
    assert back.version > kept.version and bench.paint(kept, "none-of-these", labels(r3=1)) is kept


def test_images_of_a_seed_with_another_psi_have_another_title(session):
    more = bench.add_pictures(session, np.zeros((2, 2, 4), np.float32), (7, 9), 0.25, SIZE)
    assert [picture.title for picture in more.pictures[-2:]] == ["seed 7, psi 0.25", "seed 9, psi 0.25"]
    usual = bench.add_pictures(session, np.zeros((1, 2, 4), np.float32), (7,), float(np.float32(0.7)), SIZE)
    assert usual.pictures[-1].title == "seed 7"


def test_a_stroke_from_before_a_category_went_does_not_bring_an_image_back(session):
    """Its numbers are those of the categories before: what was painted as the second would be the third."""
    kept = bench.keep_labelled(bench.paint(session, session.pictures[2].key, labels(r0=0)))
    gone, stroke = session.pictures[0], labels(r3=0)
    assert (bench.paint(kept, gone.key, stroke).pictures[1].labels[3] == 0).all()
    more = bench.keep_labelled(bench.add_category(kept, "more"))
    for changed in (bench.delete_category(kept, 0), bench.merge_categories(kept, 0, 1), bench.undo(more)):
        assert len(bench.paint(changed, gone.key, stroke).pictures) == 1


def test_sureness_is_the_mean_where_a_category_is_found(session):
    painted = bench.paint(session, session.pictures[0].key, labels(r0=0, r1=1))
    predicted = np.zeros((3, *SIZE), np.uint8)
    predicted[:, 3:] = 1
    uncertainty = np.where(predicted == 0, 0.02, 0.6)
    rows = sureness(painted, predicted, uncertainty)
    assert rows[0].words == "seen on one image only" and rows[0].share == 0.5  # painted on one of three pictures
    assert rows[0].value == ONE_PICTURE < 0.98
    twice = sureness(bench.paint(painted, session.pictures[1].key, labels(r0=0)), predicted, uncertainty)[0]
    assert twice.words == "very sure" and twice.value == pytest.approx(0.98)
    assert rows[1].value == pytest.approx(0.4) and rows[1].words == "guessing"
    assert rows[2].value is None and rows[2].words == "not painted yet"


def extractor(names=("sky", "tree", "road")):
    weights = {"layer0.weight": torch.zeros(len(names), 3), "bias": torch.zeros(len(names))}
    return Extractor("LSE", parse_categories(list(names)), (0,), "toy", SIZE, weights)


def test_what_is_fitted_follows_a_rename_but_not_a_change_of_number():
    fitted = bench.Fitted(extractor(), 3, 0.1)
    names, renamed = fitted.extractor.categories, parse_categories(["a", "b", "c"])

    def after(old, new):
        made = bench.rename_fitted(fitted, bench.Session(categories=old), bench.Session(categories=new))
        return made and made.extractor.categories

    assert after(names, renamed) == renamed and after(names, renamed[:2]) is None
    assert after(renamed, names) == names  # undone: it is of these again
    assert after(renamed, parse_categories(["a", "b", "d"])) is None  # it ended after a category was replaced
    assert bench.rename_fitted(None, bench.Session(), bench.Session()) is None


def point(value):
    rgb = np.full((*SIZE, 3), value, np.uint8)
    return EditPoint(np.full((2, 4), value, np.float32), rgb, np.zeros(SIZE, np.uint8), f"{value}", {})


def test_edits_are_undone_and_redone_exactly_and_a_new_one_drops_the_redo():
    track = push(push(new_track("toy", extractor(), point(0)), point(1)), point(2))
    assert [step(track, by).now.caption for by in (0, -1, -2, -9, 9)] == ["2", "1", "0", "0", "2"]
    assert step(step(track, -1), 1).now is track.now
    branched = push(step(track, -1), point(3))
    assert [p.caption for p in branched.points] == ["0", "1", "3"] and len(track.points) == 3
    assert len({track.key, step(track, -1).key, branched.key}) == 3
    assert step(track, -1).key == step(branched, -1).key  # the same state: the strokes on it come back


def test_a_long_track_keeps_its_first_image():
    track = new_track("toy", extractor(), point(0))
    for value in range(1, 60):
        track = push(track, point(value))
    assert track.points[0].caption == "0" and track.now.caption == "59" and len(track.points) <= 20


def test_another_extractor_reads_the_state_shown_and_the_others_wait_their_turn():
    track = step(push(push(new_track("toy", extractor(), point(0)), point(1)), point(2)), -1)
    other = extractor(("a", "b"))
    again = reread(track, other, np.ones(SIZE, np.uint8))
    assert [p.caption for p in again.points] == ["0", "1", "2"] and again.now.caption == "1"
    assert again.extractor is other and again.now.labels.max() == 1 and again.stale == {0, 2}
    assert again.key != track.key and track.now.labels.max() == 0  # strokes of other categories are no strokes here
    first = reread(step(again, -1), other, np.ones(SIZE, np.uint8))
    assert first.stale == {2} and first.name == again.name and first.points[1] is again.points[1]
    assert push(first, point(3)).now.number not in first.stale
    assert reread(track, extractor(), np.ones(SIZE, np.uint8)).key == track.key  # a fit with one stroke more


def test_a_session_holds_no_network(session):
    assert not any(isinstance(value, torch.nn.Module) for value in vars(replace(session)).values())
    assert isinstance(ToyGenerator(), torch.nn.Module)  # what it would have found


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-7,12", (*range(8), 12)), (" 3 ", (3,)), ("5, 1-2 5", (5, 1, 2)), ("1 - 3;9", (1, 2, 3, 9)),
        ([3, 1], (3, 1)), ("[1, 2]", (1, 2)),
    ],
)  # fmt: skip
def test_seeds_as_people_write_them(text, seeds):
    assert parse_seeds(text) == seeds
    assert parse_seeds(format_seeds(seeds)) == seeds


@pytest.mark.parametrize("text", ["0-63,10-20", "10-20,0-63", "0-40,20-63", "0-63,63,0,0-63"])
def test_seeds_that_overlap_are_counted_once(text):
    assert sorted(parse_seeds(text, limit=64)) == list(range(64))
    for more in (",64", f",{10**9}", f",0-{MAX_SEED}"):  # the last would take long to count through
        with pytest.raises(ValueError, match="at most 64"):
            parse_seeds(text + more, limit=64)


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "7-3", "1.5", "0-100", "9" * 30, None, "１-２", "1--2"])
def test_seeds_that_do_not_parse_are_named(text):
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text, limit=64)


def test_settings_come_from_the_environment_and_are_checked():
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"LINSEM_PORT": "80", "LINSEM_DEVICE": "cpu"}) == Settings(port=80, device="cpu")
    assert Settings.from_env({"SPACES_ZERO_GPU": "true", "LINSEM_SHORT_JOBS": "3"}) == Settings(
        long_jobs=4, short_jobs=3
    )
    for value in ("x", "-1", "70000", "1.5"):
        with pytest.raises(SettingsError, match="LINSEM_PORT"):
            Settings.from_env({"LINSEM_PORT": value})
    table = settings_table()
    assert all(f"`LINSEM_{name.upper()}`" in table for name in Settings.__dataclass_fields__)
