"""Reads the .pt files of rosinality/stylegan2-pytorch: {"g_ema": state dict, "latent_avg": (w_dim,), ...}.

Other projects save it under other keys, or with a prefix before each name, as `tables` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.layouts import first, flat, one_row, plane, same, scalar
from linsem.checkpoints.names import Rule, check_fir, conv_of, numbered, rename, torgb_of
from linsem.checkpoints.tables import Table, under

SOURCE = "rosinality .pt"

CONV = r"(conv1|convs\.\d{1,2})"
RGB = r"(to_rgb1|to_rgbs\.\d{1,2})"


def looks_rosinality(table: dict[str, Any]) -> bool:
    """Whether a state dict has the names of this format."""
    return "input.input" in table and "conv1.conv.weight" in table


def find_states(table: Table) -> list[Table]:
    """The generators in a table of a torch file; beside an encoder trained for it (pSp, e4e), one is `decoder.`."""
    return [found for found in under(table, ("input.input",)) if looks_rosinality(found.names)]


def read_rosinality(table: Table, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from one of `find_states`."""
    state = rename(table.names, RULES, decoder.tensor)
    mean = table.beside.get("latent_avg")
    if mean is not None:
        state["mapping.w_avg"] = one_row(decoder.numbers("latent_avg", mean))
    return infer.stylegan2(state, SOURCE)


def _place(name: Callable[[int, str], str], inner: str) -> Any:
    """A target for `CONV` or `RGB`: the first layer has its own name, the others are numbered from 0 in a list."""

    def target(match: re.Match) -> str:
        _, dot, number = match[1].partition(".")
        return name(int(number) + 1 if dot else 0, inner)

    return target


RULES: tuple[Rule, ...] = (
    (r"style\.(\d{1,4})\.(weight|bias)", lambda m: f"mapping.fc{int(m[1]) - 1}.{m[2]}", same),
    (r"latent_avg", "mapping.w_avg", one_row),
    (r"input\.input", "synthesis.b4.const", first),
    (rf"{CONV}\.conv\.weight", _place(conv_of, "weight"), first),
    (rf"{CONV}\.conv\.modulation\.weight", _place(conv_of, "affine.weight"), same),
    (rf"{CONV}\.conv\.modulation\.bias", _place(conv_of, "affine.bias"), same),
    (rf"{CONV}\.noise\.weight", _place(conv_of, "noise_strength"), scalar),
    (rf"{CONV}\.activate\.bias", _place(conv_of, "bias"), same),
    (rf"{RGB}\.conv\.weight", _place(torgb_of, "weight"), first),
    (rf"{RGB}\.conv\.modulation\.weight", _place(torgb_of, "affine.weight"), same),
    (rf"{RGB}\.conv\.modulation\.bias", _place(torgb_of, "affine.bias"), same),
    (rf"{RGB}\.bias", _place(torgb_of, "bias"), flat),
    (r"noises\.noise_(\d{1,4})", numbered(conv_of, "noise_const"), plane),
    (r".*\.kernel", None, check_fir),
)
