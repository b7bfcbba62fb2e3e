"""Hostile files are refused with one sentence and without side effects; counterparts show that the payloads work."""

import io
import json
import os
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest
import torch

from linsem.checkpoints import (
    CheckpointError,
    build_network,
    parse_checkpoint,
    pickles,
    read_checkpoint,
    write_safetensors,
)
from linsem.checkpoints import checkpoint as checkpoint_module
from linsem.checkpoints import nvidia_torch as nvidia_torch_reader
from linsem.lab.fuzz_checkpoints import attempt, watch
from tests.writers import nets, nvidia_tf, nvidia_torch
from tests.writers.emit import Call, Global, Pid, Raw, array, code, dumps
from tests.writers.rosinality import rosinality_state


def refuse(data, match=None):
    """Assert that reading and building raises CheckpointError without any code, process, socket or import event."""
    outcome = attempt("hostile", -1, data)
    assert outcome.kind == "refused", f"{outcome.kind}: {outcome.detail}"
    assert "\n" not in outcome.detail and 10 < len(outcome.detail) < 400
    assert match is None or re.search(match, outcome.detail), outcome.detail
    return outcome.detail


@pytest.fixture(autouse=True, scope="module")
def _watching():
    """Record events, after the lazy imports that torch makes for its first network."""
    watch()
    state = nets.random_state(nets.STYLEGAN2)
    attempt("warm", -1, dumps({"G_ema": nvidia_torch.generator(state)}))
    attempt("warm", -1, b"PK\x03\x04")
    attempt("warm", -1, struct.pack("<Q", 2) + b"{}")


