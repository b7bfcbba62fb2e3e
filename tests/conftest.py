"""What the tests of the core share: the toy generator, and the extractor that is exact for it."""

from __future__ import annotations

import pytest

from linsem.extractor import Extractor
from tests.toys import ToyGenerator


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(32)


@pytest.fixture(scope="module")
def extractor(toy: ToyGenerator) -> Extractor:
    return toy.known_extractor()
