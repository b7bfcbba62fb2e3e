"""Pixel conventions: ranges, layouts, resizing.

`image` is (N, 3, H, W) in [-1, 1]; `rgb` is (H, W, 3) uint8; `labels` are (N, H, W) integers in {0..K-1} or `IGNORE`;
`logits` are (N, K, H, W). Logits are resized bilinearly, labels by nearest neighbour.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from linsem.errors import InputError

IGNORE = 255  # the label of an unlabelled pixel: unknown, not background


def to_rgb(image: torch.Tensor) -> np.ndarray:
    """Convert (N, 3, H, W) or (3, H, W) in [-1, 1], clamped, to (N, H, W, 3) uint8; NaN is refused, not made black."""
    image = image[None] if isinstance(image, torch.Tensor) and image.ndim == 3 else image
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[1] != 3:
        got = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(f"image: expected a tensor (N, 3, H, W), got {got}")
    scaled = image.detach().float() * 127.5 + 128
    if bool(scaled.isnan().any()):
        raise InputError("image: expected numbers, got some that are none (NaN)")
    bytes_ = scaled.clamp(0, 255).to(torch.uint8)
    return bytes_.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_image(rgb: np.ndarray, *, device: torch.device | str = "cpu") -> torch.Tensor:
    """Convert (N, H, W, 3) or (H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    rgb = np.asarray(rgb)
    if rgb.ndim == 3:
        rgb = rgb[None]
    if rgb.ndim != 4 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise InputError(f"rgb: expected (N, H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(0, 3, 1, 2)
    return image.float() / 127.5 - 1


def resize_logits(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize (N, K, h, w) to (N, K, *size), bilinear with aligned corners as in the paper's extractors."""
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=True)


def resize_image(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize (N, C, h, w) to (N, C, *size): area average when shrinking, bilinear when enlarging."""
    if image.shape[-2:] == tuple(size):
        return image
    if image.shape[-2] >= size[0] and image.shape[-1] >= size[1]:
        return F.interpolate(image, size=tuple(size), mode="area")
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) or (N, H, W) integers to (height, width), nearest neighbour, sampled at pixel centres."""
    height, width = labels.shape[-2:]
    if (height, width) == tuple(size):
        return labels
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
    return labels[..., rows[:, None], columns[None, :]]
