"""The named endpoints of a running server: documented results, sentences for bad input, separate visitors."""

from __future__ import annotations

import inspect
import json
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from linsem.extractor import load_extractor, save_extractor
from linsem.latents import load_latents
from linsem.palette import parse_categories, read_label_map, write_label_map

pytestmark = pytest.mark.filterwarnings("ignore")  # what the client's own libraries warn of is not ours

CONTRACT = {
    "models": [],
    "generate": ["model", "seeds", "psi"],
    "fit": ["model", "seeds", "label_maps", "categories", "psi"],
    "segment": ["model", "seeds", "psi", "extractor"],
    "edit": ["model", "seed", "latent", "psi", "target", "region", "extractor", "steps"],
    "add": ["model", "category", "seed", "latent", "psi", "region", "extractor", "steps"],
    "remove": ["model", "category", "seed", "latent", "psi", "region", "extractor", "steps"],
    "sample": ["model", "layout", "count", "candidates", "steps", "seed", "extractor", "look"],
    "export": ["model", "extractor", "count", "first_seed", "psi"],
}


@pytest.fixture(scope="module")
def model(address):
    rows = Client(address, verbose=False).predict(api_name="/models")
    return next(row for row in rows if row["available"])


@pytest.fixture(scope="module")
def categories(model):
    return parse_categories(model["categories"])


@pytest.fixture(scope="module")
def read(address, model, categories, tmp_path_factory):
    """The labels (4, H, W) that the shipped extractor predicts for seeds 0 to 3."""
    client = Client(address, verbose=False, download_files=tmp_path_factory.mktemp("read"))
    files, _, _ = client.predict(model["id"], "0-3", 0.7, None, api_name="/segment")
    return np.stack([read_label_map(Path(file), categories).labels for file in files])


def written(folder, labels, categories, name="map.png"):
    path = folder / name
    path.write_bytes(write_label_map(labels, categories))
    return handle_file(str(path))


def scribbled(labels, keep=40, seed=0):
    """Keep a few pixels of each category; the rest is unknown."""
    rng, sparse = np.random.default_rng(seed), np.full_like(labels, 255)
    for k in np.unique(labels):
        where = np.flatnonzero(labels == k)
        sparse.ravel()[rng.choice(where, min(keep, len(where)), replace=False)] = k
    return sparse


def refused(client, *args, **kwargs):
    """The sentence with which a call is refused."""
    with pytest.raises(AppError) as caught:
        client.predict(*args, **kwargs)
    sentence = str(caught.value)
    assert len(sentence) > 15 and sentence != "None" and "Traceback" not in sentence
    return sentence


