"""The figures of the quality command, each on a case with a known answer, and the whole command on toys."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from linsem import pixels
from linsem.lab import dataset, drawings, quality
from linsem.lab.distribution import frechet_distance, precision_recall
from linsem.lab.judge import scores_of
from linsem.lab.parts import parts, pieces
from linsem.palette import parse_categories
from linsem.teacher import Teacher, TeacherConfig, UNet

SIZE, SIZES = 64, quality.Sizes(images=24, parts=12, labelled=8)


def _normal(count: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_frechet_distance_of_known_gaussians() -> None:
    first = _normal(40_000, 0)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, _normal(40_000, 1)) < 0.01
    assert frechet_distance(first, _normal(40_000, 1, shift=2)) == pytest.approx(4 * 4, rel=0.03)
    assert frechet_distance(first, _normal(40_000, 1, scale=3)) == pytest.approx(4 * (3 - 1) ** 2, rel=0.03)
    mixing = torch.tensor([[2.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    there, back = frechet_distance(first @ mixing, first), frechet_distance(first, first @ mixing)
    assert there == pytest.approx(back, rel=1e-6) and there > 0.5


def test_frechet_distance_of_single_numbers_is_that_of_means_and_deviations() -> None:
    first = _normal(50, 0)[:, :1]
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, 3 * first + 5) == pytest.approx(
        ((2 * first.mean() + 5) ** 2 + (2 * first.std()) ** 2).item(), rel=1e-5
    )


def test_precision_and_recall_tell_too_few_from_wrong() -> None:
    real = _normal(400, 0)
    same = precision_recall(_normal(400, 1), real)
    narrow = precision_recall(_normal(400, 1, scale=0.2), real)
    far = precision_recall(_normal(400, 1, shift=20), real)
    assert min(same) > 0.8
    assert narrow[0] > 0.95 and narrow[1] < 0.5
    assert far == (0, 0)


def test_features_of_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        precision_recall(torch.zeros(3, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match=r"\(9, 3\)"):
        frechet_distance(torch.zeros(9, 2), torch.zeros(9, 3))


def _count(mask: torch.Tensor) -> list[int]:
    return [len(number.unique()) - bool((~there).any()) for number, there in zip(pieces(mask), mask, strict=True)]


def test_pieces_are_counted_however_they_wind() -> None:
    mask = torch.zeros(4, 16, 16, dtype=torch.bool)
    mask[0, 2:4, 2:4] = mask[0, 8:12, 3] = mask[0, 4, 4] = True  # the single pixel touches the square by its corner
    mask[1, ::2] = True
    mask[1, 1::4, 0] = mask[1, 3::4, -1] = True  # one long snake
    mask[2, ::2, ::2] = True
    assert _count(mask) == [2, 1, 64, 0]
    assert torch.equal(pieces(mask) > 0, mask)


@cache
def _rendered(count: int) -> torch.Tensor:
    seeds = range(drawings.HELD_OUT, drawings.HELD_OUT + count)
    return torch.from_numpy(np.stack([drawings.render_seed(seed, 128)[1] for seed in seeds]))


def _truth(count: int) -> torch.Tensor:
    return _rendered(24)[:count].clone()


def test_parts_of_drawings_are_sane_and_of_broken_ones_are_not() -> None:
    truth = _truth(24)
    assert parts(truth).sane.double().mean() >= 0.85
    assert not parts(truth.flip(1)).sane.any()
    assert not parts(torch.zeros_like(truth)).sane.any()
    double = torch.cat([truth[..., ::2], truth[..., ::2]], dim=2)  # two thin faces side by side
    assert parts(double).sane.double().mean() < 0.1


@pytest.mark.parametrize(
    ("rule", "category", "instead"),
    [
        ("eyes", drawings.EYES, drawings.SKIN),
        ("mouth", drawings.MOUTH, drawings.SKIN),
        ("hair", drawings.HAIR, drawings.BACKGROUND),
        ("clothes", drawings.CLOTHES, drawings.BACKGROUND),
    ],
)
def test_a_missing_part_fails_its_own_rule(rule: str, category: int, instead: int) -> None:
    truth = _truth(16)
    if category == drawings.EYES:
        truth[truth == drawings.GLASSES] = drawings.SKIN  # shades would excuse it
    truth[truth == drawings.HAT] = drawings.HAIR
    without = truth.clone()
    without[truth == category] = instead
    assert not getattr(parts(without), rule).any()
    assert getattr(parts(truth), rule).double().mean() > 0.7
    assert parts(without).face.all()


def test_glasses_excuse_eyes_where_they_are_worn_and_nowhere_else() -> None:
    truth = _truth(24)
    worn = truth[(truth == drawings.GLASSES).flatten(1).double().mean(1) > 0.02]
    worn[worn == drawings.EYES] = drawings.GLASSES
    assert len(worn) >= 3 and parts(worn).eyes.all()
    bare = truth.clone()
    bare[(bare == drawings.EYES) | (bare == drawings.GLASSES)] = drawings.SKIN
    assert not parts(bare).eyes.any()
    bare[:, -20:, -20:] = drawings.GLASSES
    assert not parts(bare).eyes.any()


class _Recall:
    """A generator that returns memorised drawings, or with `noise` only noise."""

    size, z_dim, device = (SIZE, SIZE), 8, torch.device("cpu")
    categories = parse_categories(list(drawings.CATEGORIES))

    def __init__(self, noise: bool) -> None:
        self.noise = noise
        self.rgb = np.stack([drawings.render_seed(seed, SIZE, labels=False)[0] for seed in range(24)])

    def map(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        return z[:, None] * psi

    def synthesize(self, ws: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if self.noise:
            return torch.tanh(ws[:, 0].repeat(1, 3 * SIZE * SIZE // 8).reshape(-1, 3, SIZE, SIZE)), []
        return pixels.to_image(self.rgb[: len(ws)]), []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawings for `dataset.cached`, so that no process pool is needed."""
    place = tmp_path_factory.mktemp("drawings")
    seeds = range(drawings.HELD_OUT, drawings.HELD_OUT + 2 * SIZES.images)
    pairs = [drawings.render_seed(seed, SIZE, labels=i < SIZES.labelled) for i, seed in enumerate(seeds)]
    rgb = np.stack([rgb for rgb, _ in pairs])
    stem = place / f"drawings{dataset.RECIPE}-{drawings.HELD_OUT}-"
    np.save(f"{stem}{2 * SIZES.images}-{SIZE}.rgb.npy", rgb)
    np.save(f"{stem}{SIZES.labelled}-{SIZE}.rgb.npy", rgb[: SIZES.labelled])
    np.save(f"{stem}{SIZES.labelled}-{SIZE}.labels.npy", np.stack([label for _, label in pairs[: SIZES.labelled]]))
    return place


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.manual_seed(0)
    network = UNet(TeacherConfig(len(drawings.CATEGORIES), (8, 8, 8, 8)))
    return Teacher(network, parse_categories(list(drawings.CATEGORIES)))


