"""The .pt files of rosinality/stylegan2-pytorch: a torch file {"g_ema": state dict, "latent_avg": (w_dim,), ...}."""

from __future__ import annotations

import re
from typing import Any

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.names import Rule, check_fir, first, flat, plane, rename, same, scalar
from linsem.checkpoints.pickles import entries
from linsem.checkpoints.torchfile import state_table

SOURCE = "rosinality .pt"

CONV = r"(conv1|convs\.\d{1,2})"
RGB = r"(to_rgb1|to_rgbs\.\d{1,2})"


def looks_rosinality(table: dict[str, Any]) -> bool:
    """Whether a state dict has this dialect's names."""
    return "input.input" in table and "conv1.conv.weight" in table


def find_state(value: Any) -> dict[str, Any] | None:
    """The generator's table in a torch file: g_ema, else g, else the file itself; None if it is of another dialect."""
    top = entries(value)
    for candidate in (top.get("g_ema"), top.get("g"), value):
        table = state_table(candidate)
        if looks_rosinality(table):
            return table
    return None


def read_rosinality(value: Any, decoder: Decoder) -> Checkpoint:
    """The checkpoint of a torch file's value for which `find_state` finds a table."""
    table = find_state(value) or {}
    state = rename(table, RULES, decoder.tensor)
    mean = entries(value).get("latent_avg")
    if mean is not None:
        state["mapping.w_avg"] = flat(decoder.tensor("latent_avg", mean))
    averaged = "g_ema" in entries(value) or "g" not in entries(value)
    notes = () if averaged else ("the file has no averaged network (g_ema): g was read",)
    return infer.stylegan2(state, SOURCE, notes)


def _convolution(inner: str) -> Any:
    def target(match: re.Match) -> str:
        place = match.group(1)
        index = -1 if place == "conv1" else int(place.split(".")[1])
        return f"synthesis.{_layer(index + 1)}.{inner}"

    return target


def _colors(inner: str) -> Any:
    def target(match: re.Match) -> str:
        place = match.group(1)
        index = 0 if place == "to_rgb1" else int(place.split(".")[1]) + 1
        return f"synthesis.b{4 * 2 ** min(index, 16)}.torgb.{inner}"

    return target


def _layer(index: int) -> str:
    """The block and convolution that is number `index` in the synthesis, from 0."""
    return f"b{4 * 2 ** min((index + 1) // 2, 16)}.conv{0 if index % 2 else 1}"


RULES: tuple[Rule, ...] = (
    (r"style\.(\d{1,4})\.(weight|bias)", lambda m: f"mapping.fc{int(m[1]) - 1}.{m[2]}", same),
    (r"input\.input", "synthesis.b4.const", first),
    (rf"{CONV}\.conv\.weight", _convolution("weight"), first),
    (rf"{CONV}\.conv\.modulation\.weight", _convolution("affine.weight"), same),
    (rf"{CONV}\.conv\.modulation\.bias", _convolution("affine.bias"), same),
    (rf"{CONV}\.noise\.weight", _convolution("noise_strength"), scalar),
    (rf"{CONV}\.activate\.bias", _convolution("bias"), same),
    (rf"{RGB}\.conv\.weight", _colors("weight"), first),
    (rf"{RGB}\.conv\.modulation\.weight", _colors("affine.weight"), same),
    (rf"{RGB}\.conv\.modulation\.bias", _colors("affine.bias"), same),
    (rf"{RGB}\.bias", _colors("bias"), flat),
    (r"noises\.noise_(\d{1,4})", lambda m: f"synthesis.{_layer(int(m[1]))}.noise_const", plane),
    (r".*\.kernel", None, check_fir),
)
