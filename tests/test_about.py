"""The tab About: its texts on the generator, on the evidence, and on what happens to a visitor's work."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from linsem import hub
from linsem.generators import GENERATORS
from linsem.headlines import headlines
from linsem.ui import about, evidence
from linsem.ui.page import pictures

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


def test_generators_that_can_be_used_are_named_with_their_licences_and_the_others_apart(online):
    here, missing = about._models(True), about._models(False)
    assert "avatars-128" in here and "free for personal and commercial use" in here
    assert "stylegan2-bedroom" in missing and "stylegan2-bedroom" not in here and "avatars-128" not in missing
    assert "no longer published" in missing


@pytest.mark.parametrize(("hours", "says"), [(6, "deleted about 6 hours later"), (1, "deleted an hour or two later")])
def test_what_becomes_of_a_visitors_work_is_told_with_the_hours_that_are_set(hours, says):
    words = about.privacy(hours).replace("\n", " ")
    assert says in words and "your own browser keeps a copy" in words


# --- the evidence ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty evidence folder."""
    monkeypatch.setenv("LINSEM_ASSETS", str(tmp_path))
    (tmp_path / "evidence").mkdir()
    return tmp_path / "evidence"


def test_the_shipped_findings_are_all_there():
    assert len(headlines()) == 6
    titles = [title for title, _ in evidence.chapters("")]
    assert titles == [chapter.title for chapter in evidence.CHAPTERS]  # nothing shipped is without a chapter


def test_a_finding_says_the_numbers_of_its_file(folder):
    (folder / "extractors.json").write_text(json.dumps({"lse": 0.3, "nse1": 0.5, "nse2": 0.4}))
    assert [number for number, _ in headlines()] == ["60\N{NO-BREAK SPACE}%"]
    assert "mIoU 0.30 against 0.50" in headlines()[0][1]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lse": "x", "nse1": 0, "nse2": 0}', '{"lse":1,"nse1":0,"nse2":0}'])
def test_a_file_of_another_kind_is_no_finding(folder, text):
    (folder / "extractors.json").write_text(text)
    assert headlines() == []


def test_without_evidence_there_is_nothing_of_it(folder):
    assert list(evidence.chapters("")) == [] and about._facts() == ""
    folder.rmdir()
    assert list(evidence.chapters("")) == [] and pictures() == []


def test_a_file_that_no_chapter_knows_comes_last(folder):
    (folder / "extractors.md").write_text("# One\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")
    (folder / "mine-too.md").write_text("# Two <b>\n\n| miou |\n| --- |\n| 0.5 |\n")
    Image.new("RGB", (40, 20)).save(folder / "my-plot.png")
    (folder / "notes.md").write_text("Just words.")
    titles, parts = zip(*evidence.chapters("/under/"), strict=True)
    assert titles == ("How much a linear reading finds", "More tables and pictures")
    assert "Two &lt;b&gt;" in parts[1] and "<th>mIoU</th>" in parts[1]
    assert 'src="/under/evidence/my-plot.png"' in parts[1] and 'alt="my plot"' in parts[1]


def test_tables_speak_in_words_and_have_no_heading_above_the_pages_own():
    shown = "".join(html for _, html in evidence.chapters(""))
    assert not re.search(r"<h[123]|[a-z]+_[a-z]+", shown)
    assert shown.count("<table>") == len(list(evidence.folder().glob("*.md")))
    pictures = re.findall(r'alt="([^"]+)"', shown)
    assert len(pictures) == len(list(evidence.folder().glob("*.png")))
    assert all(len(caption.split()) >= 4 for caption in pictures)
