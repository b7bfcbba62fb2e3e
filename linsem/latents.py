"""Files of latents: a safetensors file with the ws and the id of their generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from linsem.arguments import shortened, shown
from linsem.errors import InputError
from linsem.headers import check_header
from linsem.whole import whole

FORMAT, VERSION = "linsem-latents", "1"
_MAX_BYTES = 64 << 20


class LatentsError(InputError):
    """A file that holds no latents, or those of another generator."""


def save_latents(path: str | Path, ws: np.ndarray, generator_id: str, seeds: Sequence[int] = ()) -> None:
    """Write ws (N, num_ws, w_dim) float32; `seeds`, if any, are those they started from, one each."""
    if len(seeds) not in (0, len(ws)):
        raise LatentsError(f"latent: expected no seeds or {len(ws)}, got {len(seeds)}")
    metadata = {
        "format": FORMAT, "version": VERSION, "generator": generator_id, "seeds": json.dumps([int(s) for s in seeds]),
    }  # fmt: skip
    with whole(path) as partial:
        save_file({"ws": np.ascontiguousarray(ws, dtype=np.float32)}, str(partial), metadata)
        check_header(partial, "latent: the header of the file", LatentsError)


def load_latent(path: str | Path, generator_id: str, seed: int | None = None) -> np.ndarray:
    """The ws (num_ws, w_dim) of the latent in a file that started from `seed`; by default of the first, the best.

    An edit's file holds a single one, of no seed. Raises `LatentsError`.
    """
    ws, seeds = _read(path, generator_id)
    if seed is not None and seeds and seed not in seeds:
        listed = shortened(", ".join(map(str, seeds)))
        raise LatentsError(f"latent: expected a seed among those in it ({listed}), got {seed}")
    return ws[seeds.index(seed) if seed in seeds else 0]


def load_latents(path: str | Path, generator_id: str) -> np.ndarray:
    """Read ws (N, num_ws, w_dim) float32 of this generator; raises `LatentsError`."""
    return _read(path, generator_id)[0]


def _read(path: str | Path, generator_id: str) -> tuple[np.ndarray, list[int]]:
    """The ws in a file, and their seeds if it names them."""
    path = Path(path)
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise LatentsError(f"latent: expected a file, got {shown(str(path))}") from error
    if size > _MAX_BYTES:
        raise LatentsError(f"latent: expected a file of at most {_MAX_BYTES >> 20} MB, got {size} bytes")
    try:
        check_header(path, "latent: the header of the file", LatentsError)
        with safe_open(str(path), "np") as file:
            metadata = file.metadata() or {}
            ws = file.get_tensor("ws") if metadata.get("format") == FORMAT else None
    except LatentsError:
        raise
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # unknown dtype
        raise LatentsError("latent: expected a file that an edit or a sampling gave, got another one") from error
    if ws is None or metadata.get("version") != VERSION:
        raise LatentsError("latent: expected a file that an edit or a sampling gave, got another safetensors file")
    if metadata.get("generator") != generator_id:
        made = shown(metadata.get("generator"))
        raise LatentsError(f"latent: made with {made}, but the model here is {generator_id!r}")
    if ws.ndim != 3 or ws.dtype != np.float32 or len(ws) == 0 or not np.isfinite(ws).all():
        raise LatentsError(f"latent: expected finite float32 (N, num_ws, w_dim), got {ws.dtype} {ws.shape}")
    return ws, _seeds(metadata.get("seeds", "[]"), len(ws))


def _seeds(text: str, count: int) -> list[int]:
    """The seeds in the metadata: one for each of the ws, or none."""
    try:
        seeds = json.loads(text)
    except (ValueError, RecursionError):
        seeds = None
    if not isinstance(seeds, list) or len(seeds) not in (0, count) or not all(type(seed) is int for seed in seeds):
        raise LatentsError(f"latent: expected no seeds or {count} whole numbers, got {shortened(text)}")
    return seeds
