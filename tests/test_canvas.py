"""The painter's Python side: values make an exact round trip, and malformed input is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import struct
import zlib
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import linsem.ui.canvas as canvas
from linsem.palette import Category
from linsem.ui.canvas import MAX_CHARS, PNG_PREFIX, LabelPainter, PainterState, decode_map, encode_map

SIZE = (24, 40)
CATEGORIES = (
    Category("skin", "#e0b090"),
    Category("hair", "#503020"),
    Category("<img src=x onerror=alert(1)>", "#00ff00"),
)


@pytest.fixture(scope="module")
def painter():
    return LabelPainter(categories=CATEGORIES, label="Image 1")


def state(**changes):
    random = np.random.default_rng(0)
    values = {
        "rgb": random.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "labels": random.choice(np.array([0, 1, 2, 255], np.uint8), SIZE),
        "prediction": random.integers(0, 3, SIZE, dtype=np.uint8),
        "uncertainty": random.random(SIZE),
        "categories": CATEGORIES,
        "key": "seed-7",
    }
    return PainterState(**{**values, **changes})


def url(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return PNG_PREFIX + base64.b64encode(buffer.getvalue()).decode()


def grey(values):
    return url(Image.fromarray(np.asarray(values, np.uint8)))


def payload(**changes):
    return {"key": "seed-7", "labels": grey(np.zeros(SIZE)), "stamp": 3, **changes}


def header_of(width, height):
    """A tiny PNG whose header claims this size."""
    chunks = b""
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        chunks += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return PNG_PREFIX + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def behind_a_header_of(width, height, url):
    """The same PNG with another header before its own, which is the one that Pillow decodes by."""
    ours, other = (base64.b64decode(each[len(PNG_PREFIX) :]) for each in (url, header_of(width, height)))
    return PNG_PREFIX + base64.b64encode(other[:33] + ours[8:]).decode()


def test_what_goes_out_comes_back_exactly(painter):
    sent = state()
    back = painter.preprocess(painter.postprocess(sent))  # a painter that nobody touched echoes what it got
    assert (back.key, back.stamp) == ("seed-7", 0)
    assert back.labels.dtype == np.uint8 and np.array_equal(back.labels, sent.labels)
    assert len(set(sent.labels.ravel().tolist())) == 4  # it could have been lost


def test_every_part_of_a_state_reaches_the_browser(painter):
    sent = state()
    form = painter.postprocess(sent)
    assert (form["height"], form["width"]) == SIZE
    assert np.array_equal(decode_map(form["prediction"]), sent.prediction)
    heat = decode_map(form["uncertainty"]) / 255
    assert np.abs(heat - sent.uncertainty).max() <= 0.5 / 63 + 0.5 / 255
    assert form["categories"] == [{"name": c.name, "color": c.color} for c in CATEGORIES]
    with Image.open(form["image"]["path"]) as image:
        assert np.array_equal(np.asarray(image), sent.rgb)


def test_a_missing_prediction_stays_missing(painter):
    form = painter.postprocess(state(prediction=None, uncertainty=None))
    assert form["prediction"] is None and form["uncertainty"] is None
    assert painter.postprocess(None) is None and painter.preprocess(None) is None and painter.preprocess("") is None


def test_a_picture_is_written_once_and_pictures_do_not_mix(painter):
    first, again = painter.postprocess(state())["image"]["path"], painter.postprocess(state())["image"]["path"]
    other = painter.postprocess(state(rgb=255 - state().rgb))["image"]["path"]
    turned = np.ascontiguousarray(state().rgb.reshape(SIZE[1], SIZE[0], 3))  # the same bytes, another shape
    flat = np.zeros(turned.shape[:2], np.uint8)
    third = painter.postprocess(state(rgb=turned, labels=flat, prediction=None, uncertainty=None))["image"]["path"]
    assert first == again and len({first, other, third}) == 3
    assert [path.name for path in Path(first).parent.iterdir()] == ["image.png"]  # no half-written file beside it


def test_a_strided_picture_is_taken_as_it_looks(painter):
    rgb = state().rgb
    path = painter.postprocess(state(rgb=rgb[:, ::-1]))["image"]["path"]
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), rgb[:, ::-1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rgb": np.zeros((4, 4), np.uint8)}, "rgb"),
        ({"rgb": np.zeros((*SIZE, 3), np.float32)}, "rgb"),
        ({"rgb": np.zeros((0, 0, 3), np.uint8)}, "rgb"),
        ({"labels": np.zeros(SIZE, np.int64)}, "labels"),
        ({"labels": np.zeros((3, 3), np.uint8)}, "labels"),
        ({"labels": np.full(SIZE, 3, np.uint8)}, r"labels.*3 categories.*\[3\]"),
        ({"prediction": np.full(SIZE, 255, np.uint8)}, "prediction"),
        ({"uncertainty": np.full(SIZE, np.nan)}, "uncertainty"),
        ({"uncertainty": np.full(SIZE, 1.5)}, "uncertainty"),
        ({"uncertainty": np.zeros(SIZE, np.uint8)}, "uncertainty"),
        ({"categories": ()}, "categories"),
        ({"key": ""}, "key"),
        ({"key": "k" * 257}, "key"),
        ({"key": 7}, "key"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        state(**changes)


def test_a_plain_picture_is_no_state(painter):
    with pytest.raises(ValueError, match="expected PainterState"):
        painter.postprocess(state().rgb)


def test_labels_of_all_254_categories_come_in(painter):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    values[values == 254] = 255
    assert np.array_equal(painter.preprocess(payload(labels=grey(values))).labels, values)


def test_the_largest_map_comes_in(painter):
    assert painter.preprocess(payload(labels=grey(np.zeros((2048, 2048))))).labels.shape == (2048, 2048)


LINE = Image.fromarray(np.zeros((4, 4), np.uint8))
HOSTILE = {
    "text": "seed-7",
    "number": 7,
    "list": [payload()],
    "empty": {},
    "no key": {"labels": grey([[0]]), "stamp": 1},
    "unknown field": payload(path="/etc/passwd"),
    "key not text": payload(key=["seed-7"]),
    "key empty": payload(key=""),
    "key long": payload(key="k" * 257),
    "stamp text": payload(stamp="3"),
    "stamp true": payload(stamp=True),
    "stamp float": payload(stamp=3.0),
    "stamp nan": payload(stamp=float("nan")),
    "stamp negative": payload(stamp=-1),
    "stamp huge": payload(stamp=1 << 60),
    "labels none": payload(labels=None),
    "labels list": payload(labels=[[0]]),
    "labels a path": payload(labels="/etc/passwd"),
    "labels a web address": payload(labels="http://127.0.0.1/labels.png"),
    "labels another type": payload(labels=grey([[0]]).replace("png", "svg+xml")),
    "labels no base64": payload(labels=PNG_PREFIX + "%%%"),
    "labels unicode": payload(labels=PNG_PREFIX + "ÄÖÜ☃"),
    "labels nothing": payload(labels=PNG_PREFIX),
    "labels a jpeg": payload(labels=url(LINE, format="JPEG")),
    "labels a gif": payload(labels=url(LINE, format="GIF")),
    "labels colour": payload(labels=url(LINE.convert("RGB"))),
    "labels alpha": payload(labels=url(LINE.convert("LA"))),
    "labels indexed": payload(labels=url(LINE.convert("P"))),
    "labels one bit": payload(labels=url(LINE.convert("1"))),
    "labels 16 bit": payload(labels=url(Image.fromarray(np.zeros((4, 4), np.uint16)))),
    "labels cut": payload(labels=grey(np.random.default_rng(0).integers(0, 9, (64, 64)))[:-800]),
    "labels without pixels": payload(labels=header_of(4, 4)),
    "labels of no size": payload(labels=header_of(0, 4)),
    "labels bomb by header": payload(labels=header_of(60_000, 60_000)),
    "labels bomb": payload(labels=grey(np.zeros((2049, 2048)))),
    "labels bomb of two headers": payload(labels=behind_a_header_of(4, 4, grey(np.zeros((2049, 2048))))),
    "labels of two headers": payload(labels=behind_a_header_of(4, 4, grey([[0]]))),
    "labels too long": payload(labels=PNG_PREFIX + "A" * MAX_CHARS),
    "index 254": payload(labels=grey([[0, 254]])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_malformed_payload_is_an_error_with_a_sentence(painter, name):
    with pytest.raises(gr.Error) as caught:
        painter.preprocess(HOSTILE[name])
    assert re.fullmatch(r"The painter's labels could not be read: [^\n]{10,160}\.", caught.value.message)
    assert not caught.value.print_exception
    assert "/etc" not in caught.value.message  # nothing of what was sent is repeated
    painter.preprocess(payload())  # the twin: without the malice it is read


def test_a_bomb_is_refused_before_it_is_decoded(painter, monkeypatch):
    def no_decoding(*args, **kwargs):
        raise AssertionError("decoded")

    monkeypatch.setattr(canvas.Image, "open", no_decoding)
    with pytest.raises(gr.Error, match="60000 x 60000"):
        painter.preprocess(HOSTILE["labels bomb by header"])


def test_map_codec_is_its_own_inverse():
    values = np.random.default_rng(1).integers(0, 256, (7, 5), dtype=np.uint8)
    assert np.array_equal(decode_map(encode_map(values)), values)


def test_templates_hold_no_user_text_and_nothing_to_evaluate(painter):
    other = LabelPainter(categories=(Category("a", "#000000"),), label="${alert(1)}")
    for name in ("html_template", "css_template", "js_on_load"):
        assert getattr(painter, name) == getattr(other, name)
    for text in (painter.html_template, painter.css_template):  # Gradio evaluates both as templates
        assert not re.search(r"\$\{|\{\{|`|\\|@children", text)


def test_the_painter_fetches_nothing_from_elsewhere(painter):
    text = painter.html_template + painter.css_template + painter.js_on_load
    assert set(re.findall(r"https?://[\w./-]+", text)) <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_every_control_has_a_name(painter):
    for tag in re.findall(r"<(?:button|input)[^>]*>", painter.html_template):
        assert re.search(r'aria-label="[^"]+"', tag), tag


def test_words_in_the_script_are_no_attributes(painter):
    assert '"prediction"' in painter.js_on_load and not hasattr(painter, "prediction")
    assert callable(painter.input)


def test_the_api_describes_what_is_read(painter):
    example = painter.example_payload()
    assert set(painter.api_info()["required"]) == set(example)
    assert painter.preprocess(example).key == example["key"]


@pytest.fixture
def loops(monkeypatch):
    """Closes the two event loops that Gradio creates for an app and leaves open."""
    made, new = [], asyncio.new_event_loop
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: made.append(new()) or made[-1])
    yield
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()


@pytest.mark.usefixtures("loops")
def test_it_is_wired_without_a_warning():
    with gr.Blocks() as demo:
        painter = LabelPainter(state(), categories=CATEGORIES, label="Image 1", elem_id="painter")
        painter.input(lambda labels: None, painter, painter, trigger_mode="always_last", show_progress="hidden")
    (config,) = (c["props"] for c in demo.config["components"] if c["props"].get("elem_id") == "painter")
    assert config["value"]["key"] == "seed-7" and config["value"]["image"]["url"]
    assert config["props"]["first_categories"][1] == {"name": "hair", "color": "#503020"}
