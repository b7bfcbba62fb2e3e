"""What is opened from a file has the limits of what is made on the page, and can be saved again."""

from __future__ import annotations

import re
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from linsem import project, track
from linsem.project import MAX_EDITS, ProjectEdit, ProjectError, load_project, save_project
from linsem.settings import Settings
from linsem.track import HISTORY, KEPT, push
from linsem.ui import copies
from linsem.ui.bench import Bench
from linsem.ui.projects import Projects
from tests.test_editing import bench_of, services

__all__ = ["services"]
pytestmark = pytest.mark.filterwarnings("ignore:The value passed into gr.Dropdown")  # its choices are the page's


@pytest.fixture
def projects(services):
    return Projects(services, Bench(services))


@pytest.fixture
def read(services, monkeypatch):
    """How many latents were read in each job."""
    counts, plain = [], services.gpu.read
    monkeypatch.setattr(services.gpu, "read", lambda *call: counts.append(len(call[2])) or plain(*call))
    return counts


def file_of(projects, states, order=lambda edits: edits):
    """A file with so many states of each edited image ({number: count}); each is called image.state."""
    session, fitted = bench_of(projects.services)
    path = projects.save(session, fitted, None, None)
    ws = [picture.ws for picture in session.pictures]
    edits = [
        ProjectEdit(ws[image % len(ws)] + 0.01 * k, f"{image}.{k}", None, image)
        for image, count in states.items()
        for k in range(count)
    ]
    save_project(replace(load_project(path), edits=tuple(order(edits))), path)
    return path


def captions(opened):
    shown = [] if opened.track is None else [opened.track]
    return [[point.caption for point in each.points] for each in (*shown, *opened.kept)]


def test_of_a_project_with_more_edits_than_there_is_room_for_the_newest_are_read(projects, read):
    states = dict.fromkeys(range(12), HISTORY + 1)
    opened = projects.load(file_of(projects, states))
    assert max(read) == HISTORY * (KEPT + 1) < sum(states.values()) == 252
    assert len(opened.kept) == KEPT and captions(opened) == [
        [f"{image}.{k}" for k in (0, *range(2, HISTORY + 1))] for image in range(KEPT + 1)
    ]  # as if they had been made here: the start of each stays
    assert "There was no room for 72 older edits." in opened.line and "edits of 9 images" in opened.line


def test_what_was_opened_can_be_edited_and_saved(projects):
    """Though there was no room in the file for another edit."""
    opened = projects.load(file_of(projects, dict.fromkeys(range(MAX_EDITS // 2), 2)))
    now = push(opened.track, replace(opened.track.now, caption="one more"))
    again = projects.load(projects.save(opened.session, opened.fitted, None, now, opened.kept))
    assert captions(again) == [["0.0", "0.1", "one more"], *captions(opened)[1:]] and "no room" not in again.line
    assert copies.keep(opened.session, None, now, opened.kept)


def test_as_many_as_there_is_room_for_are_all_read(projects, read):
    opened = projects.load(file_of(projects, dict.fromkeys(range(KEPT + 1), HISTORY)))
    assert max(read) == HISTORY * (KEPT + 1) and "no room" not in opened.line
    assert captions(opened) == [[f"{image}.{k}" for k in range(HISTORY)] for image in range(KEPT + 1)]


def test_the_newest_images_are_those_of_the_lowest_numbers_in_any_order(projects):
    """Where the one that was shown has no edits, no other takes its place."""
    states = dict.fromkeys((200, 7, *range(40, 50), 3), 2)
    opened = projects.load(file_of(projects, states))
    assert opened.track is None
    assert captions(opened) == [[f"{image}.0", f"{image}.1"] for image in (3, 7, *range(40, 46))]
    path = file_of(
        projects, dict.fromkeys((5, 0, 3), 2), lambda edits: sorted(edits, key=lambda each: each.caption[-1])
    )
    assert [edit.caption for edit in load_project(path).edits] == ["5.0", "0.0", "3.0", "5.1", "0.1", "3.1"]
    assert captions(projects.load(path)) == [[f"{image}.0", f"{image}.1"] for image in (0, 3, 5)]


def test_edits_have_no_more_bytes_than_a_visitor_may_have(projects, monkeypatch):
    path = file_of(projects, {0: 2, 1: 4, 2: 4, 3: 1})
    whole = projects.load(path)
    size = sum(point.rgb.nbytes + point.labels.nbytes for point in whole.kept[0].points)
    for room, images in ((3 * size, 4), (2 * size, 3), (2 * size - 1, 2), (0, 2)):
        monkeypatch.setattr(track, "KEPT_BYTES", room)
        opened = projects.load(path)
        assert captions(opened) == captions(whole)[:images]
        lost = re.search(r"no room for (\d) older edits?\.", opened.line)
        assert (0 if lost is None else int(lost[1])) == {4: 0, 3: 1, 2: 5}[images]


def test_a_bench_whose_label_maps_have_no_room_is_kept_without_the_empty_ones(projects, monkeypatch):
    session, fitted = bench_of(projects.services)
    labels, labelled = [picture.labels for picture in session.pictures], len(session.labelled)
    assert 0 < labelled < len(labels)
    monkeypatch.setattr(project, "MAX_PIXELS", labelled * labels[0].size)
    copy = ("mine", copies.keep(session, None, None), "")
    for opened in (projects.load(projects.save(session, fitted, None, None)), projects.resume([copy])):
        assert all(map(np.array_equal, [picture.labels for picture in opened.session.pictures], labels))
    monkeypatch.setattr(project, "MAX_PIXELS", labelled * labels[0].size - 1)
    assert copies.keep(session, None, None) is None and copies.store(session, None, None, "") == gr.skip()
    with pytest.raises(ProjectError, match="go into a file: remove some labelled images"):
        projects.save(session, fitted, None, None)


def test_images_that_have_no_room_are_told(projects):
    path = file_of(projects, {})
    count = len(load_project(path).images)
    assert "no room" not in projects.load(path).line
    few = replace(projects.services, settings=Settings(device="cpu", max_pictures=count - 1))
    opened = Projects(few, projects.bench).load(path)
    assert len(opened.session.pictures) == count - 1
    assert "There was no room for 1 unlabelled image." in opened.line
