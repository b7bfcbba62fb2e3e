"""The teacher's file, entry points and training, on networks of a few thousand parameters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from linsem.errors import InputError
from linsem.lab import degrade, drawings
from linsem.lab.judge import scores_of
from linsem.lab.train_teacher import Run, as_teacher, class_weights, loss_of, train
from linsem.palette import parse_categories
from linsem.teacher import Teacher, TeacherConfig, TeacherError, UNet, load_teacher, save_teacher

CATEGORIES = parse_categories(["background", "square", "line"])
CONFIG = TeacherConfig(3, (8, 8, 8, 8))


def _network(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    network = UNet(CONFIG)
    with torch.no_grad():  # statistics that folding has to get right
        for name, value in network.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                value.normal_()
    return network.eval()


def _scenes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes of 32 px: a dark square and a one-pixel red line on a light background."""
    random = np.random.default_rng(seed)
    rgb = np.full((count, 32, 32, 3), 220, np.uint8)
    labels = np.zeros((count, 32, 32), np.uint8)
    for picture, label in zip(rgb, labels, strict=True):
        top, left, row = random.integers(2, 18), random.integers(2, 18), random.integers(1, 31)
        picture[top : top + 12, left : left + 12], label[top : top + 12, left : left + 12] = (40, 60, 160), 1
        picture[row, 4:28], label[row, 4:28] = (230, 30, 30), 2
    return rgb, labels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_teacher(_network(), CATEGORIES, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def test_file_round_trip_keeps_what_it_says(path: Path) -> None:
    image = torch.rand(2, 3, 32, 48) * 2 - 1
    loaded, made = load_teacher(path), Teacher(_network(), CATEGORIES)
    assert loaded.categories == CATEGORIES
    torch.testing.assert_close(loaded.logits(image), made.logits(image), atol=2e-2, rtol=2e-2)
    other = Teacher(_network(seed=1), CATEGORIES)
    assert (other.logits(image) - made.logits(image)).abs().max() > 0.1


def test_folding_the_normalisation_changes_nothing() -> None:
    network, image = _network(), torch.rand(2, 3, 32, 32) * 2 - 1
    before = network(image).detach()
    assert any("norm" in name for name in network.state_dict())
    teacher = Teacher(network, CATEGORIES)
    assert not any("norm" in name for name in teacher.network.state_dict())
    torch.testing.assert_close(teacher.logits(image), before, atol=1e-4, rtol=1e-4)


def test_calls_give_labels_features_and_gradients(path: Path) -> None:
    teacher = load_teacher(path)
    image = (torch.rand(2, 3, 32, 48) * 2 - 1).requires_grad_()
    labels, logits, features = teacher(image), teacher.logits(image), teacher.features(image)
    assert labels.shape == (2, 32, 48) and labels.dtype == torch.uint8
    assert torch.equal(labels.long(), logits.argmax(1)) and logits.shape == (2, 3, 32, 48)
    assert features.shape == (2, 8) and not features.requires_grad
    logits.square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_an_image_s_labels_do_not_depend_on_its_batch(path: Path) -> None:
    teacher, image = load_teacher(path), torch.rand(3, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(teacher.logits(image)[1:2], teacher.logits(image[1:2]), atol=1e-5, rtol=1e-5)


def test_images_are_clamped(path: Path) -> None:
    teacher, image = load_teacher(path), torch.randn(1, 3, 16, 16) * 2
    assert torch.equal(teacher.logits(image), teacher.logits(image.clamp(-1, 1)))
    assert not torch.equal(teacher.logits(image * 0.1), teacher.logits(image))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 24, 32), (1, 3, 32, 0)])
def test_images_of_other_shapes_are_refused(path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 16, got \("):
        load_teacher(path)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"a tensor of floats in \[-1, 1\], got torch.uint8"),
        (np.zeros((1, 3, 32, 32), np.float32), "a tensor of floats in .*, got ndarray"),
        (torch.full((1, 3, 32, 32), torch.nan), "not finite"),
        (torch.zeros(0, 3, 32, 32), r"got \(0, 3, 32, 32\)"),
    ],
)
def test_what_cannot_be_judged_is_refused(path: Path, image: object, says: str) -> None:
    """It would be labelled all the same, as anything."""
    teacher = load_teacher(path)
    for judge in (teacher, teacher.features):
        with pytest.raises(InputError, match=f"image: .*{says}"):
            judge(image)


