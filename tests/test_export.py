"""An exported data set holds the generator's images and the extractor's labels, and is written atomically."""

from __future__ import annotations

import io
import json
import sys
import types
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from linsem.export import ExportStep, accelerate_shard, export, iter_export, shard_path
from linsem.extractor import ExtractorError
from linsem.generator import seed_z
from linsem.palette import read_label_map
from linsem.pixels import to_rgb
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture(scope="module")
def toy():
    return ToyGenerator((32, 24))


def read(path):
    """The zip as ({seed: (rgb, labels)}, rows of the manifest, categories.json)."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        rows = [json.loads(line) for line in archive.read("manifest.jsonl").decode().splitlines()]
        pairs = {
            row["seed"]: (
                np.asarray(Image.open(io.BytesIO(archive.read(row["image"])))),
                read_label_map(archive.read(row["label"]), CATEGORIES).labels,
            )
            for row in rows
        }
        names = set(archive.namelist())
        assert names == {"categories.json", "manifest.jsonl", *(row[key] for row in rows for key in ("image", "label"))}
        return pairs, rows, json.loads(archive.read("categories.json"))


def test_every_pair_is_what_the_generator_draws_and_the_extractor_reads(toy, tmp_path):
    last = export(
        toy, toy.known_extractor(), count=5, first_seed=90, psi=0.8, out_path=tmp_path / "set.zip", batch=2
    )  # fmt: skip
    assert last == ExportStep(5, 5, tmp_path / "set.zip")
    pairs, rows, described = read(last.path)
    ws = toy.map(seed_z(toy, range(90, 95)), psi=0.8)
    for i, (rgb, labels) in enumerate(pairs.values()):
        assert np.array_equal(labels, toy.truth(ws)[i])
        assert np.abs(rgb.astype(int) - to_rgb(toy.synthesize(ws)[0])[i]).max() <= 1  # another batch, another rounding
    assert not np.array_equal(pairs[90][1], pairs[91][1])
    assert [row["seed"] for row in rows] == list(range(90, 95))
    assert {row["psi"] for row in rows} == {0.8}
    assert [category["name"] for category in described["categories"]] == [c.name for c in CATEGORIES]
    assert described["generator"] == "toy"
    assert described["unlabelled"] == 255


def test_the_score_is_the_mean_confidence(toy, tmp_path):
    sure, unsure = toy.known_extractor(), toy.known_extractor()
    unsure.weights["layer0.weight"].mul_(0.1)
    scores = {}
    for name, extractor in (("sure", sure), ("softened", replace(sure, temperature=4.0)), ("unsure", unsure)):
        path = export(toy, extractor, count=3, out_path=tmp_path / f"{name}.zip").path
        scores[name] = [row["score"] for row in read(path)[1]]
        ws = toy.map(seed_z(toy, range(3)), psi=0.7)
        mean = extractor.uncertainty(toy.synthesize(ws)[1]).mean(axis=(1, 2))
        assert scores[name] == pytest.approx(1 - mean, abs=1e-3)
    assert min(scores["sure"]) > max(scores["softened"]) > min(scores["softened"]) > max(scores["unsure"])


def test_steps_count_up_and_only_the_last_has_the_file(toy, tmp_path):
    path = tmp_path / "set.zip"
    seen = []
    for step in iter_export(toy, toy.known_extractor(), count=5, out_path=path, batch=2):
        assert path.exists() == (step.path is not None)
        seen.append((step.done, step.total, step.path))
    assert seen == [(2, 5, None), (4, 5, None), (5, 5, None), (5, 5, path)]


def test_stopping_leaves_nothing_and_an_older_file_alone(toy, tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(b"older")
    steps = iter_export(toy, toy.known_extractor(), count=50, out_path=path, batch=2)
    next(steps)
    assert len(list(tmp_path.iterdir())) == 2  # the older one, and the one in the making
    steps.close()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("set.zip", b"older")]


def test_a_failure_leaves_nothing(toy, tmp_path, monkeypatch):
    steps = iter_export(toy, toy.known_extractor(), count=50, out_path=tmp_path / "set.zip", batch=2)
    next(steps)

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(ToyGenerator, "synthesize", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(steps)
    assert list(tmp_path.iterdir()) == []


def test_shards_together_are_the_whole(toy, tmp_path):
    options = {"count": 7, "first_seed": 3, "out_path": tmp_path / "set.zip", "batch": 2}
    whole, _, _ = read(export(toy, toy.known_extractor(), **options).path)
    parts = {}
    for index in range(3):
        last = export(toy, toy.known_extractor(), shard=(index, 3), **options)
        assert last.path == tmp_path / f"set-0000{index}-of-00003.zip"
        pairs, rows, _ = read(last.path)
        assert last.total == len(rows) in (2, 3)
        assert not parts.keys() & pairs.keys()
        parts.update(pairs)
    assert parts.keys() == whole.keys()
    for seed, (rgb, labels) in whole.items():
        assert np.array_equal(parts[seed][1], labels)
        assert np.abs(parts[seed][0].astype(int) - rgb).max() <= 1


def test_accelerate_is_asked_only_when_it_is_wanted(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ValueError, match="pip install accelerate"):
        accelerate_shard()
    state = types.SimpleNamespace(process_index=2, num_processes=4, device=torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "accelerate", types.SimpleNamespace(PartialState=lambda: state))
    assert accelerate_shard() == ((2, 4), torch.device("cpu"))
    assert shard_path("a/set.zip", (2, 4)).as_posix() == "a/set-00002-of-00004.zip"
    assert shard_path("a/set.zip", (0, 1)).as_posix() == "a/set.zip"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": 0}, "count"),
        ({"batch": 0}, "batch"),
        ({"first_seed": -1}, "first_seed"),
        ({"first_seed": 2**32 - 3}, "first_seed"),
        ({"psi": float("nan")}, "psi"),
        ({"shard": (3, 3)}, "shard"),
        ({"shard": (0, 9)}, "at least 9"),
        ({"out_path": "no/such/folder/set.zip"}, "out_path"),
        ({"out_path": "."}, "out_path: expected a file"),
        ({"out_path": ""}, "out_path: expected a file"),
        ({"out_path": "/tmp"}, "out_path: expected a file"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(toy, tmp_path, options, says):
    options = {"count": 4, "out_path": tmp_path / "set.zip", **options}
    with pytest.raises(ValueError, match=says):
        iter_export(toy, toy.known_extractor(), **options)
    assert list(tmp_path.iterdir()) == []


def test_an_extractor_of_another_generator_is_refused(toy, tmp_path):
    with pytest.raises(ExtractorError, match="made for the generator 'other'"):
        iter_export(toy, ToyGenerator(id="other").known_extractor(), count=1, out_path=tmp_path / "set.zip")
