"""Reads NVIDIA's TensorFlow pickles of StyleGAN2, StyleGAN and PGGAN: a tuple (G, D, Gs) of pickled Network objects.

The state of a Network has `variables`, a list of (name, array), and `components`, which are Networks themselves. Its
`build_module_src`, which NVIDIA's loader would execute, is ignored. Gs, the averaged generator, is the one read.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, add_once, entries, kind_of, shown
from linsem.checkpoints.layouts import first, hwio, plane, plus_one, same, scalar, transposed, turned_hwio
from linsem.checkpoints.names import Rule, check_zero, conv_of, numbered, rename

SOURCE = "NVIDIA TensorFlow pickle"
NETWORKS = ("dnnlib.tflib.network.Network", "tfutil.Network", "network.Network")
MAX_VARIABLES = 4096
MAX_NAME = 200  # characters; a component's name is prefixed to those of all variables below it

FIXED_SETTINGS = {
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "nonlinearity": "lrelu",
    "normalize_latents": True,
    "use_wscale": True,
    "use_styles": True,
    "use_instance_norm": True,
    "use_pixel_norm": False,
    "use_pixelnorm": True,
    "use_leakyrelu": True,
    "const_input_layer": True,
    "architecture": "skip",
    "tanh_at_end": False,
}
"""What our networks do; a file that says otherwise is refused. Settings that only concern training are not listed."""
FILTERS = {"resample_kernel": [1, 3, 3, 1], "blur_filter": [1, 2, 1]}


def looks_nvidia_tf(value: Any) -> bool:
    """Whether the value of a pickle is a Network, or a tuple or list with one, since G and D may be left out."""
    return any(map(_is_network, value)) if isinstance(value, tuple | list) else _is_network(value)


def read_nvidia_tf(value: Any, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from the value of a pickle that `looks_nvidia_tf`."""
    notes: tuple[str, ...] = ()
    if isinstance(value, tuple | list):
        if len(value) < 3:
            notes = (f"the file has {len(value)} networks instead of (G, D, Gs): the last was read",)
        value = value[2] if len(value) > 2 else value[-1]
    settings: dict[str, Any] = {}
    variables = _variables(value, settings)
    _check_settings(settings)
    if "synthesis/4x4/Conv/mod_weight" in variables:
        return _read_stylegan2(variables, settings, decoder, notes)
    if "synthesis/4x4/Conv/StyleMod/weight" in variables:
        state = rename(variables, _stylegan_rules(variables, settings), decoder.array)
        return infer.stylegan(state, f"{SOURCE} (StyleGAN)", notes)
    if "4x4/Dense/weight" in variables and "4x4/Conv/weight" in variables:
        if settings.get("label_size", 0) != 0:
            raise CheckpointError("a PGGAN with labels, which is not supported")
        return infer.pggan(rename(variables, PGGAN_RULES, decoder.array), f"{SOURCE} (PGGAN)", notes)
    found = ", ".join(list(variables)[:3])[:120] or "none"
    raise CheckpointError(f"expected the generator of StyleGAN2, StyleGAN or PGGAN, got a network of {found}")


