"""Features at single pixels: what upsampling would hold there, without upsampling anything."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from linsem.basis import Basis
from linsem.forks import ForkLock

BASES = 8  # kept, up to three megabytes each
SMALL = 256  # positions of a map: up to here a product of matrices is faster than to fetch rows


def gather(
    features: Sequence[torch.Tensor], layers: Sequence[int], pixels: np.ndarray, size: tuple[int, int]
) -> torch.Tensor:
    """What upsampling to `size` would hold at the given flat pixel indices: (n, sum of channels) float32.

    Bilinear with aligned corners, as the extractor's own upsampling; features are (1, C, h, w).
    """
    total = sum(features[i].shape[1] for i in layers)
    x = torch.empty(len(pixels), total, device=features[0].device)
    rows, columns = np.divmod(np.asarray(pixels), size[1])
    start = 0
    grids: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
    for i in layers:
        shape = tuple(features[i].shape[-2:])
        if shape not in grids:
            grids[shape] = _corners(rows, columns, size, shape, x.device)
        flat = features[i][0].detach().flatten(1).t()  # (h w, C)
        stop = start + flat.shape[1]
        _blend(flat, *grids[shape], out=x[:, start:stop])
        start = stop
    return x


class Gathered:
    """`gather`, remembered for the images of one generator seen last: of several images a stroke changes but one.

    And the coordinates of the few sets of images seen last, which are small and do not count.
    """

    def __init__(self, bytes_limit: int = 64 << 20) -> None:
        self.bytes_limit = bytes_limit
        self._rows: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._bytes = 0
        self._bases: OrderedDict[bytes, Basis] = OrderedDict()
        self._lock = ForkLock()

    def basis(self, ws: Sequence[torch.Tensor], said: object, make: Callable[[], Basis]) -> Basis:
        """What `make` made of the images of ws; `said` is whatever else it follows from."""
        digest = hashlib.sha256(repr(said).encode())
        for each in ws:
            digest.update(each.detach().cpu().numpy().tobytes())
        key = digest.digest()
        with self._lock:
            if key in self._bases:
                self._bases.move_to_end(key)
                return self._bases[key]
        made = make()
        with self._lock:
            self._bases[key] = made
            while len(self._bases) > BASES:
                self._bases.popitem(last=False)
        return made

    def __call__(
        self,
        ws: torch.Tensor,
        features: Sequence[torch.Tensor],
        layers: Sequence[int],
        pixels: np.ndarray,
        size: tuple[int, int],
    ) -> torch.Tensor:
        """The rows of the features of ws; not to be written to."""
        said = repr((tuple(layers), tuple(size))).encode() + np.asarray(pixels, np.int64).tobytes()
        key = hashlib.sha256(ws.detach().cpu().numpy().tobytes() + said).digest()
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
        rows = gather(features, layers, pixels, size)
        with self._lock:
            self._keep(key, rows)
        return rows

    def _keep(self, key: bytes, rows: torch.Tensor) -> None:
        size = rows.numel() * rows.element_size()
        if key in self._rows or size > self.bytes_limit:
            return
        self._rows[key] = rows
        self._bytes += size
        while self._bytes > self.bytes_limit:
            oldest = self._rows.popitem(last=False)[1]
            self._bytes -= oldest.numel() * oldest.element_size()


def _blend(flat: torch.Tensor, index: torch.Tensor, share: torch.Tensor, out: torch.Tensor) -> None:
    """Rows of flat (h w, C) at index (4, n), weighted by share (4, n) and summed, to out (n, C)."""
    if len(flat) <= SMALL:
        weights = out.new_zeros(len(out), len(flat)).scatter_add_(1, index.t(), share.t())
        torch.mm(weights, flat.float(), out=out)
        return
    torch.mul(flat[index[0]], share[0][:, None], out=out)
    for corner in range(1, 4):
        out.addcmul_(flat[index[corner]].float(), share[corner][:, None])


def _corners(
    rows: np.ndarray, columns: np.ndarray, size: tuple[int, int], shape: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The four map positions around each pixel and their shares: (4, n) int64 and (4, n) float32."""
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
    """`count` different flat pixel indices of a (H, W) image, at random but the same for the same seed."""
    total = size[0] * size[1]
    return np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
