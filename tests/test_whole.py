"""Atomic writes: a process that dies at any byte of a write leaves the previous file, or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from linsem.errors import InputError
from linsem.export import iter_export
from linsem.shell import check_out
from linsem.whole import whole
from tests.toys import ToyGenerator

ROOT = Path(__file__).parents[1]
WRITERS = ("extractor", "latents", "project", "data set", "bank", "checkpoint", "plain")

# Each writer runs in a child that the kernel kills once a file has reached a given size, so no code can clean up.
CHILD = """
import json, os, resource, signal, sys
from pathlib import Path
import numpy as np, torch
from linsem import conditional, export
from linsem.checkpoints.own import write_safetensors
from linsem.extractor import save_extractor
from linsem.latents import save_latents
from linsem.project import Project, ProjectImage, save_project
from linsem.stylegan2 import StyleGAN2Config
from tests.toys import CATEGORIES, ToyGenerator

torch.set_num_threads(1)
folder, G = Path(sys.argv[1]), ToyGenerator()
E = G.known_extractor()
labels = np.random.default_rng(0).integers(0, 4, (64, 64), dtype=np.uint8)
state = {"x": torch.zeros(2000)}

def plain(path):
    path.write_bytes(bytes(9000))

def bank(path):
    bank = conditional.cached_bank(path.parent / "banks", G, E, range(40))
    os.link(next((path.parent / "banks").glob("bank-*[0-9a-f].npz")), path)

WRITERS = {
    "extractor": lambda path: save_extractor(E, path),
    "latents": lambda path: save_latents(path, np.ones((30, 5, 24), np.float32), "toy"),
    "project": lambda path: save_project(Project("toy", 0.7, CATEGORIES, (ProjectImage(1, None, labels),)), path),
    "data set": lambda path: export.export(G, E, count=6, out_path=path),
    "bank": bank,
    "checkpoint": lambda path: write_safetensors(path, "stylegan2", StyleGAN2Config(channels=(8, 8, 8)), state),
    "plain": plain,
}

def die_at(size, write, path):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        write(path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

found = {}
for name, write in WRITERS.items():
    path = folder / name.replace(" ", "-")
    rows = []
    for size in (1, 200, 500):
        path.unlink(missing_ok=True)
        rows.append([die_at(size, write, path), path.exists()])
        path.write_bytes(b"old")
        rows.append([die_at(size, write, path) if name != "bank" else True, path.read_bytes() != b"old"])
    path.unlink()
    write(path)
    found[name] = {"died, changed": rows, "whole": path.stat().st_size, "mode": path.stat().st_mode & 0o777}
reference = folder / "reference"
reference.touch()
print(json.dumps({"mode": reference.stat().st_mode & 0o777, "found": found}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "plain"])
def test_whoever_dies_while_writing_leaves_no_half(found, writer):
    row = found["found"][writer]
    assert row["whole"] > 500  # so that each death came in the middle
    assert row["died, changed"] == [[True, False]] * 6
    assert row["mode"] == found["mode"]  # and what is whole may be read by whom any new file may be


def test_plain_writing_does_leave_a_half(found):
    assert found["found"]["plain"]["died, changed"] == [[True, True]] * 6


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with whole(path) as partial:
            partial.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_is_told_by_its_own_name(tmp_path):
    for path, kind in ((tmp_path / "no" / "file", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind) as error, whole(path):
            pass
        assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path):
    path = tmp_path / ("\u6a21" * 80)  # 240 bytes
    with whole(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("old", "new"):  # a file, and one that is not there yet
        link, file = tmp_path / name, tmp_path / "far" / name
        link.symlink_to(Path("far") / name)
        if name == "old":
            file.write_text("before")
        with whole(link) as partial:
            partial.write_text("after")
        assert link.is_symlink() and not file.is_symlink() and file.read_text() == "after"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "new", "new", "old", "old"]


def test_a_pipe_is_refused_and_stays(tmp_path):
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    (tmp_path / "link.zip").symlink_to(pipe)
    toy = ToyGenerator()
    for path in (pipe, tmp_path / "link.zip"):
        with pytest.raises(InputError, match="expected a file, got a pipe, a device or a loop of links"), whole(path):
            pass
        with pytest.raises(InputError, match="expected a file"):
            check_out(str(path))
        with pytest.raises(InputError, match="expected a file"):
            iter_export(toy, toy.known_extractor(), count=2, out_path=path)
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [tmp_path / "link.zip", pipe]


def test_a_link_that_leads_to_itself_stays(tmp_path):
    loop = tmp_path / "loop.zip"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="a loop of links"), whole(loop):
        pass
    assert loop.is_symlink() and list(tmp_path.iterdir()) == [loop]


def test_a_link_into_a_folder_that_is_not_there_is_told_early(tmp_path):
    (tmp_path / "link.zip").symlink_to(tmp_path / "gone" / "set.zip")
    with pytest.raises(InputError, match="a folder that exists"):
        check_out(str(tmp_path / "link.zip"))
    toy = ToyGenerator()
    with pytest.raises(InputError, match="a folder that exists"):
        iter_export(toy, toy.known_extractor(), count=2, out_path=tmp_path / "link.zip")


FULL = """
import resource, sys
from pathlib import Path
import torch
from linsem import cli
from linsem.categories import parse_categories
from linsem.teacher import TeacherConfig, UNet, save_teacher

path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
print(cli.main(["convert", "assets/avatars-64.safetensors", str(path / "out.safetensors")]))
try:
    categories = parse_categories(["a", "b"])
    save_teacher(UNet(TeacherConfig(2)), categories, path / "teacher.safetensors")
except OSError as error:
    print(error.strerror, Path(error.filename).name)
"""


def test_a_full_disk_is_an_error_of_the_system_whoever_writes(tmp_path):
    """Files that may not grow stand for the disk, as the kernel refuses both alike."""
    child = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert "out.safetensors: cannot be written (File too large)" in child.stderr and "Traceback" not in child.stderr
    assert child.stdout.splitlines() == ["2", "File too large teacher.safetensors"]
    assert list(tmp_path.iterdir()) == []