def _is_network(value: Any) -> bool:
    return isinstance(value, Made) and value.is_of(*NETWORKS)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _variables(network: Any, settings: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """The variables of a network and its components by their full names; their settings are added to `settings`."""
    if not _is_network(network) or not isinstance(network.state, dict):
        raise CheckpointError(f"{prefix or 'Gs'}: expected a network with a state, got {kind_of(network)}")
    if depth > 2:
        raise CheckpointError("networks nested deeper than mapping and synthesis")
    rows = network.state.get("variables")
    if not isinstance(rows, list | tuple) or len(rows) > MAX_VARIABLES:
        raise CheckpointError(f"{prefix or 'Gs'}: expected a list of at most {MAX_VARIABLES} variables")
    found: dict[str, Any] = {}
    for row in rows:
        if not isinstance(row, tuple | list) or len(row) != 2 or not _is_name(row[0]):
            raise CheckpointError(f"{prefix or 'Gs'}: expected pairs of a name and an array")
        add_once(found, prefix + row[0], row[1])
    for key, value in entries(network.state.get("static_kwargs") or {}).items():
        settings.setdefault(str(key), value)
    components = list(entries(network.state.get("components") or {}).items())
    if len(components) > 8:
        raise CheckpointError(f"{prefix or 'Gs'}: expected a mapping and a synthesis, got {len(components)} components")
    for name, component in components:
        if not _is_name(name):
            raise CheckpointError(f"{prefix or 'Gs'}: expected a component's name, got {shown(name)}")
        for inner, value in _variables(component, settings, f"{prefix}{name}/", depth + 1).items():
            add_once(found, inner, value)
    return found


def _check_settings(settings: dict[str, Any]) -> None:
    for name, expected in FIXED_SETTINGS.items():
        found = settings.get(name, expected)
        if isinstance(found, int | float | str | None) and found != expected and found is not None:
            raise CheckpointError(f"{name}: expected {expected!r}, got {shown(found)}")
    for name, expected in FILTERS.items():
        found = settings.get(name, expected)
        if not _is_row(found, expected):
            raise CheckpointError(f"{name}: expected {expected}, got {_shown_row(found)}")


def _is_row(value: Any, expected: list[int]) -> bool:
    """Whether a value is a sequence of these numbers; types are checked before comparing, since items may be nested."""
    if not isinstance(value, list | tuple) or len(value) != len(expected):
        return False
    return all(isinstance(a, int | float) and a == b for a, b in zip(value, expected, strict=True))


def _shown_row(value: Any) -> str:
    """A sequence of up to 8 items, or any other value as by `shown`, for messages."""
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list | tuple) and len(value) < 9 else shown(value)


def _read_stylegan2(
    variables: dict[str, Any], settings: dict[str, Any], decoder: Decoder, notes: tuple[str, ...]
) -> Checkpoint:
    if any("/ToRGB_lod" in name for name in variables) or not any("/ToRGB/weight" in name for name in variables):
        raise CheckpointError("a StyleGAN2 of another architecture than 'skip': it has no ToRGB for each resolution")
    if "mapping/LabelConcat/weight" in variables:
        raise CheckpointError("a StyleGAN2 whose labels are joined without an embedding, which is not supported")
    clamp = settings.get("conv_clamp")
    if clamp is not None and type(clamp) not in (int, float):
        clamp = float(decoder.array("conv_clamp", clamp))
    state = rename(variables, STYLEGAN2_RULES, decoder.array)
    return infer.stylegan2(state, f"{SOURCE} (StyleGAN2)", notes, None if clamp is None else float(clamp))


def _block(inner: str) -> Any:
    return lambda m: f"synthesis.b{m[1]}.{inner}"


MAPPING_RULES: tuple[Rule, ...] = (
    (r"(?:synthesis/)?lod", None, check_zero),
    (r"dlatent_avg", "mapping.w_avg", same),
    (r"mapping/Dense(\d{1,4})/weight", r"mapping.fc\1.weight", transposed),
    (r"mapping/Dense(\d{1,4})/bias", r"mapping.fc\1.bias", same),
)

STYLEGAN2_RULES: tuple[Rule, ...] = (
    *MAPPING_RULES,
    (r"mapping/LabelEmbed/weight", "mapping.embed.weight", transposed),
    (r"mapping/LabelEmbed/bias", "mapping.embed.bias", same),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", first),
    *(
        (rf"synthesis/(\d{{1,4}})x\1/{theirs}/{name}", _block(f"{ours}.{inner}"), transform)
        for theirs, ours, kernel in (
            ("Conv", "conv1", hwio),
            ("Conv0_up", "conv0", turned_hwio),
            ("Conv1", "conv1", hwio),
            ("ToRGB", "torgb", hwio),
        )
        for name, inner, transform in (
            ("weight", "weight", kernel),
            ("bias", "bias", same),
            ("mod_weight", "affine.weight", transposed),
            ("mod_bias", "affine.bias", plus_one),
            ("noise_strength", "noise_strength", scalar),
        )
    ),
    (r"synthesis/noise(\d{1,4})", numbered(conv_of, "noise_const"), plane),
    (r"lod_in|pl_mean_var|.*/pl_mean_var|ada_.*", None, same),
)


