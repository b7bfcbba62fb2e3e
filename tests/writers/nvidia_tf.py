"""Writes states of `linsem` as NVIDIA's TensorFlow pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.writers.emit import Call, array, buffer, dumps, number


def to_hwio(weight: torch.Tensor) -> torch.Tensor:
    """(O, I, kh, kw) to (kh, kw, I, O)."""
    return weight.permute(2, 3, 1, 0)


def stylegan2_variables(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """TensorFlow's variables of a StyleGAN2, by full name."""
    found: dict[str, torch.Tensor] = {"dlatent_avg": state["mapping.w_avg"]}
    for name, value in state.items():
        part = name.split(".")
        if part[0] == "mapping" and part[1].startswith("fc"):
            found[f"mapping/Dense{part[1][2:]}/{part[2]}"] = value.t() if part[2] == "weight" else value
        elif part[0] == "mapping" and part[1] == "embed":
            found[f"mapping/LabelEmbed/{part[2]}"] = value.t() if part[2] == "weight" else value
        elif part[0] == "synthesis" and part[2] == "const":
            found["synthesis/4x4/Const/const"] = value[None]
        elif part[0] == "synthesis":
            _stylegan2_layer(found, int(part[1][1:]), part[2], ".".join(part[3:]), value)
    return found


def _stylegan2_layer(found: dict[str, torch.Tensor], side: int, layer: str, name: str, value: torch.Tensor) -> None:
    log = side.bit_length() - 1
    theirs = {"conv0": "Conv0_up", "conv1": "Conv" if side == 4 else "Conv1", "torgb": "ToRGB"}[layer]
    prefix = f"synthesis/{side}x{side}/{theirs}"
    if name == "weight":
        found[f"{prefix}/weight"] = to_hwio(value.flip(2, 3) if layer == "conv0" else value)
    elif name == "affine.weight":
        found[f"{prefix}/mod_weight"] = value.t()
    elif name == "affine.bias":
        found[f"{prefix}/mod_bias"] = value - 1
    elif name == "noise_const":
        found[f"synthesis/noise{2 * log - (5 if layer == 'conv0' else 4)}"] = value[None, None]
    else:
        found[f"{prefix}/{name}"] = value


def stylegan_variables(state: dict[str, torch.Tensor], fused_from: int = 128) -> dict[str, torch.Tensor]:
    """TensorFlow's variables of a StyleGAN; upsampling kernels are fused from `fused_from` pixels."""
    found: dict[str, torch.Tensor] = {
        "lod": torch.zeros(()),
        "synthesis/lod": torch.zeros(()),
        "dlatent_avg": state["mapping.w_avg"],
    }
    for name, value in state.items():
        part = name.split(".")
        if name == "mapping.label_weight":
            found["mapping/LabelConcat/weight"] = value
        elif part[0] == "mapping" and part[1].startswith("fc"):
            found[f"mapping/Dense{part[1][2:]}/{part[2]}"] = value.t() if part[2] == "weight" else value
        elif part[1] == "torgb":
            found[f"synthesis/ToRGB_lod0/{part[2]}"] = to_hwio(value) if part[2] == "weight" else value
        elif part[0] == "synthesis":
            index = int(part[1].removeprefix("layer"))
            side = 4 * 2 ** (index // 2)
            theirs = ("Const", "Conv")[index] if index < 2 else ("Conv0_up", "Conv1")[index % 2]
            prefix, inner = f"synthesis/{side}x{side}/{theirs}", ".".join(part[2:])
            if inner == "const":
                found[f"{prefix}/const"] = value[None]
            elif inner == "weight":
                fused = theirs == "Conv0_up" and side >= fused_from
                found[f"{prefix}/weight"] = to_hwio(value.flip(2, 3) if fused else value)
            elif inner == "noise_weight":
                found[f"{prefix}/Noise/weight"] = value
            elif inner == "noise_const":
                found[f"synthesis/noise{index}"] = value[None, None]
            elif inner == "style.weight":
                found[f"{prefix}/StyleMod/weight"] = value.t()
            elif inner == "style.bias":
                found[f"{prefix}/StyleMod/bias"] = value
            else:
                found[f"{prefix}/{inner}"] = value
    return found


def pggan_variables(state: dict[str, torch.Tensor], fused: bool = False) -> dict[str, torch.Tensor]:
    """TensorFlow's variables of a PGGAN."""
    found: dict[str, torch.Tensor] = {"lod": torch.zeros(())}
    for name, value in state.items():
        place, inner = name.split(".")
        if place == "torgb":
            found[f"ToRGB_lod0/{inner}"] = to_hwio(value) if inner == "weight" else value
            continue
        index = int(place.removeprefix("layer"))
        side = 4 * 2 ** (index // 2)
        up = "Conv0_up" if fused else "Conv0"
        theirs = ("Dense", "Conv")[index] if index < 2 else (up, "Conv1")[index % 2]
        if inner == "weight" and theirs == "Dense":
            value = value.permute(1, 0, 2, 3).reshape(value.shape[1], -1)
        elif inner == "weight" and theirs == "Conv0_up":
            value = value.flip(2, 3).permute(2, 3, 0, 1)
        elif inner == "weight":
            value = to_hwio(value)
        found[f"{side}x{side}/{theirs}/{inner}"] = value
    found["ToRGB_lod1/weight"] = torch.zeros(1, 1, 4, 3)
    return found


def tf_network(
    variables: dict[str, torch.Tensor], settings: dict[str, Any], cls: str, multiarray: str = "numpy.core.multiarray"
) -> Call:
    """A pickled Network, with variables under mapping/ and synthesis/ in components."""
    own = {name: value for name, value in variables.items() if not name.startswith(("mapping/", "synthesis/"))}
    parts = {}
    for part in ("mapping", "synthesis"):
        inner = {k.removeprefix(f"{part}/"): v for k, v in variables.items() if k.startswith(f"{part}/")}
        if inner:
            parts[part] = tf_network(inner, settings, cls, multiarray)
    state = {
        "version": 4,
        "name": "Gs",
        "static_kwargs": settings,
        "components": Call("dnnlib.util", "EasyDict", items=parts, new=True),
        "build_module_src": "raise SystemExit('build_module_src was executed')",
        "build_func_name": "G_main",
        "variables": [(name, _value(value, multiarray)) for name, value in own.items()],
    }
    module, name = cls.rsplit(".", 1)
    return Call(module, name, new=True, state=state)


def _value(value: torch.Tensor, multiarray: str) -> Call:
    values = np.asarray(value.detach().numpy())
    if values.ndim == 0:
        return number(np.float32(values), multiarray.replace("numeric", "multiarray"))
    return buffer(values, multiarray) if multiarray.endswith("numeric") else array(values, multiarray)


def write_nvidia_tf(
    path: Path,
    variables: dict[str, torch.Tensor],
    *,
    settings: dict[str, Any] | None = None,
    cls: str = "dnnlib.tflib.network.Network",
    protocol: int = 4,
    multiarray: str = "numpy.core.multiarray",
) -> None:
    """Write the tuple (G, D, Gs), of which only Gs is a real generator."""
    small = tf_network({"lod": torch.zeros(())}, {}, cls, multiarray)
    path.write_bytes(dumps((small, small, tf_network(variables, settings or {}, cls, multiarray)), protocol))
