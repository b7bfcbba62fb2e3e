"""Projects make an exact round trip, and hostile files are refused with a sentence."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import warnings
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from linsem import archive, project
from linsem.extractor import load_extractor, save_extractor
from linsem.headers import MAX_HEADER
from linsem.palette import parse_categories, write_label_map
from linsem.project import Project, ProjectEdit, ProjectError, ProjectImage, load_project, save_project
from tests.toys import CATEGORIES, ToyGenerator


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project with all its parts."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("extractor") / "toy.safetensors"
    save_extractor(ToyGenerator().known_extractor(), path)

    def labels():
        return rng.choice(np.array([0, 1, 2, 3, 255], dtype=np.uint8), (32, 24))

    def ws():
        return rng.standard_normal((5, 24)).astype(np.float32)

    return Project(
        "toy", 0.7, CATEGORIES,
        (ProjectImage(7, None, labels(), 0.5), ProjectImage(2**62, ws(), labels()), ProjectImage(None, ws(), labels())),
        {"opacity": 0.1 + 0.2, "live": True, "tab": "Label", "brush": 12, "none": None, "Größe": "ü\n\0\u2028"},
        path.read_bytes(),
        (ProjectEdit(ws(), "start", labels()), ProjectEdit(ws(), "hat → hair"), ProjectEdit(ws(), "", None, 3)),
    )  # fmt: skip


def saved(value):
    buffer = io.BytesIO()
    save_project(value, buffer)
    return buffer.getvalue()


def assert_same(a, b):
    assert (a.generator_id, a.psi, a.categories, a.extractor) == (b.generator_id, b.psi, b.categories, b.extractor)
    assert a.settings == b.settings
    assert {name: type(value) for name, value in a.settings.items()} == {n: type(v) for n, v in b.settings.items()}
    for one, other in (*zip(a.images, b.images, strict=True), *zip(a.edits, b.edits, strict=True)):
        for name, value in vars(one).items():
            again = getattr(other, name)
            if isinstance(value, np.ndarray):
                assert value.dtype == again.dtype
                assert np.array_equal(value, again)
            else:
                assert value == again


def test_it_comes_back_exactly(whole, tmp_path):
    path = tmp_path / "my.linsem.zip"
    save_project(whole, path)
    assert_same(load_project(path), whole)
    assert_same(load_project(str(path)), whole)
    assert_same(load_project(path.read_bytes()), whole)
    assert_same(load_project(io.BytesIO(path.read_bytes())), whole)
    with pytest.raises(AssertionError):
        assert_same(load_project(path), replace(whole, psi=0.71))


def test_whole_numbers_of_any_type_are_saved(whole):
    odd = replace(whole, settings={"steps": np.int64(5), "live": True})
    assert load_project(saved(odd)).settings == {"steps": 5, "live": True}


def test_the_same_project_is_the_same_bytes(whole):
    assert saved(whole) == saved(load_project(saved(whole)))


def test_numbers_of_numpy_are_numbers(whole):
    image = replace(whole.images[0], seed=np.int64(5), psi=np.float32(0.5))
    read = load_project(saved(replace(whole, psi=np.float64(0.25), images=(image, *whole.images[1:]))))
    assert (read.psi, read.images[0].seed, read.images[0].psi) == (0.25, 5, 0.5)


def test_an_empty_project_is_a_project():
    empty = Project("toy", 1, CATEGORIES, ())
    assert_same(load_project(saved(empty)), empty)


def test_the_extractor_in_it_loads(whole, tmp_path):
    (tmp_path / "e.safetensors").write_bytes(load_project(saved(whole)).extractor)
    assert load_extractor(tmp_path / "e.safetensors", ToyGenerator()).categories == CATEGORIES


def test_what_is_loaded_can_be_changed(whole):
    loaded = load_project(saved(whole))
    loaded.images[0].labels[0, 0] = 1
    loaded.images[1].ws[0, 0] = 1


@pytest.mark.parametrize("when", ["_write", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(whole, tmp_path, monkeypatch, when):
    path = tmp_path / "p.zip"
    save_project(replace(whole, psi=0.25), path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(archive if when == "_write" else os, when, fail)
    with pytest.raises(OSError, match="disk full"):
        save_project(whole, path)
    monkeypatch.undo()
    assert load_project(path).psi == 0.25
    assert os.listdir(tmp_path) == ["p.zip"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"generator_id": ""}, "id of a generator"),
        ({"generator_id": "a\ud800"}, "id of a generator"),
        ({"psi": float("nan")}, "psi"),
        ({"psi": True}, "psi"),
        ({"categories": ()}, "categories: expected 1 to 254"),
        ({"categories": CATEGORIES[:1]}, r"label \d, and there are 1 categories"),
        ({"settings": {"x": float("inf")}}, "setting 'x'"),
        ({"settings": {"x": [1]}}, "setting 'x'"),
        ({"settings": {"x": 2**63}}, "setting 'x'"),
        ({"settings": {3: 1}}, "setting 3"),
        ({"settings": {"x" * 5000: 1}}, r"setting 'x{79}\.\.\.$"),
        ({"settings": {"x": "\ud800"}}, "setting 'x'"),
        ({"settings": {str(i): i for i in range(300)}}, "at most 256 settings"),
        ({"extractor": b"not safetensors"}, "no extractor"),
        ({"generator_id": "other"}, "made for 'toy'"),
        ({"images": (ProjectImage(None, None, np.zeros((4, 4), np.uint8)),)}, "seed or a latent"),
        ({"images": (ProjectImage(-1, None, np.zeros((4, 4), np.uint8)),)}, "expected a seed"),
        ({"images": (ProjectImage(2**32, None, np.zeros((4, 4), np.uint8)),)}, "expected a seed"),
        ({"images": (ProjectImage(1, np.zeros((2, 3)), np.zeros((4, 4), np.uint8)),)}, "finite float32"),
        ({"images": (ProjectImage(1, np.full((5, 24), np.nan, np.float32), np.zeros((32, 24), np.uint8)),)}, "finite"),
        ({"images": (ProjectImage(1, torch.zeros(5, 24), np.zeros((4, 4), np.uint8)),)}, "latents as numpy arrays"),
        ({"images": (ProjectImage(1, None, np.zeros((4, 4))),)}, "labels .* uint8"),
        ({"images": (ProjectImage(1, None, np.zeros((4096, 4096), np.uint8)),)}, "at most 16 megapixels"),
        ({"images": (ProjectImage(1, None, np.zeros((4, 4), np.uint8)),)}, "of one size"),
        ({"edits": (ProjectEdit(np.zeros((1, 3), np.float32)),)}, "of one shape"),
        ({"edits": (ProjectEdit(np.zeros((5, 24), np.float32), "x" * 5000),)}, "caption"),
        ({"edits": (ProjectEdit(np.zeros((5, 24), np.float32), image=-1),)}, "number of an edited image"),
        ({"edits": (ProjectEdit(np.zeros((5, 24), np.float32), image=True),)}, "number of an edited image"),
    ],
)  # fmt: skip
def test_what_could_not_be_read_again_is_not_written(whole, change, says):
    with pytest.raises(ProjectError, match=says):
        saved(replace(whole, **change))


def test_text_that_repeats_is_no_bomb_when_it_comes_back():
    value = Project("toy", 1, CATEGORIES, (), {str(i): "a" * project.MAX_TEXT for i in range(project.MAX_SETTINGS)})
    assert_same(load_project(saved(value)), value)


# --- images without labels -------------------------------------------------------------------------------------------

BLANK = np.full((32, 24), 255, np.uint8)


def names_in(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return set(file.namelist())


def sparse(whole, images=5):
    """A project with one labelled image, in the middle, and edits without labels."""
    labels = {2: whole.images[0].labels}
    edits = tuple(replace(edit, labels=None) for edit in whole.edits)
    made = tuple(ProjectImage(i, None, labels.get(i, BLANK).copy(), 0.5) for i in range(images))
    return replace(whole, images=made, edits=edits)


def test_images_without_labels_need_no_maps_where_all_maps_have_no_room(whole, monkeypatch):
    value = sparse(whole)
    monkeypatch.setattr(project, "MAX_PIXELS", 5 * BLANK.size)
    plain = saved(value)  # as before: earlier versions read it
    assert {name for name in names_in(plain) if "labels" in name} == {f"labels/000{i}.png" for i in range(5)}
    monkeypatch.setattr(project, "MAX_PIXELS", BLANK.size)
    with pytest.raises(ProjectError, match="3840 pixels, and at most 768 are expected"):
        load_project(plain)
    small = saved(value)
    assert {name for name in names_in(small) if "labels" in name} == {"labels/0002.png"}
    assert_same(load_project(small), value)
    assert saved(load_project(small)) == small
    monkeypatch.undo()
    assert_same(load_project(small), value)
    assert saved(load_project(small)) == plain


def test_where_nothing_is_labelled_there_may_be_no_map_at_all(whole, monkeypatch):
    value = replace(sparse(whole, images=2), images=sparse(whole).images[:2])
    monkeypatch.setattr(project, "MAX_PIXELS", BLANK.size)
    data = saved(value)
    assert not {name for name in names_in(data) if name.endswith(".png")}
    loaded = load_project(data)
    assert_same(loaded, value)
    loaded.images[0].labels[0, 0] = 1  # and each has labels of its own
    assert (loaded.images[1].labels == 255).all()


def test_what_has_no_room_even_so_is_refused_with_what_to_do(whole, monkeypatch):
    value = sparse(whole)
    monkeypatch.setattr(project, "MAX_PIXELS", BLANK.size - 1)
    with pytest.raises(ProjectError, match="at most 767 go into a file: remove some labelled images"):
        saved(value)
    monkeypatch.setattr(project, "MAX_PIXELS", BLANK.size)
    monkeypatch.setattr(project, "MAX_BLANK", 4 * BLANK.size - 1)
    with pytest.raises(ProjectError, match="at most 3071 go into a file: remove some of these"):
        saved(value)
    monkeypatch.setattr(project, "MAX_BLANK", 4 * BLANK.size)
    assert_same(load_project(saved(value)), value)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([[32, 24]] * 4, None), ([[32, 25]] * 4, "all labels of one size"), ([[4000, 4000]] * 17, "272000000 pixels"),
        ([[2**40, 2**40]], "images without labels have 1208925819614629174706176 pixels"), ([[0, 5]], r"got \[0, 5\]"),
        ([[32, 24, 1]], "expected .height, width."), ([[32.0, 24]], "expected .height, width."), (["ab"], "got 'ab'"),
        ([[True, 24]], "expected .height, width."), ([[-32, -24]], "expected .height, width."), ([None], "got None"),
        ([[9] * 10_000], r"got \[9, 9, [9, ]+\.\.\.$"), ([[1, 16_000_001]], "at most 16 megapixels"),
    ],
)  # fmt: skip
def test_an_image_without_a_map_has_a_size_that_an_image_may_have(whole, sizes, says):
    data = saved(replace(sparse(whole), images=sparse(whole).images[2:3]))
    rows = [{"seed": 2, "psi": 0.5, "ws": False}]
    rows += [{"seed": i, "psi": 0.5, "ws": False, "blank": size} for i, size in enumerate(sizes)]
    data = with_head(data, images=rows)
    if says is None:
        assert [image.labels.shape for image in load_project(data).images] == [(32, 24)] * 5
        return
    with pytest.raises(ProjectError, match=says):
        load_project(data)


def test_a_map_that_is_missing_is_not_taken_for_an_image_without_labels(whole):
    data, row = saved(sparse(whole)), {"seed": 0, "psi": 0.5, "ws": False}
    with pytest.raises(ProjectError, match=r"labels/0001\.png is missing"):
        load_project(rezipped(data, drop=["labels/0001.png"]))
    with pytest.raises(ProjectError, match=r"does not name: 'labels/0001\.png'"):
        load_project(with_head(data, images=[row, row | {"blank": [32, 24]}, row, row, row]))


def test_more_than_would_be_read_is_not_written():
    value = Project("toy", 1, CATEGORIES, (), {str(i): "\U0001f600" * project.MAX_TEXT for i in range(256)})
    with pytest.raises(ProjectError, match=r"project\.json would have \d+ bytes"):
        saved(value)


# --- hostile files ---------------------------------------------------------------------------------------------------


def rezipped(data, change=None, *, drop=(), extra=(), compress=None):
    """The zip with entries replaced (`change`, {name: bytes}), removed (`drop`) and added (`extra`)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of two entries of one name
        for info in old.infolist():
            if info.filename not in drop:
                content = (change or {}).get(info.filename, old.read(info))
                new.writestr(info, content, compress_type=compress)
        for info, content in extra:
            new.writestr(info, content)
    return buffer.getvalue()


