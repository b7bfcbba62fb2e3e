"""Export the averaged weights of a training run as a shipped generator.

python -m linsem.lab.ship RUN/state.pt --size 128 --out assets
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from linsem.checkpoints.own import write_safetensors
from linsem.lab import drawings
from linsem.lab.training_run import CONFIG

LICENCE = (
    "Weights: MIT, as this repository. Trained on drawings of Avataaars by Pablo Stanley "
    "(free for personal and commercial use), as remixed by DiceBear."
)


def ship(state_path: Path, size: int, out: Path) -> Path:
    """Write the generator up to `size` pixels to `out`/avatars-`size`.safetensors, in half precision.

    Not the mapping: its ramps are small differences of large numbers, which half precision would move.
    """
    blocks = size.bit_length() - 2
    config = replace(CONFIG, channels=CONFIG.channels[:blocks])
    average = torch.load(state_path, weights_only=True, map_location="cpu")["ema"]
    kept = {f"synthesis.b{r}." for r in config.resolutions} | {"mapping."}
    state = {name: w for name, w in average.items() if any(name.startswith(k) for k in kept)}
    for name in state:
        if name.endswith("noise_const"):  # trained without noise: its strengths are zero
            state[name] = torch.zeros_like(state[name])
    colors = zip(drawings.CATEGORIES, drawings.CATEGORY_COLORS, strict=True)
    metadata = {
        "id": f"avatars-{size}",
        "categories": json.dumps([{"name": name, "color": color} for name, color in colors]),
        "licence": LICENCE,
    }
    path = out / f"avatars-{size}.safetensors"
    write_safetensors(path, "stylegan2", config, state, metadata, half=True, exact=("mapping.",))
    return path


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--out", type=Path, default=Path("assets"))
    args = parser.parse_args()
    path = ship(args.state, args.size, args.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
