"""Toy networks with random numbers everywhere, so that zeros or repeated values cannot hide a wrong name mapping."""

from __future__ import annotations

import torch

from linsem.pggan import PGGAN, PGGANConfig
from linsem.stylegan import StyleGAN, StyleGANConfig
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config

STYLEGAN2 = StyleGAN2Config((8, 8, 6), z_dim=12, w_dim=10, mapping_layers=3)
CONDITIONAL = StyleGAN2Config((8, 8, 6), z_dim=12, w_dim=10, mapping_layers=2, c_dim=4, conv_clamp=256.0)
TALL = StyleGAN2Config((8, 8, 6), z_dim=12, w_dim=10, mapping_layers=2, const_size=(4, 2))
STYLEGAN = StyleGANConfig((8, 8, 6), z_dim=12, w_dim=10, mapping_layers=3)
LARGE_STYLEGAN = StyleGANConfig((4, 4, 4, 4, 4, 3), z_dim=6, w_dim=6, mapping_layers=2, c_dim=3)
PGGAN_ = PGGANConfig((8, 8, 6), z_dim=12)

NETWORKS = {StyleGAN2Config: StyleGAN2, StyleGANConfig: StyleGAN, PGGANConfig: PGGAN}


def random_state(config: object, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state for the network of `config`, all normal numbers (a hundred times larger in slow layers)."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in NETWORKS[type(config)](config).state_dict().items()}
    return {
        name: torch.randn(shape, generator=generator) * (100.0 if ".fc" in name and name.endswith("weight") else 1.0)
        for name, shape in shapes.items()
    }


def family_of(config: object) -> str:
    """The family of a configuration."""
    return {StyleGAN2Config: "stylegan2", StyleGANConfig: "stylegan", PGGANConfig: "pggan"}[type(config)]
