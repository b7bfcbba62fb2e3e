"""Reads the genforce family of torch files: StyleGAN2, StyleGAN and PGGAN in three dialects.

genforce and SeFa write {"generator_smooth": state dict, ...} or a bare state dict. HiGAN, IDInvert and LinearGAN write
a bare one with `.fc.weight` in dense layers, an `epilogue` and TensorFlow's kernel layout. InterFaceGAN does the same
with `.linear.weight`, and calls the constant `first_layer`. All three are mapped to one set of names.

Fused upsampling convolutions store a kernel that is rotated by 180 degrees. In the last two dialects the name tells:
`layer10.weight` is fused, `layer10.conv.weight` is not. In the first dialect nothing does, so the setting that its
authors trained with ("auto") is assumed.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.layouts import first, hwio, plane, plus_one, same, scalar, turned
from linsem.checkpoints.names import Rule, check_fir, check_zero, conv_of, numbered, rename, torgb_of
from linsem.checkpoints.tables import Table, under

SOURCE = "genforce"
PLAIN = "genforce or SeFa"

STYLED_ANCHORS = ("synthesis.early_layer.const", "synthesis.layer0.const", "synthesis.layer0.first_layer")
GROWN_ANCHORS = ("layer0.weight", "layer0.conv.weight")
FUSED_SIDE = 128  # pixels from which StyleGAN's upsampling convolutions are fused if "auto"
UNKNOWN = "the file does not say whether its doubling convolutions are fused: {} was assumed"


def family_of(table: dict[str, Any]) -> str | None:
    """The family that a state dict belongs to, in any of the three dialects; None if it is none of them."""
    if "synthesis.early_layer.const" in table:
        return "stylegan2"
    if "synthesis.layer0.const" in table or "synthesis.layer0.first_layer" in table:
        return "stylegan"
    first_layer = "layer0.weight" in table or "layer0.conv.weight" in table
    outputs, inputs = (any(name.startswith(start) for name in table) for start in ("output", "input"))
    return "pggan" if first_layer and outputs and not inputs else None  # only a discriminator has inputs


def find_states(table: Table) -> list[Table]:
    """The generators in a table of a torch file; a StyleGAN's layers alone would look like a PGGAN."""
    for anchors in (STYLED_ANCHORS, GROWN_ANCHORS):
        found = [found for found in under(table, anchors) if family_of(found.names)]
        if found:
            return found
    return []


