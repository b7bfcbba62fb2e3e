"""Fixtures shared by the tests: the toy generator, its exact extractor, and four of its images with dense labels."""

from __future__ import annotations

import os
import tempfile

import pytest

from linsem.extractor import Extractor
from linsem.fewshot import Annotation
from tests.toys import ToyGenerator, labelled

_CACHE = tempfile.TemporaryDirectory(prefix="linsem-cache-")
os.environ["LINSEM_CACHE"] = _CACHE.name  # also for servers that tests start: none may use the user's folder


LONG = ("tests/client/", "tests/test_zerogpu", "tests/test_elsewhere", "tests/test_evidence", "tests/test_presence")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first, so that at the end no process waits for another's."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(32)


@pytest.fixture(scope="module")
def extractor(toy: ToyGenerator) -> Extractor:
    return toy.known_extractor()


@pytest.fixture(scope="module")
def dense(toy: ToyGenerator) -> list[Annotation]:
    return labelled(toy)
