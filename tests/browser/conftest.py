"""One browser, a window of it, and a served app for all tests that need no other: starting takes as long as a test."""

from __future__ import annotations

import shutil

import pytest
from gradio_client import Client
from playwright.sync_api import sync_playwright
from served import served

from tests.browser.visitor import Visitor


@pytest.fixture(scope="session")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)  # else Playwright's own
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def window(chromium):
    """A window that knows Gradio's scripts from the test before, and nothing else of it (`Visitor.close`)."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
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
def visitor(chromium, address, window):
    each = Visitor(chromium, address, window=window)
    yield each
    each.close()
    assert each.wrong == []
