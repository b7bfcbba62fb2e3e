"""The whole program on a StyleGAN2 in NVIDIA's pickle format, at 1024 px within 8 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from linsem.lab import large
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.writers.nvidia_torch import write_nvidia_torch

STEPS = ["load", "draw", "fit", "segment", "edit", "sample"]


def written(path, channels, **config):
    """Write a network with random weights and noise, as NVIDIA's training saves it."""
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(channels=channels, conv_clamp=256.0, **config))
    state = network.state_dict()
    state |= {name: torch.full_like(value, 0.1) for name, value in state.items() if name.endswith("noise_strength")}
    write_nvidia_torch(path, state, clamp=256.0)
    return path


def test_each_step_is_told_with_what_it_takes(tmp_path, capsys):
    path = written(tmp_path / "net.pkl", (8, 8, 6), z_dim=12, w_dim=10, mapping_layers=2)
    found = large.run(path)
    assert list(found) == STEPS and capsys.readouterr().out.count("MB") == len(STEPS)
    peaks = [row["peak_mb"] for row in found.values()]
    assert peaks == sorted(peaks) and peaks[0] > 0


@pytest.mark.slow
def test_a_network_of_1024_pixels_needs_less_than_8_gb(tmp_path):
    path = written(tmp_path / "net.pkl", tuple(min(512, 32768 // (4 * 2**k)) for k in range(9)))
    command = [sys.executable, "-m", "linsem.lab.large", str(path), "--count", "4", "--candidates", "5", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == STEPS
    assert 1000 < found["sample"]["peak_mb"] < 8192