def with_head(data, **values):
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        head = json.loads(old.read("project.json"))
    head.update(values)
    head = {name: value for name, value in head.items() if value is not ...}
    return rezipped(data, {"project.json": json.dumps(head).encode()})


def entry(name, *, mode=0o100644, compress=zipfile.ZIP_STORED):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, compress
    return info


def test_the_twin_that_is_only_rezipped_is_read(whole):
    assert_same(load_project(rezipped(saved(whole), compress=zipfile.ZIP_DEFLATED)), whole)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.txt", "leads out of it"), ("/etc/passwd", "leads out of it"), ("labels/../../x", "leads out of it"),
        ("C:\\evil", "leads out of it"), ("..\\evil", "leads out of it"), ("labels/", "not a plain file"),
        ("evil.txt", "does not belong"), ("labels/0000.PNG", "not belong"), ("labels/\u0660000.png", "not belong"),
        ("labels/0009.png", "does not name"), ("project.json", "two entries of one name"), ("ws/1/2.npy", "not belong"),
    ],
)  # fmt: skip
def test_an_entry_too_many(whole, name, says):
    data = rezipped(saved(whole), extra=[(entry(name), write_label_map(np.zeros((32, 24), np.uint8), CATEGORIES))])
    with pytest.raises(ProjectError, match=says):
        load_project(data)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFDIR | 0o755, stat.S_IFCHR])
