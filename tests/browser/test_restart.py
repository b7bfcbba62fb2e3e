"""The server dies under an open page and restarts: the page recovers, with the project that the browser kept."""

from __future__ import annotations

import time
import urllib.parse

import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.browser.visitor import Visitor, close_to, few_steps, label_two
from tests.served import start

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def visitor(chromium, tmp_path):
    """A visitor of a server that can be killed."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    server = start(uploads)
    each = Visitor(chromium, server.address)
    each.server = server
    yield each
    each.server.stop()
    each.close()


def restart(visitor):
    """Kill the server, and start it again where it was.

    The page is left before: Gradio loads it anew when the server answers, which would break off the test's own loading.
    """
    visitor.server.kill()
    visitor.page.goto("about:blank")
    port = urllib.parse.urlsplit(visitor.server.address).port
    visitor.server = start(visitor.server.folder, port=port)


def come_back(visitor):
    """Load the page again, and wait until it is there."""
    visitor.page.goto(visitor.server.address)
    visitor.page.locator("#label-strip .th button").first.wait_for()


def kept(visitor):
    """Whether the browser keeps a project."""
    return visitor.page.evaluate("Object.keys(localStorage).some(key => key.includes('linsem'))")


def test_a_project_survives_the_server(visitor):
    model = next(r for r in Client(visitor.server.address, verbose=False).predict(api_name="/models") if r["available"])
    colors = {c["name"]: c["color"] for c in model["categories"]}
    label_two(visitor)
    visitor.until(lambda: kept(visitor))
    time.sleep(1)
    before = visitor.canvas("label-painter", "strokes")
    strokes = {name: close_to(before, colors[name]) for name in ("background", "skin")}
    visitor.category("label-painter", "clothes")
    visitor.stroke("label-painter", [(0.4, 0.97), (0.6, 0.97)])  # a fit begins
    restart(visitor)
    come_back(visitor)
    assert visitor.canvas("label-painter", "strokes")[..., 3].max() == 0  # a new server knows nothing
    visitor.page.locator("#resume").click()
    expect(visitor.page.locator("#label-status")).to_contain_text("Loaded")
    expect(visitor.page.locator("#label-sure .ls-row").first).to_be_visible()
    now = visitor.canvas("label-painter", "strokes")
    for name, painted in strokes.items():
        assert painted.sum() > 20 and np.array_equal(close_to(now, colors[name]), painted)


def test_a_page_whose_server_died_in_an_edit_works_again(visitor):
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-strip [aria-selected=true]").first).to_be_visible()
    visitor.category("edit-painter", "hair")
    visitor.stroke("edit-painter", [(0.25, 0.55), (0.25, 0.8), (0.3, 0.6)])
    visitor.page.locator("#edit-run").click()
    time.sleep(0.7)
    restart(visitor)
    come_back(visitor)
    visitor.tab("Edit")
    expect(visitor.page.locator("#edit-strip [aria-selected=true]").first).to_be_visible()
    visitor.page.locator("#edit-painter [data-part=view]").wait_for()
    few_steps(visitor)
    visitor.category("edit-painter", "hair")
    visitor.stroke("edit-painter", [(0.25, 0.55), (0.25, 0.8), (0.3, 0.6)])
    visitor.page.locator("#edit-run").click()
    expect(visitor.page.locator("#edit-status")).to_contain_text("strokes are matched")