def read_genforce(found: Table, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from one of `find_states`."""
    table = found.names
    family = family_of(table)
    dialect, plain = _one_dialect(table)
    source = f"{SOURCE} ({dialect})"
    if family == "stylegan2":
        return infer.stylegan2(rename(plain, STYLEGAN2_RULES, decoder.tensor), source)
    last = max((int(m[1]) for name in plain if (m := re.fullmatch(r".*output(\d{1,2})\.weight", name))), default=0)
    if family == "stylegan":
        notes = (UNKNOWN.format(f"'auto' (from {FUSED_SIDE} pixels)"),) if dialect == PLAIN else ()
        return infer.stylegan(rename(plain, _stylegan_rules(last, dialect), decoder.tensor), source, notes)
    state, notes = rename(plain, _pggan_rules(last), decoder.tensor), ()
    if dialect == PLAIN:
        state, notes = _pggan_turned(state)
    return infer.pggan(state, source, notes)


def _one_dialect(table: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The dialect and the table under genforce's names; fused kernels of other dialects become `fused_weight`."""
    interface = any(name.endswith(".linear.weight") for name in table)
    higan = any(".fc." in name or ".wscale." in name or ".epilogue." in name for name in table)
    if not interface and not higan:
        return PLAIN, table
    plain: dict[str, Any] = {}
    for name, value in table.items():
        other = re.sub(r"(layer\d+)\.weight", r"\1.fused_weight", name)
        other = other.replace(".epilogue.", ".").replace(".style_mod.dense.", ".style.")
        other = re.sub(r"\.(fc|linear|conv)\.weight$", ".weight", other).replace(".wscale.bias", ".bias")
        if other in plain:
            raise CheckpointError(f"{name[:120]}: there is another tensor for {other[:120]}")
        plain[other] = value
    return "InterFaceGAN" if interface else "HiGAN or LinearGAN", plain


def oihw(x: torch.Tensor) -> torch.Tensor:
    """A 1x1 or 3x3 kernel as (out, in, kh, kw), from that layout or TensorFlow's (kh, kw, in, out)."""
    return x if tuple(x.shape[2:]) in ((1, 1), (3, 3)) else hwio(x)


def turned_oihw(x: torch.Tensor) -> torch.Tensor:
    """`oihw`, with the kernel rotated by 180 degrees."""
    return turned(oihw(x))


MAPPING_RULES: tuple[Rule, ...] = (
    (r"mapping\.dense(\d{1,2})\.(weight|bias)", r"mapping.fc\1.\2", same),
    (r"truncation\.w_avg", "mapping.w_avg", same),
    (r"truncation\.truncation", None, same),
    (r"(?:synthesis\.)?lod", None, check_zero),
)


def _conv(inner: str) -> Any:
    return numbered(conv_of, inner)


def _torgb(inner: str) -> Any:
    return numbered(torgb_of, inner)


_LAYER = r"synthesis\.layer(\d{1,2})"
_OUTPUT = r"synthesis\.output(\d{1,2})"

STYLEGAN2_RULES: tuple[Rule, ...] = (
    *MAPPING_RULES,
    (r"synthesis\.early_layer\.const", "synthesis.b4.const", first),
    (r"synthesis\.layer(\d?[13579])\.(?:fused_)?weight", _conv("weight"), turned_oihw),
    (rf"{_LAYER}\.(?:fused_)?weight", _conv("weight"), oihw),
    (rf"{_LAYER}\.bias", _conv("bias"), same),
    (rf"{_LAYER}\.style\.weight", _conv("affine.weight"), same),
    (rf"{_LAYER}\.style\.bias", _conv("affine.bias"), plus_one),
    (rf"{_LAYER}\.noise_strength", _conv("noise_strength"), scalar),
    (rf"{_LAYER}\.noise", _conv("noise_const"), plane),
    (rf"{_OUTPUT}\.weight", _torgb("weight"), oihw),
    (rf"{_OUTPUT}\.bias", _torgb("bias"), same),
    (rf"{_OUTPUT}\.style\.weight", _torgb("affine.weight"), same),
    (rf"{_OUTPUT}\.style\.bias", _torgb("affine.bias"), plus_one),
    (r".*\.kernel", None, check_fir),
)


def _stylegan_rules(last: int, dialect: str) -> tuple[Rule, ...]:
    unnamed = [str(2 * k) for k in range(16) if 4 * 2**k >= FUSED_SIDE and dialect == PLAIN]
    fused = "|".join(unnamed) or "none"
    return (
        *MAPPING_RULES,
        (r"mapping\.label_weight", "mapping.label_weight", same),
        (r"synthesis\.layer0\.(?:const|first_layer)", "synthesis.layer0.const", first),
        (rf"{_LAYER}\.fused_weight", r"synthesis.layer\1.weight", turned_oihw),
        (rf"synthesis\.layer({fused})\.weight", r"synthesis.layer\1.weight", turned),
        (rf"{_LAYER}\.(weight|bias)", r"synthesis.layer\1.\2", same),
        (rf"{_LAYER}\.style\.(weight|bias)", r"synthesis.layer\1.style.\2", same),
        (rf"{_LAYER}\.apply_noise\.weight", r"synthesis.layer\1.noise_weight", same),
        (rf"{_LAYER}\.apply_noise\.noise", r"synthesis.layer\1.noise_const", plane),
        (rf"synthesis\.output{last}\.(weight|bias)", r"synthesis.torgb.\1", same),
        (rf"{_OUTPUT}\.(weight|bias)", None, same),
        (r".*\.kernel", None, same),
    )


def _pggan_rules(last: int) -> tuple[Rule, ...]:
    return (
        (r"lod", None, check_zero),
        (r"layer0\.weight", "layer0.weight", turned),
        (r"layer(\d{1,2})\.fused_weight", r"layer\1.weight", turned_oihw),
        (r"layer(\d{1,2})\.(weight|bias)", r"layer\1.\2", same),
        (rf"output{last}\.(weight|bias)", r"torgb.\1", same),
        (r"output\d{1,2}\.(weight|bias)", None, same),
    )


def _pggan_turned(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Convert fused upsampling kernels, which genforce stores as (in, out, kh, kw), told by the size of the bias."""
    ups = [name for name in state if re.fullmatch(r"layer\d?[2468]\.weight|layer\d0\.weight", name)]
    ups = [name for name in ups if state[name].ndim == 4 and name.replace("weight", "bias") in state]

    def swapped(name: str) -> bool:
        out, into = state[name].shape[:2]
        return out != state[name.replace("weight", "bias")].numel() == into

    if ups and all(state[name].shape[0] == state[name].shape[1] for name in ups):
        return state, (UNKNOWN.format("that they are not"),)
    if not any(swapped(name) for name in ups):
        return state, ()
    fused = {name: turned(state[name].permute(1, 0, 2, 3)) for name in ups}
    return {**state, **fused}, ("its doubling convolutions are fused: their kernels were turned",)