def test_the_endpoints_are_those_of_the_contract(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    named = {name.strip("/"): [p["parameter_name"] for p in row["parameters"]] for name, row in endpoints.items()}
    assert named == CONTRACT


def test_the_contract_is_not_kept_by_any_names_at_all():
    from linsem.ui.api import Api

    for name, parameters in CONTRACT.items():
        assert list(inspect.signature(getattr(Api, name)).parameters)[1:] == parameters


def test_models_are_described(client):
    rows = client.predict(api_name="/models")
    assert any(row["available"] for row in rows)
    for row in rows:
        assert set(row) == {"id", "family", "resolution", "categories", "source", "licence", "available", "help"}


def test_a_seed_is_one_image_in_any_call(client, model):
    three = client.predict(model["id"], "5,1-2", 0.7, api_name="/generate")
    alone = client.predict(model["id"], "1", 0.7, api_name="/generate")
    images = [np.asarray(Image.open(item["image"])) for item in three]
    assert [image.shape for image in images] == [(model["resolution"], model["resolution"], 3)] * 3
    assert np.array_equal(images[1], np.asarray(Image.open(alone[0]["image"])))
    assert not np.array_equal(images[0], images[1])


def test_a_fit_on_scribbles_reads_other_images_as_the_maps_that_were_scribbled_from(
    client, model, categories, read, tmp_path
):
    maps = [written(tmp_path, scribbled(read[i]), categories, f"{i}.png") for i in (0, 1, 2)]
    file, report = client.predict(model["id"], "0-2", maps, None, 0.7, api_name="/fit")
    assert report["images"] == 3 and report["agreement"] > 0.9
    assert report["pixels"] == sum(int((scribbled(read[i]) != 255).sum()) for i in (0, 1, 2))
    assert load_extractor(file).categories == categories
    files, overlays, told = client.predict(model["id"], "3", 0.7, handle_file(file), api_name="/segment")
    mine = read_label_map(Path(files[0]), categories).labels
    assert (mine == read[3]).mean() > 0.8
    assert (mine == np.roll(read[3], mine.shape[0] // 2, 0)).mean() < (mine == read[3]).mean() - 0.1
    assert len(overlays) == 1 and abs(sum(told["images"][0]["shares"].values()) - 1) < 1e-3
    assert 0 <= told["images"][0]["mean_uncertainty"] <= 1


def test_own_categories_are_taken(client, model, read, tmp_path):
    own = [{"name": "figure"}, {"name": "ground", "color": "#112233"}]
    labels = np.where(read[0] == 0, 1, 0).astype(np.uint8)
    labels[::2] = 255
    file, report = client.predict(
        model["id"], "0", [written(tmp_path, labels, parse_categories(own))], own, 0.7, api_name="/fit"
    )
    assert [c.name for c in load_extractor(file).categories] == ["figure", "ground"]
    assert report["agreement"] > 0.9


def wish(read, categories):
    """An unmet target on seed 0: the left half of its second largest category becomes the largest one."""
    count = np.bincount(read[0].ravel(), minlength=len(categories))
    first, second = np.argsort(-count)[:2]
    target = np.full_like(read[0], 255)
    rows, columns = np.nonzero(read[0] == second)
    left = columns <= np.median(columns)
    target[rows[left], columns[left]] = first
    return target


def test_an_edit_moves_towards_its_target_and_its_latent_goes_on(client, model, categories, read, tmp_path):
    target = written(tmp_path, wish(read, categories), categories)
    image, labels, latent, report = client.predict(model["id"], 0, None, 0.7, target, None, None, 20, api_name="/edit")
    assert {"agreement_before", "agreement_after", "outside_change", "steps", "seconds"} <= set(report)
    assert report["agreement_before"] < 0.1 and report["agreement_after"] > report["agreement_before"] + 0.1
    assert load_latents(latent, model["id"]).shape[0] == 1
    assert read_label_map(Path(labels), categories).labels.shape == read[0].shape
    before = client.predict(model["id"], "0", 0.7, api_name="/generate")[0]["image"]
    assert not np.array_equal(np.asarray(Image.open(image)), np.asarray(Image.open(before)))
    *_, again = client.predict(model["id"], 0, handle_file(latent), 0.7, target, None, None, 1, api_name="/edit")
    assert again["agreement_before"] == pytest.approx(report["agreement_after"], abs=0.02)


def test_a_category_is_taken_out_by_its_name_and_brought_in_again(client, model, categories, read):
    names = [each.name for each in categories]
    k = next(k for k in (names.index("hat"), names.index("hair")) if (read[0] == k).any())
    name = names[k]
    asked = (model["id"], name, 0, None, 0.7, None, None, 20)
    image, labels, latent, report = client.predict(*asked, api_name="/remove")
    left = read_label_map(Path(labels), categories).labels == k
    assert report["gone"] > 0.1 and left.sum() < (read[0] == k).sum()
    assert load_latents(latent, model["id"]).shape[0] == 1 and Image.open(image).size == read[0].shape[::-1]
    asked = (model["id"], name, 0, handle_file(latent), 0.7, None, None, 20)
    _, labels, _, report = client.predict(*asked, api_name="/add")
    assert report["there"] > 0.5 and (read_label_map(Path(labels), categories).labels == k).sum() > left.sum()
    for endpoint in ("/add", "/remove"):
        with pytest.raises(Exception, match="Category: expected one of"):
            client.predict(model["id"], "halo", 0, None, 0.7, None, None, 20, api_name=endpoint)


def test_frames_of_an_edit_arrive_while_it_runs(client, model, categories, read, tmp_path):
    target = written(tmp_path, wish(read, categories), categories)
    job = client.submit(model["id"], 0, None, 0.7, target, None, None, 16, api_name="/edit")
    frames = list(job)
    assert len(frames) >= 3 and frames[-1][2] is not None and frames[0][2] is None


def test_samples_obey_a_layout_better_than_other_images_do(client, model, categories, read, tmp_path):
    layout = written(tmp_path, read[1], categories)
    gallery, files, latents, report = client.predict(model["id"], layout, 2, 24, 5, 100, None, api_name="/sample")
    scores = [row["score"] for row in report["results"]]
    assert scores == sorted(scores, reverse=True) and len(gallery) == len(files) == 2
    assert all(100 <= row["seed"] < 124 for row in report["results"])
    assert report["nearest"] > 0.25 and report["note"] == ""
    assert len(load_latents(latents, model["id"])) == 2
    best = read_label_map(Path(files[0]), categories).labels
    others = [(read[i] == read[1]).mean() for i in (0, 2, 3)]
    assert (best == read[1]).mean() > np.mean(others)


def test_a_layout_that_nothing_resembles_is_told_and_a_look_is_a_seed_s(address, client, model, categories, tmp_path):
    absurd = written(tmp_path, np.full((64, 64), 7, np.uint8), categories, "absurd.png")
    images = []
    for look in ({}, {"look": 5}):
        gallery, *_, report = client.predict(model["id"], absurd, 1, 12, 0, 0, None, api_name="/sample", **look)
        assert "No image of 12 resembles" in report["note"] and report["nearest"] < 0.25
        images.append(np.asarray(Image.open(gallery[0]["image"])))
    assert not np.array_equal(*images)
    assert "look" in refused(client, model["id"], absurd, 1, 12, 0, 0, None, -1, api_name="/sample").lower()
    answer = raw(address, "sample", [model["id"], None, 1, 12, 0, 0, None])  # as it was called before there were looks
    assert "layout: expected" in answer.lower()


def test_an_export_is_a_data_set(client, model, categories):
    file, report = client.predict(model["id"], None, 5, 40, 0.7, api_name="/export")
    with zipfile.ZipFile(file) as archive:
        rows = [json.loads(line) for line in archive.read("manifest.jsonl").decode().splitlines()]
        assert [row["seed"] for row in rows] == [40, 41, 42, 43, 44]
        labels = read_label_map(archive.read(rows[0]["label"]), categories).labels
        assert labels.shape == (model["resolution"], model["resolution"])
        assert {"categories.json", rows[0]["image"]} <= set(archive.namelist())
    assert report["images"] == 5


def bad_calls(model, folder, good):
    """Bad calls: (what the sentence must name, endpoint, arguments)."""
    text = folder / "text.png"
    text.write_text("not an image")
    huge = folder / "huge.png"
    Image.new("L", (9000, 9000)).save(huge)
    foreign = folder / "foreign.png"
    Image.new("RGB", (64, 64), "#010203").save(foreign)
    blank = folder / "blank.png"
    Image.new("L", (64, 64), 255).save(blank)
    single = folder / "single.png"
    Image.new("L", (64, 64), 1).save(single)
    name, file = model["id"], lambda path: handle_file(str(path))
    return [
        ("model", "/generate", ("nothing-like-it", "1", 0.7)),
        ("seeds", "/generate", (name, "1-x", 0.7)),
        ("seeds", "/generate", (name, "", 0.7)),
        ("seeds", "/generate", (name, "0-100000", 0.7)),
        ("psi", "/generate", (name, "1", 7)),
        ("label_maps", "/fit", (name, "0-1", [good], None, 0.7)),
        ("label map", "/fit", (name, "0", [file(text)], None, 0.7)),
        ("expected at most", "/fit", (name, "0", [file(huge)], None, 0.7)),
        ("#010203", "/fit", (name, "0", [file(foreign)], None, 0.7)),
        ("unknown", "/fit", (name, "0", [file(blank)], None, 0.7)),
        ("painted", "/fit", (name, "0", [file(single)], None, 0.7)),
        ("categories", "/fit", (name, "0", [good], [{"name": ""}], 0.7)),
        ("extractor", "/segment", (name, "0", 0.7, file(text))),
        ("target", "/edit", (name, 0, None, 0.7, None, None, None, 10)),
        ("steps", "/edit", (name, 0, None, 0.7, good, None, None, 0)),
        ("steps", "/edit", (name, 0, None, 0.7, good, None, None, 10**9)),
        ("seed", "/edit", (name, -1, None, 0.7, good, None, None, 10)),
        ("seed", "/edit", (name, 0.5, None, 0.7, good, None, None, 10)),
        ("latent", "/edit", (name, 0, file(text), 0.7, good, None, None, 10)),
        ("region", "/edit", (name, 0, None, 0.7, good, file(text), None, 10)),
        ("nothing is painted", "/edit", (name, 0, None, 0.7, file(blank), None, None, 10)),
        ("layout", "/sample", (name, None, 2, 20, 5, 0, None)),
        ("layout", "/sample", (name, file(blank), 2, 20, 5, 0, None)),
        ("count", "/sample", (name, good, 0, 20, 5, 0, None)),
        ("candidates", "/sample", (name, good, 4, 2, 5, 0, None)),
        ("count", "/export", (name, None, 10**7, 0, 0.7)),
        ("first_seed", "/export", (name, None, 5, -1, 0.7)),
    ]


def test_bad_input_gets_a_sentence_that_names_it_and_the_server_goes_on(client, model, categories, read, tmp_path):
    good = written(tmp_path, read[0], categories, "good.png")
    for named, endpoint, args in bad_calls(model, tmp_path, good):
        sentence = refused(client, *args, api_name=endpoint)
        assert named.lower() in sentence.lower(), (endpoint, named, sentence)
        assert str(tmp_path) not in sentence
    assert len(client.predict(model["id"], "0", 0.7, api_name="/generate")) == 1


def test_an_extractor_of_another_generator_is_refused(client, model, read, categories, tmp_path):
    from dataclasses import replace

    file, _ = client.predict(model["id"], "0", [written(tmp_path, read[0], categories)], None, 0.7, api_name="/fit")
    path = tmp_path / "other.safetensors"
    save_extractor(replace(load_extractor(file), generator_id="another-one"), path)
    assert "another-one" in refused(client, model["id"], "0", 0.7, handle_file(str(path)), api_name="/segment")


def raw(address, name, data):
    """Call an endpoint without a client; returns the server-sent events as text."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(f"{address}gradio_api/call/{name}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}gradio_api/call/{name}/{event}", timeout=120) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_no_path_outside_the_uploads_is_read(address, model, meta):
    secret = {"path": str(Path(__file__).resolve()), **meta}
    answer = raw(address, "edit", [model["id"], 0, None, 0.7, secret, None, None, 5])
    assert "event: error" in answer and "event: complete" not in answer
    assert "test_no_path_outside" not in answer


def test_a_value_that_cannot_be_read_is_told_by_its_parameter(address, model):
    answer = raw(address, "fit", [model["id"], "0", "map.png", None, 0.7])
    assert "/fit: label_maps: expected uploaded files, got something else." in answer
    answer = raw(address, "segment", [model["id"], "0", 0.7, "mine.safetensors"])
    assert "/segment: extractor: expected an uploaded file, got something else." in answer
    assert '"label_maps: expected one a seed' in raw(address, "fit", [model["id"], "0", [], None, 0.7])
    assert "(model, seeds, psi), got 4" in raw(address, "generate", [model["id"], "0", 0.7, 5])


def test_numbers_that_are_none_get_a_sentence(address, model):
    for value in (float("nan"), float("inf"), "seven", None, [], {}):
        answer = raw(address, "sample", [model["id"], None, value, 20, 5, 0, None])
        assert "event: error" in answer and "Traceback" not in answer


def test_two_clients_know_nothing_of_each_other(address, model, categories, read, tmp_path):
    first, second = (Client(address, verbose=False, download_files=tmp_path / str(i)) for i in range(2))
    upside_down = written(tmp_path, np.ascontiguousarray(read[0][::-1]), categories)
    before = second.predict(model["id"], "0", 0.7, None, api_name="/segment")[2]
    first.predict(model["id"], "0", [upside_down], None, 0.7, api_name="/fit")
    assert second.predict(model["id"], "0", 0.7, None, api_name="/segment")[2] == before
    assert first.predict(model["id"], "0", 0.7, None, api_name="/segment")[2] == before
