"""What the tab About says of a generator: whether it is here, would have to be downloaded, or cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from linsem import hub
from linsem.generators import GENERATORS
from linsem.ui import about

FAR = replace(GENERATORS["stylegan2-church"], size=357_418_027)


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(hub, "is_offline", lambda: False)
    monkeypatch.setattr(hub, "cached", lambda file, **options: None)


def test_what_would_be_downloaded_says_so_and_how_much(online):
    assert about.state(FAR) == "downloads on first use (357 MB)"
    assert about.state(replace(FAR, size=None)) == "downloads on first use"


def test_what_is_in_the_cache_is_ready(online, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "cached", lambda file, **options: tmp_path)
    assert about.state(FAR) == "ready"


def test_without_the_network_it_is_not_here(online, monkeypatch):
    monkeypatch.setattr(hub, "is_offline", lambda: True)
    assert about.state(FAR) == "not here"


def test_a_local_file_is_ready_until_it_is_gone_and_what_nobody_publishes_is_not_here(online, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"x")
    mine = replace(FAR, repo=None, file=None, commit=None, path=str(path))
    assert about.state(mine) == "ready"
    path.unlink()
    assert about.state(mine) == "not here"
    assert about.state(GENERATORS["stylegan2-bedroom"]) == "not here"
