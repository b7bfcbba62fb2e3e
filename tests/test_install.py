"""`pip install .`: the package with its weights and pages, used from a folder where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import linsem

ROOT = Path(linsem.__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns("__pycache__")
PART_OF_IT = ("linsem", "assets", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages with linsem installed from a copy of the checkout."""
    copy, target = (tmp_path_factory.mktemp(name) for name in ("copy", "site"))
    for name in PART_OF_IT:
        path = ROOT / name
        shutil.copytree(path, copy / name, ignore=LEFT_OUT) if path.is_dir() else shutil.copy(path, copy / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(copy)], check=True)
    return target


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_every_file_of_the_package_is_installed(site):
    assets = {Path("assets") / path for path in files(ROOT / "assets")}
    assert files(site / "linsem") == files(ROOT / "linsem") | assets


def test_what_is_installed_draws_what_the_checkout_draws_without_it(site, tmp_path):
    draw = (
        "import linsem, sys, torch; G = linsem.load_generator('avatars-64'); print(linsem.__file__); "
        "image, features = G.synthesize(G.map(linsem.seed_z(G, [7]), psi=0.7)); "
        "labels = linsem.load_extractor('avatars-64').predict(features); "
        "torch.save((image, torch.as_tensor(labels)), 'drawn.pt')"
    )
    elsewhere = {key: value for key, value in os.environ.items() if not key.startswith("LINSEM_")}
    done = subprocess.run(
        [sys.executable, "-c", draw], cwd=tmp_path, env=elsewhere | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(site / "linsem" / "__init__.py")
    generator = linsem.load_generator("avatars-64")
    image, features = generator.synthesize(generator.map(linsem.seed_z(generator, [7]), psi=0.7))
    drawn, labels = torch.load(tmp_path / "drawn.pt", weights_only=True)
    torch.testing.assert_close(drawn, image)
    assert (labels == torch.as_tensor(linsem.load_extractor("avatars-64").predict(features))).all()


def test_the_command_is_there(site):
    done = subprocess.run([site / "bin" / "linsem", "--help"], env=os.environ | {"PYTHONPATH": str(site)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "python -m linsem" in done.stdout
