"""Small files that would keep a careless reader busy for ever, since a pickle's memo can share values exponentially.

Sixty nested pairs, each holding the previous one twice, take about two hundred bytes but expand to 2**60 values when
printed or compared. One is put wherever a reader prints or compares values; each file must be refused at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from linsem.checkpoints import CheckpointError, parse_checkpoint
from linsem.checkpoints.inert import Made, Name, Persistent, kind_of, shown
from tests.writers import nets, nvidia_tf, nvidia_torch
from tests.writers.emit import Call, Global, Raw, array, code, dumps

SECONDS = 1.0  # each takes milliseconds; printing a bomb would take years
DEPTH = 60


def _list_of_two(level: int) -> bytes:
    """Opcodes that replace the top of the stack by a list that holds it twice."""
    return b"q%c0](h%ch%ce" % (level, level, level)


PAIRS = {
    "tuples": Raw(b")" + b"2\x86" * DEPTH),
    "lists": Raw(b"]" + b"".join(map(_list_of_two, range(100, 100 + DEPTH)))),
    "pair of numbers": Raw(b"K\x01" + b"2\x86" * DEPTH),
    "calls": Raw(b")" + b"2\x86" * DEPTH + b")R"),
}
EVERY = pytest.mark.parametrize("bomb", PAIRS.values(), ids=PAIRS)


class TooLong(BaseException):
    """Derived from BaseException, since the readers turn any `Exception` into a refusal."""


@contextmanager
def at_once() -> Iterator[None]:
    """Stop code that takes more than `SECONDS` of CPU time, before its output fills the memory."""

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise TooLong(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def refused(data: bytes) -> str:
    """The sentence with which a file is refused, in time."""
    with at_once(), pytest.raises(CheckpointError) as caught:
        parse_checkpoint(data)
    assert 10 < len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    return str(caught.value)


# --- the places of NVIDIA's PyTorch pickles --------------------------------------------------------------------------


def torch_network() -> Call:
    return nvidia_torch.generator(nets.random_state(nets.STYLEGAN2))


def attributes_of(network: Call, *path: str) -> dict[str, Any]:
    """The attributes of a module below `network`."""
    for name in path:
        network = network.args[0].items["state"]["_modules"].items[name]
    return network.args[0].items["state"]


def version(network: Call, bomb: Raw) -> None:
    network.args[0].items["version"] = bomb


def kind(network: Call, bomb: Raw) -> None:
    network.args[0].items["type"] = bomb


def activation(network: Call, bomb: Raw) -> None:
    attributes_of(network, "mapping", "fc0")["activation"] = bomb


def gain(network: Call, bomb: Raw) -> None:
    attributes_of(network, "mapping", "fc0")["weight_gain"] = bomb


def clamp(network: Call, bomb: Raw) -> None:
    attributes_of(network, "synthesis", "b8", "conv0")["conv_clamp"] = bomb


def children(network: Call, bomb: Raw) -> None:
    attributes_of(network)["_modules"] = bomb


def buffer(network: Call, bomb: Raw) -> None:
    attributes_of(network, "mapping")["_buffers"].items["w_avg"] = bomb


def tensor_part(index: int) -> Callable[[Call, Raw], None]:
    """The argument `index` of a tensor: its storage, offset, size or stride."""

    def put(network: Call, bomb: Raw) -> None:
        tensor = attributes_of(network, "mapping")["_buffers"].items["w_avg"]
        tensor.args = (*tensor.args[:index], bomb, *tensor.args[index + 1 :])

    put.__name__ = ("storage", "offset", "size", "stride")[index]
    return put


def numpy_type(network: Call, bomb: Raw) -> None:
    scalar = attributes_of(network, "mapping", "fc0")["weight_gain"]
    scalar.args[0].args = (bomb, False, True)


def byte_order(network: Call, bomb: Raw) -> None:
    scalar = attributes_of(network, "mapping", "fc0")["weight_gain"]
    scalar.args[0].state = (3, bomb, None, None, None, -1, -1, 0)


def scalar_bytes(network: Call, bomb: Raw) -> None:
    scalar = attributes_of(network, "mapping", "fc0")["weight_gain"]
    scalar.args = (scalar.args[0], Call("_codecs", "encode", ("text", bomb)))


TORCH_PLACES = (
    version, kind, activation, gain, clamp, children, buffer, *map(tensor_part, range(4)), numpy_type, byte_order,
    scalar_bytes,
)  # fmt: skip


@EVERY
@pytest.mark.parametrize("place", TORCH_PLACES, ids=lambda place: place.__name__)
def test_a_torch_pickle_with_a_nested_value_is_refused_at_once(place, bomb):
    network = torch_network()
    parse_checkpoint(dumps({"G_ema": network}))  # the twin
    place(network, bomb)
    refused(dumps({"G_ema": network}))


# --- the places of NVIDIA's TensorFlow pickles -----------------------------------------------------------------------


def tf_pickle(settings: dict[str, Any], family: str = "stylegan2", **variables: Any) -> bytes:
    """The tuple (G, D, Gs), with `variables` added to those of the network itself."""
    if family == "stylegan2":
        own = nvidia_tf.stylegan2_variables(nets.random_state(nets.STYLEGAN2))
    else:
        own = nvidia_tf.stylegan_variables(nets.random_state(nets.STYLEGAN))
    network = nvidia_tf.tf_network(own, settings, "dnnlib.tflib.network.Network")
    rows = dict(network.state["variables"]) | variables
    network.state["variables"] = list(rows.items())
    return dumps((network, network, network))


@EVERY
@pytest.mark.parametrize("name", ["resample_kernel", "blur_filter", "conv_clamp"])
def test_a_tensorflow_setting_that_is_nested_is_refused_at_once(name, bomb):
    parse_checkpoint(tf_pickle({}))  # the twin
    assert name in refused(tf_pickle({name: bomb}))


@EVERY
def test_a_filter_of_nested_taps_is_refused_at_once(bomb):
    assert "resample_kernel" in refused(tf_pickle({"resample_kernel": [bomb] * 4}))


@EVERY
def test_a_nested_fusing_is_refused_at_once(bomb):
    parse_checkpoint(tf_pickle({"fused_scale": False}, "stylegan"))  # the twin
    assert "fused_scale" in refused(tf_pickle({"fused_scale": bomb}, "stylegan"))


@EVERY
def test_an_array_of_a_nested_type_is_refused_at_once(bomb):
    def with_mean(type_: Any, order: Any) -> bytes:
        mean = array(np.zeros(10, np.float32))
        mean.state = (*mean.state[:2], Call("numpy", "dtype", (type_,), state=(3, order)), *mean.state[3:])
        return tf_pickle({}, dlatent_avg=mean)

    parse_checkpoint(with_mean("f4", "<"))  # the twin
    assert "expected plain numbers" in refused(with_mean(bomb, "<"))
    assert "byte order" in refused(with_mean("f4", bomb))


# --- any pickle ------------------------------------------------------------------------------------------------------


@EVERY
def test_a_nested_value_in_any_other_place_is_refused_at_once(bomb):
    for value in (bomb, {"a": bomb}, {"G_ema": bomb}, (bomb, bomb, bomb), {"g_ema": {"conv1.conv.weight": bomb}}):
        refused(dumps(value))
    refused(dumps(Call("collections", "OrderedDict", ([(bomb, 1)],))))  # a key: not even its hash is taken
    refused(b"\x80\x04}" + bomb.code + b"Ns.")
    refused(b"\x80\x04" + bomb.code + b"Q.")
    refused(b"\x80\x04" + bomb.code + bomb.code + b"b.")
    refused(b"\x80\x04" + bomb.code + bomb.code + b"a.")


@EVERY
def test_a_torch_file_with_a_nested_value_is_refused_at_once(bomb, tmp_path):
    for value in (bomb, {"g_ema": bomb}, {"a": bomb}, {"models": bomb}):
        for place in range(5):
            head = [nvidia_torch.MAGIC, nvidia_torch.PROTOCOL, {"little_endian": True}, value, []]
            refused(b"".join(dumps(each, 2) for each in head))
            head[place] = bomb
            refused(b"".join(dumps(each, 2) for each in head))
    torch.save({"g_ema": {}}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    assert whole.startswith(b"PK")  # its pickle is the same reader's


def test_calls_of_calls_have_a_short_name():
    """A chain that is long instead of wide: no recursion follows it."""
    said = refused(b"\x80\x04}" + b"N" + b")R" * 10_000 + b"Ns.")
    assert "as a key" in said and "Recursion" not in said
    chain: Any = Name("torch", "Size")
    assert kind_of(Made(chain, ())) == "a call of torch.Size"
    for _ in range(10_000):
        chain = Made(chain, ())
    assert len(kind_of(chain)) < 40


def test_only_plain_values_are_shown():
    twice: Any = []
    for _ in range(DEPTH):
        twice = [twice, twice]
    with at_once():
        assert shown(twice) == "list" and shown((twice,)) == "tuple" and shown({1: twice}) == "dict"
        assert Persistent(tuple(twice)) != Persistent(tuple(twice)) and len(repr(Persistent(twice))) < 200
    assert [shown(value) for value in (None, True, 3, 0.5, "relu")] == ["None", "True", "3", "0.5", "'relu'"]
    assert shown("x" * 10**6) == repr("x" * 40)


# --- what is shared and walked through -------------------------------------------------------------------------------


def test_a_module_that_is_all_its_own_children_is_refused_at_once():
    start = code(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), 4)
    names = [*map(str, range(300)), "synthesis", "mapping", "b4", "conv1", "torgb"]
    itself = start + b"h\x00\x85R"
    children = b"}(" + b"".join(code(name, 4) + itself for name in names) + b"u"
    meta = {"type": "class", "version": 6, "class_name": "X", "state": {"_modules": Raw(children)}}
    described = b"}\x94(" + b"".join(code(key, 4) + code(value, 4) for key, value in meta.items()) + b"u"
    assert "modules" in refused(b"\x80\x04}" + code("G_ema", 4) + start + described + b"\x85Rs.")


def test_a_long_name_in_front_of_many_is_refused_at_once():
    """A million letters in front of four thousand names are four gigabytes."""
    long, many = "x" * 10**6, {f"v{k}": 1 for k in range(4000)}
    network = torch_network()
    modules = attributes_of(network)["_modules"]
    modules.items = {long: nvidia_torch.network("X", dict(list(many.items())[:500]), {}, {}), **modules.items}
    assert "at most" in refused(dumps({"G_ema": network}))

    def tf_network(variables: dict[str, int], components: dict[str, Call]) -> Call:
        state = {"variables": list(variables.items()), "components": components}
        return Call("dnnlib.tflib.network", "Network", new=True, state=state)

    assert "a component's name" in refused(dumps((tf_network({}, {long: tf_network(many, {})}),)))


def test_a_storage_that_many_tensors_share_is_read_once():
    """Else its own pickle, here of two hundred thousand steps, is gone through for each."""
    raw = nvidia_torch.storage_bytes(torch.zeros(1))
    head = dumps(nvidia_torch.MAGIC, 2) + dumps(nvidia_torch.PROTOCOL, 2) + b"\x80\x02"
    storage = Call("torch.storage", "_load_from_bytes", (head + b"N0" * 100_000 + raw[len(head) :],))
    tensor = Call("torch._utils", "_rebuild_tensor_v2", (storage, 0, (1,), (1,), False, None))
    network = torch_network()
    buffers = attributes_of(network, "synthesis", "b4")["_buffers"]
    buffers.items = {"x0": Raw(code(tensor, 4) + b"q\xc8"), **{f"x{k}": Raw(b"h\xc8") for k in range(1, 300)}}
    assert "x0: expected no such tensor, got (1,) (and 299 more like it)" in refused(dumps({"G_ema": network}))
