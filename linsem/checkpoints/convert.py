"""`python -m linsem convert IN OUT.safetensors`: describes any known checkpoint and converts it to safetensors."""

from __future__ import annotations

from pathlib import Path

import torch

from linsem.checkpoints import read_checkpoint
from linsem.checkpoints.build import build_network
from linsem.checkpoints.checkpoint import Checkpoint, config_to_dict
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.own import write_safetensors


def describe(path: str | Path) -> str:
    """Describe a checkpoint in readable lines; raises `CheckpointError` if it is not one or is inconsistent."""
    return _describe(read_checkpoint(path))


def convert(path: str | Path, out: str | Path, *, half: bool = False) -> str:
    """Write the checkpoint at `path` to `out` in the format of `own`; returns a description of it and of the output.

    `half` stores float16, which halves the size for a relative error of about a thousandth in the weights. Raises
    `CheckpointError` if `path` cannot be read, or if `out` does not end in .safetensors or cannot be written.
    """
    return convert_and_report(path, out, half=half)[0]


def convert_and_report(path: str | Path, out: str | Path, *, half: bool = False) -> tuple[str, dict[str, object]]:
    """Like `convert`, but also returns the facts as a dict: family, from, size, out, notes."""
    out = Path(out)
    if out.suffix != ".safetensors":
        raise CheckpointError(f"{out.name}: expected a name that ends in .safetensors")
    if out.exists() and Path(path).exists() and out.samefile(path):
        raise CheckpointError(f"{out}: expected another file than the one that is read")
    checkpoint = read_checkpoint(path)
    text = _describe(checkpoint)
    try:
        write_safetensors(
            out, checkpoint.family, checkpoint.config, checkpoint.state, dict(checkpoint.metadata), half=half
        )
        size = out.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written ({error.strerror or error})") from error
    report = {
        "family": checkpoint.family, "from": checkpoint.source_format, "size": list(checkpoint.config.size),
        "out": str(out), "notes": list(checkpoint.notes),
    }  # fmt: skip
    return f"{text}\nwritten: {out} ({size / 1e6:.1f} MB{', float16' if half else ''})", report


def _describe(checkpoint: Checkpoint) -> str:
    network = build_network(checkpoint)
    config = config_to_dict(checkpoint.config)
    parameters = sum(value.numel() for value in checkpoint.state.values())
    height, width = network.size
    layers = ", ".join(f"{layer.channels}x{layer.height}x{layer.width}" for layer in network.layers)
    lines = [
        f"format: {checkpoint.source_format}",
        f"family: {checkpoint.family}",
        f"image: {height} x {width} (height x width)",
        f"numbers: {parameters:,}",
        *(f"{name}: {value}" for name, value in config.items()),
        f"ws: {network.num_ws} x {network.w_dim}",
        f"features: {layers}",
        *(f"{name}: {value}" for name, value in checkpoint.metadata.items()),
        *(f"note: {note}" for note in checkpoint.notes),
    ]
    if "mapping.w_avg" in checkpoint.state:
        lines.append(f"mean w: length {float(torch.linalg.vector_norm(checkpoint.state['mapping.w_avg'])):.3g}")
    return "\n".join(lines)
