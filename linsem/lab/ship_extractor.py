"""Train the extractor that ships with a generator: an LSE, fully supervised by the teacher.

python -m linsem.lab.ship_extractor avatars-128 --images 10000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from linsem.extractor import save_extractor
from linsem.supervised import iter_supervised
from linsem.teacher import load_teacher
from linsem.zoo import assets, load_generator


def main() -> None:
    """Run from the command line; images are not truncated, to cover everything that users may draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--psi", type=float, default=1.0)
    parser.add_argument("--state", type=Path, help="keep the state of the training here, and go on from it")
    args = parser.parse_args()
    generator, teacher = load_generator(args.model), load_teacher(args.model)
    steps = iter_supervised(
        generator, teacher, recipes=("LSE",), images=args.images, psi=args.psi, state=args.state, report=64
    )
    for step in steps:
        print(f"{step.images} of {args.images} images, loss {step.losses['LSE']:.4f}", flush=True)
    path = assets() / f"{args.model}.extractor.safetensors"
    save_extractor(step.extractors["LSE"], path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
