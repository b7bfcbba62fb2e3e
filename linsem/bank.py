"""A bank: seeds of a generator with the labels that an extractor reads in them, made once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from linsem.extractor import Extractor, check_fits
from linsem.generator import Generator, batches, fitting, seed_z

BANK_SIZE = 64  # label maps in a bank are kept at most this high: enough to rank, small enough to scan


@dataclass(frozen=True)
class Bank:
    """Seeds with their labels, (N, h, w) uint8, for one generator, extractor and psi."""

    seeds: tuple[int, ...]
    labels: np.ndarray
    psi: float


def make_bank(
    generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0, batch: int = 8
) -> Bank:
    """Generate and label the seeds: the last step of `iter_bank`."""
    *_, last = iter_bank(generator, extractor, seeds, psi=psi, batch=batch)
    return last


def iter_bank(
    generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0, batch: int = 8
) -> Iterator[Bank]:
    """Yield the bank as it grows, batch by batch. Only the layers that the extractor reads are run."""
    check_fits(extractor, generator)
    height, width = generator.size
    scale = min(1.0, BANK_SIZE / height)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rows: list[np.ndarray] = []
    for part in batches(len(seeds), fitting(generator, batch, extractor.last_layer)):
        with torch.no_grad():
            ws = generator.map(seed_z(generator, seeds[part]), psi)
            _, features = generator.synthesize(ws, image=False, last_layer=extractor.last_layer)
            rows.append(extractor.predict(features, size))
        yield Bank(tuple(seeds[: part.stop]), np.concatenate(rows), psi)


def cached_bank(
    folder: Path, generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0
) -> Bank:
    """`make_bank`, kept on disk under a name that depends on everything that it depends on."""
    path = folder / f"bank-{bank_key(generator, extractor, seeds, psi)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return Bank(tuple(int(s) for s in file["seeds"]), file["labels"], float(file["psi"]))
    bank = make_bank(generator, extractor, seeds, psi=psi)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part.npz")
    np.savez_compressed(partial, seeds=np.array(bank.seeds), labels=bank.labels, psi=psi)
    partial.replace(path)
    return bank


def bank_key(generator: Generator, extractor: Extractor, seeds: Sequence[int], psi: float) -> str:
    """A digest of the generator's id, the extractor's weights, the seeds and psi."""
    digest = hashlib.sha256(json.dumps([generator.id, list(map(int, seeds)), psi, extractor.layers]).encode())
    for name in sorted(extractor.weights):
        digest.update(extractor.weights[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:24]