def test_links_and_devices(whole, mode):
    data = rezipped(saved(whole), drop=["ws/0001.npy"], extra=[(entry("ws/0001.npy", mode=mode), b"/etc/passwd")])
    with pytest.raises(ProjectError, match="not a plain file"):
        load_project(data)


def test_an_encrypted_entry(whole):
    data = bytearray(saved(whole))
    central = data.rfind(b"PK\x01\x02")
    data[central + 8] |= 1
    with pytest.raises(ProjectError, match="encrypted"):
        load_project(bytes(data))


def test_an_unexpected_compression(whole):
    data = rezipped(saved(whole), compress=zipfile.ZIP_LZMA)
    with pytest.raises(ProjectError, match="unexpected compression"):
        load_project(data)


def test_a_bomb_by_ratio_by_entry_and_in_all(whole):
    zeros = {"project.json": b" " * (4 << 20)}
    with pytest.raises(ProjectError, match=r"is \d+ bytes and would unpack to 4194304"):
        load_project(rezipped(saved(whole), zeros, compress=zipfile.ZIP_DEFLATED))
    large = {"ws/0001.npy": os.urandom(2 << 20)}
    with pytest.raises(ProjectError, match="would unpack to 2097152 bytes, and at most"):
        load_project(rezipped(saved(whole), large))


