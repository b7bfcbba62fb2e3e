"""Teachers from the Hub, with tiny random SegFormer networks of the same classes on the stand-in Hub."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import standin_hub
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from linsem import hub_teacher
from linsem.categories import parse_categories
from linsem.generators import FACE, GENERATORS, PAPER, STYLEGAN2_CHURCH
from linsem.hub_teacher import TEACHERS, HubTeacher, HubTeacherError, face_groups, load_hub_teacher, scene_groups

FACE_NAMES = (
    "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l neck "
    "cloth"
).split()
SCENE_NAMES = (  # as ADE20K has them, in its order, those that the paper's lists use and some others
    "wall; building; sky; floor; tree; ceiling; road; bed ; windowpane; grass; cabinet; sidewalk; person; earth; "
    "table; mountain; plant; curtain; chair; car; painting; rug; wardrobe; lamp; cushion; signboard, sign; "
    "chest of drawers; path; stairs; pillow; flower; light, light source; chandelier; fan; clock"
).split("; ")


def tiny(names, seed=0):
    torch.manual_seed(seed)
    config = SegformerConfig(
        num_labels=len(names), hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
    )  # fmt: skip
    network = SegformerForSemanticSegmentation(config).eval()
    torch.nn.init.normal_(network.decode_head.classifier.weight)  # the default one hardly tells categories apart
    return network


@pytest.fixture(scope="module")
def faces():
    return tiny(FACE_NAMES)


@pytest.fixture(scope="module")
def scenes():
    return tiny(SCENE_NAMES)


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return standin_hub.StandInHub()


def publish(server, name, network, folder, **replaced):
    network.save_pretrained(folder)
    files = {file: (folder / file).read_bytes() for file in ("config.json", "model.safetensors")} | replaced
    server.add(TEACHERS[name].repo, files, TEACHERS[name].revision)


def image_of(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# Merging


def test_the_19_face_labels_become_the_paper_s_15(faces):
    groups = face_groups(FACE, FACE_NAMES)
    assert [c.name for c in FACE] == list(hub_teacher.FACE_LABELS)
    assert sorted(i for group in groups for i in group) == list(range(19))
    assert [FACE_NAMES[i] for i in groups[4]] == ["l_eye", "r_eye"]
    shuffled = [*reversed(FACE_NAMES)]
    assert [[shuffled[i] for i in group] for group in face_groups(FACE, shuffled)] == [
        [FACE_NAMES[i] for i in group] for group in groups
    ]


def test_the_label_of_the_merged_logits_is_the_merged_label(faces):
    groups = face_groups(FACE, FACE_NAMES)
    teacher = HubTeacher(faces, FACE, groups, size=64)
    image = image_of(2, 3, 64, 64)
    merged_into = torch.tensor([next(k for k, group in enumerate(groups) if i in group) for i in range(19)])
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        own = faces(pixel_values=((image + 1) / 2 - mean) / std).logits
    own = F.interpolate(own, size=(64, 64), mode="bilinear").argmax(1)
    labels = teacher(image)
    assert labels.dtype == torch.uint8 and labels.shape == (2, 64, 64)
    assert labels.long().equal(merged_into[own])
    assert len(own.unique()) > len(labels.unique()) > 1  # something was merged, and something is told apart


def test_a_pixel_is_background_if_and_only_if_all_chosen_logits_are_negative(scenes):
    categories = parse_categories(["background", "sky", "tree", "chest"])
    groups = scene_groups(categories, SCENE_NAMES)
    assert groups == [(), (2,), (4,), (26,)]
    image = image_of(1, 3, 64, 64)
    network = copy.deepcopy(scenes)
    with torch.no_grad():  # a random network's logits may all have one sign: bring their means to 0
        network.decode_head.classifier.bias -= scenes(pixel_values=image / 0.45).logits.mean(dim=(0, 2, 3))
    teacher = HubTeacher(network, categories, groups, size=64)
    logits, labels = teacher.logits(image), teacher(image)
    assert (labels == 0).equal((logits[:, 1:] < 0).all(dim=1))
    assert 0 < (labels == 0).float().mean() < 1


def test_every_scene_list_of_the_paper_is_matched_by_name():
    for id in PAPER:
        names = [c.name for c in GENERATORS[id].categories]
        if "skin" in names:
            continue
        groups = scene_groups(GENERATORS[id].categories, SCENE_NAMES)
        assert len({group for group in groups[1:]}) == len(names) - 1
    with pytest.raises(HubTeacherError, match="'unicorn' is 0 labels"):
        scene_groups(parse_categories(["background", "unicorn"]), SCENE_NAMES)
    with pytest.raises(HubTeacherError, match="expected 'background' first"):
        scene_groups(parse_categories(["sky", "tree"]), SCENE_NAMES)
    with pytest.raises(HubTeacherError, match="is 2 labels"):
        scene_groups(parse_categories(["background", "sky"]), ["sky", "sky, heavens"])


# The interface of a teacher


def test_logits_carry_a_gradient_to_the_image_and_sizes_are_free(faces):
    teacher = HubTeacher(faces, FACE, face_groups(FACE, FACE_NAMES), size=64)
    image = image_of(1, 3, 96, 48).requires_grad_()
    logits = teacher.logits(image)
    assert logits.shape == (1, 15, 96, 48) and logits.dtype == torch.float32
    logits[:, 3].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in teacher.network.parameters())
    assert teacher(image).shape == (1, 96, 48) and not teacher(image).requires_grad
    assert teacher.features(image).shape == (1, 16)
    assert teacher.device.type == "cpu" and teacher.to("cpu") is teacher


def test_an_image_has_the_same_labels_in_any_batch(faces):
    teacher = HubTeacher(faces, FACE, face_groups(FACE, FACE_NAMES), size=64)
    image = image_of(3, 3, 64, 64)
    torch.testing.assert_close(teacher.logits(image)[1:2], teacher.logits(image[1:2]), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="expected"):
        teacher.logits(image[0])
    with pytest.raises(ValueError, match="a tensor of floats"):  # it would be labelled as white
        teacher.logits((image * 255).to(torch.uint8))


# From the Hub


def test_the_face_parser_of_a_generator_comes_from_the_hub(server, faces, tmp_path):
    publish(server, "faces", faces, tmp_path / "net")
    with server.serving() as endpoint:
        teacher = load_hub_teacher("stylegan2-ffhq", endpoint=endpoint)
    assert teacher.categories == FACE and teacher.size == 512
    image = image_of(1, 3, 64, 64)
    expected = HubTeacher(faces, FACE, face_groups(FACE, FACE_NAMES), size=512)
    other = HubTeacher(tiny(FACE_NAMES, seed=1), FACE, face_groups(FACE, FACE_NAMES), size=512)
    torch.testing.assert_close(teacher.logits(image), expected.logits(image), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(teacher.logits(image), other.logits(image), atol=1e-2)


def test_the_scene_parser_comes_from_its_pull_request_and_again_from_the_cache(server, scenes, tmp_path, monkeypatch):
    publish(server, "scenes", scenes, tmp_path / "net")
    with server.serving() as endpoint:
        teacher = load_hub_teacher(STYLEGAN2_CHURCH, endpoint=endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = load_hub_teacher("stylegan2-church")
    assert teacher.categories == again.categories == STYLEGAN2_CHURCH and teacher.size == 640
    assert teacher(image_of(1, 3, 64, 64)).equal(again(image_of(1, 3, 64, 64)))


def test_what_is_wrong_with_a_teacher_on_the_hub_is_said(server, faces, tmp_path, monkeypatch):
    with server.serving() as endpoint:

        def said(**replaced):
            publish(server, "faces", faces, tmp_path / "net", **replaced)
            with pytest.raises(HubTeacherError) as caught:
                load_hub_teacher(FACE, endpoint=endpoint)
            return str(caught.value)

        config = json.loads(json.dumps(faces.config.to_dict()))
        assert "does not describe a network" in said(**{"config.json": b"[]"})
        assert "expected a SegFormer" in said(**{"config.json": json.dumps({**config, "model_type": "bert"}).encode()})
        assert "is no SegFormer" in said(**{"model.safetensors": b"not tensors" * 1000})
        state = load_file(tmp_path / "net" / "model.safetensors")
        assert any(key.startswith("segformer.encoder.block.0.0") for key in state)  # the names of the published files
        save_file({k: v for k, v in state.items() if "classifier" not in k}, tmp_path / "cut", {"format": "pt"})
        assert "weights are missing" in said(**{"model.safetensors": (tmp_path / "cut").read_bytes()})
        monkeypatch.setitem(TEACHERS, "faces", replace(TEACHERS["faces"], repo="owner/nowhere"))
        with pytest.raises(HubTeacherError, match="does not exist or is private"):
            load_hub_teacher(FACE, endpoint=endpoint)


def test_labels_of_another_order_of_names_are_refused(server, tmp_path):
    publish(server, "faces", tiny([f"LABEL_{i}" for i in range(19)]), tmp_path / "net")
    with server.serving() as endpoint, pytest.raises(HubTeacherError, match="expected the labels"):
        load_hub_teacher(FACE, endpoint=endpoint)


def test_without_transformers_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(HubTeacherError, match="pip install transformers"):
        load_hub_teacher(FACE)


def test_what_has_no_teacher_is_refused():
    with pytest.raises(HubTeacherError, match="expected a generator of the zoo"):
        load_hub_teacher("avatars")
    with pytest.raises(HubTeacherError, match="expected one of faces"):
        load_hub_teacher(FACE, name="cats")
    with pytest.raises(HubTeacherError, match="groups"):
        HubTeacher(None, FACE, [()])