def test_drawings_by_heart_beat_noise(folder: Path, teacher: Teacher) -> None:
    good = quality.measure(_Recall(noise=False), teacher, folder, SIZES)
    bad = quality.measure(_Recall(noise=True), teacher, folder, SIZES)
    assert good.frechet < 3 * good.frechet_floor < bad.frechet
    assert good.recall > bad.recall and good.precision > 0.5
    assert (good.frechet_floor, good.frechet_blur, good.teacher_miou) == (
        bad.frechet_floor, bad.frechet_blur, bad.teacher_miou
    )  # fmt: skip


def test_figures_are_of_the_images_that_they_name(folder: Path, teacher: Teacher) -> None:
    """The Fréchet distance is at psi 1, and the second mIoU on degraded drawings."""
    generator = _Recall(noise=True)
    found = quality.measure(generator, teacher, folder, SIZES)
    rgb, _ = dataset.cached(folder, drawings.HELD_OUT, 2 * SIZES.images, SIZE, labels=False)
    real = quality.features(teacher, quality._drawn(rgb[: SIZES.images]))
    distances = [
        frechet_distance(quality.features(teacher, quality.generated_images(generator, SIZES.images, psi)), real)
        for psi in (1.0, 0.7)
    ]
    assert found.frechet == pytest.approx(distances[0]) and found.frechet != pytest.approx(distances[1])
    scores = scores_of(teacher, *dataset.cached(folder, drawings.HELD_OUT, SIZES.labelled, SIZE, labels=True))
    assert (found.teacher_miou, found.teacher_miou_degraded) == (scores["miou"], scores["miou_degraded"])
    assert found.teacher_miou != found.teacher_miou_degraded


def test_command_prints_one_json_line_last(
    folder: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "load_teacher", lambda name: teacher)
    monkeypatch.setattr(quality.zoo, "load_generator", lambda name: _Recall(noise=False))
    monkeypatch.setattr(quality, "QUICK", SIZES)
    assert quality.main(["avatars-128", "--quick", "--json", "--cache", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found) == [
        "frechet", "frechet_floor", "frechet_blur", "precision", "recall", "precision_drawings", "recall_drawings",
        "part_sanity", "part_sanity_psi_1", "part_sanity_drawings",
        "teacher_miou", "teacher_miou_degraded",
    ]  # fmt: skip
    assert list(found) == [field.name for field in fields(quality.Quality)]
    out = folder / "tables"
    for name in ("avatars-128", "avatars-64"):  # neither takes the other's file
        assert quality.main([name, "--quick", "--cache", str(folder), "--out", str(out)]) == 0
    assert {path.stem for path in out.iterdir()} == {"quality", "quality-avatars-64"}


def test_a_generator_or_teacher_that_does_not_fit_is_refused(
    folder: Path, teacher: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="64 x 32"):
        quality.measure(SimpleNamespace(size=(64, 32)), teacher, folder, SIZES)
    other = Teacher(UNet(TeacherConfig(2, (8, 8, 8, 8))), parse_categories(["background", "object"]))
    with pytest.raises(ValueError, match="drawings' categories"):
        quality.measure(_Recall(noise=False), other, folder, SIZES)
    faces = SimpleNamespace(size=(64, 64), categories=parse_categories(["background", "skin", "eyes"]))
    with pytest.raises(ValueError, match="generator: expected the drawings' categories"):
        quality.measure(faces, teacher, folder, SIZES)
    assert quality.main(["no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err


def test_without_the_lab_s_packages_it_says_how_to_get_them(tmp_path, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(drawings, "import_module", missing)
    drawings._style.cache_clear()
    drawings.choices.cache_clear()
    try:
        assert quality.main(["avatars-64", "--quick", "--cache", str(tmp_path)]) == 2
    finally:
        drawings._style.cache_clear()
    assert 'pip install ".[lab]"' in capsys.readouterr().err