@pytest.fixture
def flag(tmp_path):
    """A folder that must never be created."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def bomb(flag):
    """The call that hostile files try to make."""
    return Call("posix", "mkdir", (str(flag),))


def test_the_payload_does_run_in_pythons_own_unpickler(tmp_path):
    pickle.loads(dumps(bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_call_at_the_top(flag, protocol):
    refuse(dumps(bomb(flag), protocol), r"wants to load posix\.mkdir")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__builtin__", "exec"),
        ("os", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("runpy", "_run_code"),
        ("importlib", "import_module"),
        ("pickle", "loads"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes.__globals__"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("operator", "attrgetter"),
        ("collections", "OrderedDict.fromkeys"),
        ("linsem.checkpoints.pickles", "Made"),
        ("torch._utils", "torch.load"),
    ],
)
def test_names_that_no_checkpoint_needs(module, name):
    for protocol in (2, 4):
        refuse(dumps(Call(module, name, ("1",)), protocol), "wants to load")


def test_old_and_odd_opcodes(flag):
    inst = b"\x80\x02(" + code(str(flag), 2) + b"iposix\nmkdir\n."
    obj = b"\x80\x02(" + code(Global("posix", "mkdir"), 2) + code(str(flag), 2) + b"o."
    refuse(inst, "opcode")
    refuse(obj, "wants to load")
    refuse(b"\x80\x02(" + code(Global("collections", "OrderedDict"), 2) + b"o.", "opcode")
    for extension in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        refuse(b"\x80\x02" + extension + b")R.", "opcode")
    refuse(b"\x80\x02Pname\n.", "opcode")
    refuse(b"\x80\x05\x97.", "opcode")
    refuse(b"cposix\nmkdir\n(S'x'\ntR.", "not a generator checkpoint in any known format")


def test_payloads_inside_the_network(flag):
    state = nets.random_state(nets.STYLEGAN2)
    for place in ("_parameters", "training", "z_dim"):
        network = nvidia_torch.generator(state)
        network.args[0].items["state"][place] = bomb(flag)
        refuse(dumps({"G_ema": network}), r"posix\.mkdir")


@pytest.mark.parametrize("form", ["plain pickle", "legacy torch", "zip torch"])
def test_payloads_inside_a_storage(flag, form):
    """torch.storage._load_from_bytes is an unrestricted torch.load: an allow-list that passes it through runs this."""
    payload = dumps(bomb(flag), 2)
    if form == "legacy torch":
        head = nvidia_torch.storage_bytes(torch.zeros(1))
        payload = head[: head.index(b"\x80\x02", 40)] + payload
        payload = dumps(nvidia_torch.MAGIC, 2) + dumps(nvidia_torch.PROTOCOL, 2) + dumps({"little_endian": True}, 2)
        payload += dumps(bomb(flag), 2) + dumps([], 2)
    elif form == "zip torch":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a/data.pkl", payload)
            archive.writestr("a/version", "3")
        payload = stream.getvalue()
    network = nvidia_torch.generator(nets.random_state(nets.STYLEGAN2))
    mapping = network.args[0].items["state"]["_modules"].items["mapping"]
    tensor = mapping.args[0].items["state"]["_buffers"].items["w_avg"]
    tensor.args = (Call("torch.storage", "_load_from_bytes", (payload,)), *tensor.args[1:])
    refuse(dumps({"G_ema": network}))


@pytest.mark.parametrize("as_zip", [True, False])
def test_payloads_in_torch_files(flag, as_zip):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(flag),)

    stream = io.BytesIO()
    torch.save({"g_ema": Evil()}, stream, _use_new_zipfile_serialization=as_zip)
    refuse(stream.getvalue(), r"posix\.mkdir")


def test_source_code_in_the_file_is_not_looked_at(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    nvidia_torch.write_nvidia_torch(tmp_path / "a.pkl", state)
    nvidia_tf.write_nvidia_tf(tmp_path / "b.pkl", nvidia_tf.stylegan2_variables(state))
    for name in ("a.pkl", "b.pkl"):
        data = (tmp_path / name).read_bytes()
        assert b"was executed" in data
        assert attempt(name, -1, data).kind == "read"


def test_build_on_what_the_reader_returns_changes_nothing():
    """BUILD can set attributes of any object that a reader hands out; here it meets plain data only."""
    before = dict(vars(checkpoint_module.Checkpoint))
    overrides = {"items": 1, "state": 2, "__class__": 3, "keys": 4, "is_of": 5}
    refuse(dumps(Call("collections", "OrderedDict", state=overrides)))
    refuse(dumps({"G_ema": Call("dnnlib.util", "EasyDict", state=(None, overrides))}))
    for target in ({}, [], (1,), "text", 5, None, Global("collections", "OrderedDict")):
        refuse(b"\x80\x04" + code(target, 4) + code(overrides, 4) + b"b.", "sets attributes of")
    assert dict(vars(checkpoint_module.Checkpoint)) == before


def tensor(offset=0, size=(2, 3), stride=(3, 1), count=6, kind="FloatStorage"):
    """A tensor with any geometry over a storage of `count` zeros."""
    storage = Call("torch.storage", "_load_from_bytes", (nvidia_torch.storage_bytes(torch.zeros(count), kind),))
    args = (storage, offset, size, stride, False, Call("collections", "OrderedDict"))
    return Call("torch._utils", "_rebuild_tensor_v2", args)


def with_mean(value):
    """An NVIDIA pickle whose mean w is `value`."""
    network = nvidia_torch.generator(nets.random_state(nets.STYLEGAN2))
    mapping = network.args[0].items["state"]["_modules"].items["mapping"]
    mapping.args[0].items["state"]["_buffers"].items["w_avg"] = value
    return dumps({"G_ema": network})


def test_geometry_is_checked():
    good = tensor(size=(10,), stride=(1,), count=10)
    build_network(parse_checkpoint(with_mean(good)))  # the twin
    bad = {
        "stride 0": tensor(size=(10**6, 10**6), stride=(0, 0)),
        "beyond": tensor(size=(2, 3), stride=(4, 1)),
        "offset": tensor(offset=1),
        "negative offset": tensor(offset=-1),
        "negative stride": tensor(stride=(-3, 1)),
        "negative size": tensor(size=(-2, 3)),
        "huge size": tensor(size=(2**62, 2), stride=(1, 1)),
        "huge stride": tensor(stride=(2**62, 1)),
        "unequal": tensor(size=(2, 3), stride=(1,)),
        "many axes": tensor(size=(1,) * 64, stride=(1,) * 64),
        "not numbers": tensor(size=("a", 3)),
        "no tuple": tensor(size=5),
        "truth": tensor(size=(True, 3)),
        "other storage": tensor(kind="DoubleStorage"),
        "unknown storage": tensor(kind="ComplexFloatStorage"),
    }
    for name, value in bad.items():
        assert refuse(with_mean(value)), name


def test_storages_that_lie():
    raw = nvidia_torch.storage_bytes(torch.zeros(4))
    for data in (
        raw[:-1],
        raw[:20],
        b"",
        raw.replace(struct.pack("<q", 4), struct.pack("<q", 2**40)),
        raw.replace(struct.pack("<q", 4), struct.pack("<q", -1)),
        b"PK\x03\x04" + raw,
    ):
        storage = Call("torch.storage", "_load_from_bytes", (data,))
        refuse(with_mean(Call("torch._utils", "_rebuild_tensor_v2", (storage, 0, (4,), (1,), False, None))))
    view = Pid(("storage", Global("torch", "FloatStorage"), "0", "cpu", 4, ("view", 0, 4)))
    refuse(with_mean(Call("torch._utils", "_rebuild_tensor_v2", (view, 0, (4,), (1,), False, None))))


def test_arrays_of_objects_and_odd_types():
    variables = nvidia_tf.stylegan2_variables(nets.random_state(nets.STYLEGAN2))

    def with_array(value):
        network = nvidia_tf.tf_network(variables, {}, "dnnlib.tflib.network.Network")
        network.state["variables"] = [("dlatent_avg", value)]
        return dumps((network, network, network))

    good = array(np.zeros(10, np.float32))
    assert parse_checkpoint(with_array(good)).family == "stylegan2"
    for text in ("O8", "V4", "S4", "U1", "c8", "M8", "f4,O", ""):
        refuse(
            with_array(
                Call(
                    "numpy.core.multiarray",
                    "_reconstruct",
                    (),
                    state=(1, (10,), Call("numpy", "dtype", (text, False, True)), False, b"\0" * 40),
                )
            ),
            "expected plain numbers",
        )
    for shape, raw in (((10,), b"\0" * 39), ((2**40, 2**40), b"\0" * 40), ((-10,), b"\0" * 40), ("x", b""), ((10,), 5)):
        refuse(
            with_array(
                Call(
                    "numpy.core.multiarray",
                    "_reconstruct",
                    (),
                    state=(1, shape, Call("numpy", "dtype", ("f4", False, True)), False, raw),
                )
            )
        )


def test_bombs_in_the_opcodes(monkeypatch):
    bombs = {
        "memo": b"\x80\x04Nr\xff\xff\xff\xff.",
        "long": b"\x80\x04\x8b\xff\xff\xff\x7f.",
        "long 200": b"\x80\x04\x8a\xc8" + b"\x01" * 200 + b".",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**64 - 1) + b"N.",
        "deep": b"\x80\x04" + b"]" * 30_000 + b"a" * 29_999 + b".",
        "deep tuple": b"\x80\x04)" + b"\x85" * 30_000 + b".",
        "deep key": b"\x80\x04}" + b")" + b"\x85" * 100_000 + b"Ns.",
        "self": b"\x80\x04]\x94h\x00a.",
        "no end": b"\x80\x04]",
        "empty stack": b"\x80\x04.",
        "mark": b"\x80\x04(.",
        "protocol": b"\x80\xff.",
        "memo miss": b"\x80\x04h\x07.",
        "bad text": b"\x80\x04X\x01\x00\x00\x00\xff.",
    }
    for name, data in bombs.items():
        assert refuse(data), name
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1000)
    refuse(b"\x80\x04" + b"N0" * 600 + b"N.", "steps")
    assert pickles.read_pickle(memoryview(b"\x80\x04" + b"N0" * 400 + b"N."))[0] is None


def test_networks_that_contain_themselves(monkeypatch):
    """A module that is its own child, and a tree whose every node is shared: neither is walked without end."""
    start = code(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), 4)
    meta = {"type": "class", "version": 6, "class_name": "X", "state": {"_modules": {"synthesis": 1, "mapping": 1}}}
    itself = start + b"h\x00\x85R"  # a call with memo 0, which is its own description
    described = (
        b"}\x94("
        + b"".join(
            code(key, 4)
            + (
                code(value, 4)
                if key != "state"
                else b"}"
                + code("_modules", 4)
                + b"}("
                + code("synthesis", 4)
                + itself
                + code("mapping", 4)
                + itself
                + b"us"
            )
            for key, value in meta.items()
        )
        + b"u"
    )
    refuse(b"\x80\x04}" + code("G_ema", 4) + start + described + b"\x85Rs.", "expected a StyleGAN2, got a X")
    wrapped = nvidia_torch.network("b4", {}, {}, {"conv1": 1, "torgb": 1})
    block = {"b4": wrapped, "deep": Raw(itself)}
    parts = {"_modules": {"mapping": Raw(itself), "synthesis": nvidia_torch.network("S", {}, {}, block)}}
    described = (
        b"}\x94("
        + b"".join(code(key, 4) + code(parts if key == "state" else value, 4) for key, value in meta.items())
        + b"u"
    )
    refuse(b"\x80\x04}" + code("G_ema", 4) + start + described + b"\x85Rs.", "deeper than|expected a network")
    shared = nvidia_torch.network("X", {}, {}, {})
    monkeypatch.setattr(nvidia_torch_reader, "MAX_TENSORS", 100)
    for _ in range(3):
        shared = nvidia_torch.network("X", {}, {}, {f"b{k}": shared for k in range(5)})
    refuse(dumps({"G_ema": nvidia_torch.network("G", {}, {}, {"mapping": shared, "synthesis": shared})}))


def test_zip_files_that_are_not_what_they_say(tmp_path):
    def zipped(members, compression=zipfile.ZIP_STORED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return stream.getvalue()

    refuse(zipped({"a/data.pkl": dumps({}, 2) + b"\0" * 10**7}, zipfile.ZIP_DEFLATED), "compressed")
    refuse(zipped({"readme.txt": "hello"}), "not one of torch.save")
    refuse(zipped({"a/data.pkl": dumps({}), "b/data.pkl": dumps({})}), "not one of torch.save")
    refuse(zipped({"a/data.pkl": dumps({}), "a/byteorder": "big"}), "byte order")
    pid = Pid(("storage", Global("torch", "FloatStorage"), "../../x", "cpu", 4, None))
    table = {"input.input": Call("torch._utils", "_rebuild_tensor_v2", (pid, 0, (4,), (1,), False, None))}
    refuse(zipped({"a/data.pkl": dumps(table, 2)}), "not in the file")
    torch.save({"g_ema": rosinality_state(nets.random_state(nets.STYLEGAN2))}, tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    for end in (30, 1000, len(whole) // 2, len(whole) - 30):
        refuse(whole[:end])


def test_every_dialect_cut_anywhere_is_refused():
    from tests.writers.corpus import corpus

    for name, data in corpus().items():
        for part in (0, 1, 2, 8, 9, 40, len(data) // 3, len(data) // 2, len(data) - 1):
            assert refuse(data[:part]), name


def test_our_own_format_checks_what_it_says(tmp_path):
    def file(metadata, tensors=b"", header=None):
        text = header if header is not None else json.dumps({"__metadata__": metadata}).encode()
        return struct.pack("<Q", len(text)) + text + tensors

    config = {"channels": [8, 8], "z_dim": 4, "w_dim": 4}
    base = {"format": "linsem-generator", "version": "1", "family": "stylegan2", "config": json.dumps(config)}
    refuse(file({}), "expected format")
    refuse(file({**base, "version": "2"}), "version")
    refuse(file({**base, "family": "posix"}), "family")
    refuse(file({**base, "config": "{"}), "not JSON")
    refuse(file({**base, "config": "[" * 8_000}), "not JSON")
    for changed in (
        {"channels": []},
        {"channels": [8] * 40},
        {"channels": [10**12]},
        {"channels": [0]},
        {"channels": "8"},
        {"channels": [True]},
        {"z_dim": 1.5},
        {"z_dim": -1},
        {"mapping_layers": 10**9},
        {"const_size": [4, 4, 4]},
        {"const_size": [10**9, 4]},
        {"conv_clamp": -1.0},
        {"conv_clamp": "x"},
        {"unknown": 1},
        {"normalize_z": 3},
        {"const_size": [16, 16], "channels": [8] * 11},
    ):
        refuse(file({**base, "config": json.dumps({**config, **changed})}), "config")
    refuse(file({**base, "config": json.dumps(config)}), "expected a tensor")
    refuse(file(base, header=b"{" + b"\xff" * 20), "not JSON")
    refuse(file(base, header=b'{"__metadata__": 5}'), "not a table of texts")
    refuse(struct.pack("<Q", 2**60) + b"{" + b" " * 100)
    path = tmp_path / "x.safetensors"
    write_safetensors(path, "stylegan2", nets.STYLEGAN2, nets.random_state(nets.STYLEGAN2))
    refuse(path.read_bytes()[:-8], "safetensors")
    assert parse_checkpoint(path.read_bytes()).family == "stylegan2"
    with pytest.raises(CheckpointError, match="metadata: expected"):
        write_safetensors(path, "stylegan2", nets.STYLEGAN2, {}, {"format": "x"})
    with pytest.raises(CheckpointError, match="does not go with"):
        write_safetensors(path, "pggan", nets.STYLEGAN2, {})


def test_other_networks_are_refused_by_name():
    leaf = nvidia_torch.network("SynthesisLayer", {}, {}, {})
    mapping = nvidia_torch.network("MappingNetwork", {}, {}, {})
    names = ("input", "L0_36_512", "L1_36_512")
    synthesis = nvidia_torch.network("SynthesisNetwork", {}, {}, dict.fromkeys(names, leaf))
    both = {"synthesis": synthesis, "mapping": mapping}
    refuse(dumps({"G_ema": nvidia_torch.network("Generator", {}, {}, both)}), "StyleGAN3")
    refuse(dumps({"G_ema": nvidia_torch.network("FastganSynthesis", {}, {}, {"init": leaf})}), "FastganSynthesis")
    block = nvidia_torch.network("SynthesisBlock", {}, {}, {"conv1": leaf})
    resnet = nvidia_torch.network("SynthesisNetwork", {}, {}, {"b4": block})
    both = {"synthesis": resnet, "mapping": mapping}
    refuse(dumps({"G_ema": nvidia_torch.network("Generator", {}, {}, both)}), "another architecture than 'skip'")
    refuse(dumps({"model": 5, "epoch": 3}), "it holds model, epoch")
    stream = io.BytesIO()
    torch.save({"GAN": {"a.weight": torch.zeros(2)}, "version": "1.0"}, stream)
    refuse(stream.getvalue(), "unknown network: it holds GAN, version")
    variables = {"256x256/FromRGB/weight": torch.zeros(1, 1, 3, 4)}
    network = nvidia_tf.tf_network(variables, {}, "dnnlib.tflib.network.Network")
    refuse(dumps((network, network, network)), "FromRGB")


def test_settings_that_shapes_do_not_show_are_checked(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    nvidia_torch.write_nvidia_torch(tmp_path / "x.pkl", state, activation="relu")
    with pytest.raises(CheckpointError, match="activation: expected 'lrelu', got 'relu'"):
        read_checkpoint(tmp_path / "x.pkl")
    nvidia_torch.write_nvidia_torch(tmp_path / "x.pkl", state, weight_gain=0.5)
    with pytest.raises(CheckpointError, match="weight_gain: expected"):
        read_checkpoint(tmp_path / "x.pkl")
    for settings in (
        {"mapping_lrmul": 0.1},
        {"resample_kernel": [1, 2, 1]},
        {"nonlinearity": "relu"},
        {"architecture": "resnet"},
        {"normalize_latents": False},
    ):
        nvidia_tf.write_nvidia_tf(tmp_path / "x.pkl", nvidia_tf.stylegan2_variables(state), settings=settings)
        with pytest.raises(CheckpointError, match=f"{next(iter(settings))}: expected"):
            read_checkpoint(tmp_path / "x.pkl")
    variables = {**nvidia_tf.stylegan_variables(nets.random_state(nets.STYLEGAN)), "lod": torch.tensor(1.5)}
    nvidia_tf.write_nvidia_tf(tmp_path / "x.pkl", variables)
    with pytest.raises(CheckpointError, match="full size"):
        read_checkpoint(tmp_path / "x.pkl")
    table = rosinality_state(state)
    kernel = next(name for name in table if name.endswith("kernel"))
    torch.save({"g_ema": {**table, kernel: torch.ones(4, 4)}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"\[1, 3, 3, 1\]"):
        read_checkpoint(tmp_path / "x.pt")


def test_files_that_are_something_else(tmp_path):
    for data, match in (
        (b"", "not a generator"),
        (b"\0" * 100, "not a generator"),
        (os.urandom(64).replace(b"\x80", b"\0"), None),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
    ):
        refuse(data, match)
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no regular file"):
        read_checkpoint("/dev/zero")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**33)
    with pytest.raises(CheckpointError, match="expected at most"):
        read_checkpoint(tmp_path / "huge")
