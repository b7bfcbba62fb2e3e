"""3x3 convolutions with a quarter of the multiplications, for wide layers on a CPU (Lavin & Gray, 2016, F(4x4, 3x3)).

Tiles of 6 x 6 inputs become tiles of 4 x 4 outputs: 36 matrix products instead of 144. The transforms are products
with small constant matrices, computed in strips that fit in the cache. This costs accuracy: with the points 0, 1, -1,
2, -1/2 and infinity, the float32 error is 3 to 5 millionths of the largest value, 12 to 20 times that of the direct
sum, and a third of that with the usual points (-2 for -1/2).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

WIDE = 256  # input and output channels; with fewer, the transforms cost more than they save
LEAST = 16  # pixels per side
STRIP = 10 << 20  # bytes of transformed inputs per strip
_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)


def _transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices for outputs (4, 6), kernels (6, 3) and inputs (6, 6), by Toom-Cook at `_POINTS` and infinity."""
    points = np.array(_POINTS)
    output = np.array([[*points**i, float(i == 3)] for i in range(4)])
    others = [np.delete(points, k) for k in range(5)]
    kernel = np.array([[p**i for i in range(3)] / np.prod(p - q) for p, q in zip(points, others, strict=True)])
    kernel = np.vstack([kernel, [0, 0, 1]])
    inputs = np.array([*([*np.poly(q)[::-1], 0.0] for q in others), np.poly(points)[::-1]])
    return output, kernel, inputs


_OUTPUT, _KERNEL, _INPUT = _transforms()
_INPUTS = torch.from_numpy(np.kron(_INPUT, _INPUT)).float()  # (36, 36)
_OUTPUTS = torch.from_numpy(np.kron(_OUTPUT, _OUTPUT)).float()  # (16, 36)


def fits(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether this method is possible and worthwhile for x (N, I, H, W) and a weight (O, I, 3, 3)."""
    height, width = x.shape[2:]
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and min(weight.shape[:2]) >= WIDE
        and min(height, width) >= LEAST
        and height % 4 == width % 4 == 0
    )


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """Transform a weight (O, I, 3, 3) into the (36, I, O) that `convolve` takes."""
    kernel = torch.from_numpy(_KERNEL).to(weight.device)
    turned = torch.einsum("ia,ocab,jb->ijco", kernel, weight.double(), kernel)
    return turned.flatten(0, 1).to(weight.dtype).contiguous()


def convolve(x: torch.Tensor, kernel: torch.Tensor, scale: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Compute gain * conv(scale * x), (N, O, H, W) in channels-last order, without gradients.

    Takes x (N, I, H, W), a kernel from `transformed`, scale (N, I) and gain (N, O).
    """
    count, into, height, width = x.shape
    out, rows, columns = kernel.shape[2], height // 4, width // 4
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)  # (6, 6, N, rows, columns, I), a view
    result = x.new_empty(count, rows, 4, columns, 4, out)
    fitting = max(1, STRIP // (36 * 4 * max(into, out) * columns))  # rows of tiles per strip
    images, lines = (max(1, fitting // rows), rows) if fitting >= rows else (1, fitting)
    size = min(images, count) * lines * columns
    first, second = x.new_empty(36 * size * max(into, out)), x.new_empty(36 * size * max(into, out))  # reused
    for i in range(0, count, images):
        some = slice(i, i + images)
        many = len(scale[some])
        for r in range(0, rows, lines):
            part = tiles[:, :, some, r : r + lines]
            strip = many * part.shape[3] * columns
            taken = first[: 36 * strip * into].view(part.shape)
            torch.mul(part, scale[some, None, None], out=taken)
            inputs = second[: 36 * strip * into].view(36, strip * into)
            torch.mm(_INPUTS, taken.view(36, -1), out=inputs)
            products = first[: 36 * strip * out].view(36, strip, out)
            torch.bmm(inputs.view(36, strip, into), kernel, out=products)
            outputs = second[: 16 * strip * out].view(16, strip * out)
            torch.mm(_OUTPUTS, products.view(36, -1), out=outputs)
            placed = outputs.view(4, 4, many, -1, columns, out).permute(2, 3, 0, 4, 1, 5)
            torch.mul(placed, gain[some, None, None, None, None], out=result[some, r : r + lines])
    return result.view(count, height, width, out).permute(0, 3, 1, 2)