def test_in_all(whole, monkeypatch):
    data = saved(whole)
    monkeypatch.setattr(project, "_MAX_BYTES", len(data) - 1)
    with pytest.raises(ProjectError, match="at most"):
        load_project(data)
    with pytest.raises(ProjectError, match="do not go into a file"):
        saved(whole)


def test_an_entry_that_lies_about_its_size(whole):
    data = bytearray(rezipped(saved(whole), compress=zipfile.ZIP_DEFLATED))
    central = data.find(b"PK\x01\x02")  # of project.json
    data[central + 24 : central + 28] = struct.pack("<I", 10)
    with pytest.raises(ProjectError, match=r"damaged|no JSON"):
        load_project(bytes(data))


def test_a_directory_of_a_million_entries_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(zipfile, "ZipFile", None)  # never reached
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 46_000_000, 0, 0)
    with pytest.raises(ProjectError, match="too many entries"):
        load_project(bytes(1000) + end)


def test_the_zip64_record_cannot_overrule_the_checks(whole):
    data = saved(whole)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    with pytest.raises(ProjectError, match="large files"):
        load_project(data[:-22] + locator + data[-22:])


def test_label_maps_that_would_fill_the_memory(whole):
    row = {"seed": 0, "psi": None, "ws": False}
    header = struct.pack(">IIBBBBB", 4000, 4000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk
    data = with_head(saved(replace(whole, images=(), edits=(), extractor=None)), images=[row] * 9)
    data = rezipped(data, extra=[(entry(f"labels/{i:04d}.png"), bomb) for i in range(9)])
    with pytest.raises(ProjectError, match="144000000 pixels"):
        load_project(data)


def test_a_second_header_cannot_overrule_the_limit_on_pixels(whole, monkeypatch):
    """Pillow decodes by the last header of a PNG, so that a first one could claim a single pixel."""
    data = saved(whole)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        maps = {name: file.read(name) for name in file.namelist() if name.endswith(".png")}
    small = struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + small + struct.pack(">I", zlib.crc32(b"IHDR" + small))
    double = {name: png[:8] + chunk + png[8:] for name, png in maps.items()}
    assert all(Image.open(io.BytesIO(png)).size == (24, 32) for png in double.values())
    monkeypatch.setattr(project, "MAX_PIXELS", len(maps) * 32 * 24)
    assert_same(load_project(data), whole)
    monkeypatch.setattr(project, "MAX_PIXELS", len(maps) * 32 * 24 - 1)
    with pytest.raises(ProjectError, match="pixels, and at most"):
        load_project(data)
    with pytest.raises(ProjectError, match=r"labels/0000\.png is no PNG with one header"):
        load_project(rezipped(data, double))


def test_an_extractor_whose_header_is_beyond_any_need(whole):
    head = int.from_bytes(whole.extractor[:8], "little")
    header, tensors = whole.extractor[8 : 8 + head], whole.extractor[8 + head :]
    most, more = (struct.pack("<Q", n) + header.ljust(n) + tensors for n in (MAX_HEADER, MAX_HEADER + 1))
    assert_same(load_project(rezipped(saved(whole), {"extractor.safetensors": most})), replace(whole, extractor=most))
    with pytest.raises(ProjectError, match=r"the header of extractor\.safetensors: expected at most"):
        load_project(rezipped(saved(whole), {"extractor.safetensors": more}))


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no array"), (b"PK\x03\x04", "no array"), (b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16, "no array"),
        (npy(np.zeros((5, 24))), "expected float32"), (npy(np.zeros((5, 24), ">f4")), "expected float32"),
        (npy(np.zeros(120, np.float32)), "expected float32"), (npy(np.zeros((0, 24), np.float32)), "expected float32"),
        (npy(np.zeros((24, 5), np.float32).T), "expected float32"),
        (npy(np.array([[None]]), allow_pickle=True), "expected float32"),
        (npy(np.zeros((5, 24), np.float32), version=(2, 0)), "no array|expected float32"),
        (npy(np.zeros((5, 24), np.float32))[:-1], "holds"), (npy(np.zeros((5, 24), np.float32)) + b"x", "holds"),
        (npy(np.zeros((5, 24), np.float32)).replace(b"(5, 24), }  ", b"(5, 2400)}  "), "holds"),
        (npy(np.full((5, 24), np.inf, np.float32)), "finite"),
    ],
)  # fmt: skip
def test_latents_that_are_something_else(whole, content, says):
    with pytest.raises(ProjectError, match=says):
        load_project(rezipped(saved(whole), {"ws/0001.npy": content}))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"format": "other"}, "another file"),
        ({"format": ...}, "another file"),
        ({"version": 2}, "version 2"),
        ({"version": "1"}, "version 1"),
        ({"version": True}, "version True"),
        ({"surplus": 1}, "expected categories"),
        ({"settings": ...}, "expected categories"),
        ({"settings": [1]}, "settings"),
        ({"settings": {"x": float("nan")}}, "setting 'x'"),
        ({"settings": {"x": {"y": 1}}}, "setting 'x'"),
        ({"psi": "0.7"}, "psi"),
        ({"psi": 1e400}, "psi"),
        ({"generator": 7}, "id of a generator"),
        ({"generator": "other"}, "made for 'toy'"),
        ({"categories": "hair"}, "list of categories"),
        ({"categories": [{"name": "a"}, {"name": "a"}]}, "names must be unique"),
        ({"categories": [{"name": "a"}, {"name": "b"}]}, "are none of: a, b"),
        ({"images": {}}, "for each of the images"),
        ({"images": [3]}, "for each of the images"),
        ({"images": [{"seed": 1, "psi": 1}]}, "for each of the images"),
        ({"images": []}, "does not name: 'labels/0000.png'"),
        ({"images": [{"seed": 1.5, "psi": 1, "ws": False}]}, "expected a seed|does not name"),
        ({"images": [{"seed": 1, "psi": 1, "ws": False}] * 4}, "labels/0003.png is missing"),
        ({"edits": [{"caption": 3, "labels": True}, {"caption": "", "labels": False}]}, "caption"),
    ],
)
def test_a_project_json_that_says_something_else(whole, values, says):
    with pytest.raises(ProjectError, match=says):
        load_project(with_head(saved(whole), **values))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null", b'{"version": 1' + b"0" * 9000]
)
def test_a_project_json_that_is_none(whole, content):
    with pytest.raises(ProjectError, match=r"no JSON|another file"):
        load_project(rezipped(saved(whole), {"project.json": content}, compress=zipfile.ZIP_STORED))


