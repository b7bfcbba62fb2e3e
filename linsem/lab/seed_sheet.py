"""The first 64 seeds of a generator, uncurated, in a grid of eight by eight.

python -m linsem.lab.seed_sheet avatars-128 --out assets/evidence [--psi 0.7 1.0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from linsem import pixels
from linsem.generator import Generator, batches, seed_z
from linsem.lab import sheets
from linsem.zoo import load_generator

SIDE = 8


@torch.no_grad()
def seed_sheet(generator: Generator, psi: float, path: Path) -> None:
    """Write the sheet of seeds 0 to 63."""
    rgb = []
    for rows in batches(SIDE * SIDE, SIDE):
        ws = generator.map(seed_z(generator, range(rows.start, rows.stop)), psi=psi)
        rgb.append(pixels.to_rgb(generator.synthesize(ws)[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheets.save(sheets.grid(rgb), path)


def main() -> None:
    """Run from the command line; writes one file for each psi, `MODEL-psi-PSI.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--psi", type=float, nargs="+", default=[0.7, 1.0])
    args = parser.parse_args()
    generator = load_generator(args.model)
    for psi in args.psi:
        path = args.out / f"{args.model}-psi-{psi:g}.png"
        seed_sheet(generator, psi, path)
        print(path)


if __name__ == "__main__":
    main()
