"""A generator is found under any key and prefix that projects save it with, and its average before its raw weights."""

from __future__ import annotations

import dataclasses
import io
import pickle

import numpy as np
import pytest
import torch

from linsem.checkpoints import CheckpointError, parse_checkpoint
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.pickles import read_pickle
from linsem.checkpoints.storages import Storage
from tests.test_checkpoints_bombs import refused
from tests.writers import corpus, genforce, nets, nvidia_tf
from tests.writers.emit import Call, Raw, dumps
from tests.writers.nvidia_torch import live_generator, persistence
from tests.writers.rosinality import rosinality_state

CONFIG = corpus.STYLEGAN2  # tiny, since there are many combinations
RAW, AVERAGED = nets.random_state(CONFIG, 1), nets.random_state(CONFIG, 2)
TABLES = {
    "rosinality": lambda state: {**rosinality_state(state), "latent_avg": state["mapping.w_avg"]},
    "nvidia": lambda state: dict(state),
    "genforce": lambda state: genforce.stylegan2_state(state, "genforce"),
    "higan": lambda state: genforce.stylegan2_state(state, "higan"),
}
EVERY_FORMAT = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
NOT_AVERAGED = "no averaged network"


def saved(value: object) -> bytes:
    """A torch file."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def read(value: object, expected: dict[str, torch.Tensor]) -> str:
    """The notes on a torch file, from which `expected` must be read."""
    found = parse_checkpoint(saved(value))
    assert found.state.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found.state[name], tensor, rtol=0, atol=1e-6)
    return " ".join(found.notes)


def prefixed(prefix: str, table: dict) -> dict:
    return {f"{prefix}{name}": value for name, value in table.items()}


# --- averaged or raw -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["g_ema", "G_ema", "ema", "generator_ema", "generator_smooth", "params_ema", "netG_ema"]
)
@EVERY_FORMAT
def test_the_average_is_read_whatever_it_is_called_and_whatever_the_raw_weights_are(table, key):
    for raw in ("G", "g", "generator", "state_dict"):
        assert NOT_AVERAGED not in read({raw: table(RAW), key: table(AVERAGED)}, AVERAGED)
    both = {**prefixed("generator.", table(RAW)), **prefixed(f"{key}.", table(AVERAGED))}
    assert NOT_AVERAGED not in read({"state_dict": both}, AVERAGED)


@pytest.mark.parametrize("key", ["g", "G", "generator", "params", "netG"])
@EVERY_FORMAT
def test_raw_weights_alone_are_read_with_a_note(table, key):
    assert f"{NOT_AVERAGED} (g_ema): {key} was read" in read({key: table(RAW)}, RAW)
    assert NOT_AVERAGED in read({"state_dict": prefixed(f"{key}.", table(RAW))}, RAW)
    assert NOT_AVERAGED not in read(table(RAW), RAW)  # such a file does not tell


def test_a_file_with_two_networks_of_unknown_kind_gets_a_note():
    table = TABLES["rosinality"]
    assert "which of its 2 networks" in read({"model": table(RAW), "other": table(AVERAGED)}, RAW)
    assert "which of its" not in read({"model": table(RAW)}, RAW)
    assert "which of its" not in read({"model": table(RAW), "ema": table(AVERAGED)}, AVERAGED)


# --- keys and prefixes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ema", "generator", "G_ema", "g_ema", "params_ema", "model", "state_dict", "weights"])
@EVERY_FORMAT
def test_a_table_is_found_under_any_key_and_one_deeper(table, key):
    for value in ({key: table(RAW)}, {"epoch": 3, key: table(RAW)}, {"models": {key: table(RAW)}}):
        read(value, RAW)


PREFIXES = (
    *("generator.", "G_ema.", "netG.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module."),
    *("model.generator.", "generator._orig_mod.", "module.G_ema.module.", "decoder."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
@EVERY_FORMAT
def test_a_prefix_before_each_name_is_taken_away(table, prefix):
    inside = prefixed(prefix, table(RAW))
    rest = {} if prefix.startswith(("module", "_orig")) else {"discriminator.conv.weight": torch.zeros(2)}
    read(inside, RAW)
    read({"state_dict": {**inside, **rest}, "epoch": 1}, RAW)


def test_a_stylegan_and_a_pggan_are_found_too():
    for config, writer in ((nets.STYLEGAN, genforce.stylegan_state), (nets.PGGAN_, genforce.pggan_state)):
        state = nets.random_state(config)
        for dialect in genforce.DIALECTS:
            read({"state_dict": prefixed("generator.", writer(state, dialect))}, state)
            read({"g_ema": writer(state, dialect), "G": writer(nets.random_state(config, 5), dialect)}, state)


def test_a_discriminator_with_the_names_of_a_generator_is_not_read():
    table = genforce.pggan_state(nets.random_state(nets.PGGAN_), "genforce")
    for value in ({"discriminator": table}, {"D": table}, {"state_dict": prefixed("netD.", table)},
                  {"model": {**table, "input0.weight": torch.zeros(1)}}):  # fmt: skip
        assert "unknown network" in refused(saved(value))


def test_the_mean_w_beside_a_table_goes_with_it():
    table = rosinality_state(AVERAGED)
    value = {"g": rosinality_state(RAW), "ema": table, "latent_avg": AVERAGED["mapping.w_avg"]}
    for each in (value, {"model": value}):
        assert "mean w" not in read(each, AVERAGED)


def legacy(content: bytes) -> bytes:
    """A legacy torch file without storages, whose value is pushed by these opcodes."""
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, Raw(content), []]
    return b"".join(dumps(each, 2) for each in parts)


def names(count: int, value: bytes) -> bytes:
    """A dict with `count` different keys of one value."""
    return b"}(" + b"".join(b"X\x05\x00\x00\x00%05d" % k + value for k in range(count)) + b"u"


TENSOR = dumps(Call("torch._utils", "_rebuild_tensor_v2", ()), 2)[2:-1]


def test_a_table_under_many_keys_is_looked_at_once():
    shared = names(10_000, b"h\x00") + b"q\x01"
    assert "unknown network" in refused(legacy(TENSOR + b"q\x000" + shared + b"0" + names(50_000, b"h\x01")))


def test_tables_that_share_their_rows_are_not_all_copied():
    rows = b"](" + b"".join(b"(X\x05\x00\x00\x00%05dh\x00t" % k for k in range(10_000)) + b"eq\x01"
    each = b"ccollections\nOrderedDict\nh\x01\x85R"
    for levels in (names(5_000, each), names(15, names(190, each))):
        assert "unknown network" in refused(legacy(TENSOR + b"q\x000" + rows + b"0" + levels))


# --- NVIDIA's networks, saved in other ways --------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "G_ema", "g_ema", "ema"])
@pytest.mark.parametrize("how", ["torch.save", "legacy", "pickle"])
def test_a_persistent_network_is_read_alone_or_in_a_table_pickled_or_saved(how, key):
    def written(value: object) -> bytes:
        stream = io.BytesIO()
        with persistence():
            if how == "pickle":
                return pickle.dumps(value)
            torch.save(value, stream, _use_new_zipfile_serialization=how != "legacy")
        return stream.getvalue()

    config = dataclasses.replace(CONFIG, conv_clamp=256.0)
    network = live_generator(AVERAGED, 256.0)
    found = parse_checkpoint(written({"G": live_generator(RAW), key: network, "D": None} if key else network))
    assert found.config == config and found.notes == () and "pickle" in found.source_format
    assert all(found.state[name].equal(value) for name, value in AVERAGED.items())
    raw = parse_checkpoint(written({"G": live_generator(RAW), "G_ema": None}))
    assert NOT_AVERAGED in raw.notes[0] and raw.state["mapping.fc0.weight"].equal(RAW["mapping.fc0.weight"])


def test_a_tensorflow_pickle_may_leave_out_what_is_not_the_average():
    network = nvidia_tf.tf_network(nvidia_tf.stylegan2_variables(AVERAGED), {}, "dnnlib.tflib.network.Network")
    for value in ((None, None, network), [None, None, network], (None, network)):
        found = parse_checkpoint(dumps(value))
        assert found.state["mapping.fc0.weight"].equal(AVERAGED["mapping.fc0.weight"])
    assert "Gs: expected a network" in refused(dumps((network, None, None)))
    assert "none of NVIDIA's networks" in refused(dumps((None, None, None)))


# --- numpy's arrays in protocol 5 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["numpy.core.numeric", "numpy._core.numeric"])
@pytest.mark.parametrize("config", [nets.STYLEGAN2, nets.STYLEGAN])
def test_a_tensorflow_pickle_in_protocol_5(tmp_path, package, config):
    state = nets.random_state(config)
    write = nvidia_tf.stylegan2_variables if config is nets.STYLEGAN2 else nvidia_tf.stylegan_variables
    nvidia_tf.write_nvidia_tf(tmp_path / "x.pkl", write(state), protocol=5, multiarray=package)
    found = parse_checkpoint((tmp_path / "x.pkl").read_bytes())
    for name, value in state.items():
        torch.testing.assert_close(found.state[name], value, rtol=0, atol=1e-6)


def test_arrays_agree_with_numpy_in_every_protocol_and_order():
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    frozen = whole.copy()
    frozen.flags.writeable = False
    for values in (whole, whole.T, whole.transpose(2, 0, 1), whole[:, ::2], whole[0, 0, 0], np.array(2.5), frozen,
                   whole.astype(">f8"), np.zeros((0, 3), np.int16)):  # fmt: skip
        for protocol in (2, 3, 4, 5):
            value = read_pickle(memoryview(pickle.dumps(values, protocol)))[0]
            assert np.array_equal(Decoder().array("x", value).numpy(), values), (values, protocol)


def test_a_damaged_array_of_protocol_5_is_refused():
    dtype = Call("numpy", "dtype", ("f4", False, True))
    good = (bytes(8), dtype, (2,), "C")
    turned = (bytes(24), dtype, (2, 3), "K", (1, 0))

    def array(*args: object) -> torch.Tensor:
        data = dumps(Call("numpy._core.numeric", "_frombuffer", args), 5)
        return Decoder().array("x", read_pickle(memoryview(data))[0])

    assert array(*good).shape == (2,) and array(*turned).shape == (3, 2)  # the twins
    for args in ((), good[:3], (b"", *good[1:]), (5, *good[1:]), (bytes(8), "f4", (2,), "C"), (*good[:2], (-2,), "C"),
                 (*good[:2], (2**40, 2**40), "C"), (*good[:3], "K"), (*good[:3], 3), (*good[:3], "x"),
                 (*turned[:4], (0, 0)), (*turned[:4], (0,)), (*turned[:4], (0, 2)), (*turned[:4], None)):  # fmt: skip
        with pytest.raises(CheckpointError):
            array(*args)


# --- tensors that repeat their numbers -------------------------------------------------------------------------------


def test_a_tensor_that_repeats_its_numbers_is_read_as_torch_reads_it():
    mean = AVERAGED["mapping.w_avg"]
    state = {**AVERAGED, "synthesis.b8.conv0.noise_const": torch.full((1,), 0.5).expand(8, 8)}
    value = {"g_ema": rosinality_state(state), "latent_avg": mean[None].expand(6, -1)}
    read(value, state)


def test_a_small_tensor_that_repeats_its_number_without_end_is_refused():
    table = rosinality_state(RAW)
    for shape in ((1 << 20, 1 << 20), (1 << 39, 1), (1, 1 << 18), (1 << 7,) * 8):
        said = refused(saved({"g_ema": {**table, "style.1.bias": torch.zeros(1).expand(shape)}}))
        assert "more numbers than it can hold" in said
    for shape in ((1,), (5, 5)):  # not one number past the end of a storage without any
        with pytest.raises(CheckpointError, match="reaches beyond its storage of 0"):
            Decoder().strided("x", Storage("FloatStorage", memoryview(b"")), 0, shape, (0,) * len(shape))
