"""A layout from elsewhere is painted on in the Sample tab, in a real Chromium."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from playwright.sync_api import expect

from linsem.palette import parse_categories, read_label_map
from linsem.ui.examples import example_masks
from tests.browser.test_app import address, chromium, model, visitor

__all__ = ["address", "chromium", "model", "visitor"]
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
