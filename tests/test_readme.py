"""The README is correct: its code runs, its settings are those of the program, its files exist."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import linsem
from linsem.export import export
from linsem.generator import seed_z
from linsem.headlines import headlines
from linsem.lab import readme_tables
from linsem.settings import settings_table
from tests.readme import README, block, blocks
from tests.toys import CATEGORIES, ToyGenerator


def test_the_python_parses():
    assert len(blocks("python")) >= 4
    for code in blocks("python"):
        compile(code, "README.md", "exec")


def test_the_settings_are_the_programs():
    assert settings_table() in README.read_text(encoding="utf-8")


def test_the_files_it_names_are_there():
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text) + re.findall(r"`((?:assets|linsem|tests)/[\w./]*)`", text)
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_its_tables_and_findings_are_those_of_the_evidence(tmp_path):
    assert readme_tables.main(["--check"]) == 0
    other = tmp_path / "README.md"
    other.write_text(README.read_text(encoding="utf-8").replace("| ours |", "| 0urs |", 1), encoding="utf-8")
    assert readme_tables.main(["--check", "--readme", str(other)]) == 1
    other.write_text("<!-- headlines -->\n<!-- end of headlines -->\n", encoding="utf-8")
    assert readme_tables.main(["--readme", str(other)]) == 0
    assert other.read_text(encoding="utf-8").count("\n- **") == len(headlines()) == 6


def test_the_data_set_snippet_reads_an_export(tmp_path, monkeypatch):
    toy = ToyGenerator((32, 24))
    export(toy, toy.known_extractor(), count=6, psi=0.7, out_path=tmp_path / "dataset.zip")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block("dataset"), "README.md", "exec"), names)
    assert names["images"].shape == (4, 32, 24, 3)
    assert names["images"].dtype == names["labels"].dtype == torch.uint8
    assert np.array_equal(names["labels"].numpy(), toy.truth(toy.map(seed_z(toy, range(4)), 0.7)))
    assert [category["name"] for category in names["data"].categories] == [c.name for c in CATEGORIES]


def test_a_generator_of_ones_own_takes_part_in_everything(tmp_path):
    names = {}
    exec(compile(block("generator"), "README.md", "exec"), names)
    G = names["G"]
    ws = G.map(seed_z(G, range(8)))
    image, features = G.synthesize(ws)
    assert image.shape == (8, 3, 16, 16)
    truth = (features[0][:, 0] > 0.5).to(torch.uint8).numpy()
    sparse = np.where(np.random.default_rng(0).random(truth.shape) < 0.1, truth, linsem.IGNORE).astype(np.uint8)
    extractor = linsem.fit_few_shot(
        G, [linsem.Annotation(w, labels) for w, labels in zip(ws[:2], sparse[:2], strict=True)], G.categories
    )
    agreement = (extractor.predict(features)[2:] == truth[2:]).mean()
    assert agreement > 0.95 > np.mean(truth[2:] == truth[0])
    result = linsem.edit(G, extractor, ws[0], truth[1], truth[0] != truth[1])
    assert (result.labels == truth[1]).mean() == 1 > (truth[0] == truth[1]).mean()
    assert export(G, extractor, count=2, out_path=tmp_path / "set.zip").done == 2


@pytest.mark.slow
def test_the_api_snippet_runs():
    names = {}
    exec(compile(block("api"), "README.md", "exec"), names)
    assert names["labels"].shape[0] == 2
    assert len(names["results"]) == 2
    assert names["results"][0].score >= names["results"][1].score
