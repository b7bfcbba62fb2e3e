"""Infers a configuration from the shapes of a renamed state; figures stated in the file are not trusted."""

from __future__ import annotations

import re

import torch

from linsem.checkpoints.build import Network, check_shapes, check_state, on_meta
from linsem.checkpoints.checkpoint import Checkpoint, Config, check_config
from linsem.checkpoints.errors import CheckpointError
from linsem.generator import drawn, seeded
from linsem.pggan import PGGANConfig
from linsem.stylegan import StyleGANConfig
from linsem.stylegan2 import StyleGAN2Config

State = dict[str, torch.Tensor]

NUMBER = "[0-9]{1,6}"  # of a layer or a resolution
OPTIONAL = r"mapping\.w_avg|synthesis\..*\.noise_const"
STRENGTH = r"synthesis\..*\.noise_(?:strength|weight)"
"""Strengths may be missing only together, as in a network that was trained without noise."""

MEAN_SAMPLES = 10_000
MEAN_ROWS = 1000  # samples mapped at a time
MEAN_WORK = 2**35  # multiplications; the largest known mapping takes 2**34.3, and a hostile one gets fewer samples


def stylegan2(state: State, source: str, notes: tuple[str, ...] = (), clamp: float | None = None) -> Checkpoint:
    """A StyleGAN2 checkpoint from its state; a missing mean w or noise is supplied."""
    starts = [name for name in state if re.fullmatch(rf"synthesis\.b{NUMBER}\.const", name)]
    if len(starts) != 1:
        raise CheckpointError(f"expected one constant to start the synthesis, got {len(starts)}")
    _, height, width = shape(state, starts[0], 3)
    first = int(starts[0].split(".")[1][1:])
    if first != height or first == 0:
        raise CheckpointError(f"{starts[0]}: expected a constant {first or 'some pixels'} high, got {height}")
    last = max(int(found[1]) for name in state if (found := re.match(rf"synthesis\.b({NUMBER})\.", name)))
    channels, resolution = [], first
    while resolution <= last:  # where a block lacks its convolution, `shape` says so
        channels.append(shape(state, f"synthesis.b{resolution}.conv1.weight", 4)[0])
        resolution *= 2
    layers, hidden, w_dim, entry = _mapping(state)
    c_dim = embedded = 0
    if "mapping.embed.weight" in state:
        embedded, c_dim = shape(state, "mapping.embed.weight", 2)
    config = StyleGAN2Config(
        channels=tuple(channels),
        z_dim=entry - embedded,
        w_dim=w_dim,
        c_dim=c_dim,
        mapping_layers=layers,
        mapping_width=hidden,
        const_size=(height, width),
        conv_clamp=clamp,
    )
    return _completed("stylegan2", config, state, source, notes)


def stylegan(state: State, source: str, notes: tuple[str, ...] = ()) -> Checkpoint:
    """A StyleGAN checkpoint from its state; a missing mean w or noise is supplied."""
    channels = _pairs(state, "synthesis.layer{}.weight")
    layers, hidden, w_dim, entry = _mapping(state)
    c_dim = 0
    if "mapping.label_weight" in state:
        c_dim, entry = shape(state, "mapping.label_weight", 2)
    config = StyleGANConfig(
        channels=channels, z_dim=entry, w_dim=w_dim, c_dim=c_dim, mapping_layers=layers, mapping_width=hidden
    )
    return _completed("stylegan", config, state, source, notes)


def pggan(state: State, source: str, notes: tuple[str, ...] = ()) -> Checkpoint:
    """A PGGAN checkpoint from its state."""
    config = PGGANConfig(channels=_pairs(state, "layer{}.weight"), z_dim=shape(state, "layer0.weight", 4)[1])
    check_config(config)
    return Checkpoint("pggan", config, state, source, notes)


