"""The server is killed while it works and started again: no partially written file is taken for a whole one."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from linsem.extractor import load_extractor
from linsem.latents import load_latents
from linsem.palette import parse_categories, read_label_map, write_label_map
from tests.door import Door, multipart
from tests.hostile_values import META
from tests.served import start

pytestmark = pytest.mark.filterwarnings("ignore")  # what the client's own libraries warn of is not ours


def waited(holds, seconds=90):
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.02)


def client_of(server, folder):
    return Client(server.address, verbose=False, download_files=folder)


def begun(door, endpoint, data):
    """Start a call; returns its event stream, since Gradio's client would wait for ever for a server that has died."""
    event = door.post(f"/gradio_api/call/{endpoint}", {"data": data}).value["event_id"]
    connection = http.client.HTTPConnection(door.host, door.port, timeout=90)
    connection.request("GET", f"/gradio_api/call/{endpoint}/{event}")
    return connection.getresponse()


def first_frame(stream):
    """Wait until a call has yielded something and is still running."""
    for line in iter(stream.readline, b""):
        assert b"complete" not in line and b"error" not in line, line
        if line.startswith(b"event: generating"):
            return


class Killed:
    """A server killed while it fitted, edited, exported and received a file, and its successor."""

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        first = start(self.uploads, long_jobs=2)
        try:
            self._work(first, folder)
        finally:
            first.kill()
        self.left = [path for path in self.uploads.rglob("*") if path.is_file()]
        self.server = start(self.uploads, port=urllib.parse.urlsplit(first.address).port, long_jobs=2)
        self.client = client_of(self.server, folder / "after")

    def _work(self, first, folder):
        client, door = client_of(first, folder / "before"), Door(first.address)
        self.model = next(row for row in client.predict(api_name="/models") if row["available"])
        self.categories = parse_categories(self.model["categories"])
        name = self.model["id"]
        files, _, _ = client.predict(name, "0-7", 0.7, None, api_name="/segment")
        self.maps = [read_label_map(Path(file), self.categories).labels for file in files]
        self.files, sent = [], []
        for i, labels in enumerate(self.maps):
            path = folder / f"{i}.png"
            path.write_bytes(write_label_map(labels, self.categories))
            self.files.append(handle_file(str(path)))
            sent.append({"path": door.upload(path.name, path.read_bytes()).value, "meta": META})
        self.before = client.predict(name, "3", 0.7, api_name="/generate")[0]["image"]
        self.before = np.asarray(Image.open(self.before))
        streams = [
            begun(door, "export", [name, None, 2_000, 0, 0.7]),
            begun(door, "edit", [name, 0, None, 0.7, sent[1], None, None, 200]),
        ]
        for stream in streams:
            first_frame(stream)
        streams.append(begun(door, "fit", [name, "0-7", sent, None, 0.7]))
        body, headers = multipart("big.png", bytes(8_000_000))
        head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        where = urllib.parse.urlsplit(first.address)
        with socket.create_connection((where.hostname, where.port)) as line:
            line.sendall(
                f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
            )
            line.sendall(body[:6_000_000])
            waited(lambda: any(path.stat().st_size > 100_000 for path in self.uploads.glob("tmp*")))
            first.kill()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    each = Killed(tmp_path_factory.mktemp("killed"))
    yield each
    each.server.stop()


def test_an_export_that_was_cut_off_is_no_data_set(killed):
    partial = [path for path in killed.left if ".zip" in path.name]
    assert partial and all(path.suffix == ".part" for path in partial)  # it was in the middle
    assert max(path.stat().st_size for path in partial) > 0
    assert not any(zipfile.is_zipfile(path) for path in partial)


def test_whatever_has_a_files_name_is_whole(killed):
    for path in killed.left:
        if path.suffix == ".png" and "made" in path.parts:
            assert read_label_map(path, killed.categories).labels.shape == killed.maps[0].shape
        if path.name.endswith("extractor.safetensors"):
            load_extractor(path)
        if path.name.startswith("latent"):
            load_latents(path, killed.model["id"])


def test_a_file_that_came_in_half_has_no_name(killed):
    half = [path for path in killed.left if 100_000 < path.stat().st_size < 8_000_000 and path.suffix != ".part"]
    assert half and all(path.parent == killed.uploads and path.name.startswith("tmp") for path in half)


def test_everything_works_again_and_gives_what_it_gave(killed):
    name = killed.model["id"]
    image = killed.client.predict(name, "3", 0.7, api_name="/generate")[0]["image"]
    assert np.array_equal(np.asarray(Image.open(image)), killed.before)
    file, report = killed.client.predict(name, "0", killed.files[:1], None, 0.7, api_name="/fit")
    assert load_extractor(file).categories == killed.categories and report["images"] == 1
    *_, latent, told = killed.client.predict(name, 0, None, 0.7, killed.files[1], None, None, 2, api_name="/edit")
    assert load_latents(latent, name).shape[0] == 1 and told["steps"] <= 2
    file, _ = killed.client.predict(name, None, 3, 0, 0.7, api_name="/export")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert len([json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]) == 3


def test_a_cached_picture_that_is_half_there_is_written_again(killed):
    """What a kill within the write would leave: a part of it, under a name of its own."""
    name = killed.model["id"]
    killed.client.predict(name, "3", 0.7, api_name="/generate")
    pictures = [path for path in killed.uploads.rglob("image.png") if "made" not in path.parts]
    assert pictures
    for path in pictures:
        path.with_name(".image.png.0a1b2c3d.part").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        path.unlink()
    image = killed.client.predict(name, "3", 0.7, api_name="/generate")[0]["image"]
    assert np.array_equal(np.asarray(Image.open(image)), killed.before)
