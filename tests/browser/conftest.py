"""One browser, a window of it, and a served app for all tests that need no other: starting takes as long as a test."""

from __future__ import annotations

import shutil

import pytest
from gradio_client import Client
from playwright.sync_api import sync_playwright
from served import served

from tests.browser.visitor import Visitor


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def installed():
    """How Chromium is started: the system's, or else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    return {"executable_path": found, "args": ["--no-sandbox", "--disable-gpu"]}


@pytest.fixture(scope="session")
def chromium(playwright, installed):
    browser = playwright.chromium.launch(**installed)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def window(playwright, installed, tmp_path_factory):
    """A window that knows Gradio's scripts from the test before, and nothing else of it (`Visitor.close`).

    It has a profile on disk: only there are scripts kept compiled, which is a quarter of the work of opening a page.
    """
    profile, size = tmp_path_factory.mktemp("profile"), {"width": 1280, "height": 900}
    context = playwright.chromium.launch_persistent_context(profile, **installed, viewport=size, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture(scope="session")
def address():
    with served() as url:
        yield url


@pytest.fixture(scope="session")
def model(address):
    rows = Client(address, verbose=False).predict(api_name="/models")
    return next(row for row in rows if row["available"])


@pytest.fixture
def visitor(address, window):
    each = Visitor(None, address, window=window)
    yield each
    each.close()
    assert each.wrong == []
