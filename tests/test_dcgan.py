"""`dcgan.py`: a family without a mapping network, the weights of another package, and the labels made for it."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import linsem
from linsem import dcgan
from linsem.dcgan import DCGAN, DCGANConfig, find_digiface, load_digiface
from linsem.generators import GENERATORS
from linsem.lab import digiface
from linsem.palette import read_label_map
from linsem.pixels import IGNORE
from linsem.project import load_project
from linsem.ui import about
from linsem.zoo import ModelError, available_models, is_available, load_generator
from tests.toys import ToyGenerator

TOY = DCGANConfig(channels=(8, 6, 5), z_dim=7)
EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def weights(config=TOY, seed=0):
    """A state dict with the names of the PyTorch tutorial and nontrivial batch statistics."""
    random = torch.Generator().manual_seed(seed)
    state, into = {}, config.z_dim
    for k, out in enumerate((*config.channels, 3)):
        state[f"main.{3 * k}.weight"] = torch.randn(into, out, 4, 4, generator=random) * 0.3
        if k < len(config.channels):
            for name in ("weight", "bias", "running_mean"):
                state[f"main.{3 * k + 1}.{name}"] = torch.randn(out, generator=random) * 0.5 + 0.3
            state[f"main.{3 * k + 1}.running_var"] = torch.rand(out, generator=random) + 0.5
            state[f"main.{3 * k + 1}.num_batches_tracked"] = torch.tensor(1)
        into = out
    return state


def write(path, content):
    torch.save(content, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path, content):
    return load_digiface(path, sha256=write(path, content), config=TOY)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return load(tmp_path_factory.mktemp("toy") / "weights.tar", {"netG_state_dict": weights()})


# --- the network -----------------------------------------------------------------------------------------------------


def plain(state, z):
    """The published operations, written out."""
    x = z[:, :, None, None]
    for k in range(3):
        x = F.conv_transpose2d(x, state[f"main.{3 * k}.weight"], stride=2 if k else 1, padding=1 if k else 0)
        mean, var, scale, shift = (
            state[f"main.{3 * k + 1}.{name}"][:, None, None]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp_min(0)
    return torch.tanh(F.conv_transpose2d(x, state["main.9.weight"], stride=2, padding=1))


def test_it_is_the_published_network(net):
    z = linsem.seed_z(net, range(4))
    image, _ = net.synthesize(net.map(z))
    assert torch.allclose(image, plain(weights(), z), atol=1e-5)
    assert not torch.allclose(image, plain(weights(seed=1), z), atol=0.1)


def test_it_satisfies_the_protocol(net):
    assert isinstance(net, linsem.Generator)
    ws = net.map(linsem.seed_z(net, range(3)))
    image, features = net.synthesize(ws)
    assert ws.shape == (3, net.num_ws, net.w_dim) == (3, 1, 7)
    assert image.shape == (3, 3, *net.size) == (3, 3, 32, 32)
    assert image.abs().max() <= 1
    assert [tuple(x.shape[1:]) for x in features] == [(c.channels, c.height, c.width) for c in net.layers]
    assert all(x.min() >= 0 for x in features)
    assert not any(p.requires_grad for p in net.parameters())


def test_the_same_seed_gives_the_same_image_in_any_batch(net):
    def draw(*seeds):
        return net.synthesize(net.map(linsem.seed_z(net, seeds)))[0]

    batch = draw(3, 4, 5, 6)
    for i, seed in enumerate((3, 4, 5, 6)):
        assert torch.allclose(draw(seed)[0], batch[i], atol=1e-6)
    assert (batch[0] - batch[1]).abs().max() > 0.1
    norm = weights()["main.1.weight"]  # statistics of the batch would mix its images
    x = F.conv_transpose2d(linsem.seed_z(net, (3, 4))[:, :, None, None], net.main[0].weight)
    mixed = F.batch_norm(x, None, None, norm, training=True)[:1]
    assert not torch.allclose(mixed, F.batch_norm(x[:1], None, None, norm, training=True), atol=0.1)


def test_what_is_run_up_to_a_layer_is_a_prefix_of_the_full_run(net):
    ws = net.map(linsem.seed_z(net, range(2)))
    image, full = net.synthesize(ws)
    assert torch.equal(net.synthesize(ws, last_layer=2)[0], image)
    for last in range(3):
        nothing, features = net.synthesize(ws, image=False, last_layer=last)
        assert nothing is None
        assert len(features) == last + 1
        assert all(torch.equal(a, b) for a, b in zip(features, full[: last + 1], strict=True))


def test_psi_draws_towards_the_mean(net):
    z = linsem.seed_z(net, range(2))
    assert torch.equal(net.map(z, 0.5), 0.5 * net.map(z))
    middle = net.synthesize(net.map(z, 0.0))[0]
    assert torch.equal(middle[0], middle[1])
    whole = net.synthesize(net.map(z))[0]
    assert not torch.allclose(whole[0], whole[1], atol=0.1)


def test_gradients_reach_the_latents(net):
    ws = net.map(linsem.seed_z(net, [0])).requires_grad_(True)
    net.synthesize(ws)[0].sum().backward()
    assert ws.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda net: net.map(torch.zeros(2, 8)), r"z: expected \(N, 7\), got \(2, 8\)"),
        (lambda net: net.synthesize(torch.zeros(2, 2, 7)), r"ws: expected \(N, 1, 7\), got \(2, 2, 7\)"),
        (lambda net: net.synthesize(torch.zeros(1, 1, 7), last_layer=0), "image=False"),
        (lambda net: net.synthesize(torch.zeros(1, 1, 7), image=False, last_layer=3), r"expected 0\.\.2, got 3"),
        (lambda net: net.synthesize(torch.zeros(1, 1, 7), image=False, last_layer=-1), r"expected 0\.\.2, got -1"),
    ],
)
def test_a_wrong_call_is_refused(net, call, expected):
    with pytest.raises(ValueError, match=expected):
        call(net)


# --- the file --------------------------------------------------------------------------------------------------------


def test_another_sha256_is_refused_before_anything_is_parsed(tmp_path, monkeypatch):
    path = tmp_path / "weights.tar"
    sha256 = write(path, {"netG_state_dict": weights()})
    load_digiface(path, sha256=sha256, config=TOY)
    path.write_bytes(path.read_bytes() + b"\0")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=f"expected sha256 {sha256}, got [0-9a-f]{{64}}"):
        load_digiface(path, sha256=sha256, config=TOY)
    with pytest.raises(ValueError, match=dcgan.DIGIFACE_SHA256):
        load_digiface(path)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"netD_state_dict": weights()}, "netG_state_dict"),
        ([1, 2], "netG_state_dict"),
        ({"netG_state_dict": {"main.0.weight": 3}}, "netG_state_dict"),
        ({"netG_state_dict": without(weights(), "main.3.weight")}, "main.3.weight is missing"),
        ({"netG_state_dict": weights() | {"main.11.weight": torch.zeros(2)}}, "main.11.weight is not a parameter"),
        (
            {"netG_state_dict": weights() | {"main.4.bias": torch.zeros(9)}},
            r"main.4.bias: expected \(6,\), got \(9,\)",
        ),
        ({"netG_state_dict": weights(DCGANConfig((8, 6, 4), 7))}, "expected"),
    ],
)
def test_another_content_is_refused(tmp_path, content, expected):
    with pytest.raises(ValueError, match=expected):
        load(tmp_path / "weights.tar", content)


class Hostile:
    def __init__(self, flag):
        self.flag = str(flag)

    def __reduce__(self):
        return open, (self.flag, "w")


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_a_file_executes_nothing(tmp_path, way):
    flag, path = tmp_path / "flag", tmp_path / "weights.tar"
    if way == "torch":
        torch.save({"netG_state_dict": Hostile(flag)}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(flag)))
    with pytest.raises(ValueError, match=r"weights\.tar: expected a torch file"):
        load_digiface(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), config=TOY)
    assert not flag.exists()
    Hostile(flag).__reduce__()[0](*Hostile(flag).__reduce__()[1]).close()
    assert flag.exists()  # what it would have done


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        load_digiface(tmp_path / "weights.tar")


# --- the package -----------------------------------------------------------------------------------------------------


def pretend(folder, version):
    """Create a package as pip would install it."""
    (folder / "gan_face_generate").mkdir()
    (folder / "gan_face_generate" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "gan_face_generate" / "weights.tar").write_bytes(b"weights")
    info = folder / f"gan_face_generate-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gan_face_generate\nVersion: {version}\n")
    return folder / "gan_face_generate" / "weights.tar"


def test_the_installed_file_is_found_without_importing_the_package(tmp_path, monkeypatch):
    file = pretend(tmp_path, "1.1.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_digiface() == file
    assert "gan_face_generate" not in sys.modules
    with pytest.raises(ValueError, match="sha256"):
        load_digiface()


def test_a_damaged_file_is_not_offered_and_the_advice_replaces_it(tmp_path, monkeypatch):
    """pip leaves a package alone that it finds installed, unless it is told to install it again."""
    file = pretend(tmp_path, "1.1.1")
    monkeypatch.syspath_prepend(tmp_path)
    again = r"pip install --force-reinstall --no-cache-dir --no-deps gan-face-generate==1\.1\.1$"
    assert not is_available(GENERATORS["digiface-64"])
    with pytest.raises(ModelError, match=f"weights.tar: expected sha256 {dcgan.DIGIFACE_SHA256}.*{again}"):
        load_generator("digiface-64")
    monkeypatch.setattr(dcgan, "DIGIFACE_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert is_available(GENERATORS["digiface-64"])
    file.unlink()
    with pytest.raises(ModelError, match=f"without its weights; run: {again}"):
        load_generator("digiface-64")
    assert not is_available(GENERATORS["digiface-64"])


def test_the_page_says_how_to_get_it(tmp_path, monkeypatch):
    def missing(name):
        raise dcgan.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(dcgan.metadata, "distribution", missing)
    spec = GENERATORS["digiface-64"]
    assert about.state(spec) == "not here" and f"<small>{spec.help}</small>" in about._models(False)
    assert next(row for row in available_models() if row["id"] == spec.id)["help"] == spec.help
    monkeypatch.undo()
    pretend(tmp_path, "1.0.0")
    monkeypatch.syspath_prepend(tmp_path)
    assert "expected gan-face-generate 1.1.1, got 1.0.0; run: pip install" in about._models(False)


def test_another_version_is_refused(tmp_path, monkeypatch):
    pretend(tmp_path, "1.0.0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"expected gan-face-generate 1\.1\.1, got 1\.0\.0; run: pip install"):
        find_digiface()


def test_without_the_package_it_says_how_to_get_it(monkeypatch, capsys):
    def missing(name):
        raise dcgan.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(dcgan.metadata, "distribution", missing)
    assert find_digiface() is None
    with pytest.raises(ValueError, match=r"pip install --no-deps gan-face-generate==1\.1\.1"):
        load_digiface()
    assert digiface.main([]) == 2
    assert dcgan.DIGIFACE_INSTALL in capsys.readouterr().err


# --- the labels ------------------------------------------------------------------------------------------------------


def hand_labels():
    categories = GENERATORS["digiface-64"].categories
    paths = sorted((EXAMPLES / "digiface-64").glob("*.png"), key=lambda path: int(path.stem))
    return {int(path.stem): read_label_map(path, categories) for path in paths}


def test_the_hand_labels_are_sound():
    maps = hand_labels()
    assert 8 <= len(maps) <= 12
    categories = [c.name for c in GENERATORS["digiface-64"].categories]
    assert categories == ["background", "skin", "hair", "eyes", "mouth", "clothes"]
    for each in maps.values():
        assert each.report["mode"] == "names"
        assert each.labels.shape == (64, 64)
        assert {"skin", "hair", "eyes", "mouth"} <= each.report["counts"].keys()
        assert (each.labels == IGNORE).mean() < 0.3
    assert all(any(name in each.report["counts"] for each in maps.values()) for name in categories)
    middles = [np.argwhere(m.labels == categories.index("mouth"))[:, 0].mean() for m in maps.values()]
    eyes = [np.argwhere(m.labels == categories.index("eyes"))[:, 0].mean() for m in maps.values()]
    assert all(eye + 10 < mouth for eye, mouth in zip(eyes, middles, strict=True))  # nothing is upside down


def test_the_example_project_holds_the_hand_labels():
    project, maps = load_project(EXAMPLES / "digiface-64.linsem.zip"), hand_labels()
    assert project.generator_id == "digiface-64"
    assert project.categories == GENERATORS["digiface-64"].categories
    assert [image.seed for image in project.images] == list(maps)
    for image in project.images:
        assert image.psi == 1
        assert np.array_equal(image.labels, maps[image.seed].labels)
    assert project.extractor is not None
    with zipfile.ZipFile(EXAMPLES / "digiface-64.linsem.zip") as file:
        assert not any(name.endswith((".pkl", ".pt")) for name in file.namelist())


def test_an_image_is_judged_by_what_the_others_show():
    """A category that a single image shows is found in none."""
    toy = ToyGenerator(24)
    labels = dict(enumerate(toy.truth(toy.map(linsem.seed_z(toy, range(3))))))
    every = digiface.leave_one_out(toy, labels)
    assert list(every) == [*(c.name for c in toy.categories), "mean", "accuracy"] and every["small"] > 0.8
    for seed in (1, 2):
        labels[seed] = np.where(labels[seed] == 3, IGNORE, labels[seed])
    once = digiface.leave_one_out(toy, labels)
    assert once["small"] == 0 and once["large"] > 0.8


# --- the real one ----------------------------------------------------------------------------------------------------

PASS = """
import sys, io, numpy as np, torch
sys.path[:0] = [{site!r}, {root!r}]
torch.set_num_threads(1)
from pathlib import Path
from linsem import dcgan
from linsem.extractor import load_extractor
from linsem.lab.digiface import read_labels
from linsem.studio import Studio
assert str(dcgan.find_digiface()).startswith({site!r})
studio, model = Studio(), "digiface-64"
assert {{row["id"]: row["available"] for row in studio.models()}}[model]
labels = read_labels(Path({root!r}) / "assets/examples/digiface-64", studio.generator(model))
held = 41
truth = labels.pop(held)
ws, rgb = studio.draw(model, list(labels), 1.0)
assert rgb.shape == (len(labels), 64, 64, 3)
extractor = studio.fit(model, ws, list(labels.values()), studio.categories(model))
new, _ = studio.draw(model, [held], 1.0)
found = studio.read(model, extractor, new).labels[0]
known = truth != 255
print("accuracy", (found == truth)[known].mean(), "constant", np.bincount(truth[known]).max() / known.sum())
target = np.full((64, 64), 255, np.uint8)
target[4:14, 14:50] = found[30, 32]  # the fringe goes
*_, edit = studio.edit(model, extractor, new[0], target, steps=30)
print("agreement_before", edit.report["agreement_before"])
print("agreement_after", edit.report["agreement_after"])
*_, first = studio.sample(model, extractor, truth, count=2, candidates=30, steps=0)
*_, last = studio.sample(model, extractor, truth, count=2, candidates=30, steps=20)
print("score_start", np.mean(first.scores), "score", np.mean(last.scores))
assert "gan_face_generate" not in sys.modules
"""


@pytest.mark.slow
def test_a_full_pass_on_the_real_package(tmp_path):
    """Install it, generate, fit on all hand labels but one image's, segment that one, edit it, sample its layout."""
    site, root = str(tmp_path / "site"), str(Path(__file__).parents[1])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]
    subprocess.run([*pip, site, "gan-face-generate==1.1.1"], check=True)
    code = PASS.format(site=site, root=root)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    got = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    assert got["accuracy"] > 0.8 > got["constant"] + 0.1
    assert got["agreement_after"] > got["agreement_before"] + 0.2
    assert got["score"] > got["score_start"] + 0.02


def test_a_dcgan_of_any_depth_can_be_made():
    for depth in (1, 2, 4):
        made = DCGAN(DCGANConfig(tuple(range(3, 3 + depth)), 5), id="any")
        image, features = made.synthesize(made.map(linsem.seed_z(made, [0])))
        assert image.shape[2:] == made.size == (2 ** (depth + 2),) * 2
        assert len(features) == depth
