"""Parts of the user interface without a browser: text stays text, paths stay inside, and bounds always hold."""

from __future__ import annotations

import os
import pickle
import time

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_upload_folder

from linsem.errors import InputError
from linsem.palette import parse_categories
from linsem.seeds import parse_seeds
from linsem.settings import Settings
from linsem.sureness import Sureness
from linsem.ui import files, gpu, page, show
from linsem.ui.colors import hex_color, wished_rgb
from linsem.ui.errors import OURS, Refusal, in_words, said
from linsem.ui.files import Downloads, UploadError, own_folder, uploaded
from linsem.ui.services import real, whole
from linsem.ui.thumbs import Strip, Thumb, Thumbs

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert}}`\\"


def test_names_are_text_wherever_they_are_shown():
    categories = parse_categories([HOSTILE, "plain"])
    pieces = [
        show.legend(categories, {HOSTILE: 0.5}, HOSTILE), show.status(HOSTILE), show.empty(HOSTILE, HOSTILE),
        show.sureness_bars([Sureness(categories[0], 0.5, 3, 0.1, "unsure")]), show.progress(0.5, HOSTILE),
    ]  # fmt: skip
    for piece in pieces:
        assert not any(mark in piece for mark in ("<img", "${", "{{", "`", "\\"))
        assert "alert(1)" in piece  # it is there, as text


@pytest.mark.parametrize(
    ("seconds", "args"),
    [
        (gpu.draw_seconds, ("m", [1] * 9999)), (gpu.fit_seconds, ("m", [0] * 3, [], [])),
        (gpu.read_seconds, ("m", None, [0])), (gpu.edit_seconds, ("m", None, None, None, None, 10**6)),
        (gpu.sample_seconds, ("m", None, None, 4, 200, 30, 0, 1.0)), (gpu.label_seconds, ("m", None, range(9), 0.7)),
        (gpu.suggest_seconds, ("m", range(9999), 4, 0.7, [])),
    ],
)  # fmt: skip
def test_seconds_on_the_gpu_are_bounded_and_take_whatever_comes_with_a_call(seconds, args):
    assert 10 <= seconds(*args) <= 120
    assert seconds(*args, gr.Progress) == seconds(*args) if len(args) > 3 else seconds(*args, more=1) == seconds(*args)


def test_more_work_gets_more_seconds():
    assert gpu.edit_seconds("m", 0, 0, 0, None, 200) > gpu.edit_seconds("m", 0, 0, 0, None, 20)
    assert gpu.sample_seconds("m", 0, 0, 4, 1000, 30) > gpu.sample_seconds("m", 0, 0, 4, 100, 30)


def test_our_sentences_arrive_and_anything_else_is_put_in_general_words(caplog):
    assert said(InputError("seeds: expected numbers, got 'x'")).message == "Seeds: expected numbers, got 'x'."
    assert said(InputError("")).message.strip(". ") and not caplog.records
    for mistake in (RuntimeError("/secret/path"), ValueError("operands could not be broadcast together")):
        assert said(mistake).message == OURS
        assert caplog.records.pop().exc_info[1] is mistake  # whoever runs the server learns of it
    for error in (
        RuntimeError("CUDA out of memory"),
        RuntimeError("[..] can't allocate memory: you tried"),
        MemoryError(),
    ):
        assert "memory" in said(error).message


@pytest.mark.parametrize(
    "message",
    ["label_maps: expected 2", "digiface-64 cannot be loaded", "ros.pt ships without one",
     "owner/nets is not offered", "avatars64 is not offered"],
)  # fmt: skip
def test_a_name_at_the_beginning_of_a_message_keeps_its_letters(message):
    assert said(InputError(message)).message == f"{message}."


def test_a_refusal_crosses_to_another_process():
    """Workers send theirs to the server, which tells them from what went wrong."""
    back = pickle.loads(pickle.dumps(said(InputError("no"))))
    assert type(back) is Refusal and back.message == "No." and not back.print_exception


