"""One served app for all tests in a browser that need no other: starting it takes as long as a test."""

from __future__ import annotations

import pytest
from gradio_client import Client
from served import served


@pytest.fixture(scope="session")
def address():
    with served() as url:
        yield url


@pytest.fixture(scope="session")
def model(address):
    rows = Client(address, verbose=False).predict(api_name="/models")
    return next(row for row in rows if row["available"])
