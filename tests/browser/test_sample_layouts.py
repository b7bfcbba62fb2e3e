"""A layout from elsewhere is painted on in the Sample tab, in a real Chromium."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from playwright.sync_api import expect

from linsem.palette import parse_categories, read_label_map
from linsem.ui.examples import example_masks

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


def test_an_example_is_painted_on_and_what_is_asked_for_comes_with_the_results(visitor, model, tmp_path):
    page, categories = visitor.page, parse_categories(model["categories"])
    visitor.tab("Sample")
    expect(page.locator("#sample-change")).to_be_disabled()
    page.locator("#sample-examples .th button").first.click()
    page.locator("#sample-change").click()
    expect(page.locator("#sample-understood")).to_contain_text("On the painter: ")
    expect(page.locator("#sample-painter")).to_contain_text("100 % painted")
    visitor.category("sample-painter", "hair")
    visitor.stroke("sample-painter", [(0.2, 0.4), (0.2, 0.7)])
    expect(page.locator("#sample-layout")).to_contain_text("your painting")
    painted = visitor.canvas("sample-painter", "strokes")

    page.get_by_role("tab", name="Upload", exact=True).click()  # away and back: the strokes stay
    page.get_by_role("tab", name="Paint", exact=True).click()
    page.wait_for_timeout(1500)
    assert np.array_equal(visitor.canvas("sample-painter", "strokes"), painted)

    page.get_by_role("tab", name="Upload", exact=True).click()  # another layout over it, and the strokes are had back
    page.locator("#sample-examples .th button").nth(1).click()
    expect(page.locator("#sample-layout")).not_to_contain_text("your painting")  # else that one would be painted on
    page.locator("#sample-change").click()
    visitor.until(lambda: not np.array_equal(visitor.canvas("sample-painter", "strokes"), painted))
    page.locator("#sample-painter [data-do=undo]").click()
    visitor.until(lambda: np.array_equal(visitor.canvas("sample-painter", "strokes"), painted))
    expect(page.locator("#sample-layout")).to_contain_text("your painting")

    page.locator("#sample-run").click()
    expect(page.locator("#sample-status")).to_contain_text("results in")
    page.locator("#sample-pack").click()
    with page.expect_download() as download:
        page.locator("#sample-file a").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        (tmp_path / "layout.png").write_bytes(archive.read("layout.png"))
        found = json.loads(archive.read("results.json"))["results"]
    asked = read_label_map(tmp_path / "layout.png", categories).labels
    example = read_label_map(example_masks(model["id"], categories)[0][0], categories).labels
    added = asked != example
    assert added.sum() > 50 and {categories[k].name for k in asked[added]} == {"hair"} and len(found) == 4


def test_a_result_that_is_chosen_during_a_run_stays_chosen(visitor):
    page = visitor.page
    visitor.tab("Sample")
    page.locator("#sample-examples .th button").first.click()
    expect(page.locator("#sample-understood")).to_contain_text("categories")
    page.locator("#sample-run").click()
    expect(page.locator("#sample-results .th button")).to_have_count(4)
    expect(page.locator("#sample-status")).to_contain_text("Step")
    worst = page.locator("#sample-results .th button").nth(3)
    seed = worst.inner_text().split("seed ")[1].split()[0]
    worst.click()
    expect(page.locator("#sample-status")).to_contain_text("results in")
    chosen = page.locator("#sample-results [aria-selected=true]")
    expect(chosen).to_have_count(1)
    expect(chosen).to_contain_text(f"seed {seed}")
    expect(page.locator("#sample-sides .th button")).to_have_count(3)
    page.locator("#sample-send").click()
    expect(page.locator("#edit-status")).to_contain_text(f"Sample of seed {seed}")


def test_the_example_and_the_file_that_are_shown_as_chosen_are_those_in_use(visitor, model):
    page = visitor.page
    visitor.tab("Sample")
    mask = example_masks(model["id"], parse_categories(model["categories"]))[0][0]
    chosen = page.locator("#sample-examples [aria-selected=true]")
    page.locator("#sample-mask input[type=file]").set_input_files(str(mask))
    expect(page.locator("#sample-layout")).to_contain_text("your mask")
    expect(page.locator("#sample-mask")).to_contain_text(mask.suffix)
    page.locator("#sample-examples .th button").nth(1).click()
    expect(page.locator("#sample-understood")).to_contain_text("Layout '")
    expect(page.locator("#sample-mask")).not_to_contain_text(mask.suffix)
    page.wait_for_timeout(1500)  # in which the layout would have gone with its file, were it that of the file
    expect(page.locator("#sample-layout .th button, #sample-layout .th img")).not_to_have_count(0)
    expect(page.locator("#sample-layout")).not_to_contain_text("The layout appears here")
    visitor.tab("Edit")
    visitor.tab("Sample")
    page.wait_for_timeout(1500)
    expect(chosen).to_have_count(1)
    expect(chosen).to_contain_text(page.locator("#sample-layout .th button").inner_text())
    page.locator("#sample-mask input[type=file]").set_input_files(str(mask))
    expect(page.locator("#sample-layout")).to_contain_text("your mask")
    expect(chosen).to_have_count(0)
    page.locator("#sample-mask button[aria-label='Clear'], #sample-mask [aria-label='Remove this file']").first.click()
    expect(page.locator("#sample-layout")).to_contain_text("The layout appears here")
