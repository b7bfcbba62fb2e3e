"""Variants within a format: fused or separate kernels, wrappers, duplicate names."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import io
import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from linsem.checkpoints import CheckpointError, infer, parse_checkpoint
from linsem.pggan import PGGANConfig
from tests.test_checkpoints_bombs import attributes_of, torch_network
from tests.writers import genforce, nets, nvidia_tf
from tests.writers.emit import array, dumps
from tests.writers.nvidia_torch import tensor_call
from tests.writers.rosinality import rosinality_state

LARGE = dataclasses.replace(nets.LARGE_STYLEGAN, c_dim=0)  # which genforce's writer has no name for
EVEN = PGGANConfig((4, 4, 4), z_dim=6)  # widths that never change


def saved(value: object) -> bytes:
    """A torch file."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


# --- fused or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["higan", "interfacegan"])
def test_a_doubling_kernel_that_its_name_calls_plain_is_not_turned(dialect):
    state = nets.random_state(LARGE)
    table = genforce.stylegan_state(state, dialect)
    name = "synthesis.layer10"  # of 128 pixels, fused as it is written
    fused = parse_checkpoint(saved(table)).state
    table[f"{name}.conv.weight"] = state[f"{name}.weight"]
    del table[f"{name}.weight"]
    plain = parse_checkpoint(saved(table)).state
    for found in (fused, plain):
        assert found[f"{name}.weight"].equal(state[f"{name}.weight"])
        assert not found[f"{name}.weight"].equal(state[f"{name}.weight"].flip(2, 3))


def test_a_file_that_does_not_say_whether_kernels_are_fused_gets_a_note():
    def notes(table):
        return " ".join(parse_checkpoint(saved(table)).notes)

    large, even = nets.random_state(LARGE), nets.random_state(EVEN)
    assert "whether its doubling convolutions are fused" in notes(genforce.stylegan_state(large, "genforce"))
    assert "whether its doubling convolutions are fused" in notes(genforce.pggan_state(even, "genforce"))
    assert notes(genforce.pggan_state(nets.random_state(nets.PGGAN_), "genforce")) == ""  # there the widths tell
    assert notes(genforce.stylegan_state(large, "higan")) == notes(genforce.pggan_state(even, "higan")) == ""


# --- names that come twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_a_name_with_and_without_module_is_refused(turn):
    table = genforce.pggan_state(nets.random_state(nets.PGGAN_), "genforce")
    assert parse_checkpoint(saved({f"module.{name}": value for name, value in table.items()})).family == "pggan"
    pairs = [*table.items(), ("module.layer1.weight", torch.zeros(8, 8, 3, 3))][::turn]
    with pytest.raises(CheckpointError, match=r"layer1\.weight: the file has it twice"):
        parse_checkpoint(saved(dict(pairs)))


def test_a_variable_that_is_listed_twice_is_refused():
    network = nvidia_tf.tf_network(nvidia_tf.pggan_variables(nets.random_state(nets.PGGAN_)), {}, "tfutil.Network")
    assert parse_checkpoint(dumps((network,) * 3)).family == "pggan"  # the twin
    network.state["variables"].append(("4x4/Conv/bias", array(np.full(8, 7, np.float32))))
    with pytest.raises(CheckpointError, match="4x4/Conv/bias: the file has it twice"):
        parse_checkpoint(dumps((network,) * 3))
    tables = nvidia_tf.stylegan2_variables(nets.random_state(nets.STYLEGAN2))
    network = nvidia_tf.tf_network(tables, {}, "tfutil.Network")
    network.state["variables"].append(("mapping/Dense0/bias", array(np.full(10, 7, np.float32))))
    with pytest.raises(CheckpointError, match="mapping/Dense0/bias: the file has it twice"):
        parse_checkpoint(dumps((network,) * 3))


def test_a_parameter_and_a_buffer_of_one_name_are_refused():
    network = torch_network()
    attributes_of(network, "synthesis", "b4")["_buffers"].items["const"] = tensor_call(torch.full((8, 4, 4), 7.0))
    with pytest.raises(CheckpointError, match=r"synthesis\.b4\.const: the file has it twice"):
        parse_checkpoint(dumps({"G_ema": network}))


# --- wrappings -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Wrapping:
    """A wrapper that other projects put around rosinality's state dict and mean w."""

    name: str
    of: Callable[[dict, torch.Tensor], object]


def prefixed(prefix: str, table: dict) -> dict:
    return {f"{prefix}{name}": value for name, value in table.items()}


ROSINALITY = [
    Wrapping("module", lambda table, mean: {"g_ema": prefixed("module.", table), "latent_avg": mean}),
    Wrapping("state_dict", lambda table, mean: {"state_dict": table, "latent_avg": mean}),
    Wrapping("numpy", lambda table, mean: {"g_ema": table, "latent_avg": mean.numpy()}),
    Wrapping("inside", lambda table, mean: {"g_ema": {**table, "latent_avg": mean}}),
    Wrapping(
        "encoder",
        lambda table, mean: {
            "state_dict": {**prefixed("decoder.", table), "encoder.x": torch.zeros(2)},
            "latent_avg": mean.repeat(6, 1),
            "opts": {"size": 16},
        },
    ),
]