def test_labels_that_are_another_picture(whole):
    gray = io.BytesIO()
    Image.new("L", (24, 32)).save(gray, "PNG")
    with pytest.raises(ProjectError, match="does not carry"):
        load_project(rezipped(saved(whole), {"labels/0000.png": gray.getvalue()}))
    with pytest.raises(ProjectError, match="is no PNG"):
        load_project(rezipped(saved(whole), {"labels/0000.png": b"GIF89a"}))
    other = write_label_map(np.zeros((32, 24), np.uint8), parse_categories(["elsewhere"]))
    with pytest.raises(ProjectError, match="'elsewhere'"):
        load_project(rezipped(saved(whole), {"labels/0000.png": other}))


def test_an_extractor_is_given_as_the_bytes_of_its_file(whole):
    for wrong in (object(), "extractor.safetensors"):
        with pytest.raises(ProjectError, match=r"extractor: expected the bytes of its file.*`save_extractor`.*got"):
            saved(replace(whole, extractor=wrong))


@pytest.mark.parametrize("name", ["project.json", "labels/0001.png", "ws/0001.npy", "edits/0001.npy"])
def test_a_missing_part_is_named(whole, name):
    with pytest.raises(ProjectError, match=name.replace(".", r"\.") + " is missing"):
        load_project(rezipped(saved(whole), drop=[name]))


@pytest.mark.parametrize("source", [b"", b"no zip", b"PK\x05\x06" + bytes(18), "no/such.zip", "/", "nul\0.zip"])
def test_files_that_are_no_zip(source):
    with pytest.raises(ProjectError, match=r"project( file .+)?: .+"):
        load_project(source)


def test_damaged_files_never_raise_anything_else(whole):
    data = saved(whole)
    rng = np.random.default_rng(0)
    refused = 0
    for turn in range(300):
        damaged = np.frombuffer(data, dtype=np.uint8).copy()
        where = rng.integers(0, len(data), 2) if turn % 2 else len(data) - 1 - rng.integers(0, 900, 2)
        damaged[where] = rng.integers(0, 256, 2)
        cut = damaged.tobytes()[: rng.integers(0, len(data)) if turn % 10 == 0 else None]
        try:
            load_project(cut)
        except ProjectError:
            refused += 1
    assert refused > 250
