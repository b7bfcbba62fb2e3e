"""The tabs Segment and Sample of the served app, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import expect

from linsem.palette import parse_categories, read_label_map, write_label_map
from tests.browser.visitor import Visitor, an_image_to_edit, label_two, picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


def test_fresh_images_are_segmented_with_what_was_taught(visitor):
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("built-in labels. Teach your own")
    label_two_first = visitor.page.locator("#segment-grid img").first.get_attribute("src")
    visitor.tab("Label")
    label_two(visitor)
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    assert visitor.page.locator("#segment-grid img").first.get_attribute("src") != label_two_first
    visitor.page.locator("#segment-grid .th button").nth(1).click()
    expect(visitor.page.locator("#segment-sides .th button")).to_have_count(4)
    expect(visitor.page.locator("#segment-legend")).to_contain_text("%")
    visitor.shot("segment")
    visitor.tab("Label")
    visitor.tab("Segment")
    visitor.page.wait_for_timeout(1500)  # in which an answer would have come, and emptied it
    expect(visitor.page.locator("#segment-grid .th button")).to_have_count(8)
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")


def test_stop_can_be_pressed_while_images_are_sampled(visitor):
    visitor.tab("Sample")
    visitor.page.locator("#sample-examples .th button").first.click()
    expect(visitor.page.locator("#sample-understood")).to_contain_text("Layout '")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator("#sample-stop")).to_be_enabled(timeout=1500)
    expect(visitor.page.locator("#sample-run")).to_be_disabled()
    expect(visitor.page.locator("#sample-status .ls-progress")).to_be_visible()  # what still waits never started
    said = visitor.stop("sample-stop", "sample-run")
    assert said and said[0][0] == "Stopping ..." and said[0][1] < 700  # and not when it has ended
    expect(visitor.page.locator("#sample-stop")).to_have_text("Stop")
    expect(visitor.page.locator("#sample-status")).to_contain_text("Stopped")


def test_what_is_not_learnt_is_said_and_the_shipped_extractor_is_one_click_away(visitor):
    label_two(visitor)
    visitor.tab("Edit")
    an_image_to_edit(visitor)
    expect(visitor.page.locator("#edit-missing")).to_contain_text("Not learnt yet: hair, hat")
    expect(visitor.page.locator("#edit-examples .th button")).to_have_count(0)
    visitor.page.locator("#edit-reader").get_by_text("built-in labels").click()
    expect(visitor.page.locator("#edit-missing")).to_be_hidden()
    visitor.page.locator("#edit-examples .th button").first.click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("painted already")
    expect(visitor.page.locator("#edit-examples [aria-selected=true]")).to_have_count(1)
    expect(visitor.page.locator("#edit-strip")).to_be_hidden()  # the chooser is closed
    visitor.page.get_by_text("Edit another seed").click()
    seed = visitor.page.locator("#edit-seed input")
    expect(seed).to_have_value("12")
    visitor.page.wait_for_timeout(500)  # what was only just unfolded is filled in once more
    seed.fill("")
    expect(seed).to_have_value("")
    seed.press("Enter")
    expect(visitor.page.locator(".toast-body")).to_contain_text("Seed: enter a whole number from 0 to 4294967295.")
    seed.fill("20")
    seed.press("Enter")
    expect(visitor.page.locator("#edit-status")).to_contain_text("Seed 20.")
    visitor.page.locator("#edit-choose").get_by_text("Choose an image").click()
    expect(visitor.page.locator("#edit-choose [aria-selected=true]")).to_have_count(0)
    visitor.tab("Sample")
    expect(visitor.page.locator("#sample-examples .th button").first).to_be_visible()
    visitor.page.locator("#sample-reader").get_by_text("what I taught").click()
    expect(visitor.page.locator("#sample-examples .th button")).to_have_count(0)
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    visitor.page.locator("#segment-reader").get_by_text("built-in labels").click()
    expect(visitor.page.locator("#segment-status")).to_contain_text("built-in labels")


def test_a_second_sampling_begins_with_nothing_of_the_first(visitor):
    visitor.tab("Sample")
    page = visitor.page
    page.locator("#sample-examples .th button").first.click()
    expect(page.locator("#sample-understood")).to_contain_text(re.compile(r"Layout '[\w ]+': \d+ categories\."))
    expect(page.locator("#sample-send")).to_be_disabled()
    page.locator("#sample-run").click()
    expect(page.locator("#sample-status")).to_contain_text("results in")
    expect(page.locator("#sample-results [aria-selected=true]")).to_have_count(1)  # the best one, until another
    expect(page.locator("#sample-sides .th button")).to_have_count(3)
    page.locator("#sample-pack").click()
    expect(page.locator("#sample-file a").first).to_be_visible()
    page.locator("#sample-examples .th button").nth(1).click()
    expect(page.locator("#sample-status")).to_contain_text("These are the results of another layout.")
    page.locator("#sample-first input").fill("4000")
    page.locator("#sample-first input").press("Enter")
    expect(page.locator("#sample-stop")).to_be_enabled()
    expect(page.locator("#sample-sides .th button")).to_have_count(0)
    expect(page.locator("#sample-file a")).to_have_count(0)
    expect(page.locator("#sample-send")).to_be_disabled()
    page.locator("#sample-stop").click()
    expect(page.locator("#sample-status")).to_contain_text("Stopped before the first result. These are the results of")
    expect(page.locator("#sample-run")).to_be_enabled()


def test_an_export_can_be_stopped_while_it_runs_and_only_then(visitor):
    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status .ls-good")).to_be_visible()
    visitor.page.get_by_text("Export a data set").click()
    run, stop = visitor.page.locator("#export-run"), visitor.page.locator("#export-stop")
    expect(stop).to_be_disabled()
    run.click()
    expect(stop).to_be_enabled(timeout=1500)
    expect(run).to_be_disabled()
    expect(visitor.page.locator("#export-status .ls-progress")).to_be_visible()
    stop.click()
    expect(run).to_be_enabled()
    expect(stop).to_be_disabled()
    expect(visitor.page.locator("#export-status")).to_contain_text("nothing was kept")


def test_a_mask_gives_images_that_obey_it(visitor, address, model, tmp_path):
    client = Client(address, verbose=False, download_files=tmp_path)
    categories = parse_categories(model["categories"])
    files, _, _ = client.predict(model["id"], "900-906", 0.7, None, api_name="/segment")
    read = [read_label_map(Path(file), categories).labels for file in files]
    mask = tmp_path / "mask.png"
    mask.write_bytes(write_label_map(np.repeat(np.repeat(read[0], 3, 0), 3, 1), categories))
    visitor.tab("Sample")
    visitor.page.locator("#sample-mask input[type=file]").set_input_files(mask)
    expect(visitor.page.locator("#sample-understood")).to_contain_text("by the names in the file")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator("#sample-status")).to_contain_text("results in")
    visitor.page.locator("#sample-results .th button").first.click()
    expect(visitor.page.locator("#sample-sides .th button")).to_have_count(3)
    labels = picture(visitor, "sample-sides", 1)
    table = np.array([[int(c.color[i : i + 2], 16) for i in (1, 3, 5)] for c in categories])
    mine = np.abs(labels[:, :, None].astype(int) - table).max(-1).argmin(-1)
    assert mine.shape == read[0].shape
    random = [float((other == read[0]).mean()) for other in read[1:]]
    print(f"\nagreement {(mine == read[0]).mean():.3f}, random images {np.mean(random):.3f}")
    assert (mine == read[0]).mean() > max(random)
    scores = [int(s) for s in re.findall(r"match (\d+) %", visitor.said("sample-results"))]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True)
    visitor.shot("sample")
    visitor.page.locator("#sample-send").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("Sample of seed")
    expect(visitor.page.locator("#edit-painter [data-part=view]")).to_be_in_viewport()


def test_results_take_the_colours_of_another_seed(visitor):
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="From an image").click()
    visitor.page.locator("#sample-take").click()
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)
    look, found, seeds = visitor.page.locator("#sample-look input, #sample-look textarea"), [], []
    for text in ("", "5"):
        look.fill(text)
        visitor.page.locator("#sample-run").click()
        expect(visitor.page.locator("#sample-status")).not_to_contain_text("results in")
        expect(visitor.page.locator("#sample-status")).to_contain_text("results in")
        found.append(picture(visitor, "sample-results", 0).astype(int))
        seeds.append(sorted(re.findall(r"seed (\d+)", visitor.said("sample-results"))))
    assert len(seeds[0]) == 4 and seeds[0] == seeds[1]  # the same layouts
    assert np.abs(found[0] - found[1]).mean() > 5  # of 255
    look.fill("like seed 5")
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator(".toast-body")).to_contain_text(
        "Colours from seed: enter a whole number from 0 to 4294967295, or nothing, not"
    )


def test_a_mask_with_foreign_colours_is_refused_and_nothing_is_lost(visitor, tmp_path):
    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="From an image").click()
    visitor.page.locator("#sample-take").click()
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)
    bad = tmp_path / "bad.png"
    Image.new("RGB", (64, 64), "#010203").save(bad)
    visitor.page.get_by_role("tab", name="Upload", exact=True).click()
    visitor.page.locator("#sample-mask input[type=file]").set_input_files(bad)
    expect(visitor.page.locator("#sample-understood .ls-bad")).to_contain_text("#010203")
    expect(visitor.page.locator("#sample-understood")).to_contain_text("Still in use: the layout of seed 7.")
    expect(visitor.page.locator("#sample-mask")).not_to_contain_text("bad.png")
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)


def test_what_is_not_learnt_is_said_in_lines_on_a_phone(chromium, address):
    visitor = Visitor(chromium, address, width=390)
    try:
        label_two(visitor)
        for tab in ("Segment", "Edit", "Sample"):
            visitor.tab(tab)
            note = visitor.page.locator(f"#{tab.lower()}-missing")
            expect(note).to_be_visible()
            assert note.bounding_box()["width"] > 240
    finally:
        visitor.close()
