"""Simulated GAN artefacts on drawings: blur, smooth warps, colour shifts, noise, lost resolution, small holes.

`degraded` is the fixed, moderate degradation that tables report on; `augmented` is the strong augmentation for training
the teacher. Labels are warped along with the image, by nearest neighbour. Lengths are in pixels of a 128 px image and
scale with the size. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from linsem import pixels

BLUR = 1.2  # the largest standard deviation of the blur in `degraded`, at 128 px
WARP = 1.5  # the standard deviation of the displacement at a warp's control points, at 128 px
_RADIUS = 4


def blurred(image: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
    """Gaussian blur of (N, 3, H, W), one sigma for all or (N,), in pixels at 128 px; 0 leaves an image unchanged."""
    count = len(image)
    sigma = torch.as_tensor(sigma, dtype=torch.float32).expand(count).clamp(min=1e-3) * (image.shape[-1] / 128)
    taps = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]  # (3 N, 1, taps)
    x = F.pad(image.reshape(1, -1, *image.shape[2:]), (_RADIUS,) * 4, mode="replicate")
    x = F.conv2d(x, kernel[:, :, None], groups=3 * count)
    return F.conv2d(x, kernel[:, :, :, None], groups=3 * count).reshape(image.shape)


def warped(
    image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator, *, smooth: float = WARP, affine: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Warp (N, 3, H, W) and (N, H, W) uint8 by the same displacement, smooth and optionally affine.

    `smooth` is the standard deviation at 5 x 5 control points; `affine` scales rotation, scaling and translation (1: up
    to about 15 degrees, 15 % and 8 px).
    """
    count, _, height, width = image.shape
    control = torch.randn(count, 2, 5, 5, generator=generator) * (smooth * 2 / 128)
    flow = F.interpolate(control, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    turn, size, right, down = (torch.randn(4, count, generator=generator) * 0.5).clamp(-1, 1) * affine
    angle, scale = turn * 0.26, 1 + 0.15 * size
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    theta = torch.stack([cos, -sin, right / 8, sin, cos, down / 8], dim=1).reshape(count, 2, 3)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False) + flow
    image = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return image, moved[:, 0].to(torch.uint8)


def degraded(
    image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Warp smoothly, then blur with a sigma uniform in 0..BLUR, as in the tables."""
    image, labels = warped(image, labels, generator)
    return blurred(image, torch.rand(len(image), generator=generator) * BLUR), labels


def augmented(
    image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Training augmentation: mirroring and warping, then each degradation on a random part of the batch."""
    image, labels = image.clone(), labels.clone()
    rows = _some(image, 0.5, generator)
    image[rows], labels[rows] = image[rows].flip(-1), labels[rows].flip(-1)
    rows = _some(image, 0.7, generator)
    image[rows], labels[rows] = warped(image[rows], labels[rows], generator, affine=1.0)
    for damage, share in ((_recolored, 0.6), (_coarsened, 0.15), (_softened, 0.6), (_holed, 0.2), (_noised, 0.4)):
        rows = _some(image, share, generator)
        image[rows] = damage(image[rows], generator)
    return image.clamp(-1, 1), labels


def _some(image: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """The rows that a degradation applies to; at least one, since a batch must not be empty."""
    rows = torch.rand(len(image), generator=generator)
    return (rows < max(share, rows.min().item() + 1e-9)).nonzero()[:, 0]


def _softened(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return blurred(image, torch.rand(len(image), generator=generator) * 1.4)


def _recolored(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gain and offset per channel, saturation, and a smooth offset over the image."""
    count = len(image)
    gain = 1 + 0.12 * torch.randn(count, 3, 1, 1, generator=generator)
    offset = 0.12 * torch.randn(count, 3, 1, 1, generator=generator)
    blotches = 0.08 * torch.randn(count, 3, 6, 6, generator=generator)
    blotches = F.interpolate(blotches, size=image.shape[2:], mode="bicubic", align_corners=True)
    gray = image.mean(dim=1, keepdim=True)
    saturation = 1 + 0.25 * torch.randn(count, 1, 1, 1, generator=generator)
    return (gray + (image - gray) * saturation) * gain + offset + blotches


def _noised(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    strength = 0.12 * torch.rand(len(image), 1, 1, 1, generator=generator)
    return image + strength * torch.randn(image.shape, generator=generator)


def _coarsened(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shrink to 50 to 90 % and enlarge again."""
    share = 0.5 + 0.4 * torch.rand((), generator=generator).item()
    side = [max(8, round(share * length)) for length in image.shape[2:]]
    small = F.interpolate(image, size=side, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False)


def _holed(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Up to three small rectangles of one colour; the labels stay."""
    image = image.clone()
    height, width = image.shape[2:]
    for picture in image:
        for _ in range(int(torch.randint(1, 4, (), generator=generator))):
            top, left, tall, wide = torch.rand(4, generator=generator).tolist()
            rows = slice(int(top * height), int(top * height) + 2 + int(tall * height / 16))
            columns = slice(int(left * width), int(left * width) + 2 + int(wide * width / 16))
            picture[:, rows, columns] = torch.rand(3, 1, 1, generator=generator) * 2 - 1
    return image


def shrunk_labels(labels: torch.Tensor, categories: int) -> torch.Tensor:
    """Halve (N, H, W) uint8 by the majority of each 2 x 2; ties go to the rarer category (the higher index)."""
    blocks = F.pixel_unshuffle(labels[:, None].float(), 2).long()
    counts = F.one_hot(blocks, categories).sum(dim=1) * categories
    return (counts + torch.arange(categories) * (counts > 0)).argmax(dim=-1).to(torch.uint8)


def shrunk(image: torch.Tensor, labels: torch.Tensor, categories: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and labels at half the size."""
    size = (image.shape[2] // 2, image.shape[3] // 2)
    return pixels.resize_image(image, size), shrunk_labels(labels, categories)
