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


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(32)


@pytest.fixture(scope="module")
def extractor(toy: ToyGenerator) -> Extractor:
    return toy.known_extractor()


@pytest.fixture(scope="module")
def dense(toy: ToyGenerator) -> list[Annotation]:
    return labelled(toy)
