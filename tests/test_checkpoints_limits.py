"""A hostile file may cost no more memory and time than a valid one of its size."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from linsem.checkpoints import CheckpointError, infer, parse_checkpoint, read_checkpoint, write_safetensors, zipped
from tests.test_checkpoints_bombs import attributes_of, refused, torch_network
from tests.writers import nets, nvidia_torch
from tests.writers.emit import Raw, code, dumps
from tests.writers.rosinality import rosinality_state

MB = 1 << 20


def saved(value: object) -> bytes:
    """A torch file."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@contextmanager
def within(size: int) -> Iterator[None]:
    """Assert that Python and numpy allocate at most this many bytes at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak / MB:.0f} MB"


# --- the mean w ------------------------------------------------------------------------------------------------------


def mapping_of(width: int, layers: int) -> bytes:
    """A rosinality file without mean w, whose wide layers share a small storage and whose synthesis does not fit."""
    shared = torch.zeros(width, width, dtype=torch.uint8)
    table = {f"style.{k}.weight": shared for k in range(1, layers + 1)}
    table |= {f"style.{k}.bias": torch.zeros(width, dtype=torch.uint8) for k in range(1, layers + 1)}
    table |= {"input.input": torch.zeros(1, 1, 4, 4), "conv1.conv.weight": torch.zeros(1, 1, 1, 3, 3)}
    return saved({"g_ema": table})


def test_nothing_is_mapped_before_all_shapes_fit():
    start = time.process_time()
    with pytest.raises(CheckpointError, match=r"synthesis\.b4\.conv1\.bias: expected a tensor"):
        parse_checkpoint(mapping_of(1500, 1))  # ten thousand z took 2 s
    assert time.process_time() - start < 1


def test_layers_that_share_a_storage_are_refused_by_their_sum():
    with within(100 * MB), pytest.raises(CheckpointError, match="more numbers than it can hold"):
        parse_checkpoint(mapping_of(2880, 31))


def test_a_wide_mapping_gets_fewer_samples(monkeypatch):
    state = nets.random_state(nets.STYLEGAN2)
    data = saved({"g_ema": rosinality_state(state)})
    whole = parse_checkpoint(data)
    assert "over 10000 mapped z" in " ".join(whole.notes)
    monkeypatch.setattr(infer, "MEAN_WORK", 360 * 1500)  # of 360 numbers
    few = parse_checkpoint(data)
    assert "over 1500 mapped z" in " ".join(few.notes)
    off = (few.state["mapping.w_avg"] - whole.state["mapping.w_avg"]).abs().max()
    assert 0 < float(off) < 0.2 * float(whole.state["mapping.w_avg"].abs().max())


# --- memory ----------------------------------------------------------------------------------------------------------


def test_many_tensors_of_one_storage_are_refused_by_their_sum():
    network = torch_network()
    tensor = code(nvidia_torch.tensor_call(torch.zeros(1 << 18)), 4)
    buffers = attributes_of(network, "synthesis", "b4")["_buffers"]
    buffers.items = {"x0": Raw(tensor + b"q\xc8"), **{f"x{k}": Raw(b"h\xc8") for k in range(1, 400)}}
    with within(20 * MB):
        assert "more numbers than it can hold" in refused(dumps({"G_ema": network}))


def own(metadata: dict[str, str], more: dict[str, object], tail: bytes = b" ") -> bytes:
    """A file that starts like one in the native format."""
    base = {"format": "linsem-generator", "version": "1", "family": "pggan", "config": '{"channels": [2]}'}
    header = json.dumps({"__metadata__": base | metadata, **more}).encode()
    return struct.pack("<Q", len(header)) + header + tail


def test_a_header_or_a_configuration_beyond_any_need_is_not_parsed():
    with within(40 * MB):
        assert "header of the safetensors file: expected at most" in refused(own({}, {"a": [[]] * 2_000_000}))
        assert "config in the metadata: expected at most" in refused(own({"config": "[" + "[]," * 300_000}, {}))


def test_what_our_own_header_says_is_compared_before_numbers_are_read(tmp_path):
    path = tmp_path / "net.safetensors"
    write_safetensors(path, "pggan", nets.PGGAN_, nets.random_state(nets.PGGAN_))
    data = path.read_bytes()
    assert parse_checkpoint(data).family == "pggan"
    tensor = {"more": {"dtype": "F32", "shape": [1 << 24], "data_offsets": [0, 4 << 24]}}
    with within(40 * MB):
        assert "expected a tensor" in refused(own({}, tensor, bytes(8)))
        tensor["more"]["shape"] = [1 << 40]
        assert "numbers, got" in refused(own({}, tensor))
        tensor["more"]["shape"] = ["x"]
        assert "damaged description" in refused(own({}, tensor))


@pytest.mark.parametrize("head", [b"\x80\x02\x80", b"PK\x03\x04", struct.pack("<Q", 1 << 29) + b"{", b"\0"])
def test_a_long_empty_file_takes_no_memory(tmp_path, head):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(3 << 29)
    with within(20 * MB), pytest.raises(CheckpointError):
        read_checkpoint(path)
    os.truncate(path, 3 << 30)
    with pytest.raises(CheckpointError, match="expected at most"):
        read_checkpoint(path)


# --- zip files -------------------------------------------------------------------------------------------------------


def directory(count: int, large: bool) -> bytes:
    """A zip file with many empty entries; with `large` its end has a 64-bit count, as in torch files."""
    local = b"PK\x03\x04" + bytes(26)
    entries = (b"PK\x01\x02" + bytes(42)) * count
    end = b""
    if large:
        end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(entries), len(local))
        end += b"PK\x06\x07" + struct.pack("<IQI", 0, len(local) + len(entries), 1)
    short, size, start = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if large else (count, len(entries), len(local))
    return local + entries + end + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, short, short, size, start, 0)


@pytest.mark.parametrize("large", [False, True])
def test_a_zip_file_of_many_members_is_refused_by_their_count(large):
    count = 200_000 if large else 60_000
    data = directory(count, large)
    with within(5 * MB):
        assert f"a zip file of {count} members" in refused(data)


def test_a_member_that_is_there_twice_is_refused():
    data = saved({"g_ema": rosinality_state(nets.random_state(nets.STYLEGAN2))})
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    parse_checkpoint(out.getvalue())  # the twin: once each
    with zipfile.ZipFile(out, "a") as target, pytest.warns(UserWarning, match="Duplicate name"):
        target.writestr(info.filename, b"other")
    assert f"{info.filename}: the file has it twice" in refused(out.getvalue())


def test_members_are_those_that_python_s_own_reader_finds(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", allowZip64=True) as archive:
        with archive.open("a/data.pkl", "w", force_zip64=True) as file:
            file.write(b"one")
        archive.writestr("a/data/0", b"")
        archive.writestr("é", b"three")
    archive = zipfile.ZipFile(tmp_path / "x.zip", "a")
    archive.comment = b"said at the end"
    archive.close()
    found = zipped.read_zip(memoryview((tmp_path / "x.zip").read_bytes()))
    assert {name: bytes(part) for name, part in found.items()} == {"a/data.pkl": b"one", "a/data/0": b"", "é": b"three"}