def _index(match: re.Match) -> int:
    """The index, from 0, of the layer named `{r}x{r}/Conv...`."""
    block = int(match[1]).bit_length() - 3
    return 2 * block + (0 if match[2] in ("Const", "Dense", "Conv0", "Conv0_up") else 1)


def _stylegan_rules(variables: dict[str, Any], settings: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules for StyleGAN, whose fused upsampling convolutions (from 128 pixels if "auto") have rotated kernels."""
    fused = settings.get("fused_scale", "auto")
    if not isinstance(fused, bool | int | str) or fused not in (True, False, "auto"):
        raise CheckpointError(f"fused_scale: expected True, False or 'auto', got {shown(fused)}")
    large = [2**k for k in range(7 if fused == "auto" else 2, 13)] if fused else []
    turned_sides = "|".join(map(str, large)) or "none"
    layer = r"synthesis/(\d{1,4})x\1/(Const|Conv|Conv0_up|Conv1)"

    def to(inner: str) -> Any:
        return lambda m: f"synthesis.layer{_index(m)}.{inner}"

    return (
        *MAPPING_RULES,
        (r"mapping/LabelConcat/weight", "mapping.label_weight", same),
        (r"synthesis/4x4/Const/const", "synthesis.layer0.const", first),
        (rf"synthesis/({turned_sides})x\1/(Conv0_up)/weight", to("weight"), turned_hwio),
        (rf"{layer}/weight", to("weight"), hwio),
        (rf"{layer}/bias", to("bias"), same),
        (rf"{layer}/Noise/weight", to("noise_weight"), same),
        (rf"{layer}/StyleMod/weight", to("style.weight"), transposed),
        (rf"{layer}/StyleMod/bias", to("style.bias"), same),
        (r"synthesis/noise(\d{1,4})", lambda m: f"synthesis.layer{int(m[1])}.noise_const", plane),
        (r"synthesis/ToRGB_lod0/weight", "synthesis.torgb.weight", hwio),
        (r"synthesis/ToRGB_lod0/bias", "synthesis.torgb.bias", same),
        (r"synthesis/ToRGB_lod\d+/(weight|bias)", None, same),
    )


def dense_to_kernel(x: torch.Tensor) -> torch.Tensor:
    """(z_dim, 16 C) to (C, z_dim, 4, 4)."""
    return x.reshape(x.shape[0], -1, 4, 4).permute(1, 0, 2, 3)


def fused_to_kernel(x: torch.Tensor) -> torch.Tensor:
    """(kh, kw, out, in) of a fused upsampling convolution to (out, in, kh, kw), rotated by 180 degrees."""
    return x.permute(2, 3, 0, 1).flip(2, 3)


_CONV = r"(\d{1,4})x\1/(Conv|Conv0|Conv1)"

PGGAN_RULES: tuple[Rule, ...] = (
    (r"lod", None, check_zero),
    (r"4x4/Dense/weight", "layer0.weight", dense_to_kernel),
    (r"4x4/Dense/bias", "layer0.bias", same),
    (rf"{_CONV}/weight", lambda m: f"layer{_index(m)}.weight", hwio),
    (rf"{_CONV}/bias", lambda m: f"layer{_index(m)}.bias", same),
    (r"(\d{1,4})x\1/(Conv0_up)/weight", lambda m: f"layer{_index(m)}.weight", fused_to_kernel),
    (r"(\d{1,4})x\1/(Conv0_up)/bias", lambda m: f"layer{_index(m)}.bias", same),
    (r"ToRGB_lod0/weight", "torgb.weight", hwio),
    (r"ToRGB_lod0/bias", "torgb.bias", same),
    (r"ToRGB_lod\d+/(weight|bias)", None, same),
)
