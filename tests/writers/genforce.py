"""Writes states of `linsem` in the three genforce dialects: "genforce", "higan" and "interfacegan"."""

from __future__ import annotations

import torch

DIALECTS = ("genforce", "higan", "interfacegan")


def _hwio(weight: torch.Tensor) -> torch.Tensor:
    return weight.permute(2, 3, 1, 0)


def _dense(dialect: str) -> str:
    return {"genforce": "", "higan": ".fc", "interfacegan": ".linear"}[dialect]


def stylegan2_state(state: dict[str, torch.Tensor], dialect: str) -> dict[str, torch.Tensor]:
    """A StyleGAN2's state dict."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    found = {"synthesis.layer1.filter.kernel": (taps[:, None] * taps / 16)[None, None]}
    if dialect != "genforce":
        found["truncation.truncation"] = torch.ones(1, 4, 1)
    dense, layout = _dense(dialect), (lambda w: w) if dialect == "genforce" else _hwio
    for name, value in state.items():
        part = name.split(".")
        if name == "mapping.w_avg":
            found["truncation.w_avg"] = value
        elif part[0] == "mapping":
            found[f"mapping.dense{part[1][2:]}{dense if part[2] == 'weight' else ''}.{part[2]}"] = value
        elif part[2] == "const":
            found["synthesis.early_layer.const"] = value[None]
        else:
            block = (int(part[1][1:]) // 4).bit_length() - 1
            index = 0 if block == 0 else 2 * block - (1 if part[2] == "conv0" else 0)
            prefix = f"synthesis.output{block}" if part[2] == "torgb" else f"synthesis.layer{index}"
            inner = ".".join(part[3:])
            if inner == "weight":
                found[f"{prefix}.weight"] = layout(value.flip(2, 3) if part[2] == "conv0" else value)
            elif inner == "affine.weight":
                found[f"{prefix}.style{dense}.weight"] = value
            elif inner == "affine.bias":
                found[f"{prefix}.style.bias"] = value - 1
            elif inner == "noise_const":
                found[f"{prefix}.noise"] = value[None, None]
            else:
                found[f"{prefix}.{inner}"] = value
    return found


def stylegan_state(state: dict[str, torch.Tensor], dialect: str) -> dict[str, torch.Tensor]:
    """A StyleGAN's state dict."""
    found = {"synthesis.lod": torch.zeros(()), "synthesis.layer2.blur.kernel": torch.ones(4, 1, 3, 3)}
    last = max(int(name.split(".")[1][5:]) for name in state if name.startswith("synthesis.layer")) // 2
    plain, dense = dialect == "genforce", _dense(dialect)
    for name, value in state.items():
        part = name.split(".")
        inner = ".".join(part[2:])
        if name == "mapping.w_avg":
            found["truncation.w_avg"] = value
        elif part[0] == "mapping":
            bias = "bias" if plain else "wscale.bias"
            found[f"mapping.dense{part[1][2:]}" + (f"{dense}.weight" if inner == "weight" else f".{bias}")] = value
        elif part[1] == "torgb":
            conv = ".conv" if inner == "weight" and not plain else ""
            found[f"synthesis.output{last}{conv}.{inner}"] = value
        elif inner == "const":
            found["synthesis.layer0." + ("first_layer" if dialect == "interfacegan" else "const")] = value[None]
        elif inner == "weight":
            index = int(part[1][5:])
            fused = index % 2 == 0 and 4 * 2 ** (index // 2) >= 128
            kernel = value.flip(2, 3) if fused else value
            found[f"synthesis.layer{index}" + (".weight" if plain or fused else ".conv.weight")] = (
                _hwio(kernel) if fused and not plain else kernel
            )
        else:
            names = {
                "bias": "bias",
                "noise_weight": "apply_noise.weight",
                "noise_const": "apply_noise.noise",
                "style.weight": "style.weight" if plain else f"style_mod.dense{dense}.weight",
                "style.bias": "style.bias" if plain else "style_mod.dense.wscale.bias",
            }
            epilogue = "" if plain else "epilogue."
            tensor = value[None, None] if inner == "noise_const" else value
            found[f"synthesis.{part[1]}.{epilogue}{names[inner]}"] = tensor
    found["synthesis.output0." + ("weight" if plain else "conv.weight")] = torch.zeros(3, 4, 1, 1)
    return found


def pggan_state(state: dict[str, torch.Tensor], dialect: str, fused: bool = False) -> dict[str, torch.Tensor]:
    """A PGGAN's state dict."""
    found = {"lod": torch.zeros(())}
    last = max(int(name.split(".")[0][5:]) for name in state if name.startswith("layer")) // 2
    plain = dialect == "genforce"
    for name, value in state.items():
        place, inner = name.split(".")
        place = f"output{last}" if place == "torgb" else place
        up = place.startswith("layer") and place != "layer0" and int(place[5:]) % 2 == 0
        if inner == "bias":
            found[f"{place}.bias" if plain else f"{place}.wscale.bias"] = value
            continue
        if place == "layer0":
            value = value.flip(2, 3)
        if fused and up:
            value = value.flip(2, 3)
            found[f"{place}.weight"] = value.permute(1, 0, 2, 3) if plain else _hwio(value)
        else:
            found[f"{place}.weight" if plain else f"{place}.conv.weight"] = value
    found["output0." + ("bias" if plain else "wscale.bias")] = torch.zeros(3)
    return found
