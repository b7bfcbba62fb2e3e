"""Converts a StyleGAN2 state of `linsem` to rosinality's state dict."""

from __future__ import annotations

import torch


def rosinality_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict g_ema, which does not include the mean w."""
    found: dict[str, torch.Tensor] = {}
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = taps[:, None] * taps / 16
    for name, value in state.items():
        part = name.split(".")
        if part[0] == "mapping" and part[1].startswith("fc"):
            found[f"style.{int(part[1][2:]) + 1}.{part[2]}"] = value
        elif part[0] == "synthesis" and part[2] == "const":
            found["input.input"] = value[None]
        elif part[0] == "synthesis":
            _layer(found, part, value, kernel)
    return found


def _layer(found: dict[str, torch.Tensor], part: list[str], value: torch.Tensor, kernel: torch.Tensor) -> None:
    block = (int(part[1][1:]) // 4).bit_length() - 1
    inner = ".".join(part[3:])
    if part[2] == "torgb":
        prefix = "to_rgb1" if block == 0 else f"to_rgbs.{block - 1}"
        if block > 0:
            found[f"{prefix}.upsample.kernel"] = kernel
        names = {"bias": ("bias", value.reshape(1, 3, 1, 1) if inner == "bias" else value)}
    else:
        index = 0 if block == 0 else 2 * block - (1 if part[2] == "conv0" else 0)
        prefix = "conv1" if index == 0 else f"convs.{index - 1}"
        if part[2] == "conv0":
            found[f"{prefix}.conv.blur.kernel"] = kernel
        if inner == "noise_const":
            found[f"noises.noise_{index}"] = value[None, None]
            return
        names = {"bias": ("activate.bias", value), "noise_strength": ("noise.weight", value.reshape(-1))}
    names |= {
        "weight": ("conv.weight", value[None]),
        "affine.weight": ("conv.modulation.weight", value),
        "affine.bias": ("conv.modulation.bias", value),
    }
    theirs, tensor = names[inner]
    found[f"{prefix}.{theirs}"] = tensor