def shape(state: State, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor; raises CheckpointError if it is missing or has another number of axes."""
    if name not in state:
        raise CheckpointError(f"{name}: expected a tensor, got none")
    if state[name].ndim != axes:
        raise CheckpointError(f"{name}: expected {axes} axes, got {tuple(state[name].shape)}")
    return tuple(state[name].shape)


def _pairs(state: State, template: str) -> tuple[int, ...]:
    """The channels of the second layer of each resolution; raises CheckpointError for one between them without it."""
    pattern = re.escape(template).replace(r"\{\}", f"({NUMBER})")
    last = max((int(found[1]) for name in state if (found := re.fullmatch(pattern, name))), default=-1)
    channels: list[int] = []
    while (layer := 2 * len(channels) + 1) <= last:
        channels.append(shape(state, template.format(layer), 4)[0])
    return tuple(channels)


def _mapping(state: State) -> tuple[int, int | None, int, int]:
    """The number of layers, the hidden width (None: that of w), and the widths of w and of the input."""
    count = 0
    while f"mapping.fc{count}.weight" in state:
        count += 1
    hidden, entry = shape(state, "mapping.fc0.weight", 2)
    w_dim = shape(state, f"mapping.fc{max(count - 1, 0)}.weight", 2)[0]
    return count, None if hidden == w_dim else hidden, w_dim, entry


def _completed(family: str, config: Config, state: State, source: str, notes: tuple[str, ...]) -> Checkpoint:
    """The checkpoint of a StyleGAN or StyleGAN2, with what its state lacks and may lack."""
    optional = OPTIONAL if any(re.fullmatch(STRENGTH, name) for name in state) else f"{OPTIONAL}|{STRENGTH}"
    network = _checked(family, config, state, optional)
    state, noise = _with_noise(state, network.state_dict())
    state, mean = _with_mean(state, network)
    return Checkpoint(family, config, state, source, (*notes, *noise, *mean))


def _with_noise(state: State, expected: State) -> tuple[State, tuple[str, ...]]:
    """The state, with constant noise from fixed seeds for layers that have none, of strength 0 if no layer has one."""
    missing = [name for name in expected if name.endswith("noise_const") and name not in state]
    fresh = {name: drawn(seeded(k), *expected[name].shape) for k, name in enumerate(missing)}
    silent = [name for name in expected if re.fullmatch(STRENGTH, name) and name not in state]
    zeros = {name: torch.zeros(expected[name].shape) for name in silent}
    notes: tuple[str, ...] = ()
    if fresh:
        notes = (f"the file has no constant noise for {len(fresh)} layers: it was drawn from a fixed seed",)
    if zeros:  # then what was drawn does not matter
        notes = ("the file has no strength of the noise: none is added",)
    return {**state, **fresh, **zeros}, notes


def _with_mean(state: State, network: Network) -> tuple[State, tuple[str, ...]]:
    """The state with the mean w, averaged over mapped z of a fixed seed if the file has none.

    `network` comes without data; its mapping is loaded from the state.
    """
    if "mapping.w_avg" in state:
        return state, ()
    mapping, source = network.mapping, seeded(0)
    part = {name.removeprefix("mapping."): value for name, value in state.items() if name.startswith("mapping.")}
    part["w_avg"] = torch.zeros(network.w_dim)
    mapping.load_state_dict(check_state(part, mapping.state_dict()), strict=True, assign=True)
    count, total = _samples(part), torch.zeros(network.w_dim, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, count, MEAN_ROWS):
            z = drawn(source, min(MEAN_ROWS, count - start), network.z_dim)
            total += mapping(z, _labels(start, len(z), network.config.c_dim)).sum(dim=0, dtype=torch.float64)
    note = f"the file has no mean w: it was averaged over {count} mapped z of a fixed seed"
    if network.config.c_dim:
        note += ", with each label in turn"
    return {**state, "mapping.w_avg": (total / count).float()}, (note,)


def _labels(start: int, rows: int, c_dim: int) -> torch.Tensor | None:
    """One-hot labels (rows, c_dim), each in turn from `start`; None for a network without labels.

    A conditional network was never trained on a label of all zeros.
    """
    if not c_dim:
        return None
    labels = torch.zeros(rows, c_dim)
    labels[torch.arange(rows), torch.arange(start, start + rows) % c_dim] = 1
    return labels


def _samples(part: State) -> int:
    """How many z a mapping of these tensors may map within `MEAN_WORK`."""
    numbers = sum(value.numel() for value in part.values())
    return max(1, min(MEAN_SAMPLES, MEAN_WORK // max(numbers, 1)))


def _checked(family: str, config: Config, state: State, optional: str) -> Network:
    """The network of `config` without data; raises unless the state has its names and shapes.

    Tensors whose names match `optional` may be missing. They must not be computed before this check, since a few shared
    bytes may describe a network that takes minutes to run.
    """
    check_config(config)
    network = on_meta(family, config)
    expected = network.state_dict()
    needed = {name: value for name, value in expected.items() if name in state or not re.fullmatch(optional, name)}
    check_shapes({name: tuple(value.shape) for name, value in state.items()}, needed)
    return network
