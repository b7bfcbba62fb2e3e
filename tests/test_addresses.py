"""A generator offered by its Hub address, which contains slashes, works like any other."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linsem.extractor import ExtractorError, load_extractor
from linsem.looks import Looks
from linsem.palette import write_label_map
from linsem.project import load_project
from linsem.session import Fitted
from linsem.settings import Settings
from linsem.ui.api import Api
from linsem.ui.bench import Bench
from linsem.ui.projects import Projects
from linsem.ui.segment import Segment
from linsem.ui.services import Services
from tests.toys import CATEGORIES, ToyGenerator

ADDRESS = "hub://owner/nets/net.safetensors"


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Replaces the generator at the address by a toy."""
    monkeypatch.setenv("LINSEM_MODELS", ADDRESS)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = Services.make(Settings(device="cpu"))
    made.studio._looks.get(ADDRESS, lambda: Looks(ToyGenerator(id=ADDRESS), 64 << 20))
    made.studio._shipped.get(ADDRESS, lambda: ToyGenerator(id=ADDRESS).known_extractor())
    return made


def test_the_api_fits_segments_and_exports(services, tmp_path):
    api = Api(services)
    labels = np.zeros((32, 32), np.uint8)
    labels[16:] = 1
    (tmp_path / "map.png").write_bytes(write_label_map(labels, CATEGORIES))
    file, _ = api.fit(ADDRESS, "1", [str(tmp_path / "map.png")], [{"name": c.name} for c in CATEGORIES], 0.7)
    assert load_extractor(file).generator_id == ADDRESS
    maps, _, _ = api.segment(ADDRESS, "1-2", 0.7, file)
    *_, (exported, _) = api.export(ADDRESS, None, 2, 0, 0.7)
    assert [Path(each).name for each in (file, *maps, exported)] == [
        "hub-owner-nets-net.safetensors.extractor.safetensors", "hub-owner-nets-net.safetensors-seed1.png",
        "hub-owner-nets-net.safetensors-seed2.png", "hub-owner-nets-net.safetensors-2.zip",
    ]  # fmt: skip
    assert zipfile.is_zipfile(exported)
    for made in (file, *maps, exported):
        assert Path(made).parent.parent == services.downloads.root


def test_a_program_without_an_extractor_is_told_of_the_call_that_makes_one(services, monkeypatch):
    monkeypatch.setattr(services.studio, "shipped", lambda model: None)
    with pytest.raises(ExtractorError, match="ships without an extractor: give one as `extractor`, as /fit makes it"):
        Api(services).segment(ADDRESS, "1")


def test_the_page_saves_its_extractor_its_project_and_a_data_set(services):
    bench = Bench(services)
    session = replace(bench.begin(ADDRESS), categories=CATEGORIES)
    fitted = Fitted(ToyGenerator(id=ADDRESS).known_extractor(), session.version, 0.1)
    assert load_extractor(bench.extractor_file(session, fitted)).generator_id == ADDRESS
    saved = Projects(services, bench).save(session, fitted, None, None)
    assert load_project(saved).generator_id == ADDRESS
    *_, (shown, _) = Segment(services).export(session, None, 2, 0, 0.7)
    assert zipfile.is_zipfile(shown.value["path"] if isinstance(shown.value, dict) else shown.value)
