"""Fixtures shared by the tests: the toy generator and its exact extractor."""

from __future__ import annotations

import os
import tempfile

import pytest

from linsem.extractor import Extractor
from tests.toys import ToyGenerator

_CACHE = tempfile.TemporaryDirectory(prefix="linsem-cache-")
os.environ["LINSEM_CACHE"] = _CACHE.name  # also for servers that tests start: none may use the user's folder


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(32)


@pytest.fixture(scope="module")
def extractor(toy: ToyGenerator) -> Extractor:
    return toy.known_extractor()
