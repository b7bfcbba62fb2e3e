"""What a file lacks and a network can do without is supplied, and the notes say so."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from linsem.checkpoints import CheckpointError, build_network, infer, parse_checkpoint
from tests.test_checkpoints_limits import saved
from tests.writers import genforce, nets, nvidia_tf
from tests.writers.emit import dumps
from tests.writers.nvidia_torch import generator
from tests.writers.rosinality import rosinality_state

STATES = {config: nets.random_state(config) for config in (nets.STYLEGAN2, nets.STYLEGAN)}
DRAWN = "no constant noise"
SILENT = "no strength of the noise"


def tf_pickle(variables: dict[str, torch.Tensor]) -> bytes:
    return dumps((nvidia_tf.tf_network(variables, {}, "dnnlib.tflib.network.Network"),) * 3)


FORMATS = {
    "nvidia": (nets.STYLEGAN2, lambda state: saved(state)),
    "nvidia pickle": (nets.STYLEGAN2, lambda state: dumps({"G_ema": generator(state)})),
    "tf stylegan2": (nets.STYLEGAN2, lambda state: tf_pickle(nvidia_tf.stylegan2_variables(state))),
    "rosinality": (nets.STYLEGAN2, lambda state: saved({"g_ema": rosinality_state(state)})),
    "genforce stylegan2": (nets.STYLEGAN2, lambda state: saved(genforce.stylegan2_state(state, "genforce"))),
    "tf stylegan": (nets.STYLEGAN, lambda state: tf_pickle(nvidia_tf.stylegan_variables(state))),
    **{
        dialect: (nets.STYLEGAN, lambda state, dialect=dialect: saved(genforce.stylegan_state(state, dialect)))
        for dialect in genforce.DIALECTS
    },
}


def without(state: dict[str, torch.Tensor], *ends: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(ends)}


@pytest.mark.parametrize("name", FORMATS)
def test_missing_noise_is_drawn_and_the_same_each_time(name):
    config, write = FORMATS[name]
    state = STATES[config]
    whole, first, second = (parse_checkpoint(write(each)) for each in (state, *[without(state, "noise_const")] * 2))
    assert DRAWN in " ".join(first.notes) and DRAWN not in " ".join(whole.notes)
    drawn = [name for name in state if name.endswith("noise_const")]
    for key, value in first.state.items():
        assert value.equal(second.state[key]) and value.shape == state[key].shape
        assert value.equal(whole.state[key]) == (key not in drawn), key
    assert all(0.5 < float(first.state[key].std()) < 1.5 for key in drawn)
    build_network(first)


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_without_any_strength_of_noise_adds_none(name):
    config, write = FORMATS[name]
    state = STATES[config]
    found = parse_checkpoint(write(without(state, "noise_strength", "noise_weight", "noise_const")))
    assert SILENT in " ".join(found.notes) and SILENT not in " ".join(parse_checkpoint(write(state)).notes)
    silent = build_network(found)
    z = torch.randn(1, config.z_dim, generator=torch.Generator().manual_seed(1))
    ws = silent.map(z)
    noisy = build_network(parse_checkpoint(write(state)))
    expected = noisy.synthesize(ws, noise_mode="none")[0]
    torch.testing.assert_close(silent.synthesize(ws)[0], expected, rtol=1e-3, atol=1e-3)
    assert float((noisy.synthesize(ws)[0] - expected).abs().max()) > 0.1  # the twin: its noise shows


@pytest.mark.parametrize("name", FORMATS)
def test_one_missing_strength_is_damage(name):
    config, write = FORMATS[name]
    one = next(name for name in STATES[config] if name.endswith(("noise_strength", "noise_weight")))
    with pytest.raises(CheckpointError, match="expected a tensor"):
        parse_checkpoint(write(without(STATES[config], one)))


LABELLED = {
    "stylegan2": (dataclasses.replace(nets.CONDITIONAL, conv_clamp=None), lambda state: saved({"G_ema": state})),
    "stylegan": (nets.LARGE_STYLEGAN, lambda state: tf_pickle(nvidia_tf.stylegan_variables(state))),
}


@pytest.mark.parametrize("name", LABELLED)
def test_the_mean_w_of_a_network_with_labels_is_that_over_its_labels(name, monkeypatch):
    config, write = LABELLED[name]
    state = nets.random_state(config)
    if name == "stylegan2":
        data = write(without(state, "w_avg"))
    else:
        variables = nvidia_tf.stylegan_variables(state)
        del variables["dlatent_avg"]
        data = tf_pickle(variables)
    found = parse_checkpoint(data)
    assert "with each label in turn" in " ".join(found.notes)
    mapping = build_network(found).mapping
    z = torch.randn(4000, config.z_dim, generator=torch.Generator().manual_seed(9))
    each = torch.stack([mapping(z, torch.eye(config.c_dim)[k].expand(4000, -1)) for k in range(config.c_dim)])
    spread = float(each.std(dim=1).max())
    off = (found.state["mapping.w_avg"] - each.mean(dim=(0, 1))).abs().max()
    assert float(off) < 0.1 * spread
    assert float((mapping(z).mean(dim=0) - each.mean(dim=(0, 1))).abs().max()) > 0.1 * spread  # of no label
    monkeypatch.setattr(infer, "MEAN_ROWS", 7)  # which no number of labels divides
    again = parse_checkpoint(data).state["mapping.w_avg"]
    torch.testing.assert_close(again, found.state["mapping.w_avg"], rtol=0.05, atol=0.05 * spread)
