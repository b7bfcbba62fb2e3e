"""Features at single pixels, interpolated as by upsampling, without upsampling whole maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

SMALL = 256  # positions of a map up to which a matrix product is faster than fetching rows


def gather(
    features: Sequence[torch.Tensor], layers: Sequence[int], pixels: np.ndarray, size: tuple[int, int]
) -> torch.Tensor:
    """The features that upsampling to `size` would give at flat pixel indices: (n, sum of channels) float32.

    Bilinear with aligned corners, like the extractor's own upsampling; features are (1, C, h, w).
    """
    total = sum(features[i].shape[1] for i in layers)
    x = torch.empty(len(pixels), total, dtype=torch.float32, device=features[0].device)
    rows, columns = np.divmod(np.asarray(pixels), size[1])
    start = 0
    grids: dict[tuple[int, int], tuple[torch.Tensor, ...]] = {}
    for i in layers:
        shape = tuple(features[i].shape[-2:])
        if shape not in grids:
            grids[shape] = _shares(*_corners(rows, columns, size, shape, x.device), shape[0] * shape[1])
        flat = features[i][0].detach().flatten(1).t()  # (h w, C)
        stop = start + flat.shape[1]
        _blend(flat, grids[shape], out=x[:, start:stop])
        start = stop
    return x


def _shares(index: torch.Tensor, share: torch.Tensor, positions: int) -> tuple[torch.Tensor, ...]:
    """The index (4, n) and share (4, n) of n pixels' corners; of a small map, the shares of all positions (n, h w)."""
    if positions > SMALL:
        return index, share
    return (share.new_zeros(share.shape[1], positions).scatter_add_(1, index.t(), share.t()),)


def _blend(flat: torch.Tensor, shares: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
    """Rows of flat (h w, C), weighted by `_shares` and summed, into out (n, C)."""
    if len(shares) == 1:
        torch.mm(shares[0], flat.float(), out=out)
        return
    index, share = shares
    torch.mul(flat.index_select(0, index[0]), share[0][:, None], out=out)
    for corner in range(1, 4):
        out.addcmul_(flat.index_select(0, index[corner]).float(), share[corner][:, None])


def _corners(
    rows: np.ndarray, columns: np.ndarray, size: tuple[int, int], shape: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The four map positions around each pixel and their weights: (4, n) int64 and (4, n) float32."""
    y0, fy = _position(rows, size[0], shape[0])
    x0, fx = _position(columns, size[1], shape[1])
    y1, x1 = np.minimum(y0 + 1, shape[0] - 1), np.minimum(x0 + 1, shape[1] - 1)
    index = np.stack([y0 * shape[1] + x0, y0 * shape[1] + x1, y1 * shape[1] + x0, y1 * shape[1] + x1])
    share = np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]).astype(np.float32)
    return torch.from_numpy(index.astype(np.int64)).to(device), torch.from_numpy(share).to(device)


def _position(at: np.ndarray, count: int, into: int) -> tuple[np.ndarray, np.ndarray]:
    position = at * ((into - 1) / max(count - 1, 1))
    low = np.minimum(position.astype(np.int64), into - 1)
    return low, position - low


def random_pixels(size: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """`count` distinct flat pixel indices of an (H, W) image, random but determined by the seed."""
    total = size[0] * size[1]
    return np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
