"""The `Checkpoint` that every reader returns, and the conversion of configurations to JSON and, checked, back."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field

import torch

from linsem.checkpoints.errors import CheckpointError
from linsem.pggan import TAPS, PGGANConfig
from linsem.stylegan import StyleGANConfig
from linsem.stylegan2 import StyleGAN2Config

Config = StyleGAN2Config | StyleGANConfig | PGGANConfig

CONFIGS: dict[str, type] = {"stylegan2": StyleGAN2Config, "stylegan": StyleGANConfig, "pggan": PGGANConfig}

HINTS = {cls: typing.get_type_hints(cls) for cls in CONFIGS.values()}  # once, since this evaluates the annotations

MAX_BLOCKS = 11  # 4 * 2**10 = 4096 pixels
MAX_SIDE = 4096  # pixels of an image
MAX_WIDTH = 8192  # channels, latent and label dimensions
MAX_MAPPING_LAYERS = 32


@dataclass(frozen=True)
class Checkpoint:
    """A generator as read from a file: inert data, and all that is needed to build the network."""

    family: str
    """A key of `CONFIGS`."""
    config: Config
    state: dict[str, torch.Tensor]
    """float32 tensors under the names of our own networks."""
    source_format: str
    """The dialect it was read from, for people."""
    notes: tuple[str, ...] = ()
    """What the reader had to decide or to leave out, one sentence each."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Of our own format: `id`, `categories` (JSON), `licence`; empty for foreign files."""


def config_to_dict(config: Config) -> dict[str, object]:
    """A configuration as JSON-able values."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def config_from_dict(family: str, values: object) -> Config:
    """The configuration of `family` from JSON values, with each name, type and range checked.

    Raises `CheckpointError`, which names the field, what was expected and what was found.
    """
    if family not in CONFIGS:
        raise CheckpointError(f"family: expected one of {', '.join(sorted(CONFIGS))}, got {family!r}")
    if not isinstance(values, dict):
        raise CheckpointError(f"config: expected a JSON object, got {type(values).__name__}")
    cls = CONFIGS[family]
    hints = HINTS[cls]
    unknown = sorted(str(name) for name in set(values) - set(hints))
    if unknown:
        raise CheckpointError(f"config: unknown fields {', '.join(unknown)} for family {family}")
    try:
        config = cls(**{name: _checked(name, value, hints[name]) for name, value in values.items()})
    except TypeError as error:
        raise CheckpointError(f"config: {error}") from error
    check_config(config)
    return config


def _checked(name: str, value: object, hint: object) -> object:
    """`value` as its annotated type; JSON lists become tuples, and integers are accepted as floats."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            if all(type(item) is int for item in value):
                return tuple(value)
        elif option is float and type(value) in (int, float):
            return float(value)  # type: ignore[arg-type]
        elif isinstance(option, type) and type(value) is option:
            return value
    raise CheckpointError(f"config: {name} should be {hint}, got {str(value)[:80]!r}")


def check_config(config: Config) -> None:
    """Raise for sizes that no network of these families has, before anything is allocated."""
    if not 1 <= len(config.channels) <= MAX_BLOCKS:
        raise CheckpointError(f"config: expected 1 to {MAX_BLOCKS} blocks of channels, got {len(config.channels)}")
    widths = {f"channels[{k}]": value for k, value in enumerate(config.channels)}
    widths["z_dim"] = config.z_dim
    for name in ("w_dim", "mapping_width"):
        if getattr(config, name, None) is not None:
            widths[name] = getattr(config, name)
    for name, value in widths.items():
        if not 1 <= value <= MAX_WIDTH:
            raise CheckpointError(f"config: {name} should be 1 to {MAX_WIDTH}, got {value}")
    if not 0 <= getattr(config, "c_dim", 0) <= MAX_WIDTH:
        raise CheckpointError(f"config: c_dim should be 0 to {MAX_WIDTH}, got {config.c_dim}")
    if not 1 <= getattr(config, "mapping_layers", 8) <= MAX_MAPPING_LAYERS:
        raise CheckpointError(f"config: expected 1 to {MAX_MAPPING_LAYERS} mapping_layers, got {config.mapping_layers}")
    const = getattr(config, "const_size", (4, 4))
    if len(const) != 2 or not all(1 <= side <= 16 for side in const):
        raise CheckpointError(f"config: const_size should be two sides of 1 to 16, got {const}")
    if max(config.size) > MAX_SIDE:
        raise CheckpointError(f"config: expected images of at most {MAX_SIDE} pixels a side, got {config.size}")
    clamp = getattr(config, "conv_clamp", None)
    if clamp is not None and not 0 < clamp < 1e6:
        raise CheckpointError(f"config: conv_clamp should be above 0 and below a million, got {clamp}")
    tap = getattr(config, "tap", TAPS[0])
    if tap not in TAPS:
        raise CheckpointError(f"config: tap should be one of {', '.join(TAPS)}, got {tap!r}")
