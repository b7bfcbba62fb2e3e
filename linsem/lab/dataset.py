"""Rendered drawings on disk: arrays made once, in parallel, outside the repository.

python -m linsem.lab.dataset CACHE --count 36000 --size 128 [--labels]
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from linsem.lab import drawings

_CHUNK = 250
RECIPE = 3  # version of the drawings; changing it invalidates the arrays on disk


def cached(folder: Path, first: int, count: int, size: int, *, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Drawings of seeds first..first+count-1: rgb (count, size, size, 3), and label maps (count, size, size) or None.

    Rendered with all cores on the first call; memory-mapped afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"drawings{RECIPE}-{first}-{count}-{size}"
    paths = [stem.with_suffix(".rgb.npy")] + ([stem.with_suffix(".labels.npy")] if labels else [])
    if not all(path.exists() for path in paths):
        _render_all(paths, first, count, size, labels=labels)
    arrays = [np.load(path, mmap_mode="r") for path in paths]
    return arrays[0], arrays[1] if labels else None


def codes(first: int, count: int) -> np.ndarray:
    """The codes of seeds first..first+count-1, (count, CODE_DIM) float32."""
    return np.stack([drawings.code_of(seed) for seed in range(first, first + count)])


def _render_all(paths: list[Path], first: int, count: int, size: int, *, labels: bool) -> None:
    shapes = [(count, size, size, 3), (count, size, size)]
    partial = [path.with_suffix(".part") for path in paths]
    arrays = [np.lib.format.open_memmap(p, "w+", np.uint8, s) for p, s in zip(partial, shapes, strict=False)]
    jobs = [(first + i, min(_CHUNK, count - i), size, labels) for i in range(0, count, _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for (start, length, *_), chunk in zip(jobs, pool.map(_render_chunk, jobs), strict=True):
            for array, part in zip(arrays, chunk, strict=False):
                array[start - first : start - first + length] = part
    for array in arrays:
        array.flush()
    for source, target in zip(partial, paths, strict=True):
        os.replace(source, target)


def _render_chunk(job: tuple[int, int, int, bool]) -> tuple[np.ndarray, ...]:
    start, length, size, labels = job
    pairs = [drawings.render_seed(seed, size, labels=labels) for seed in range(start, start + length)]
    rgb = np.stack([rgb for rgb, _ in pairs])
    return (rgb, np.stack([label for _, label in pairs])) if labels else (rgb,)


def main() -> None:
    """Fill the cache from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=36000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--labels", action="store_true")
    args = parser.parse_args()
    rgb, _ = cached(args.cache, args.first, args.count, args.size, labels=args.labels)
    print(f"{len(rgb)} drawings of {args.size} px in {args.cache}")


if __name__ == "__main__":
    main()
