"""What a visitor and a program load first comes compressed, to those who accept that; nothing else does."""

from __future__ import annotations

import gzip
import json
import urllib.request

import pytest


def answer(url, *accepts):
    request = urllib.request.Request(url, headers={"Accept-Encoding": ", ".join(accepts)})
    with urllib.request.urlopen(request) as got:
        return got.headers.get("Content-Encoding"), got.read()


@pytest.mark.parametrize("place", ["", "config", "gradio_api/info"])
def test_the_page_comes_compressed_and_is_the_same(address, place):
    coded, packed = answer(address + place, "gzip", "deflate", "br")
    plain, whole = answer(address + place, "identity")  # the twin: not to those who do not ask for it
    assert (coded, plain) == ("gzip", None)
    unpacked = gzip.decompress(packed)
    assert len(packed) < 0.2 * len(whole) and abs(len(unpacked) - len(whole)) < 200  # but for a session's own ids
    if place:
        assert json.loads(unpacked).keys() == json.loads(whole).keys()
    else:
        assert unpacked.rstrip().endswith(b"</html>")


def test_images_and_streams_stay_as_they_are(address):
    coded, image = answer(address + "evidence/one-image.png", "gzip", "br")
    assert coded is None and image.startswith(b"\x89PNG")
    call = address + "gradio_api/call/models"
    begin = urllib.request.Request(call, b'{"data": []}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(begin) as begun:
        event = json.loads(begun.read())["event_id"]
    coded, events = answer(f"{call}/{event}", "gzip", "br")
    assert coded is None and b"event: complete" in events
