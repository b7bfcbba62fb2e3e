"""The Edit tab of the served app, in a real Chromium."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.visitor import Visitor, an_image_to_edit, begin_an_edit, few_steps, longer_hair, picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


def test_an_edit_changes_the_image_where_it_was_asked_to_and_can_be_undone(visitor):
    visitor.tab("Edit")
    longer_hair(visitor)
    expect(visitor.page.locator("#edit-undo")).to_be_enabled()
    before, now = picture(visitor, "edit-frames", 0).astype(int), picture(visitor, "edit-frames", 1).astype(int)
    change, side = np.abs(now - before).mean(-1), len(now)
    there = np.zeros((side, side), bool)
    there[int(0.5 * side) : int(0.85 * side), int(0.2 * side) : int(0.35 * side)] = True
    told = visitor.said("edit-status")
    print(f"\n{told} change there {change[there].mean():.1f}, elsewhere {change[~there].mean():.1f}")
    assert change[there].mean() > 2 and change[there].mean() > change[~there].mean()
    numbers = [int(n) for n in re.findall(r"(\d+) %", visitor.said("edit-status"))]
    assert numbers[0] > numbers[1]
    visitor.shot("edit")
    expect(visitor.page.locator("#edit-slider img").first).to_be_visible()
    edited = visitor.canvas("edit-painter", "image")
    visitor.page.locator("#edit-undo").click()
    expect(visitor.page.locator("#edit-redo")).to_be_enabled()
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()
    visitor.until(lambda: not np.array_equal(visitor.canvas("edit-painter", "image"), edited))
    first = Image.fromarray(visitor.canvas("edit-painter", "image")[..., :3]).resize(before.shape[1::-1])
    assert np.abs(np.asarray(first).astype(int) - before).mean() < 4  # the same picture, sent in two ways
    expect(visitor.page.locator("#edit-frames .th button")).to_have_count(1)  # an image without an edit: it alone


def test_a_hat_is_added_and_removed_without_a_stroke(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    few_steps(visitor, 20)
    for choice, button, said in (("lacking", "add", "of 'hat' is there"), ("gone", "remove", "of 'hat' is gone")):
        visitor.page.locator(f"#edit-{choice} input").click()
        visitor.page.get_by_role("option", name="hat", exact=True).click()
        visitor.page.locator(f"#edit-{button}").click()
        expect(visitor.page.locator("#edit-status")).to_contain_text("Done")
        expect(visitor.page.locator("#edit-status .ls-good")).to_contain_text(said)
        assert int(re.search(r"(\d+) %", visitor.said("edit-status"))[1]) > 80
        visitor.page.locator(f"#edit-{choice} input").click()  # what is there can be removed now, and not be added
        expect(visitor.page.get_by_role("option", name="hat", exact=True)).to_have_count(0)
        visitor.page.keyboard.press("Escape")
    visitor.page.locator("#edit-add").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Choose what to add first")


def test_stop_can_be_pressed_while_an_edit_runs_and_keeps_what_there_is(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    expect(visitor.page.locator("#edit-run")).to_be_disabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text(re.compile(r"step \d", re.IGNORECASE))
    said = visitor.stop("edit-stop", "edit-run")
    assert said and said[0][0] == "Stopping ..." and said[0][1] < 700  # and not when it has ended
    expect(visitor.page.locator("#edit-stop")).to_have_text("Stop")
    expect(visitor.page.locator("#edit-stop")).to_be_disabled()
    expect(visitor.page.locator("#edit-painter")).to_contain_text("% painted")  # so that Run goes on


def test_an_edit_goes_on_while_another_tab_is_looked_at_and_ends_with_another_generator(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    visitor.tab("Label")
    visitor.tab("Edit")
    for _ in range(4):
        expect(visitor.page.locator("#edit-painter")).to_contain_text("% painted")
        if visitor.page.locator("#edit-stop").is_enabled():
            assert not visitor.page.locator("#edit-undo").is_enabled()
        visitor.page.wait_for_timeout(200)
    visitor.page.locator("#model input").focus()  # passed on the way with the tab key: nothing has been chosen
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("Tab")
    before = visitor.said("edit-status")
    visitor.until(lambda: "Done" in before or visitor.said("edit-status") != before)  # so the edit goes on
    expect(visitor.page.locator("#edit-painter")).to_be_visible()
    visitor.page.locator("#model input").click()
    visitor.page.get_by_role("option", name=re.compile("avatars-64")).click()
    expect(visitor.page.locator("#label-strip")).to_be_visible()  # back to the images of the other generator
    visitor.until(lambda: len(visitor.canvas("label-painter", "image")) == 64)
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 1. Paint what should be there")
    visitor.until(lambda: len(visitor.canvas("edit-painter", "image")) == 64)
    expect(visitor.page.locator("#edit-painter [data-do=uncertainty]")).to_be_hidden()  # its options are as they were
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()


def test_another_image_chosen_during_an_edit_is_the_one_that_stays(visitor):
    begin_an_edit(visitor)
    expect(visitor.page.locator("#edit-stop")).to_be_enabled(timeout=1500)
    visitor.page.locator("#edit-strip .th button").nth(3).click()
    expect(visitor.page.locator("#edit-run")).to_be_enabled()
    chosen = picture(visitor, "edit-strip", 3)
    others = [picture(visitor, "edit-strip", i) for i in (0, 1, 2)]

    def is_shown():
        shown = Image.fromarray(visitor.canvas("edit-painter", "image")[..., :3]).resize(chosen.shape[1::-1])
        distance = [np.abs(np.asarray(shown).astype(int) - each).mean() for each in (chosen, *others)]
        return distance[0] == min(distance) < 12

    visitor.until(is_shown)
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 4. Paint what should be there")
    visitor.page.wait_for_timeout(4000)  # in which the run would have gone on, and said so
    assert is_shown()
    expect(visitor.page.locator("#edit-undo")).to_be_disabled()
    expect(visitor.page.locator("#edit-stop")).to_be_disabled()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 4. Paint what should be there")
    expect(visitor.page.locator("#edit-frames .th button")).to_have_count(1)
    few_steps(visitor)
    visitor.category("edit-painter", "hat")  # and the next run is of the image that is shown
    visitor.stroke("edit-painter", [(0.3, 0.1), (0.5, 0.05), (0.7, 0.1), (0.3, 0.15), (0.7, 0.15)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("strokes are matched")
    before = np.asarray(picture(visitor, "edit-frames", 0)).astype(int)
    assert np.abs(before - np.asarray(Image.fromarray(chosen).resize(before.shape[1::-1]))).mean() < 12


def test_an_edit_is_there_again_when_its_image_is_chosen_again(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    start = visitor.canvas("edit-painter", "image")
    few_steps(visitor)
    longer_hair(visitor)
    visitor.until(lambda: not np.array_equal(visitor.canvas("edit-painter", "image"), start))
    done, edited = visitor.said("edit-status"), visitor.canvas("edit-painter", "image")
    for image, says in ((1, "Seed 2. Paint what should be there"), (0, done)):
        if visitor.page.locator("#edit-strip").is_hidden():
            visitor.page.locator("#edit-choose").get_by_text("Choose an image").click()
        visitor.page.locator("#edit-strip .th button").nth(image).click()
        expect(visitor.page.locator("#edit-status")).to_contain_text(says.strip())
    visitor.until(lambda: np.array_equal(visitor.canvas("edit-painter", "image"), edited))
    expect(visitor.page.locator("#edit-undo")).to_be_enabled()


def test_running_an_edit_without_a_stroke_says_what_to_do(visitor):
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator(".toast-body")).to_contain_text("draw at least one stroke, then press Run")
    expect(visitor.page.locator("#edit-run")).to_be_enabled()


def test_on_a_phone_a_run_is_seen_as_it_goes_on(chromium, address):
    visitor = Visitor(chromium, address, width=390)
    try:
        visitor.tab("Edit")
        an_image_to_edit(visitor)
        few_steps(visitor)
        visitor.page.locator("#edit-examples .th button").first.click()
        expect(visitor.page.locator("#edit-status")).to_contain_text("painted already")
        visitor.page.wait_for_timeout(600)  # in which the painter is scrolled to
        visitor.page.locator("#edit-run").click()
        for part in ("#edit-stop", "#edit-status", "#edit-frames"):
            visitor.until(lambda part=part: -1 <= visitor.page.locator(part).bounding_box()["y"] < 700)
        expect(visitor.page.locator("#edit-status")).to_contain_text("Done")
    finally:
        visitor.close()


def test_the_first_screen_leads_to_an_edit_without_labelling(visitor):
    visitor.page.locator("#label-top a").click()
    expect(visitor.page.locator("#edit-examples .th button").first).to_be_visible()
    visitor.page.go_back()
    expect(visitor.page.locator("#label-strip")).to_be_visible()
