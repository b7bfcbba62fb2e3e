"""What a visitor made is kept, whatever happens at the same time, in a real Chromium."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor, an_image_to_edit, close_to, few_steps, label_two

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


def benches(page):
    """The tokens of the copies in this browser, newest first."""
    return [token for token, *_ in json.loads(page.evaluate("localStorage.getItem('linsem-benches')") or "[]")]


def skin(visitor, model):
    color = next(c["color"] for c in model["categories"] if c["name"] == "skin")
    return close_to(visitor.canvas("label-painter", "strokes"), color)


@contextmanager
def stroke_after(visitor, script):
    """A stroke of skin that begins right after a script has run, and ends with the block."""
    page = visitor.page
    visitor.category("label-painter", "skin")
    box = page.locator("#label-painter [data-part=view]").bounding_box()
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.5) for x in (0.4, 0.5, 0.6)]
    page.mouse.move(*at[0])
    page.evaluate(script)
    page.mouse.down()
    page.mouse.move(*at[1], steps=5)
    yield
    page.mouse.move(*at[2], steps=5)
    page.mouse.up()


def second_page(visitor, address):
    """Another page of the same browser."""
    other = Visitor.__new__(Visitor)
    other.context, other.width, other.wrong = visitor.context, visitor.width, []
    other.page = visitor.context.new_page()
    other.page.set_default_timeout(90_000)
    other.page.goto(address)
    other.page.locator("#label-strip .th button").first.wait_for()
    other.page.locator("#label-painter [data-part=view]").wait_for()
    return other


def test_a_page_that_was_resumed_from_another_leaves_what_that_one_did_since(visitor, address, model):
    label_two(visitor)
    first = skin(visitor, model)
    visitor.until(lambda: len(benches(visitor.page)) == 1)
    own = benches(visitor.page)
    other = second_page(visitor, address)
    other.page.locator("#resume").click()
    other.until(lambda: np.array_equal(skin(other, model), first))
    other.until(lambda: benches(other.page) not in ([], own))  # its own copy has replaced the one that it came from
    visitor.page.bring_to_front()
    stored = visitor.page.evaluate("localStorage.getItem('linsem-benches')")
    visitor.category("label-painter", "skin")
    visitor.stroke("label-painter", [(0.3, 0.62), (0.7, 0.62)])
    visitor.until(lambda: visitor.page.evaluate("localStorage.getItem('linsem-benches')") != stored)
    mine = skin(visitor, model)
    other.page.bring_to_front()
    other.category("label-painter", "clothes")
    other.stroke("label-painter", [(0.45, 0.97), (0.55, 0.97)])
    other.until(lambda: len(benches(other.page)) == 2)
    other.page.close()
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    for _ in range(2):  # the newest copy is that of the other page
        visitor.page.locator("#resume").click()
        visitor.page.wait_for_timeout(2500)
        if np.array_equal(skin(visitor, model), mine):
            return
    assert np.array_equal(skin(visitor, model), mine)


def test_two_pages_of_a_browser_keep_their_work_apart(visitor, chromium, address, model):
    label_two(visitor)
    mine = skin(visitor, model)
    visitor.until(lambda: len(benches(visitor.page)) == 1)
    other = second_page(visitor, address)
    other.category("label-painter", "skin")
    other.stroke("label-painter", [(0.5, 0.6), (0.6, 0.6)])
    other.until(lambda: len(benches(other.page)) == 2)
    both = benches(other.page)
    visitor.page.bring_to_front()
    visitor.category("label-painter", "clothes")
    visitor.stroke("label-painter", [(0.45, 0.97), (0.55, 0.97)])
    visitor.until(lambda: benches(visitor.page) == both[::-1])
    other.page.close()
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.page.locator("#resume").click()
    visitor.until(lambda: np.array_equal(skin(visitor, model), mine))


def test_edits_are_kept_without_a_stroke_in_label(visitor):
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-strip [aria-selected=true]").first).to_be_visible()
    few_steps(visitor)
    visitor.category("edit-painter", "hair")
    visitor.stroke("edit-painter", [(0.25, 0.55), (0.25, 0.8), (0.3, 0.6)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Done")
    visitor.until(lambda: len(benches(visitor.page)) == 1)
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.page.locator("#resume").click()
    expect(visitor.page.locator("#label-status")).to_contain_text("Loaded")
    visitor.page.wait_for_timeout(1000)
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-undo")).to_be_enabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("More hair")


def test_a_stroke_under_the_pointer_is_not_taken_by_an_image_that_arrives(visitor, model):
    """Another image is asked for, and a stroke is begun before it comes: it ends on its image, and is kept there."""
    page = visitor.page
    with stroke_after(visitor, "document.querySelectorAll('#label-strip .th button')[2].click()"):
        page.wait_for_timeout(2500)  # the other image is here
    visitor.until(lambda: skin(visitor, model).sum() == 0)  # the other image, without a stroke
    visitor.until(lambda: page.locator("#label-strip").inner_text().count(" px") == 1)
    page.wait_for_timeout(1000)
    assert skin(visitor, model).sum() == 0
    page.locator("#label-strip .th button").first.click()
    visitor.until(lambda: skin(visitor, model).sum() > 40)


def test_strokes_go_on_while_new_images_are_drawn(visitor, model):
    label_two(visitor)
    before = skin(visitor, model).sum()
    visitor.category("label-painter", "skin")
    visitor.page.locator("#label-more").click()
    visitor.stroke("label-painter", [(0.3, 0.62), (0.7, 0.62)])
    expect(visitor.page.locator("#label-strip")).to_contain_text("seed 9")
    visitor.page.wait_for_timeout(2500)
    visitor.page.locator("#label-strip .th button").first.click()
    visitor.until(lambda: skin(visitor, model).sum() > before)


def test_a_stroke_that_ends_after_its_image_has_made_room_brings_the_image_back(visitor, model):
    """The new images come while the button is down, and the unlabelled ones make room for them."""
    page = visitor.page
    with stroke_after(visitor, "document.querySelector('#label-more').click()"):
        expect(page.locator("#label-strip")).to_contain_text("seed 9")
        assert "seed 1" not in page.locator("#label-strip .th span").all_inner_texts()
    visitor.until(lambda: page.locator("#label-strip").inner_text().count(" px") == 1)
    names = page.locator("#label-strip .th span").all_inner_texts()
    assert names.count("seed 1") == 1 and "seed 9" in names
    page.locator("#label-strip .th button").nth(names.index("seed 1")).click()
    visitor.until(lambda: skin(visitor, model).sum() > 40)


def test_strokes_of_an_edit_are_on_their_state_after_undo_and_redo(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    few_steps(visitor)
    page = visitor.page
    visitor.category("edit-painter", "hair")
    visitor.stroke("edit-painter", [(0.25, 0.55), (0.25, 0.8), (0.3, 0.6)])
    page.locator("#edit-run").click()
    expect(page.locator("#edit-undo")).to_be_enabled()
    visitor.until(lambda: visitor.canvas("edit-painter", "strokes")[..., 3].max() == 0)  # the result is on the painter
    visitor.stroke("edit-painter", [(0.5, 0.1), (0.6, 0.12)])
    page.wait_for_timeout(800)
    painted = visitor.canvas("edit-painter", "strokes")
    assert painted[..., 3].max() > 0
    page.locator("#edit-undo").click()
    expect(page.locator("#edit-redo")).to_be_enabled()
    visitor.until(lambda: not np.array_equal(visitor.canvas("edit-painter", "strokes"), painted))
    page.locator("#edit-redo").click()
    expect(page.locator("#edit-redo")).to_be_disabled()
    visitor.until(lambda: np.array_equal(visitor.canvas("edit-painter", "strokes"), painted))


def test_two_steps_back_are_followed_and_an_edit_goes_on_from_there(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    few_steps(visitor)
    page = visitor.page
    for place in (0.55, 0.7):
        visitor.category("edit-painter", "hair")
        visitor.stroke("edit-painter", [(0.15, place), (0.2, place + 0.1)])
        page.locator("#edit-run").click()
        expect(page.locator("#edit-stop")).to_be_enabled()
        expect(page.locator("#edit-run")).to_be_enabled()
        visitor.until(lambda: visitor.canvas("edit-painter", "strokes")[..., 3].max() == 0)
    page.locator("#edit-undo").click()
    expect(page.locator("#edit-redo")).to_be_enabled()
    page.locator("#edit-undo").click()
    expect(page.locator("#edit-undo")).to_be_disabled()
    expect(page.locator("#edit-frames .th button")).to_have_count(1)  # the image without an edit
    page.wait_for_timeout(1500)
    visitor.category("edit-painter", "hat")
    visitor.stroke("edit-painter", [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1)])
    page.locator("#edit-run").click()
    # And not "the painter does not show this image yet", which would be a message of its own.
    expect(page.locator("#edit-status")).to_contain_text(re.compile("strokes are matched|already shows"))


def test_the_work_comes_back_unasked_after_the_network_was_away(visitor, model):
    label_two(visitor)
    before = skin(visitor, model)
    visitor.until(lambda: len(benches(visitor.page)) == 1)
    visitor.page.wait_for_timeout(1000)  # the last of it is stored
    visitor.page.context.set_offline(True)
    visitor.stroke("label-painter", [(0.4, 0.9), (0.6, 0.9)])  # nobody hears of it
    visitor.page.wait_for_timeout(3000)
    with visitor.page.expect_navigation():  # Gradio loads the page anew
        visitor.page.context.set_offline(False)
    expect(visitor.page.locator("#label-status")).to_contain_text("Loaded")
    visitor.until(lambda: np.array_equal(skin(visitor, model), before))
    visitor.page.reload()  # the twin: whoever loads the page anew is asked
    expect(visitor.page.locator("#resume")).to_be_visible()
    visitor.page.wait_for_timeout(1000)
    expect(visitor.page.locator("#resume")).to_be_visible()
