"""The whole loop in a browser on a third-party generator, from its package as a user installs it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from playwright.sync_api import expect

from linsem.dcgan import DIGIFACE_ID
from tests.browser.visitor import Visitor, few_steps, label_two, picture
from tests.served import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    site = str(tmp_path_factory.mktemp("site"))
    subprocess.run([*PIP, site, "gan-face-generate==1.1.1"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", site)
        with served(model=DIGIFACE_ID) as url:
            yield url


def test_label_segment_edit_and_sample(chromium, address):
    visitor = Visitor(chromium, address)
    label_two(visitor)
    visitor.category("label-painter", "hair")
    before = visitor.canvas("label-painter", "prediction").copy()
    visitor.stroke("label-painter", [(0.3, 0.12), (0.5, 0.06), (0.7, 0.12)])
    visitor.until(lambda: not np.array_equal(visitor.canvas("label-painter", "prediction"), before))
    expect(visitor.page.locator("#label-sure")).to_contain_text("hair")
    visitor.shot("digiface-label")

    visitor.tab("Segment")
    expect(visitor.page.locator("#segment-status")).to_contain_text("what you taught")
    assert picture(visitor, "segment-grid", 0).shape[0] >= 64

    visitor.tab("Edit")
    visitor.page.locator("#edit-painter [data-part=view]").wait_for()
    expect(visitor.page.locator("#edit-strip [aria-selected=true]").first).to_be_visible()
    few_steps(visitor)
    visitor.category("edit-painter", "background")
    visitor.stroke("edit-painter", [(0.3, 0.04), (0.7, 0.04)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("strokes are matched")
    old, new = (picture(visitor, "edit-frames", place).astype(int) for place in (0, 1))
    assert np.abs(new - old).mean() > 0.5
    visitor.shot("digiface-edit")

    visitor.tab("Sample")
    visitor.page.get_by_role("tab", name="From an image").click()
    visitor.page.locator("#sample-take").click()
    expect(visitor.page.locator("#sample-layout .th button")).to_have_count(1)
    visitor.page.locator("#sample-run").click()
    expect(visitor.page.locator("#sample-status")).to_contain_text("results in")
    scores = [int(s) for s in re.findall(r"match (\d+) %", visitor.said("sample-results"))]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True) and scores[0] > 50
    visitor.shot("digiface-sample")
    assert visitor.wrong == []
    visitor.close()
