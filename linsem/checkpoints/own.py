"""The native checkpoint format: one safetensors file whose metadata states the family and the configuration.

Metadata keys: `format` = "linsem-generator", `version` = "1", `family`, `config` (JSON), and optionally `id`,
`categories` (JSON list of {name, color}) and `licence`. Tensors may be stored as float16, and are read as float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save_file

from linsem.checkpoints.arrays import MAX_ELEMENTS
from linsem.checkpoints.build import check_shapes, on_meta
from linsem.checkpoints.checkpoint import CONFIGS, Checkpoint, Config, config_from_dict, config_to_dict
from linsem.checkpoints.errors import CheckpointError
from linsem.headers import check_header
from linsem.whole import whole

FORMAT = "linsem-generator"
VERSION = "1"
OPTIONAL_KEYS = ("id", "categories", "licence")
MAX_CONFIG = 8 << 10  # characters
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write_safetensors(
    path: str | Path,
    family: str,
    config: Config,
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    half: bool = False,
    exact: tuple[str, ...] = (),
) -> None:
    """Write a generator to `path` atomically; `half` stores float16, except tensors whose names start as in `exact`.

    `metadata` may hold `id`, `categories` (JSON) and `licence`. Raises `CheckpointError` for any other key,
    for a configuration of another family, and with `half` for values that float16 cannot hold.
    """
    if CONFIGS.get(family) is not type(config):
        raise CheckpointError(f"family {family!r} does not go with a {type(config).__name__}")
    unknown = sorted(set(metadata or {}) - set(OPTIONAL_KEYS))
    if unknown:
        raise CheckpointError(f"metadata: expected {', '.join(OPTIONAL_KEYS)}, got {', '.join(unknown)}")
    tensors = {name: _stored(name, value, half and not name.startswith(exact)) for name, value in state.items()}
    header = {"format": FORMAT, "version": VERSION, "family": family, "config": json.dumps(config_to_dict(config))}
    header.update(metadata or {})
    with whole(path) as partial:
        save_file(tensors, str(partial), metadata=header)


def _stored(name: str, value: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = value.detach().cpu().to(torch.float16 if half else torch.float32).contiguous()
    if half and value.isfinite().all() and not tensor.isfinite().all():
        raise CheckpointError(f"{name}: holds values beyond float16, up to {float(value.abs().max()):.3g}")
    return tensor.clone()


def looks_own(data: memoryview) -> bool:
    """Whether the bytes start like a safetensors file: a header length, then an opening brace."""
    return len(data) > 9 and bytes(data[8:9]) == b"{" and int.from_bytes(data[:8], "little") <= len(data)


def read_own(data: memoryview) -> Checkpoint:
    """Read a checkpoint from the bytes of a safetensors file; raises `CheckpointError`."""
    header = _header(data)
    metadata = _metadata(header)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"a safetensors file, but not a generator of ours: expected format {FORMAT!r} in its metadata, "
            f"got {str(metadata.get('format'))[:80]!r}"
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(f"expected version {VERSION!r} of our format, got {str(metadata.get('version'))[:80]!r}")
    text = metadata.get("config", "")
    if len(text) > MAX_CONFIG:
        raise CheckpointError(f"config in the metadata: expected at most {MAX_CONFIG} characters, got {len(text)}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"config in the metadata is not JSON: {error}") from error
    family = metadata.get("family", "")
    config = config_from_dict(family, values)
    check_shapes(_shapes(header), on_meta(family, config).state_dict())  # before any data is read
    try:
        tensors = safetensors_load(bytes(data))
    except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError, TypeError, AttributeError) as error:
        raise CheckpointError(f"not a readable safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{name}: expected floating-point values, got {tensor.dtype}")
    state = {name: tensor.float() for name, tensor in tensors.items()}
    extra = {key: metadata[key] for key in OPTIONAL_KEYS if key in metadata}
    return Checkpoint(family, config, state, "linsem safetensors", metadata=extra)


def _header(data: memoryview) -> dict[str, Any]:
    """The JSON header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise CheckpointError(f"truncated safetensors file: its header has {length} bytes, the file {len(data)}")
    check_header(data, "the header of the safetensors file", CheckpointError)
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of the safetensors file is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError("the header of the safetensors file is not a table")
    return header


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("the metadata of the safetensors file is not a table of texts")
    return metadata


def _shapes(header: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors according to the header; raises for more than `MAX_ELEMENTS` numbers in total."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or len(shape) > 8 or not all(type(side) is int and side >= 0 for side in shape):
            raise CheckpointError(f"{name[:120]}: damaged description of a tensor")
        shapes[name] = tuple(shape)
    total = sum(math.prod(shape) for shape in shapes.values())
    if total > MAX_ELEMENTS:
        raise CheckpointError(f"expected at most {MAX_ELEMENTS} numbers, got {total}")
    return shapes
