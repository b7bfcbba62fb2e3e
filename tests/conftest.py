"""What the tests of the core share: the toy generator, and the extractor that is exact for it."""

from __future__ import annotations

import os
import tempfile

import pytest

from linsem.extractor import Extractor
from tests.toys import ToyGenerator

_CACHE = tempfile.TemporaryDirectory(prefix="linsem-cache-")
os.environ["LINSEM_CACHE"] = _CACHE.name  # servers that tests start inherit it: no test writes into a user's folders


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(32)


@pytest.fixture(scope="module")
def extractor(toy: ToyGenerator) -> Extractor:
    return toy.known_extractor()
