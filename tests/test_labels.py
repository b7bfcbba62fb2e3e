"""The label of a conditional network, chosen in the library, the API and the shell, and refused if there is none."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from linsem import cli, suggest
from linsem.checkpoints.own import write_safetensors
from linsem.errors import InputError
from linsem.extractor import ExtractorError
from linsem.generator import seed_z
from linsem.palette import parse_categories
from linsem.project import Project, ProjectError, load_project, save_project
from linsem.session import Fitted, new_session
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.ui.api import Api
from linsem.ui.bench import usable
from linsem.ui.services import Services
from linsem.zoo import ModelError, available_models, load_generator, split_label
from tests.toys import ToyGenerator
from tests.writers import nets
from tests.writers.nvidia_torch import write_nvidia_torch

CATEGORIES = parse_categories(["low", "high"])
SHORT = 20  # steps: from so many on an edit draws samples first


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """The file of a network with four labels, which this installation offers."""
    path = tmp_path / "four.pkl"
    write_nvidia_torch(path, nets.random_state(nets.CONDITIONAL), clamp=256.0)
    monkeypatch.setenv("LINSEM_MODELS", str(path))
    return path


def fitted_to_brightness(studio, model):
    """Labels of two images, and an extractor that is fitted to them."""
    ws, rgb = studio.draw(model, [0, 1], 1.0)
    bright = rgb.astype(float).mean(-1)
    labels = [(each > np.median(each)).astype(np.uint8) for each in bright]
    return labels, studio.fit(model, list(ws), labels, CATEGORIES)


def pixels(path):
    """The picture in a file."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_name_with_a_label_draws_that_label(labelled):
    plain = load_generator(labelled)
    z = seed_z(plain, [1, 2])
    for label in range(4):
        c = torch.eye(4)[[label, label]]
        assert torch.equal(load_generator(f"{labelled}~{label}").map(z, 0.7), plain.map(z, 0.7, c=c))
    assert torch.equal(plain.map(z), plain.map(z, c=torch.zeros(2, 4)))
    assert not torch.allclose(plain.map(z), load_generator(f"{labelled}~1").map(z), atol=1e-3)
    one = load_generator(f"{labelled}~1")
    assert torch.equal(one.map(z, c=torch.eye(4)[[3, 3]]), plain.map(z, c=torch.eye(4)[[3, 3]]))  # what is said, holds


def test_every_label_shares_the_parameters(labelled):
    studio = Studio()
    first, second = studio.generator("four.pkl~1"), studio.generator("four.pkl~2")
    assert first.mapping is second.mapping and first.synthesis is second.synthesis
    assert (first.label, second.label, studio.generator("four.pkl").label) == (1, 2, None)