def test_files_are_kept_apart_from_those_of_other_programs(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    shared = get_upload_folder()
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is taken back afterwards
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    own_folder()
    assert get_upload_folder() != shared
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    own_folder()
    assert get_upload_folder() == str(tmp_path)


def test_a_stream_that_breaks_gives_what_it_had_and_then_a_sentence():
    @in_words
    def stream():
        yield 1
        raise InputError("no more of this")

    steps = stream()
    assert next(steps) == 1
    with pytest.raises(gr.Error, match="No more of this"):
        next(steps)


def test_only_uploads_are_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inside = tmp_path / "uploads" / "a" / "mask.png"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    assert uploaded(str(inside), "mask") == inside.resolve()
    assert uploaded(None, "mask") is None
    os.symlink(tmp_path / "secret", tmp_path / "uploads" / "link")
    outside = [tmp_path / "secret", tmp_path / "uploads" / "link", tmp_path / "uploads" / ".." / "secret"]
    for path in (*outside, "\0", "x" * 5000):
        with pytest.raises(UploadError, match="mask"):
            uploaded(str(path), "mask")


def test_downloads_are_swept_by_age(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    downloads = Downloads(keep_hours=1)
    old, new = downloads.path("a.png"), downloads.path("b.png")
    cut, fresh, other = tmp_path / "tmpcut", tmp_path / "tmpnew", tmp_path / "somebody-elses"
    past = time.time() - 3700
    for path in (cut, fresh, other):
        path.write_bytes(b"half of an upload")
    for path in (old.parent, cut, other):
        os.utime(path, (past, past))
    downloads.write("c.png", b"")
    assert old.parent.exists()  # looking costs too: not at every file
    monkeypatch.setattr(files, "SWEEP_SECONDS", -1)
    downloads.write("d.png", b"")
    assert not old.parent.exists() and not cut.exists()
    assert new.parent.exists() and fresh.exists() and other.exists()


def test_a_folder_that_others_use_too_is_not_swept(tmp_path, monkeypatch):
    """As /tmp is, which an environment may name: a program's file there may be called tmpcut."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(files, "SWEEP_SECONDS", -1)
    tmp_path.chmod(0o1777)
    theirs, cached, now = tmp_path / "tmpcut", tmp_path / ("ab" * 32), time.time()
    theirs.write_bytes(b"somebody else's")
    cached.mkdir()
    monkeypatch.setattr(files.time, "time", lambda: now + 3700)
    downloads = Downloads(keep_hours=1)
    downloads.write("a.png", b"")
    downloads.write("b.png", b"")
    assert theirs.exists() and cached.exists()


def test_an_empty_name_of_a_temporary_folder_is_none(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    files.own_folder()
    assert "linsem-" in os.environ["GRADIO_TEMP_DIR"]


def test_a_file_that_is_being_written_is_not_swept(tmp_path, monkeypatch):
    """An export of hours: the time of its folder is that of its beginning."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(files, "SWEEP_SECONDS", -1)
    downloads = Downloads(keep_hours=1)
    growing = downloads.path("a.zip")
    growing.write_bytes(b"so far")
    past = time.time() - 3700
    os.utime(growing.parent, (past, past))
    downloads.write("b.png", b"")
    assert growing.exists()
    os.utime(growing, (past, past))
    os.utime(growing.parent, (past, past))
    downloads.write("c.png", b"")
    assert not growing.parent.exists()


def test_what_an_earlier_process_had_of_visitors_is_deleted_at_the_start(tmp_path, monkeypatch):
    """Gradio knows only what came to its own process; nothing else in that folder is ours."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    upload, other = tmp_path / ("ab" * 32), tmp_path / "somebody-elses"
    for folder in (upload, other):
        folder.mkdir()
        (folder / "scan.png").write_bytes(b"x")
    Downloads(keep_hours=1)
    assert upload.exists()
    now = time.time()
    monkeypatch.setattr(files.time, "time", lambda: now + 3700)
    Downloads(keep_hours=1)
    assert not upload.exists() and other.exists()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("avatars-64.linsem.zip", "avatars-64.linsem.zip"), ("four.pkl~1-8.zip", "four.pkl~1-8.zip"),
        ("hub://owner/nets/net.pkl@v1-8.zip", "hub-owner-nets-net.pkl@v1-8.zip"),
        ("hub://owner/nets.linsem.zip", "hub-owner-nets.linsem.zip"), ("C:\\x\\y.zip", "C-x-y.zip"),
        ("../../etc/passwd", "etc-passwd"), ("/etc/passwd", "etc-passwd"), ("..", "file"), (".", "file"), ("", "file"),
        ("/", "file"), ("\0", "file"), ("a\nb\0.png", "a-b-.png"), ("n\u00e9t.zip", "n\u00e9t.zip"),
        ("\ud800.zip", "zip"), ("x" * 5000 + ".zip", "x" * 156 + ".zip"),
    ],
)  # fmt: skip
def test_no_name_leaves_the_folder_of_downloads(tmp_path, monkeypatch, name, plain):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    downloads = Downloads(keep_hours=1)
    path = downloads.path(name)
    assert path.name == plain and path.parent.parent == downloads.root
    path.write_bytes(b"")
    assert path.resolve().parent == path.parent.resolve()
    assert os.path.isfile(downloads.write("\u00e9" * 300 + name, b""))  # 600 bytes are no file name either


@pytest.mark.parametrize(
    "bad", [None, "3", True, float("nan"), float("inf"), 2.5, -1, 11, 10**400, [], {}], ids=lambda bad: repr(bad)[:12]
)
def test_numbers_from_outside_are_checked(bad):
    with pytest.raises(ValueError, match="steps"):
        whole("steps", bad, 0, 10)
    assert whole("steps", 3.0, 0, 10) == 3 and real("psi", 1, 0, 2) == 1.0


def test_a_colour_picker_may_give_any_notation():
    assert hex_color("rgba(255, 0, 128.4, 1)") == hex_color("#FF0080") == "#ff0080"
    assert hex_color("hsl(0, 100%, 50%)") == hex_color("red") == hex_color("#f00") == "#ff0000"
    assert wished_rgb("#FF0080") == (255, 0, 128)


@pytest.mark.parametrize("bad", [None, "", "reddish", "1234567", "#12345", "#ggffff", "x" * 10_000])
def test_what_is_no_colour_is_refused_in_a_sentence(bad):
    assert hex_color(bad) == (bad or "")  # a category's is refused by the session
    with pytest.raises(InputError, match=r"^colour: expected one such as #d1495b, got .{1,200}$"):
        wished_rgb(bad)


def test_an_uncertainty_shows_the_image_where_it_is_sure():
    rgb = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], 3, -1)
    sure, unsure = (show._doubt(rgb, np.full((1, 64), value)).astype(int) for value in (0.0, 1.0))
    assert (np.diff(sure.sum(-1)) >= 0).all() and np.ptp(sure.sum(-1)) > 500  # not black: the image is there
    assert np.ptp(unsure.sum(-1)) == 0  # nothing but the heat
    assert np.isfinite(show._doubt(rgb, np.full((1, 64), np.nan))).all()


def test_a_strip_crosses_the_wire_small_and_label_maps_exactly():
    import base64
    import io

    from PIL import Image

    rgb = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    value = Thumbs(label="x").postprocess(Strip((Thumb(rgb, "a", crisp=True), Thumb(rgb, "b")), 1))
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(item["image"].split(",")[1]))).convert("RGB"))
        for item in value["items"]
    ]
    assert np.array_equal(images[0], rgb) and not np.array_equal(images[1], rgb)
    assert value["current"] == 1


def test_the_list_of_generators_says_what_has_to_be_downloaded(monkeypatch):
    monkeypatch.setattr(page, "is_here", lambda spec: spec.id == "avatars-64")
    titles = [page.generator_title({"id": name, "resolution": size}) for name, size in
              (("avatars-64", 64), ("stylegan2-ffhq", 1024), ("pggan-celebahq", 1024), ("mine", 0))]  # fmt: skip
    assert titles == [
        "avatars-64 · 64 px", "stylegan2-ffhq · 1024 px · 382 MB download · non-commercial",
        "pggan-celebahq · 1024 px · download · non-commercial", "mine",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1-1000", "at most 24 at a time; '1-1000' is too many"),
        ("1-20, 30-40", "at most 24 at a time; '1-20, 30-40' are too many"),
        ("5-1", "write ranges from low to high, for example 1-5"),
        ("99999999999", "the largest is 4294967295"),
    ],
)
def test_seeds_that_cannot_be_used_are_told_why(text, says):
    with pytest.raises(InputError, match=says):
        parse_seeds(text, 24)


def test_a_port_that_is_taken_is_named_by_its_setting(monkeypatch):
    def taken(*args):
        raise OSError("Cannot find empty port in range: 7-7. Set the GRADIO_SERVER_PORT environment variable")

    monkeypatch.setattr(page, "_serve", taken)
    for name in ("share_arenas", "keep_freed", "warm"):
        monkeypatch.setattr(page, name, lambda: None)
    with pytest.raises(InputError, match=r"LINSEM_PORT: cannot serve on 127\.0\.0\.1:7: the port is in use$"):
        page.launch(None, Settings(port=7))
    with pytest.raises(InputError, match=r"cannot serve on 192\.0\.2\.1:7: this machine has no such address \(.+\)$"):
        page.launch(None, Settings(host="192.0.2.1", port=7))  # one that no machine has
    with pytest.raises(InputError, match=r"cannot serve on \[::1\]:7: the port is in use$"):
        page.launch(None, Settings(host="[::1]", port=7))
