"""A toy generator whose features are linear in a known label map, so that tests can check exact results.

`ToyGenerator` draws three overlapping soft discs on a background; these are the categories. The effect of w is known
(`scene`), and so is the label map (`truth`). One known matrix per layer maps its features to the soft memberships of
the categories, (N, K, h, w), whose largest is the truth (`matrices`, `known_extractor`). The other features are
meaningless waves. Everything is differentiable in ws and takes about a millisecond per image.

As in real generators, the first three ws decide the geometry and the last two the colours, so layers may disagree in
W+; z and w have different sizes; the mean w is not zero; early layers are coarse, so that labels from them alone are
not exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from linsem.examples import Annotation
from linsem.extractor import Extractor
from linsem.generator import Layer, freeze, seed_z
from linsem.palette import Category

CATEGORIES = (
    Category("background", "#3d5a80"),
    Category("large", "#f2b28c"),
    Category("middle", "#d1495b"),
    Category("small", "#5c8001"),
)
Z_DIM, W_DIM, WAVES = 16, 24, 5
GEOMETRY, COLORS = 9, 12  # numbers that w decides: centres and radii of three discs, colours of four categories
SHARPNESS = 10.0  # of the discs' edges, whose width is 1 / SHARPNESS of half the image
BASE_COLORS = ((-0.6, -0.4, 0.3), (0.6, 0.1, -0.2), (-0.1, 0.7, -0.4), (0.5, 0.6, 0.7))


class ToyGenerator(nn.Module):
    """Implements `linsem.Generator`; `size` is (H, W) or one number, and `seed` determines the weights."""

    z_dim, w_dim, num_ws = Z_DIM, W_DIM, 5

    def __init__(self, size: int | tuple[int, int] = 32, *, seed: int = 0, id: str = "toy") -> None:
        super().__init__()
        self.id, self.categories = id, CATEGORIES
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        sizes = [tuple(side // cut for side in self.size) for cut in (4, 2, 2, 1, 1)]
        channels = [len(CATEGORIES) + WAVES + extra for extra in (6, 5, 3, 3, 1)]
        self.layers = tuple(Layer(c, *hw, last_w=i) for i, (c, hw) in enumerate(zip(channels, sizes, strict=True)))
        random = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=random)

        self.register_buffer("w_mean", normal(W_DIM) * 0.3)
        self.hidden = nn.Parameter(normal(Z_DIM, 32) / Z_DIM**0.5)
        self.out = nn.Parameter(normal(32, W_DIM) / 32**0.5)
        read = torch.linalg.qr(normal(W_DIM, W_DIM))[0]
        self.read_geometry = nn.Parameter(read[:, :GEOMETRY].clone())
        self.read_colors = nn.Parameter(read[:, GEOMETRY : GEOMETRY + COLORS].clone())
        self.phases = nn.Parameter(normal(len(channels), W_DIM, WAVES))
        self.directions = nn.Parameter(normal(len(channels), WAVES, 2) * 4)
        self.mixes = nn.ParameterList(torch.linalg.qr(normal(c, c))[0][:, : len(CATEGORIES) + WAVES] for c in channels)
        self.colors = nn.Parameter(torch.tensor(BASE_COLORS))
        freeze(self)

    @property
    def device(self) -> torch.device:
        return self.w_mean.device

    def map(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        """Map z (N, z_dim) to ws (N, num_ws, w_dim)."""
        w = torch.nn.functional.leaky_relu(z @ self.hidden, 0.2) @ self.out * 1.6 + self.w_mean
        w = self.w_mean + psi * (w - self.w_mean)
        return w[:, None].repeat(1, self.num_ws, 1)

    def synthesize(
        self, ws: torch.Tensor, *, image: bool = True, last_layer: int | None = None
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Map ws (N, num_ws, w_dim) to the image (N, 3, H, W) or None, and features up to `last_layer`."""
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: expected (N, {self.num_ws}, {self.w_dim}), got {tuple(ws.shape)}")
        last = len(self.layers) - 1 if last_layer is None else last_layer
        if image and last != len(self.layers) - 1:
            raise ValueError("image: needs the last layer")
        features = [self._features(i, ws) for i in range(last + 1)]
        return (self._image(ws) if image else None), features

    def scene(self, ws: torch.Tensor, layer: int = -1) -> torch.Tensor:
        """The discs of a layer, (N, 3, 3): x and y of the centre and the radius, for an image that is 2 wide."""
        upto = min(layer % len(self.layers) + 1, 3)  # only the first three ws decide the geometry
        x, y, r = torch.tanh(ws[:, :upto].mean(1) @ self.read_geometry).unflatten(1, (3, 3)).unbind(-1)
        radii = torch.tensor([0.55, 0.4, 0.25], dtype=ws.dtype, device=ws.device)
        return torch.stack([x * 0.6, y * 0.6, radii * (1 + 0.4 * r)], -1)

    def memberships(self, ws: torch.Tensor, size: tuple[int, int] | None = None, layer: int = -1) -> torch.Tensor:
        """The share of each category in each pixel, (N, K, *size), summing to one; later discs cover earlier ones."""
        y, x = self._grid(size or self.size)
        discs = self.scene(ws, layer)[..., None, None]  # (N, 3, 3, 1, 1)
        distance = torch.sqrt((x - discs[:, :, 0]) ** 2 + (y - discs[:, :, 1]) ** 2 + 1e-6)
        inside = torch.sigmoid(SHARPNESS * (discs[:, :, 2] - distance))  # (N, 3, h, w)
        visible, left = [], torch.ones_like(inside[:, 0])
        for disc in reversed(inside.unbind(1)):
            visible.append(disc * left)
            left = left * (1 - disc)
        return torch.stack([left, *reversed(visible)], 1)

    @torch.no_grad()
    def truth(self, ws: torch.Tensor, size: tuple[int, int] | None = None) -> np.ndarray:
        """The label map of an image, (N, *size) uint8."""
        return self.memberships(ws, size).argmax(1).to(torch.uint8).cpu().numpy()

    def matrices(self) -> list[torch.Tensor]:
        """One matrix (K, C) per layer that maps its features to the memberships at its size."""
        return [mix[:, : len(CATEGORIES)].T.contiguous() for mix in self.mixes]

    def known_extractor(self) -> Extractor:
        """The exact LSE: the last layer's matrix."""
        last = len(self.layers) - 1
        weights = {"layer0.weight": self.matrices()[last] * 10, "bias": torch.zeros(len(CATEGORIES))}
        return Extractor("LSE", CATEGORIES, (last,), self.id, self.size, weights)

    def _features(self, index: int, ws: torch.Tensor) -> torch.Tensor:
        layer = self.layers[index]
        size = (layer.height, layer.width)
        parts = torch.cat([self.memberships(ws, size, index), self._waves(index, ws, size)], 1)
        return torch.einsum("cf,nfhw->nchw", self.mixes[index], parts)

    def _waves(self, index: int, ws: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Plane waves (N, WAVES, *size) in [-1, 1] whose phases depend on the layer's w."""
        y, x = self._grid(size)
        direction = self.directions[index][..., None, None]  # (WAVES, 2, 1, 1)
        phase = (ws[:, index] @ self.phases[index])[..., None, None]
        return torch.sin(direction[:, 0] * x + direction[:, 1] * y + phase)

    def _image(self, ws: torch.Tensor) -> torch.Tensor:
        shift = 0.3 * torch.tanh(ws[:, 3:].mean(1) @ self.read_colors).unflatten(1, (len(CATEGORIES), 3))
        grain = 0.03 * self._waves(len(self.layers) - 1, ws, self.size)[:, :3]
        return torch.einsum("nkc,nkhw->nchw", self.colors + shift, self.memberships(ws)) + grain

    def _grid(self, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The y (h, 1) and x (1, w) of the pixels, with corners at -1 and 1, as for resizing logits."""
        options = {"dtype": self.w_mean.dtype, "device": self.device}
        return torch.linspace(-1, 1, size[0], **options)[:, None], torch.linspace(-1, 1, size[1], **options)[None]


class Sometimes(ToyGenerator):
    """Its smallest disc is there in about half of the images only, by a direction of w that decides nothing else."""

    def scene(self, ws, layer=-1):
        discs = super().scene(ws, layer)
        upto = min(layer % len(self.layers) + 1, 3)
        there = (0.5 + 2 * torch.tanh(ws[:, :upto].mean(1) @ self.read_colors[:, 0])).clamp(0, 1)
        position, radius = discs[:, 2:, :2], discs[:, 2:, 2:] * there[:, None, None]
        return torch.cat([discs[:, :2], torch.cat([position, radius], 2)], 1)


def scribbles(labels: np.ndarray, fraction: float = 0.05, seed: int = 0) -> np.ndarray:
    """Keep a random fraction of each category's pixels (at least two) of labels (H, W); the rest is unknown (255)."""
    rng = np.random.default_rng(seed)
    sparse = np.full_like(labels, 255)
    for label in np.unique(labels):
        rows, columns = np.nonzero(labels == label)
        kept = rng.permutation(len(rows))[: max(2, round(fraction * len(rows)))]
        sparse[rows[kept], columns[kept]] = label
    return sparse


def labelled(generator: ToyGenerator, count: int = 4) -> list[Annotation]:
    """The images of the first seeds, fully labelled with the truth."""
    ws = generator.map(seed_z(generator, range(count)), psi=0.7)
    return [Annotation(w, labels) for w, labels in zip(ws, generator.truth(ws), strict=True)]
