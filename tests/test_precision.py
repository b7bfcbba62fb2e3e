"""A lower precision of the synthesis, chosen in the library, by environment variable and in the shell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from linsem import cli
from linsem.checkpoints.own import write_safetensors
from linsem.device import device_of
from linsem.generator import seed_z
from linsem.lab import bench_speed
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.zoo import load_generator
from tests.writers import nets


@pytest.fixture
def model(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    state = nets.random_state(nets.STYLEGAN2)  # its colours are far beyond black and white
    state |= {name: 0.03 * value for name, value in state.items() if ".torgb." in name and ".affine." not in name}
    write_safetensors(path, "stylegan2", nets.STYLEGAN2, state)
    monkeypatch.setenv("LINSEM_MODELS", str(path))
    return path


def off(image, exact):
    return float((image - exact).square().mean().sqrt() / exact.std())


def test_bfloat16_is_near_float32_but_not_it(model):
    exact, rough = (load_generator(model, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    ws = exact.map(seed_z(exact, range(4)))
    image, features = rough.synthesize(ws)
    assert image.dtype == torch.float32 and all(x.dtype == torch.float32 for x in features)
    assert 1e-4 < off(image, exact.synthesize(ws)[0]) < 0.05
    assert off(exact.synthesize(ws)[0], load_generator(model).synthesize(ws)[0]) == 0


def test_a_family_without_the_choice_stays_as_it_is(tmp_path):
    path = tmp_path / "net.safetensors"
    write_safetensors(path, "pggan", nets.PGGAN_, nets.random_state(nets.PGGAN_))
    exact, same = (load_generator(path, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    ws = exact.map(seed_z(exact, [0]))
    assert torch.equal(exact.synthesize(ws)[0], same.synthesize(ws)[0])


def test_a_variable_chooses_it_and_a_wrong_one_is_a_sentence(model):
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        settings = Settings.from_env({"LINSEM_PRECISION": name})
        assert Studio(settings).generator("net.safetensors").dtype == dtype
    with pytest.raises(ValueError, match="LINSEM_PRECISION: expected float32 or bfloat16, got 'float8'"):
        Studio(Settings(precision="float8"))


def test_so_does_an_option_of_the_shell(model, tmp_path):
    for precision in ("float32", "bfloat16"):
        options = ["--precision", precision, "--seeds", "1", "--out", str(tmp_path / precision)]
        assert cli.main(["generate", *options]) == 0
    exact, rough = (np.asarray(Image.open(tmp_path / name / "seed1.png"), int) for name in ("float32", "bfloat16"))
    assert 0 < np.abs(exact - rough).mean() < 8


def test_the_bench_tells_what_it_costs(monkeypatch):
    random = bench_speed.random_network
    monkeypatch.setattr(bench_speed, "random_network", lambda size, batch: random(16, batch))
    assert 1e-4 < bench_speed.FIGURES["bfloat16_error_256"]("", True) < 0.05
    assert bench_speed.FIGURES["bfloat16_speedup_256"]("", True) > 0


def test_a_gpu_is_set_up_to_be_as_exact_as_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert device_of("cpu").type == "cpu" and torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("auto", "cuda", "cuda:0"):
        torch.backends.cudnn.allow_tf32 = True
        assert device_of(name).type == "cuda" and not torch.backends.cudnn.allow_tf32