def _rewritten(path: Path, state: dict | None = None, **metadata: str) -> Path:
    good = {
        "format": "linsem-teacher", "version": "1", "config": json.dumps({"categories": 3, "widths": [8, 8, 8, 8]}),
        "categories": json.dumps(["background", "square", "line"]),
    }  # fmt: skip
    save_file(load_file(path) if state is None else state, path, metadata=good | metadata)
    return path


def test_files_are_checked(path: Path, tmp_path: Path) -> None:
    state = load_file(path)
    load_teacher(_rewritten(path))  # what the others differ from
    nan = state | {"head.bias": torch.full_like(state["head.bias"], torch.nan)}
    for wrong, message in (
        ({"format": "linsem-extractor"}, "linsem-extractor"),
        ({"version": "9"}, "'9'"),
        ({"config": "[]"}, "bad metadata"),
        ({"config": "[" * 200_000}, "bad metadata"),
        ({"config": "[" * (1 << 21)}, "its header: expected at most 1048576 bytes"),
        ({"version": "9" * 100_000}, r"version '1', got .{1,300}$"),
        ({"config": json.dumps({"categories": 3, "widths": [8, 8, 8, 10**6]})}, "bad metadata"),
        ({"categories": json.dumps(["background"])}, "expected 3 categories, got 1"),
        ({"config": json.dumps({"categories": 3, "widths": [8, 8, 8, 16]})}, r"expected \(16, 8, 3, 3\)"),
        ({"state": {k: v for k, v in state.items() if k != "head.bias"}}, "head.bias"),
        ({"state": nan}, "finite"),
    ):
        with pytest.raises(TeacherError, match=message):
            load_teacher(_rewritten(path, **({"state": state} | wrong)))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(TeacherError, match="not a readable"):
        load_teacher(tmp_path / "text")
    with pytest.raises(TeacherError, match="nowhere"):
        load_teacher("nowhere")
    for name in ("avatars-big", "avatars-"):
        with pytest.raises(TeacherError, match="teacher: expected a file or one of"):
            load_teacher(name)


