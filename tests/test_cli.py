"""The command line on a small generator in a file: the whole loop from images to a data set."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linsem import cli, shell
from linsem.checkpoints import read_checkpoint
from linsem.checkpoints.own import write_safetensors
from linsem.latents import LatentsError, load_latent, load_latents, save_latents
from linsem.palette import parse_categories, read_label_map, write_label_map
from linsem.regions import RegionError, read_region
from linsem.settings import Settings
from linsem.shell import Told, printable
from linsem.studio import Studio
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from linsem.zoo import ModelError

CATEGORIES = parse_categories(["low", "high"])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A StyleGAN2 of 16 px with random weights."""
    torch.manual_seed(0)
    config = StyleGAN2Config(channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    names = json.dumps([{"name": c.name, "color": c.color} for c in CATEGORIES])
    said = {"id": "tiny", "categories": names, "licence": "mine"}
    write_safetensors(path, "stylegan2", config, StyleGAN2(config).state_dict(), said)
    return path


@pytest.fixture
def run(model, tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; returns its report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINSEM_MODELS", str(model))

    def call(*arguments):
        assert cli.main([*map(str, arguments)]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


def truth(rgb):
    """Labels determined by the image: bright or dark."""
    value = rgb.astype(float).mean(-1)
    return (value > np.median(value)).astype(np.uint8)


def fitted(run, folder):
    run("generate", "--seeds", "0-1", "--out", folder)
    for seed in (0, 1):
        labels = truth(np.asarray(Image.open(folder / f"seed{seed}.png")))
        (folder / f"map{seed}.png").write_bytes(write_label_map(labels, CATEGORIES))
    maps = [folder / f"map{seed}.png" for seed in (0, 1)]
    return run("fit", "--seeds", "0-1", "--label-maps", *maps, "--out", folder / "mine.safetensors")


def test_from_images_to_an_extractor_that_reads_them(run, tmp_path):
    report = fitted(run, tmp_path)
    assert report["pixels"] == 2 * 16 * 16 and report["agreement"] > 0.85
    told = run("segment", "--seeds", "0-1", "--extractor", tmp_path / "mine.safetensors", "--out", tmp_path / "labels")
    for seed in (0, 1):
        assert sum(told["images"][seed]["shares"].values()) == pytest.approx(1, abs=1e-4)
        read = read_label_map(tmp_path / "labels" / f"seed{seed}.png", CATEGORIES).labels
        wanted = read_label_map(tmp_path / f"map{seed}.png", CATEGORIES).labels
        assert (read == wanted).mean() > 0.85 > (read != wanted).mean()


def test_an_edit_obeys_more_than_before_and_its_latent_draws_it_again(run, tmp_path):
    fitted(run, tmp_path)
    target = np.full((16, 16), 255, np.uint8)
    there = read_label_map(tmp_path / "map0.png", CATEGORIES).labels[4:10, 4:10]
    target[4:10, 4:10] = 1 - np.bincount(there.ravel()).argmax()
    (tmp_path / "wish.png").write_bytes(write_label_map(target, CATEGORIES))
    options = ("--target", tmp_path / "wish.png", "--extractor", tmp_path / "mine.safetensors", "--steps", 30)
    report = run("edit", "--seed", 0, *options, "--out", tmp_path / "edited")
    assert report["agreement_after"] > report["agreement_before"]
    again = run("edit", "--latent", tmp_path / "edited" / "latent.safetensors", *options, "--out", tmp_path / "again")
    assert again["agreement_before"] == pytest.approx(report["agreement_after"], abs=0.01)


def test_a_category_is_taken_out_by_its_name_or_brought_in(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("linsem.asked.RARE", 0)  # every image of this generator shows both
    monkeypatch.setattr("linsem.asked.whole_area", lambda *maps: np.inf)
    fitted(run, tmp_path)
    options = ("--extractor", tmp_path / "mine.safetensors", "--steps", 30)
    report = run("edit", "--seed", 0, "--remove", CATEGORIES[1].name, *options, "--out", tmp_path / "without")
    assert 0 < report["gone"] <= 1
    latent = ("--latent", tmp_path / "without" / "latent.safetensors")
    again = run("edit", *latent, "--add", CATEGORIES[1].name, *options, "--out", tmp_path / "with")
    assert 0 < again["there"] <= 1
    area = [
        (read_label_map(tmp_path / name, CATEGORIES).labels == 1).sum()
        for name in ("map0.png", "without/labels.png", "with/labels.png")
    ]
    assert area[1] < min(area[0], area[2])
    for option in ("--add", "--remove"):
        assert cli.main(["edit", option, "halo", *map(str, options)]) == 2
        assert "category: expected one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["edit", "--remove", "halo", "--target", "map.png"])


def test_samples_come_best_first(run, tmp_path):
    fitted(run, tmp_path)
    report = run(
        "sample", "--layout", tmp_path / "map0.png", "--extractor", tmp_path / "mine.safetensors", "--count", 3,
        "--candidates", 20, "--steps", 4, "--out", tmp_path / "samples",
    )  # fmt: skip
    scores = [row["score"] for row in report["results"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert len(list((tmp_path / "samples").glob("*.labels.png"))) == 3
    assert 0 <= report["nearest"] <= scores[0] and ("20" in report["note"]) == (report["nearest"] < 0.25)


def test_a_look_is_a_seed_and_a_layout_that_nothing_resembles_is_told(run, tmp_path, monkeypatch):
    fitted(run, tmp_path)
    monkeypatch.setattr("linsem.conditional.RESEMBLES", 2.0)  # nothing does
    options = ["--layout", tmp_path / "map0.png", "--extractor", tmp_path / "mine.safetensors", "--count", 1]
    options += ["--candidates", 20, "--steps", 0]
    images = []
    for look in ([], ["--look", 5]):
        out = tmp_path / f"samples{len(look)}"
        report = run("sample", *options, *look, "--out", out)
        assert report["note"].startswith("No image of 20 resembles this layout")
        seed = report["results"][0]["seed"]
        images.append(np.asarray(Image.open(out / f"1-seed{seed}.png")))
    assert not np.array_equal(*images)


def test_an_export_is_whole(run, tmp_path):
    fitted(run, tmp_path)
    run("export", "--num", 11, "--extractor", tmp_path / "mine.safetensors", "--out", tmp_path / "set.zip")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert len([name for name in archive.namelist() if name.startswith("images/")]) == 11
        assert archive.testzip() is None


def test_a_converted_checkpoint_draws_the_same(run, model, tmp_path, monkeypatch):
    run("convert", model, tmp_path / "copy.safetensors")
    run("generate", "--seeds", 3, "--out", tmp_path / "first")
    monkeypatch.setenv("LINSEM_MODELS", str(tmp_path / "copy.safetensors"))
    run("generate", "--seeds", 3, "--out", tmp_path / "second")
    images = [np.asarray(Image.open(tmp_path / name / "seed3.png")) for name in ("first", "second")]
    assert np.array_equal(*images) and images[0].std() > 0


def test_a_converted_checkpoint_keeps_its_name_and_so_its_extractors(run, model, tmp_path, monkeypatch):
    fitted(run, tmp_path)
    run("convert", model, "copy.safetensors")
    before, after = read_checkpoint(model), read_checkpoint(tmp_path / "copy.safetensors")
    assert after.metadata == before.metadata and set(after.metadata) == {"id", "categories", "licence"}
    monkeypatch.setenv("LINSEM_MODELS", str(tmp_path / "copy.safetensors"))
    report = run("segment", "--seeds", "0", "--extractor", tmp_path / "mine.safetensors", "--out", "labels")
    assert report["model"] == "tiny"


def test_convert_prints_what_is_inside_and_then_its_report(run, model, tmp_path, capsys):
    assert cli.main(["convert", str(model), "copy.safetensors", "--half"]) == 0
    *told, last = capsys.readouterr().out.splitlines()
    assert "family: stylegan2" in told and "id: tiny" in told and "image: 16 x 16 (height x width)" in told
    assert told[-1].startswith("written: copy.safetensors") and "float16" in told[-1]
    report = json.loads(last)
    assert list(report) == ["family", "from", "size", "out", "notes"]
    assert (report["family"], report["size"], report["out"]) == ("stylegan2", [16, 16], "copy.safetensors")


@pytest.mark.parametrize(
    ("arguments", "out"),
    [(("a.safetensors",), "a"), (("--out", "b.safetensors"), "b"), ((), "converted")],
)
def test_the_converted_file_is_named_by_place_or_by_option(run, model, tmp_path, arguments, out):
    run("convert", model, *arguments)
    assert [path.stem for path in tmp_path.glob("*.safetensors")] == [out]


def test_a_checkpoint_that_does_not_fit_together_is_not_converted(run, model, tmp_path, capsys):
    whole = read_checkpoint(model)
    state = {name: value for name, value in whole.state.items() if not name.endswith("torgb.bias")}
    write_safetensors(tmp_path / "part.safetensors", whole.family, whole.config, state)
    for arguments in (
        ("part.safetensors", "o.safetensors"),
        ("part.safetensors", "part.safetensors"),
        (model, "o.pt"),
        (model, "o.safetensors", "--out", "p"),
    ):
        assert cli.main(["convert", *map(str, arguments)]) == 2
        assert "expected" in capsys.readouterr().err
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("generate", "--seeds", "x"), "seeds"), (("generate", "--psi", "9"), "psi"),
        (("generate", "--model", "nothing-like-it"), "nothing-like-it"),
        (("generate", "--model", "hub://nothing"), "hub://nothing"),
        (("generate", "--device", "cuda:99"), "cuda:99"), (("generate", "--device", "meta"), "meta"),
        (("generate", "--device", "toaster"), "toaster"),
        (("segment", "--extractor", "nowhere.safetensors"), "nowhere"), (("segment",), "give one with --extractor"),
        (("export", "--num", "0"), "num: expected"), (("serve", "--port", "99999"), "port: expected"),
        (("fit", "--seeds", "0-1", "--label-maps", "maps/one.png", "two.png"), "maps/one.png: "),
        (("fit", "--seeds", "0", "--label-maps", "."), "is a folder"), (("export", "--count", "0"), "num: expected"),
        (("fit", "--seeds", "0-1", "--label-maps", "one.png"), "one a seed"), (("convert", "nowhere.pkl"), "nowhere"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(model, tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINSEM_MODELS", str(model))
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("linsem: ") and named in told and "Traceback" not in told


def test_a_file_that_is_not_offered_is_taken_from_the_command_line_only(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", "avatars-64")
    assert Studio().models()[0]["id"] == "avatars-64"
    for server in (Studio(), Studio(Settings(device="cpu"))):
        with pytest.raises(ModelError, match="expected one of avatars-64"):
            server.check_model(str(model))
    assert run("generate", "--model", model, "--seeds", 3, "--out", "one")["model"] == "tiny"
    assert Studio().models()[0]["id"] == "avatars-64"  # nor is it offered to what follows in this process
    monkeypatch.setenv("LINSEM_MODELS", str(model))
    run("generate", "--seeds", 3, "--out", "two")
    assert (tmp_path / "one" / "seed3.png").read_bytes() == (tmp_path / "two" / "seed3.png").read_bytes()


def test_a_name_of_the_zoo_that_is_not_offered_is_taken_too(run):
    assert run("generate", "--model", "avatars-64", "--seeds", 0, "--out", "one")["model"] == "avatars-64"


def test_a_file_is_not_mistaken_for_another_of_its_name(run, model, tmp_path, monkeypatch, capsys):
    """Files without a name in them are called as they are: in two folders they can be called the same."""
    whole = read_checkpoint(model)
    (tmp_path / "far").mkdir()
    for k, folder in enumerate((tmp_path, tmp_path / "far")):
        state = {name: value + k for name, value in whole.state.items()}
        write_safetensors(folder / "same.safetensors", whole.family, whole.config, state)
    assert cli.main(["generate", "--model", "far/same.safetensors", "--seeds", "0"]) == 2
    assert "another file" in capsys.readouterr().err
    assert run("generate", "--model", "same.safetensors", "--seeds", 0)["model"] == "same.safetensors"


def test_a_hub_address_that_is_not_offered_is_taken_from_the_command_line_only(model, monkeypatch):
    monkeypatch.setenv("LINSEM_MODELS", str(model))
    args = cli.parser().parse_args(["generate", "--model", "hub://someone/something/g.pkl"])
    server = Studio()
    with pytest.raises(ModelError, match="expected one of tiny"):
        server.check_model("hub://someone/something/g.pkl")
    studio, chosen = shell.studio_of(args)
    assert studio.check_model(chosen) == chosen == "hub://someone/something/g.pkl"


def test_the_device_and_the_threads_are_those_of_the_settings(run, monkeypatch, capsys):
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setenv("LINSEM_THREADS", "3")
    monkeypatch.setenv("LINSEM_DEVICE", "cuda:99")
    assert cli.main(["generate", "--seeds", "0"]) == 2
    assert "device (LINSEM_DEVICE): expected auto or cpu" in capsys.readouterr().err
    assert run("generate", "--seeds", 0, "--device", "cpu")["images"] == 1  # the option goes before the setting
    assert counts == [3, 3]
    monkeypatch.delenv("LINSEM_THREADS")
    run("generate", "--seeds", 0, "--device", "cpu")
    assert counts == [3, 3]


def test_the_module_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "linsem", "--help"], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0
    for name in ("generate", "fit", "segment", "edit", "sample", "export", "convert", "serve"):
        assert f" {name} " in done.stdout


def test_latents_come_back_exactly_and_only_to_their_generator(tmp_path):
    ws = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    save_latents(tmp_path / "a.safetensors", ws, "mine", (1, 2))
    assert np.array_equal(load_latents(tmp_path / "a.safetensors", "mine"), ws)
    with pytest.raises(LatentsError, match="mine"):
        load_latents(tmp_path / "a.safetensors", "yours")
    save_latents(tmp_path / "b.safetensors", ws * np.nan, "mine")
    (tmp_path / "c.safetensors").write_bytes(b"no")
    for name in ("b", "c", "none", "x" * 300):
        with pytest.raises(LatentsError):
            load_latents(tmp_path / f"{name}.safetensors", "mine")


def test_of_several_latents_one_is_told_by_its_seed_and_else_it_is_the_best(tmp_path):
    ws = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    save_latents(tmp_path / "three.safetensors", ws, "mine", [7, 9, 7000])
    assert np.array_equal(load_latent(tmp_path / "three.safetensors", "mine", 9), ws[1])
    for seed in (None, 7):
        assert np.array_equal(load_latent(tmp_path / "three.safetensors", "mine", seed), ws[0])
    with pytest.raises(LatentsError, match=r"expected a seed among those in it \(7, 9, 7000\), got 0"):
        load_latent(tmp_path / "three.safetensors", "mine", 0)
    save_latents(tmp_path / "one.safetensors", ws[:1], "mine")
    assert np.array_equal(load_latent(tmp_path / "one.safetensors", "mine", 3), ws[0])


def test_a_region_is_read_as_a_label_map_is(tmp_path):
    """Upright, of 16 bits, as TIFF; and a file that is not there is said to be missing."""
    region = np.zeros((8, 4), np.uint8)
    region[:, :2] = 255
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(region)))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned to the right
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(region).save(tmp_path / "r.tiff")
    Image.fromarray(region.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("turned.png", "r.tiff", "deep.png"):
        assert np.array_equal(read_region(tmp_path / name, (8, 4)), region > 0), name
    Image.fromarray(region.astype(np.uint16)).save(tmp_path / "dark.png")
    assert read_region(tmp_path / "dark.png", (8, 4)).any()  # values up to 255, as some tools write them
    Image.fromarray(region.astype(np.uint16) * 100).save(tmp_path / "dark.png")
    assert not read_region(tmp_path / "dark.png", (8, 4)).any()
    with pytest.raises(RegionError, match=r"there is no readable file 'nowhere\.png'"):
        read_region(tmp_path / "nowhere.png", (8, 4))


def test_a_region_is_white_and_opaque(tmp_path):
    region = np.zeros((8, 8), bool)
    region[2:4] = True
    Image.fromarray(np.where(region, 255, 0).astype(np.uint8)).save(tmp_path / "r.png")
    assert np.array_equal(read_region(tmp_path / "r.png", (8, 8)), region)
    assert read_region(tmp_path / "r.png", (16, 16)).sum() == 4 * region.sum()
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert not read_region(tmp_path / "clear.png", (8, 8)).any()
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(RegionError):
        read_region(tmp_path / "no.png", (8, 8))


@pytest.fixture
def asked(run, tmp_path):
    """A fitted extractor and a label map, as options of the long commands."""
    labels = np.zeros((16, 16), np.uint8)
    labels[8:] = 1
    (tmp_path / "map.png").write_bytes(write_label_map(labels, CATEGORIES))
    run("fit", "--seeds", 0, "--label-maps", "map.png", "--out", "mine.safetensors")
    wish = {"edit": "--target", "sample": "--layout"}
    return lambda name: [
        name,
        wish[name],
        "map.png",
        "--extractor",
        "mine.safetensors",
        "--steps",
        "3",
        "--out",
        "kept",
    ]


@pytest.mark.parametrize("command", ["edit", "sample"])
@pytest.mark.parametrize("frames", [0, 10**6])
def test_what_is_interrupted_keeps_what_was_found_so_far(asked, monkeypatch, capsys, tmp_path, command, frames):
    plain, arguments = getattr(Studio, command), asked(command)

    def interrupted(self, *args, **options):
        yield from itertools.islice(plain(self, *args, **options), frames)
        raise KeyboardInterrupt

    monkeypatch.setattr(Studio, command, interrupted)
    assert cli.main(arguments) == (0 if frames else cli.STOPPED)
    told = capsys.readouterr().err
    assert "Traceback" not in told and told.rstrip().endswith("if anything" if frames else "stopped")
    assert (tmp_path / "kept").exists() == bool(frames)
    assert len(list(tmp_path.glob("kept/*.safetensors"))) == bool(frames)


def test_a_mistake_of_ours_is_not_told_as_one_of_the_input(run, monkeypatch):
    monkeypatch.setattr(Studio, "draw", lambda *args: np.zeros(2) + np.zeros(3))
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["generate", "--seeds", "1"])


def test_the_generator_that_the_settings_name_is_meant_or_refused(run, monkeypatch, capsys):
    monkeypatch.setenv("LINSEM_MODEL", "avatars-64")
    assert run("generate", "--seeds", 0)["model"] == "avatars-64"
    monkeypatch.setenv("LINSEM_MODEL", "avatars-46")
    assert cli.main(["generate", "--seeds", "0"]) == 2
    assert "avatars-46" in capsys.readouterr().err


def test_the_page_without_gradio_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in [name for name in sys.modules if name.startswith("linsem.ui")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["serve"]) == 2
    assert "serve needs the package gradio: pip install gradio spaces" in capsys.readouterr().err


def test_categories_in_another_encoding_are_told(run, tmp_path, capsys):
    (tmp_path / "names.json").write_bytes('[{"name": "blé"}, {"name": "ciel"}]'.encode("latin-1"))
    (tmp_path / "map.png").write_bytes(write_label_map(np.zeros((16, 16), np.uint8), CATEGORIES))
    options = ["--seeds", "0", "--label-maps", str(tmp_path / "map.png"), "--categories", str(tmp_path / "names.json")]
    assert cli.main(["fit", *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith("linsem: ") and "names.json: expected text in UTF-8" in told


@pytest.mark.parametrize("option", ["model", "extractor", "latent", "out", "add"])
def test_an_empty_text_is_not_an_option_that_was_not_given(option, capsys):
    """As where a shell's variable is not set: the shipped extractor, say, would be taken without a word."""
    rest = [] if option == "add" else ["--add", "hat"]
    rest += [] if option == "out" else ["--out", "edited"]
    assert cli.main(["edit", "--seed", "1", *rest, f"--{option}", ""]) == 2
    assert f"{option}: expected a value, got an empty text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "names.json: expected a file that can be read"), ('["low"]', "at least two categories are needed")],
)
def test_categories_that_cannot_be_had_or_are_too_few_are_told(run, tmp_path, capsys, text, says):
    if text is not None:
        (tmp_path / "names.json").write_text(text)
    (tmp_path / "map.png").write_bytes(write_label_map(np.eye(16, dtype=np.uint8), CATEGORIES))
    options = ["--seeds", "0", "--label-maps", str(tmp_path / "map.png"), "--categories", str(tmp_path / "names.json")]
    assert cli.main(["fit", *options]) == 2 and says in capsys.readouterr().err


def test_an_error_stands_on_a_line_of_its_own_below_the_progress(capsys):
    told = Told()
    told.say("first")
    told.tell("1 of 2")
    told.tell("2 of 2")
    told.say("second")
    told.say("third")
    lines = capsys.readouterr().err.split("\n")
    assert lines == ["linsem: first", "\r1 of 2   \r2 of 2   ", "linsem: second", "linsem: third", ""]


def test_a_mark_before_categories_is_no_part_of_them(run, tmp_path, capsys):
    (tmp_path / "names.json").write_text('["low", "high"]', encoding="utf-8-sig")  # as PowerShell writes them
    (tmp_path / "map.png").write_bytes(write_label_map(np.eye(16, dtype=np.uint8), CATEGORIES))
    options = ["--seeds", "0", "--label-maps", str(tmp_path / "map.png"), "--categories", str(tmp_path / "names.json")]
    assert cli.main(["fit", *options]) == 0, capsys.readouterr().err


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    print(printable("written: \u6a21.safetensors"), end="")  # as it stands, this would be an error
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == rb"written: \u6a21.safetensors"


@pytest.mark.parametrize("command", ["edit", "sample"])
def test_an_output_that_cannot_be_made_is_told_before_the_work(asked, monkeypatch, capsys, tmp_path, command):
    monkeypatch.setattr(Studio, command, None)
    (tmp_path / "kept").write_text("a file, where a folder is asked for")
    assert cli.main(asked(command)) == 2
    assert "expected a folder that can be made and written" in capsys.readouterr().err


class Gone(io.StringIO):
    """A stream whose reader has gone, or whose disk is full."""

    def __init__(self, error, encoding="utf-8"):
        super().__init__()
        self.error, self.code = error, encoding

    @property
    def encoding(self):
        return self.code

    def flush(self):
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [(BrokenPipeError(), shell.BROKEN_PIPE, ""), (OSError(28, "No space left on device"), 2, "No space left")],
)
def test_a_report_that_nobody_reads_is_no_traceback(run, monkeypatch, capsys, error, code, says):
    with monkeypatch.context() as there:
        there.setattr("sys.stdout", Gone(error))
        assert cli.main(["generate", "--seeds", "0", "--out", "o"]) == code
    told = capsys.readouterr().err
    assert says in told and (told != "") == (says != "")
    assert Path("o/seed0.png").exists()


def test_a_report_is_json_in_any_encoding(run, monkeypatch):
    for encoding in ("utf-8", "UTF8", "cp1252"):
        with monkeypatch.context() as there:
            there.setattr("sys.stdout", Gone(None, encoding))
            assert cli.main(["generate", "--seeds", "0", "--out", "猫"]) == 0
            printed = sys.stdout.getvalue()
        assert json.loads(printed)["out"] == "猫" and printed.isascii() == (encoding == "cp1252")


def test_progress_that_nobody_reads_does_not_end_the_work(monkeypatch):
    with monkeypatch.context() as there:
        there.setattr("sys.stderr", Gone(BrokenPipeError()))
        shell.tell("step 1")
        shell.tell("step 2")
        sys.stderr.close()
