"""Every format returns the state that was written, bit by bit, and builds the network that it came from."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from linsem.checkpoints import Checkpoint, CheckpointError, build_network, read_checkpoint, write_safetensors
from linsem.checkpoints.convert import convert, describe
from linsem.generator import Generator
from tests.writers import genforce, nets, nvidia_tf, nvidia_torch
from tests.writers.rosinality import rosinality_state

ALL = [nets.STYLEGAN2, nets.CONDITIONAL, nets.TALL, nets.STYLEGAN, nets.LARGE_STYLEGAN, nets.PGGAN_]


def same_state(found, expected, *, loose=("affine.bias",)):
    """Assert equal names and numbers; a bias that is stored minus 1 may be off by one rounding."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = 1e-6 if name.endswith(loose) else 0
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=name)


def image_of(config, state):
    """The image of the network built without a file."""
    network = nets.NETWORKS[type(config)](config)
    network.load_state_dict(state)
    z = torch.randn(2, config.z_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return network.synthesize(network.map(z))[0]


def assert_reads_back(path, config, state, source, *, tolerance=1e-4):
    checkpoint = read_checkpoint(path)
    assert checkpoint.family == nets.family_of(config) and source in checkpoint.source_format
    assert checkpoint.config == config
    same_state(checkpoint.state, state)
    network = build_network(checkpoint)
    z = torch.randn(2, config.z_dim, generator=torch.Generator().manual_seed(1))
    expected = image_of(config, state)
    spread = float(expected.max() - expected.min())
    assert float((network.synthesize(network.map(z))[0] - expected).abs().max()) <= tolerance * spread
    other = image_of(config, nets.random_state(config, seed=7))  # the twin: another state is another image
    assert float((other - expected).abs().max()) > 100 * tolerance * spread
    return checkpoint


@pytest.mark.parametrize("config", ALL, ids=lambda c: f"{type(c).__name__}{c.size}")
def test_our_own_format_is_exact(tmp_path, config):
    state = nets.random_state(config)
    path = tmp_path / "net.safetensors"
    metadata = {"id": "toy", "categories": json.dumps([{"name": "hair", "color": "#112233"}]), "licence": "MIT"}
    write_safetensors(path, nets.family_of(config), config, state, metadata)
    checkpoint = assert_reads_back(path, config, state, "linsem", tolerance=0)
    assert checkpoint.metadata == metadata and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_half_precision_is_read_as_float32(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    for half in (True, False):
        write_safetensors(tmp_path / f"{half}.safetensors", "stylegan2", nets.STYLEGAN2, state, half=half)
    found = read_checkpoint(tmp_path / "True.safetensors").state
    assert all(value.dtype == torch.float32 for value in found.values())
    same_state(found, {name: value.half().float() for name, value in state.items()}, loose=())
    assert (tmp_path / "True.safetensors").stat().st_size < 0.7 * (tmp_path / "False.safetensors").stat().st_size
    state["mapping.w_avg"] = state["mapping.w_avg"] + 1e6
    with pytest.raises(CheckpointError, match="beyond float16"):
        write_safetensors(tmp_path / "x.safetensors", "stylegan2", nets.STYLEGAN2, state, half=True)


def test_half_precision_spares_what_must_be_exact(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    path = tmp_path / "x.safetensors"
    for exact, same in ((("mapping.",), True), ((), False)):
        write_safetensors(path, "stylegan2", nets.STYLEGAN2, state, half=True, exact=exact)
        stored = load_file(path)
        kept = [torch.equal(stored[name].float(), value.float()) for name, value in state.items()
                if name.startswith("mapping.") and name.endswith("weight")]  # fmt: skip
        assert kept and all(kept) == same
        assert stored["synthesis.b4.const"].dtype == torch.float16


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("config", [nets.STYLEGAN2, nets.CONDITIONAL, nets.TALL], ids=["plain", "labels", "tall"])
def test_nvidia_torch(tmp_path, config, protocol):
    state = nets.random_state(config)
    path = tmp_path / "net.pkl"
    nvidia_torch.write_nvidia_torch(path, state, clamp=config.conv_clamp, protocol=protocol)
    assert_reads_back(path, config, state, "NVIDIA PyTorch")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("config", [nets.STYLEGAN2, dataclasses.replace(nets.CONDITIONAL, conv_clamp=None)])
def test_nvidia_tf_stylegan2(tmp_path, config, protocol):
    state = nets.random_state(config)
    path = tmp_path / "net.pkl"
    nvidia_tf.write_nvidia_tf(path, nvidia_tf.stylegan2_variables(state), protocol=protocol)
    assert_reads_back(path, config, state, "TensorFlow pickle (StyleGAN2)")


@pytest.mark.parametrize("fused", ["auto", True, False])
@pytest.mark.parametrize("config", [nets.STYLEGAN, nets.LARGE_STYLEGAN], ids=["small", "large"])
def test_nvidia_tf_stylegan(tmp_path, config, fused):
    state = nets.random_state(config)
    path = tmp_path / "net.pkl"
    variables = nvidia_tf.stylegan_variables(state, {"auto": 128, True: 4, False: 10**6}[fused])
    nvidia_tf.write_nvidia_tf(path, variables, settings={"fused_scale": fused}, multiarray="numpy._core.multiarray")
    assert_reads_back(path, config, state, "TensorFlow pickle (StyleGAN)")


@pytest.mark.parametrize("cls", ["tfutil.Network", "network.Network", "dnnlib.tflib.network.Network"])
@pytest.mark.parametrize("fused", [True, False])
def test_nvidia_tf_pggan(tmp_path, fused, cls):
    state = nets.random_state(nets.PGGAN_)
    path = tmp_path / "net.pkl"
    nvidia_tf.write_nvidia_tf(path, nvidia_tf.pggan_variables(state, fused), cls=cls)
    assert_reads_back(path, nets.PGGAN_, state, "TensorFlow pickle (PGGAN)")


@pytest.mark.parametrize("as_zip", [True, False])
def test_rosinality(tmp_path, as_zip):
    state = nets.random_state(nets.STYLEGAN2)
    path = tmp_path / "net.pt"
    value = {"g_ema": rosinality_state(state), "latent_avg": state["mapping.w_avg"], "g": {}, "d": {"x": torch.ones(3)}}
    torch.save(value, path, _use_new_zipfile_serialization=as_zip)
    assert_reads_back(path, nets.STYLEGAN2, state, "rosinality")


def test_rosinality_without_mean_and_noise_gets_both_and_says_so(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    table = {name: value for name, value in rosinality_state(state).items() if not name.startswith("noises")}
    torch.save({"g_ema": table}, tmp_path / "net.pt")
    first, second = (read_checkpoint(tmp_path / "net.pt") for _ in range(2))
    same_state(first.state, second.state, loose=())
    assert any("mean w" in note for note in first.notes) and any("noise" in note for note in first.notes)
    network = build_network(first)
    z = torch.randn(4000, nets.STYLEGAN2.z_dim, generator=torch.Generator().manual_seed(5))
    mean = network.mapping(z).mean(dim=0)
    spread = network.mapping(z).std(dim=0).max()
    assert float((network.mapping.w_avg - mean).abs().max()) < 0.1 * float(spread)
    assert float((state["mapping.w_avg"] - mean).abs().max()) > 0.1 * float(spread)


@pytest.mark.parametrize("nested", ["bare", "smooth", "models"])
@pytest.mark.parametrize("dialect", genforce.DIALECTS)
@pytest.mark.parametrize("config", [nets.STYLEGAN2, nets.STYLEGAN, nets.LARGE_STYLEGAN, nets.PGGAN_])
def test_genforce(tmp_path, config, dialect, nested):
    state = nets.random_state(config)
    if nets.family_of(config) == "stylegan" and config.c_dim:
        config = dataclasses.replace(config, c_dim=0)
        state = nets.random_state(config)
    writer = {"stylegan2": genforce.stylegan2_state, "stylegan": genforce.stylegan_state, "pggan": genforce.pggan_state}
    table = writer[nets.family_of(config)](state, dialect)
    value = {"bare": table, "smooth": {"generator": {}, "generator_smooth": table}, "models": {"models": {"G": table}}}
    torch.save(value[nested], tmp_path / "net.pth")
    name = {"genforce": "SeFa", "higan": "HiGAN", "interfacegan": "InterFaceGAN"}[dialect]
    if nets.family_of(config) == "pggan" and dialect != "genforce":
        name = "HiGAN"  # a PGGAN has no dense layer whose name would tell the two apart
    assert_reads_back(tmp_path / "net.pth", config, state, name)


@pytest.mark.parametrize("dialect", ["genforce", "higan"])
def test_genforce_fused_pggan(tmp_path, dialect):
    state = nets.random_state(nets.PGGAN_)
    torch.save(genforce.pggan_state(state, dialect, fused=True), tmp_path / "net.pth")
    assert_reads_back(tmp_path / "net.pth", nets.PGGAN_, state, "genforce")


def test_a_chosen_label_changes_the_image(tmp_path):
    state = nets.random_state(nets.CONDITIONAL)
    nvidia_torch.write_nvidia_torch(tmp_path / "net.pkl", state, clamp=256.0)
    network = build_network(read_checkpoint(tmp_path / "net.pkl"))
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(2))
    labels = torch.eye(4)
    images = [network.synthesize(network.map(z, c=labels[k : k + 1]))[0] for k in range(4)]
    again = network.synthesize(network.map(z, c=labels[2:3]))[0]
    assert torch.equal(images[2], again)
    assert all(float((images[k] - images[2]).abs().max()) > 1e-3 for k in (0, 1, 3))


@pytest.mark.parametrize("config", ALL, ids=lambda c: f"{type(c).__name__}{c.size}")
def test_built_networks_are_frozen_generators(config):
    checkpoint = Checkpoint(nets.family_of(config), config, nets.random_state(config), "test")
    network = build_network(checkpoint, id="toy", categories=("a",))
    assert isinstance(network, Generator) and network.id == "toy" and network.categories == ("a",)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert not any(value.is_meta for value in network.state_dict().values())


def test_building_names_the_tensor_that_does_not_fit():
    state = nets.random_state(nets.STYLEGAN2)
    name = "synthesis.b8.conv0.weight"

    def build(changed):
        build_network(Checkpoint("stylegan2", nets.STYLEGAN2, changed, "test"))

    build(state)  # the twin: whole, it builds
    with pytest.raises(CheckpointError, match=rf"{name}: expected \(8, 8, 3, 3\), got \(8, 7, 3, 3\)"):
        build({**state, name: state[name][:, 1:]})
    with pytest.raises(CheckpointError, match=rf"{name}: expected a tensor .* got none"):
        build({key: value for key, value in state.items() if key != name})
    with pytest.raises(CheckpointError, match="more: expected no such tensor"):
        build({**state, "more": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=f"{name}: expected finite"):
        build({**state, name: state[name] * float("nan")})


def test_convert_writes_the_same_network_and_tells_what_is_inside(tmp_path):
    state = nets.random_state(nets.TALL)
    nvidia_torch.write_nvidia_torch(tmp_path / "in.pkl", state)
    text = convert(tmp_path / "in.pkl", tmp_path / "out.safetensors")
    assert "NVIDIA PyTorch" in text and "16 x 8" in text and "8x4x2" in text and "out.safetensors" in text
    same_state(read_checkpoint(tmp_path / "out.safetensors").state, read_checkpoint(tmp_path / "in.pkl").state)
    assert "format: linsem safetensors" in describe(tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        convert(tmp_path / "in.pkl", tmp_path / "out.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        describe(tmp_path / "nothing.pkl")
    with pytest.raises(CheckpointError, match="cannot be written"):
        convert(tmp_path / "in.pkl", tmp_path / "no" / "folder.safetensors")


def test_detection_is_by_content_not_by_name(tmp_path):
    state = nets.random_state(nets.STYLEGAN2)
    nvidia_torch.write_nvidia_torch(tmp_path / "a.safetensors", state)
    write_safetensors(tmp_path / "b.pkl", "stylegan2", nets.STYLEGAN2, state)
    torch.save({"g_ema": rosinality_state(state), "latent_avg": state["mapping.w_avg"]}, tmp_path / "c.bin")
    found = [read_checkpoint(tmp_path / name).source_format for name in ("a.safetensors", "b.pkl", "c.bin")]
    assert found == ["NVIDIA PyTorch pickle", "linsem safetensors", "rosinality .pt"]


def test_torch_files_agree_with_torch_load(tmp_path):
    table = {
        "half": torch.randn(3, 4).half(),
        "brain": torch.randn(5).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "strided": torch.randn(6, 4)[::2, 1:].t(),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "whole": torch.arange(4),
        "truth": torch.tensor([True, False]),
    }
    from linsem.checkpoints.arrays import Decoder
    from linsem.checkpoints.torchfile import read_torch_legacy, read_torch_zip, state_table

    for as_zip in (True, False):
        torch.save(table, tmp_path / "x.pt", _use_new_zipfile_serialization=as_zip)
        data = (tmp_path / "x.pt").read_bytes()
        value, storages = (read_torch_zip if as_zip else read_torch_legacy)(memoryview(data))
        expected = torch.load(tmp_path / "x.pt", weights_only=True)
        decoder = Decoder(storages)
        for name, item in state_table(value).items():
            assert torch.equal(decoder.tensor(name, item), expected[name].float()), name
        assert state_table(value).keys() == expected.keys()