def test_training_learns_and_resumes_exactly(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data, held_out = _scenes(64, seed=0), _scenes(16, seed=1)
    options = {"images": 1600, "batch": 8, "report": 80, "judge": 10_000, "lr": 2e-2}
    whole = Run(tmp_path / "whole", CONFIG, 2e-2)
    before, losses, midway, last = scores_of(as_teacher(whole.ema), *held_out), [], {}, {}
    for step in train(whole, *data, held_out, **options):
        losses.append(step.loss)
        if step.seen == 320:
            midway = {name: value.clone() for name, value in whole.ema.state_dict().items()}
        last = step.scores
    assert whole.seen == 1600 and losses[-1] < 0.5 * losses[0]
    assert before["miou"] < 0.4 and min(last["miou"], last["dataset_miou_degraded"]) > 0.6
    half = train(Run(tmp_path / "half", CONFIG, 2e-2), *data, held_out, **options)
    assert [next(half).seen, next(half).seen] == [80, 160]
    resumed = Run(tmp_path / "half", CONFIG, 2e-2)
    assert resumed.seen == 160 and not torch.equal(resumed.ema.head.weight, midway["head.weight"])
    rest = train(resumed, *data, held_out, **options)
    assert [next(rest).seen, next(rest).seen] == [240, 320]
    for name, value in resumed.ema.state_dict().items():
        assert torch.equal(value, midway[name]), name
    torch.set_num_threads(threads)


def test_loss_is_least_for_the_truth() -> None:
    labels = torch.from_numpy(_scenes(2, seed=3)[1])
    weights = class_weights((0.8, 0.18, 0.02))
    truth = torch.nn.functional.one_hot(labels.long(), 3).permute(0, 3, 1, 2) * 20.0
    assert loss_of(truth, labels, weights) < 1e-2 < 0.5 < loss_of(truth.roll(3, 2), labels, weights)
    assert weights[2] > weights[1] > weights[0]
    absent = torch.where(labels == 2, 0, labels).to(torch.uint8)
    right = torch.nn.functional.one_hot(absent.long(), 3).permute(0, 3, 1, 2) * 20.0
    spurious = right.clone()
    spurious[:, :, 0, 0] = torch.tensor([0.0, 0.0, 20.0])  # one pixel of a category that is nowhere
    entropy = torch.nn.functional.cross_entropy(spurious, absent.long(), weight=weights)
    assert loss_of(spurious, absent, weights) - entropy > 0.1 > loss_of(right, absent, weights)


def test_degradation_moves_labels_with_the_image() -> None:
    rgb, labels = (torch.from_numpy(x) for x in _scenes(8, seed=4))
    image = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1
    moved, moved_labels = degrade.warped(image, labels, torch.Generator().manual_seed(0), smooth=6.0, affine=1.0)
    assert (moved_labels != labels).float().mean() > 0.05
    dark = moved[:, 0] < 0  # the square is the only thing that is dark in red
    assert (dark == (moved_labels == 1)).float().mean() > 0.97 > (dark == (labels == 1)).float().mean()
    again = degrade.degraded(image, labels, torch.Generator().manual_seed(1))
    twice = degrade.degraded(image, labels, torch.Generator().manual_seed(1))
    assert torch.equal(again[0], twice[0]) and torch.equal(again[1], twice[1])


def test_blur_is_a_gaussian_and_zero_is_nothing() -> None:
    image = torch.zeros(1, 3, 128, 128)
    image[..., 64, 64] = 1
    blurred = degrade.blurred(image, 1.2)
    positions = torch.arange(128.0)
    variance = (blurred[0, 0].sum(0) * (positions - 64) ** 2).sum()
    assert variance.item() == pytest.approx(1.2**2, rel=0.02) and blurred[0, 0].sum().item() == pytest.approx(1)
    torch.testing.assert_close(degrade.blurred(image, 0.0), image)
    both = degrade.blurred(torch.cat([image, image]), torch.tensor([0.0, 1.2]))
    torch.testing.assert_close(both, torch.cat([image, blurred]))


def test_half_size_labels_are_the_majority_and_keep_thin_parts() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 2, 1, 0], [0, 0, 0, 0], [2, 2, 0, 0]]], dtype=torch.uint8)
    assert degrade.shrunk_labels(labels, 3).tolist() == [[[0, 1], [2, 0]]]


def test_augmentation_is_harsh_but_stays_an_image() -> None:
    rgb, labels = (torch.from_numpy(x) for x in _scenes(16, seed=5))
    image = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1
    harmed, moved = degrade.augmented(image, labels, torch.Generator().manual_seed(0))
    assert harmed.shape == image.shape and moved.dtype == torch.uint8 and harmed.abs().max() <= 1
    assert (harmed - image).abs().mean() > 0.05 and set(moved.unique().tolist()) <= {0, 1, 2}


def test_every_category_of_the_drawings_has_a_colour_of_its_own() -> None:
    pairs = zip(drawings.CATEGORIES, drawings.CATEGORY_COLORS, strict=True)
    categories = parse_categories([{"name": name, "color": color} for name, color in pairs])
    assert [category.color for category in categories] == list(drawings.CATEGORY_COLORS)


def test_one_teacher_judges_the_generators_of_all_sizes(tmp_path, monkeypatch):
    shipped = tmp_path / "faces-128.teacher.safetensors"
    shipped.touch()
    monkeypatch.setattr("linsem.teacher.assets", lambda: tmp_path)
    from linsem import teacher

    assert teacher._find("faces-64") == shipped == teacher._find("faces-128")
    for other in ("houses-64", "faces", "nowhere/faces-64"):
        with pytest.raises(teacher.TeacherError, match="expected a file or one of"):
            teacher._find(other)


def test_loading_draws_no_number_of_the_caller_s(path: Path) -> None:
    before = torch.random.get_rng_state()
    load_teacher(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_device_is_chosen_as_for_a_generator(path: Path) -> None:
    assert load_teacher(path, device="auto").device.type in ("cpu", "cuda")
    for wrong in ("foo", "cuda:99"):
        with pytest.raises(InputError, match=r"device .*: expected auto"):
            load_teacher(path, device=wrong)
