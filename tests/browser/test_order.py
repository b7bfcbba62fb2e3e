"""What waits, what is refused, and what comes in another order than it was asked for, in a real Chromium."""

from __future__ import annotations

import threading
import time

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import expect

from linsem.ui.events import ALWAYS, CHANGES
from tests.browser.visitor import Visitor, an_image_to_edit, begin_an_edit, label_two

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]
HAT = [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1)]


def painted(visitor):
    return visitor.canvas("edit-painter", "strokes")[..., 3] > 0


def test_a_run_that_waits_for_another_visitors_says_so_and_can_be_stopped(visitor, chromium, address):
    other = Visitor(chromium, address)
    other.tab("Edit")
    an_image_to_edit(other)
    other.category("edit-painter", "hat")
    other.stroke("edit-painter", HAT)
    visitor.page.bring_to_front()
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-status .ls-busy")).to_be_visible()
    other.page.bring_to_front()
    other.page.locator("#edit-run").click()
    expect(other.page.locator("#edit-status")).to_contain_text("Waiting to start")
    other.page.locator("#edit-stop").click()
    expect(other.page.locator("#edit-run")).to_be_enabled()
    expect(other.page.locator("#edit-status")).not_to_contain_text("Waiting")
    assert other.wrong == []
    other.close()
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Done")


def test_suggestions_that_wait_say_so(visitor):
    begin_an_edit(visitor)
    visitor.tab("Label")
    visitor.page.locator("#label-worth").click()
    expect(visitor.page.locator("#label-status")).to_contain_text("Waiting to start")
    visitor.tab("Edit")
    visitor.page.locator("#edit-stop").click()
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    visitor.tab("Label")
    expect(visitor.page.locator("#label-status")).not_to_contain_text("Waiting")


def test_why_a_run_was_refused_stays_beside_the_button(visitor):
    page = visitor.page
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    page.locator("#edit-run").click()
    expect(page.locator("#edit-status")).to_contain_text("Nothing is painted yet")
    page.wait_for_timeout(1500)
    expect(page.locator("#edit-status")).to_contain_text("Nothing is painted yet")
    visitor.tab("Sample")
    page.locator("#sample-run").click()
    expect(page.locator("#sample-status")).to_contain_text("There is no layout yet")
    expect(page.locator("#sample-run")).to_be_enabled()


def test_other_labels_end_a_run_and_what_it_made_is_told(visitor):
    page = visitor.page
    label_two(visitor)
    visitor.tab("Edit")
    page.locator("#edit-reader").get_by_text("built-in labels").click()
    expect(page.locator("#edit-missing")).to_be_hidden()
    visitor.category("edit-painter", "hat")
    visitor.stroke("edit-painter", [(0.3, 0.2), (0.7, 0.2), (0.5, 0.12)])
    page.locator("#edit-run").click()
    expect(page.locator("#edit-status")).to_contain_text("Step ")
    page.locator("#edit-reader").get_by_text("what I taught").click()
    expect(page.locator("#edit-status")).to_contain_text("Stopped after")
    expect(page.locator("#edit-status")).to_contain_text("by the labels read then")
    expect(page.locator("#edit-undo")).to_be_enabled()
    expect(page.locator("#edit-run")).to_be_enabled()
    page.wait_for_timeout(1000)
    assert "Stopped after" in visitor.said("edit-status")


def test_strokes_of_an_edit_wait_on_their_image(visitor):
    """Also those that no run has followed yet, and those of categories that are left when others have come."""
    page = visitor.page
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    visitor.category("edit-painter", "hat")
    visitor.stroke("edit-painter", HAT)
    page.wait_for_timeout(800)
    mine = painted(visitor)
    page.locator("#edit-strip .th button").nth(1).click()
    visitor.until(lambda: not painted(visitor).any())
    expect(page.locator("#edit-strip .th button").first).to_be_hidden()  # the list was folded up
    page.locator("#edit-choose").get_by_text("Choose an image").click()
    page.locator("#edit-strip .th button").nth(0).click()
    visitor.until(lambda: np.array_equal(painted(visitor), mine))


def test_of_two_lists_of_seeds_the_last_one_is_shown(visitor):
    page = visitor.page
    visitor.tab("Segment")
    expect(page.locator("#segment-grid .th button")).to_have_count(8)
    page.locator("#segment-seeds input, #segment-seeds textarea").first.fill("200-247")
    page.locator("#segment-run").click()
    page.wait_for_timeout(150)
    page.locator("#segment-seeds input, #segment-seeds textarea").first.fill("5")
    page.locator("#segment-seeds input, #segment-seeds textarea").first.press("Enter")
    expect(page.locator("#segment-grid .th button")).to_have_count(1)
    page.wait_for_timeout(6000)
    expect(page.locator("#segment-grid .th button")).to_have_count(1)
    expect(page.locator("#segment-legend")).to_contain_text("in 1 images")


def test_what_is_seen_on_the_painter_is_the_layout(visitor):
    page = visitor.page
    visitor.tab("Sample")
    source = page.locator("#sample-source")
    source.get_by_role("tab", name="Paint", exact=True).click()
    visitor.category("sample-painter", "hair")
    visitor.stroke("sample-painter", [(0.3, 0.3), (0.7, 0.3)])
    expect(page.locator("#sample-layout")).to_contain_text("your painting")
    source.get_by_role("tab", name="Upload", exact=True).click()
    page.locator("#sample-examples .th button").first.click()
    expect(page.locator("#sample-layout")).not_to_contain_text("your painting")
    source.get_by_role("tab", name="Paint", exact=True).click()
    expect(page.locator("#sample-layout")).to_contain_text("your painting")


@pytest.mark.parametrize("queue", [CHANGES, ALWAYS], ids=["one at a time", "at once"])
def test_two_changes_at_once_are_both_there_if_they_wait_for_each_other(queue):
    """What Gradio does to a state that two events change at once; all that change the session are in one group."""
    with gr.Blocks() as demo:
        state, begun = gr.State(()), threading.Event()
        slow, fast, look, seen = gr.Button(), gr.Button(), gr.Button(), gr.JSON()

        def slowly(now):
            begun.set()
            time.sleep(1.0)
            return (*now, "slow")

        slow.click(slowly, state, state, api_name="slow", **queue)
        fast.click(lambda now: (*now, "fast"), state, state, api_name="fast", **queue)
        look.click(lambda now: list(now), state, seen, api_name="look")
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, server_name="127.0.0.1")
    try:
        client = Client(url, verbose=False)
        first = client.submit(api_name="/slow")
        assert begun.wait(20)
        client.submit(api_name="/fast").result(20)
        first.result(20)
        assert client.predict(api_name="/look") == (["slow", "fast"] if queue is CHANGES else ["slow"])
    finally:
        demo.close()
