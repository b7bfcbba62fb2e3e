"""The page as a whole: its tabs together, its looks, and work that is saved and comes back, in a real Chromium."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor, an_image_to_edit, close_to, label_two
from tests.readme import block

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


def test_the_calls_of_the_readmes_javascript(visitor, address):
    code = block("js")
    assert "http://127.0.0.1:7860" in code
    code = code.replace("http://127.0.0.1:7860", address.rstrip("/")).replace("console.log", "return ")
    assert visitor.page.evaluate(f"async () => {{ {code} }}").endswith(".png")


def test_a_second_visitor_sees_nothing_of_the_first(chromium, address, visitor):
    label_two(visitor)
    other = Visitor(chromium, address)
    try:
        assert "Draw strokes" in other.said("label-status") and "Nothing learnt" in other.said("label-sure")
        assert other.canvas("label-painter", "strokes")[..., 3].max() == 0
        other.tab("Segment")
        expect(other.page.locator("#segment-status")).to_contain_text("built-in labels")
        assert other.page.locator("#resume").count() == 0 or not other.page.locator("#resume").is_visible()
        assert visitor.canvas("label-painter", "strokes")[..., 3].max() > 0
    finally:
        other.close()


def test_a_project_comes_back_from_its_file_and_from_the_browser(visitor, model, tmp_path):
    colors = {c["name"]: c["color"] for c in model["categories"]}
    label_two(visitor)
    strokes = close_to(visitor.canvas("label-painter", "strokes"), colors["skin"])
    visitor.page.get_by_text("Save and load").click()
    with visitor.page.expect_download() as download:
        visitor.page.locator("#project-save").click()
    expect(visitor.page.locator("#saved-file a").first).to_be_visible()  # once more, for whoever missed it
    path = tmp_path / "mine.linsem.zip"
    download.value.save_as(path)
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    assert visitor.canvas("label-painter", "strokes")[..., 3].max() == 0
    visitor.page.locator("#resume").click()
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    visitor.until(lambda: np.array_equal(close_to(visitor.canvas("label-painter", "strokes"), colors["skin"]), strokes))
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.page.get_by_text("Save and load").click()
    visitor.page.locator("#projects input[type=file]").set_input_files(path)
    expect(visitor.page.locator("#label-status")).to_contain_text("Loaded")
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    visitor.until(lambda: np.array_equal(close_to(visitor.canvas("label-painter", "strokes"), colors["skin"]), strokes))


def test_what_the_browser_kept_outlives_a_stroke_an_example_and_another_generator(visitor, model):
    colors = {c["name"]: c["color"] for c in model["categories"]}

    def mine():
        return close_to(visitor.canvas("label-painter", "strokes"), colors["skin"])

    def kept():
        return visitor.page.evaluate("Object.keys(localStorage).some(key => key.includes('linsem'))")

    label_two(visitor)
    strokes = mine()
    visitor.until(kept)
    visitor.page.wait_for_timeout(1000)
    visitor.page.reload()
    visitor.page.locator("#label-strip .th button").first.wait_for()
    visitor.category("label-painter", "skin")
    visitor.stroke("label-painter", [(0.5, 0.6), (0.6, 0.6)])  # on a bench of its own, which the browser keeps too
    visitor.page.wait_for_timeout(3000)
    assert not np.array_equal(mine(), strokes)
    visitor.page.locator("#resume").click()
    visitor.until(lambda: np.array_equal(mine(), strokes))
    visitor.page.wait_for_timeout(2000)
    visitor.page.locator("#label-example").click()
    visitor.until(lambda: not np.array_equal(mine(), strokes))
    visitor.page.locator("#resume").click()
    visitor.until(lambda: np.array_equal(mine(), strokes))


def test_a_list_that_is_only_passed_takes_nothing_from_the_bench(visitor, tmp_path):
    label_two(visitor)
    strokes = visitor.canvas("label-painter", "strokes")
    box = visitor.page.locator("#model input")
    for keys in (("Tab",), ("Escape", "Tab"), ("Enter", "Tab")):  # passed, shut, and the same entry chosen
        box.focus()
        for key in keys:
            visitor.page.keyboard.press(key)
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no zip")
    visitor.page.get_by_text("Save and load").click()
    visitor.page.locator("#projects input[type=file]").set_input_files(bad)
    expect(visitor.page.locator(".toast-body")).to_contain_text("not a linsem project file")
    visitor.page.wait_for_timeout(1500)
    assert np.array_equal(visitor.canvas("label-painter", "strokes"), strokes)
    expect(visitor.page.locator("#label-strip")).to_contain_text(re.compile(r"\d+ px"))
    expect(visitor.page.locator("#resume")).to_be_hidden()


def test_painter_and_thumbnails_are_in_the_first_view(visitor):
    page = visitor.page
    bottom = "id => document.querySelector(id).getBoundingClientRect().bottom"
    page.set_viewport_size({"width": 1280, "height": 800})
    visitor.until(lambda: page.evaluate(bottom, "#label-painter .lp-looks") <= 800)
    visitor.until(lambda: page.evaluate(bottom, "#label-strip") <= 800)
    page.set_viewport_size({"width": 390, "height": 844})
    visitor.until(lambda: page.locator("#label-painter [data-part=view]").bounding_box()["y"] < 400)
    page.set_viewport_size({"width": 1280, "height": 800})
    top = page.locator("#label-strip").bounding_box()["y"]
    label_two(visitor)
    page.evaluate("window.scrollTo(0, 0)")
    assert page.locator("#label-strip").bounding_box()["y"] == pytest.approx(top, abs=1)  # nothing has moved it


def test_views_that_there_are_none_of_are_not_offered_and_hue_means_category(visitor):
    def looks(painter):
        return [
            visitor.page.locator(f"#{painter} [data-do={what}]").is_visible() for what in ("prediction", "uncertainty")
        ]

    def gray():
        return visitor.page.evaluate("getComputedStyle(document.querySelector('#label-painter canvas')).filter")

    assert gray() == "none"
    label_two(visitor)
    assert looks("label-painter") == [True, True] and gray() == "grayscale(1)"
    visitor.page.locator("#label-painter [data-do=prediction]").click()
    assert gray() == "none"
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    assert looks("edit-painter") == [True, False]
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="Paint", exact=True).click()
    visitor.page.locator("#sample-painter [data-part=view]").wait_for()
    assert looks("sample-painter") == [False, False]
    assert "a few strokes" not in visitor.said("sample-painter")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_every_tab_is_whole_on_a_phone_and_in_the_dark(chromium, address, width, dark):
    visitor = Visitor(chromium, address, width, dark)
    name = "dark" if dark else "light"
    try:
        label_two(visitor)
        for tab, ready in (
            ("Label", "#label-sure .ls-row"), ("Segment", "#segment-grid img"), ("Edit", "#edit-strip img"),
            ("Sample", "#sample-run"), ("About", ".ls-table"),
        ):  # fmt: skip
            visitor.page.evaluate(
                "name => [...document.querySelectorAll('#tabs [role=tab]')]"
                ".find(tab => tab.textContent.trim() === name).click()",
                tab,
            )
            expect(visitor.page.locator(ready).first).to_be_visible()
            time.sleep(0.5)
            visitor.shot(f"{tab.lower()}-{name}")
            assert visitor.fits(), f"{tab} is wider than {width} px"
    finally:
        assert visitor.wrong == []
        visitor.close()
