"""Reads the .pt files of rosinality/stylegan2-pytorch: {"g_ema": state dict, "latent_avg": (w_dim,), ...}.

Other projects save it as {"state_dict": ...}, with names prefixed by `module.` or, beside an encoder, `decoder.`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.inert import entries
from linsem.checkpoints.layouts import first, flat, one_row, plane, same, scalar
from linsem.checkpoints.names import Rule, check_fir, conv_of, numbered, rename, torgb_of
from linsem.checkpoints.torchfile import state_table, unwrapped

SOURCE = "rosinality .pt"
DECODER = "decoder."

CONV = r"(conv1|convs\.\d{1,2})"
RGB = r"(to_rgb1|to_rgbs\.\d{1,2})"


def looks_rosinality(table: dict[str, Any]) -> bool:
    """Whether a state dict has the names of this format."""
    return "input.input" in table and "conv1.conv.weight" in table


def find_state(value: Any) -> dict[str, Any] | None:
    """The generator's state dict in a torch file: g_ema, else g, else state_dict or the file; None in other formats."""
    top = entries(value)
    for candidate in (top.get("g_ema"), top.get("g"), top.get("state_dict"), value):
        table = unwrapped(state_table(candidate))
        for found in (table, _decoder(table)):
            if looks_rosinality(found):
                return found
    return None


def _decoder(table: dict[str, Any]) -> dict[str, Any]:
    """The generator within the state dict of an encoder trained for it (pSp, e4e)."""
    return {name.removeprefix(DECODER): value for name, value in table.items() if name.startswith(DECODER)}


def read_rosinality(value: Any, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from the value of a torch file in which `find_state` finds a state dict."""
    table = find_state(value) or {}
    state = rename(table, RULES, decoder.tensor)
    mean = entries(value).get("latent_avg")
    if mean is not None:
        state["mapping.w_avg"] = one_row(decoder.numbers("latent_avg", mean))
    averaged = "g_ema" in entries(value) or "g" not in entries(value)
    notes = () if averaged else ("the file has no averaged network (g_ema): g was read",)
    return infer.stylegan2(state, SOURCE, notes)


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