def test_a_program_and_a_shell_see_the_same_image_of_a_label(labelled, tmp_path, capsys):
    api = Api(Services.make(Settings()))
    images = {name: pixels(api.generate(name, "5", 1.0)[0]) for name in ("four.pkl", "four.pkl~0", "four.pkl~3")}
    assert len({image.tobytes() for image in images.values()}) == 3
    generator = load_generator(labelled)
    ws = generator.map(seed_z(generator, [5]), c=torch.eye(4)[3:])
    direct = generator.synthesize(ws)[0]
    assert np.array_equal(images["four.pkl~3"], ((direct[0] * 127.5 + 128).clamp(0, 255).byte()).permute(1, 2, 0))
    out = tmp_path / "images"
    assert cli.main(["generate", "--model", "four.pkl~3", "--seeds", "5", "--psi", "1", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "four.pkl~3"
    assert np.array_equal(np.asarray(Image.open(out / "seed5.png")), images["four.pkl~3"])


def test_an_extractor_serves_all_labels_and_samples_are_of_the_chosen_one(labelled):
    studio = Studio()
    labels, extractor = fitted_to_brightness(studio, "four.pkl~1")
    assert extractor.generator_id == "four.pkl" and studio.extractor("four.pkl~2", extractor) is extractor
    with pytest.raises(ExtractorError, match="chosen one is 'avatars-64'"):
        studio.extractor("avatars-64", extractor)
    options = {"count": 2, "candidates": 4, "steps": 0}
    *_, last = studio.sample("four.pkl~2", extractor, labels[0], **options)
    assert np.allclose(last.ws, studio.latents("four.pkl~2", last.seeds, 1.0), atol=1e-6)
    assert not np.allclose(last.ws, studio.latents("four.pkl~1", last.seeds, 1.0), atol=1e-3)


def test_images_are_suggested_of_the_chosen_label(labelled, monkeypatch):
    studio, looked = Studio(), []
    seen = suggest.looked_at
    monkeypatch.setattr(suggest, "looked_at", lambda G, ws, **more: looked.append(ws) or seen(G, ws, **more))
    studio.draw("four.pkl~1", [0], 1.0)
    assert sorted(studio.suggest("four.pkl~2", range(4), 4, 1.0)) == [0, 1, 2, 3]
    assert np.allclose(looked[0], studio.latents("four.pkl~2", range(4), 1.0), atol=1e-6)
    assert not np.allclose(looked[0], studio.latents("four.pkl~1", range(4), 1.0), atol=1e-3)


def test_what_is_fitted_is_of_use_for_every_label(labelled):
    session = new_session("four.pkl~2", CATEGORIES)
    extractor = ToyGenerator().known_extractor()
    for name, use in (("four.pkl", True), ("five.pkl", False)):
        fitted = Fitted(replace(extractor, generator_id=name, categories=CATEGORIES), 0, 0.0)
        assert usable(session, fitted) == use


def test_a_label_can_be_offered_by_itself(labelled, monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", f"{labelled}~2,{labelled}~3")
    assert [(row["id"], row["available"]) for row in available_models()] == [("four.pkl~2", True), ("four.pkl~3", True)]
    z = torch.randn(1, 12)
    assert torch.equal(load_generator("four.pkl~2").map(z), load_generator(f"{labelled}~2").map(z))
    assert Studio().check_model("four.pkl~2") == "four.pkl~2"
    studio = Studio()
    studio.fetch("four.pkl~2")  # as on the page, before a worker on a GPU is asked for
    _, rgb = studio.draw("four.pkl~2", [5], 1.0)
    assert np.array_equal(rgb, pixels(Api(Services.make(Settings())).generate("four.pkl~2", "5", 1.0)[0])[None])


def test_images_of_several_labels_are_edited_in_one_server(labelled):
    """Their parameters are shared, and what an edit starts from is each label's own."""
    studio = Studio()
    labels, extractor = fitted_to_brightness(studio, "four.pkl~1")
    for name in ("four.pkl~1", "four.pkl~2", "four.pkl"):
        start = studio.latents(name, [3], 1.0)[0]
        *_, last = studio.edit(name, extractor, start, labels[0], steps=SHORT)
        assert last.report["steps"] <= SHORT and last.ws.shape == start.shape


def test_a_label_that_is_not_known_is_a_sentence(labelled, tmp_path):
    with pytest.raises(ModelError, match=r"label: 'four\.pkl' knows 0\.\.3, got 4"):
        load_generator(f"{labelled}~4")
    unlabelled = tmp_path / "none.safetensors"
    for family, config in (("stylegan2", nets.STYLEGAN2), ("pggan", nets.PGGAN_)):
        write_safetensors(unlabelled, family, config, nets.random_state(config))
        with pytest.raises(ModelError, match="trained without labels"):
            load_generator(f"{unlabelled}~0")
    with pytest.raises(ModelError, match=r"model: expected one of four\.pkl"):
        Studio().check_model("five.pkl~0")


@pytest.mark.parametrize("label", ["1", 1.5, -1])
def test_a_label_is_a_whole_number(labelled, label):
    network = load_generator(labelled)
    assert network.with_label(np.int64(2)).label == 2 and network.with_label(2).with_label(None).label is None
    with pytest.raises(InputError, match="label: expected a whole number"):
        network.with_label(label)


def test_only_a_number_after_the_tilde_is_a_label(tmp_path):
    assert split_label("a~3") == ("a", 3) and split_label("a~3~4") == ("a~3", 4)
    for plain in ("a", "~3", "a~", "a~b", "a~-1", "a~1234567", "hub://o/r/f.pkl"):
        assert split_label(plain) == (plain, None)
    (tmp_path / "net~1").write_bytes(b"")
    assert split_label(tmp_path / "net~1") == (str(tmp_path / "net~1"), None)  # a file of that name comes first


def test_a_data_set_and_a_project_know_the_label(labelled, tmp_path):
    """By which the images of a data set are drawn again; one extractor serves all labels, also in a file."""
    name, size = "four.pkl~3", load_generator(labelled).size
    assert cli.main(["fit", "--model", name, "--seeds", "0", "--label-maps", str(halves(tmp_path, size)),
                     "--out", str(tmp_path / "e.safetensors")]) == 0  # fmt: skip
    assert cli.main(["export", "--model", name, "--num", "2", "--extractor", str(tmp_path / "e.safetensors"),
                     "--out", str(tmp_path / "d.zip")]) == 0  # fmt: skip
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        assert json.loads(archive.read("categories.json"))["generator"] == name
    data = (tmp_path / "e.safetensors").read_bytes()
    save_project(Project(name, 0.7, CATEGORIES, (), {}, data), tmp_path / "p.zip")
    assert load_project(tmp_path / "p.zip").extractor == data
    with pytest.raises(ProjectError, match=r"made for 'four\.pkl'"):
        save_project(Project("five.pkl~3", 0.7, CATEGORIES, (), {}, data), tmp_path / "p.zip")


def halves(folder, size):
    """Write a label map of two halves."""
    labels = np.zeros(size, np.uint8)
    labels[: size[0] // 2] = 1
    Image.fromarray(labels).save(folder / "halves.png")
    return folder / "halves.png"