@pytest.mark.parametrize("wrapping", ROSINALITY, ids=lambda w: w.name)
def test_rosinality_s_table_in_other_wrappings(wrapping):
    state = nets.random_state(nets.STYLEGAN2)
    found = parse_checkpoint(saved(wrapping.of(rosinality_state(state), state["mapping.w_avg"])))
    assert found.config == nets.STYLEGAN2 and found.notes == ()
    assert all(found.state[name].equal(value) for name, value in state.items())
    other = parse_checkpoint(saved({"g_ema": rosinality_state(nets.random_state(nets.STYLEGAN2, 1))}))
    assert not other.state["mapping.fc0.weight"].equal(state["mapping.fc0.weight"])


@pytest.mark.parametrize("config", [nets.STYLEGAN2, nets.CONDITIONAL, nets.TALL])
def test_nvidia_s_state_dict_in_a_torch_file(config):
    state = nets.random_state(config)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    table = {**state, "synthesis.b8.resample_filter": taps[:, None] * taps / 64}
    for value in (table, {"G_ema": table, "G": {}}, {"G": prefixed("module.", table)}):
        found = parse_checkpoint(saved(value))
        assert found.config == dataclasses.replace(config, conv_clamp=None)
        assert all(found.state[name].equal(tensor) for name, tensor in state.items())
        assert "state dict" in found.source_format and "neither a clamp" in found.notes[0]
    with pytest.raises(CheckpointError, match=r"\[1, 3, 3, 1\]"):
        parse_checkpoint(saved({**table, "synthesis.b8.resample_filter": torch.ones(4, 4)}))


BESIDE = {
    "device": torch.device("cpu"),
    "dtype": torch.float32,
    "date": datetime.datetime(2020, 2, 3, 4, tzinfo=datetime.timezone.utc),
    "folder": pathlib.PurePosixPath("a/b"),
    "defaults": collections.defaultdict(list, {"a": [1]}),
    "version": torch.torch_version.TorchVersion("2.9.1"),
    "dtypes": [torch.int16, torch.int8, torch.uint16, torch.complex64, torch.float8_e4m3fn],
    "frozen set": frozenset({1, 2}),
    "bytes": [bytearray(b"ab"), b"ab", b""],
    "queue": collections.deque([1, 2], maxlen=5),
    "counts": collections.Counter("abca"),
    "complex": 1 + 2j,
    "keys": {(0, 1): "a", ("x", None, 2.5): [3], (): 1},
    "arguments": argparse.Namespace(out=pathlib.PurePosixPath("x"), device=torch.device("cpu")),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", BESIDE)
def test_a_harmless_value_beside_the_network_does_not_matter(name, protocol):
    def written(side):
        value = {"g_ema": rosinality_state(state), "latent_avg": state["mapping.w_avg"], "args": {name: side}}
        stream = io.BytesIO()
        torch.save(value, stream, pickle_protocol=protocol)
        return stream.getvalue()

    state = nets.random_state(nets.STYLEGAN2)
    assert parse_checkpoint(written(BESIDE[name])).state["mapping.w_avg"].equal(state["mapping.w_avg"])
    with pytest.raises(CheckpointError, match=r"no known checkpoint needs; nothing was run.* save its state_dict\(\)"):
        parse_checkpoint(written(os.system))


@pytest.mark.parametrize("key", [((1,),), (1,) * 9, ("x" * 201,), (b"x",), (frozenset(),)])
def test_a_key_that_is_not_plain_is_refused(key):
    assert parse_checkpoint(saved({**rosinality_file(), "args": {(1, "x"): 2}})).notes == ()  # the twin
    with pytest.raises(CheckpointError, match="as a key"):
        parse_checkpoint(saved({**rosinality_file(), "args": {key: 2}}))


def rosinality_file():
    state = nets.random_state(nets.STYLEGAN2)
    return {"g_ema": rosinality_state(state), "latent_avg": state["mapping.w_avg"]}


@pytest.mark.parametrize(
    ("config", "infer_", "name"),
    [
        (nets.STYLEGAN2, infer.stylegan2, "synthesis.b8.conv1.weight"),
        (nets.STYLEGAN, infer.stylegan, "synthesis.layer3.weight"),
        (nets.PGGAN_, infer.pggan, "layer3.weight"),
    ],
)
def test_the_tensor_that_is_missing_is_named_and_not_those_that_are_there(config, infer_, name):
    state = nets.random_state(config)
    assert infer_(state, "a test").config.channels == config.channels
    del state[name]
    with pytest.raises(CheckpointError, match=f"^{name}: expected a tensor, got none"):
        infer_(state, "a test")


def test_numbers_in_names_are_no_way_to_keep_the_reader_busy():
    """A constant of no height, of which the double is as high, and numbers of thousands of digits."""
    flat = {"synthesis.b0.const": torch.zeros(8, 0, 4), "synthesis.b0.conv1.weight": torch.zeros(8, 8, 3, 3)}
    with pytest.raises(CheckpointError, match=r"synthesis\.b0\.const: expected a constant some pixels high, got 0"):
        infer.stylegan2(flat, "a test")
    long = "9" * 5000
    for config, infer_, name in (
        (nets.STYLEGAN2, infer.stylegan2, f"synthesis.b{long}.conv1.weight"),
        (nets.STYLEGAN, infer.stylegan, f"synthesis.layer{long}.weight"),
        (nets.PGGAN_, infer.pggan, f"layer{long}.weight"),
    ):
        state = nets.random_state(config) | {name: torch.zeros(8, 8, 3, 3)}
        if infer_ is infer.pggan:
            assert infer_(state, "a test").config == config  # whoever builds it refuses what is too much
        else:
            with pytest.raises(CheckpointError, match="expected no such tensor"):
                infer_(state, "a test")
