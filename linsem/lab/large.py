"""Run a large network through all steps of the library, and report time and peak memory of each.

    python -m linsem.lab.large CHECKPOINT [--steps 2] [--candidates 3] [--count 2] [--json]

CHECKPOINT is any file that `load_generator` reads, such as a StyleGAN2 of 1024 px in NVIDIA's pickle. It is loaded, an
extractor is fitted to two images, a third is segmented and edited, and a layout is sampled. Each line gives the seconds
of a step and the peak of the process's memory so far, in MB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from linsem.conditional import sample
from linsem.edit import edit
from linsem.examples import Annotation
from linsem.fewshot import fit_few_shot
from linsem.generator import Generator, seed_z
from linsem.palette import parse_categories
from linsem.zoo import load_generator

PARTS = 4  # categories of the labels, which are bands of brightness


def run(checkpoint: str | Path, *, steps: int = 2, candidates: int = 3, count: int = 2) -> dict[str, dict[str, float]]:
    """Seconds of each step, by name, and the peak so far in MB; printed as they are measured."""
    found: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        clock = time.perf_counter()
        yield
        found[name] = {"seconds": round(time.perf_counter() - clock, 2), "peak_mb": round(peak_mb())}
        print(f"{name}: {found[name]['seconds']} s, at most {found[name]['peak_mb']} MB", flush=True)

    with step("load"):
        generator = load_generator(checkpoint)
    ws = generator.map(seed_z(generator, [0, 1, 2]), 0.7)
    with step("draw"):
        labels = [bands(generator, each) for each in ws]
    categories = parse_categories([f"band {k}" for k in range(PARTS)])
    with step("fit"):
        extractor = fit_few_shot(generator, [Annotation(ws[i], labels[i]) for i in (0, 1)], categories)
    with step("segment"), torch.no_grad():
        read = extractor.predict(generator.synthesize(ws[2:])[1])[0]
    height, width = generator.size
    target = np.full((height, width), 255, np.uint8)
    spot = np.s_[height // 4 : height // 2, width // 4 : width // 2]
    target[spot] = (np.bincount(read[spot].ravel(), minlength=PARTS).argmax() + 1) % PARTS
    with step("edit"):
        edited = edit(generator, extractor, ws[2], target, steps=steps)
    with step("sample"):
        results = sample(generator, extractor, labels[0], count, candidates=candidates, steps=steps)
    if not (torch.isfinite(edited.image).all() and len(results) == count):
        raise RuntimeError("the edit or the samples are not what was asked for")
    return found


@torch.no_grad()
def bands(generator: Generator, ws: torch.Tensor) -> np.ndarray:
    """Labels (H, W) derived from the image: its brightness in bands of equal area."""
    bright = generator.synthesize(ws[None])[0][0].mean(0).cpu().numpy()
    return np.digitize(bright, np.quantile(bright, np.arange(1, PARTS) / PARTS)).astype(np.uint8)


def peak_mb() -> float:
    """The peak memory of this process."""
    import resource  # not available on every system

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main(arguments: list[str] | None = None) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    args = parser.parse_args(arguments)
    found = run(args.checkpoint, steps=args.steps, candidates=args.candidates, count=args.count)
    if args.json:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
