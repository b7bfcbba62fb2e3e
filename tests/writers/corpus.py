"""One small file of each format, as bytes: the corpus for fuzzing."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from linsem.checkpoints import write_safetensors
from linsem.pggan import PGGANConfig
from linsem.stylegan import StyleGANConfig
from linsem.stylegan2 import StyleGAN2Config
from tests.writers import genforce, nvidia_tf, nvidia_torch
from tests.writers.nets import random_state
from tests.writers.rosinality import rosinality_state

STYLEGAN2 = StyleGAN2Config((2, 2), z_dim=2, w_dim=2, mapping_layers=1)
LABELLED = StyleGAN2Config((2,), z_dim=2, w_dim=2, mapping_layers=1, c_dim=2, conv_clamp=256.0)
STYLEGAN = StyleGANConfig((2, 2), z_dim=2, w_dim=2, mapping_layers=1)
PGGAN = PGGANConfig((2, 2), z_dim=2)


def corpus() -> dict[str, bytes]:
    """The files by a readable name."""
    style2, labelled = random_state(STYLEGAN2), random_state(LABELLED)
    style, grown = random_state(STYLEGAN), random_state(PGGAN)
    rosinality = {"g_ema": rosinality_state(style2), "latent_avg": style2["mapping.w_avg"]}
    return {
        "own": _written(lambda p: write_safetensors(p, "stylegan2", STYLEGAN2, style2, {"id": "toy"})),
        "own pggan": _written(lambda p: write_safetensors(p, "pggan", PGGAN, grown, half=True)),
        "nvidia torch": _written(lambda p: nvidia_torch.write_nvidia_torch(p, style2)),
        "nvidia torch 2": _written(lambda p: nvidia_torch.write_nvidia_torch(p, labelled, clamp=256.0, protocol=2)),
        "nvidia tf": _written(lambda p: nvidia_tf.write_nvidia_tf(p, nvidia_tf.stylegan2_variables(style2))),
        "nvidia tf stylegan": _written(lambda p: nvidia_tf.write_nvidia_tf(p, nvidia_tf.stylegan_variables(style))),
        "nvidia tf pggan": _written(lambda p: nvidia_tf.write_nvidia_tf(p, nvidia_tf.pggan_variables(grown, True))),
        "rosinality zip": _saved(rosinality, True),
        "rosinality legacy": _saved(rosinality, False),
        "genforce": _saved({"generator_smooth": genforce.stylegan2_state(style2, "genforce")}, True),
        "higan": _saved(genforce.stylegan_state(style, "higan"), False),
        "nvidia tf 5": _written(
            lambda p: nvidia_tf.write_nvidia_tf(
                p, nvidia_tf.stylegan_variables(style), protocol=5, multiarray="numpy._core.numeric"
            )
        ),
        "nvidia saved": _saved_live(style2),
        "lightning": _saved({"state_dict": {f"generator.{k}": v for k, v in style2.items()}, "epoch": (1, 2)}, True),
        "interfacegan": _saved(genforce.pggan_state(grown, "interfacegan"), True),
    }


def _written(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        write(path)
        return path.read_bytes()


def _saved(value: object, as_zip: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=as_zip)
    return stream.getvalue()


def _saved_live(state: dict[str, torch.Tensor]) -> bytes:
    with nvidia_torch.persistence():
        return _saved({"G": nvidia_torch.live_generator(state)}, True)
