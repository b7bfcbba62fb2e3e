"""What the files of a dialect may differ in: kernels that are fused or not, wrappings, names that come twice."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch

from linsem.checkpoints import CheckpointError, parse_checkpoint
from linsem.pggan import PGGANConfig
from tests.writers import genforce, nets

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
