"""A cache of the images and features of recent latents, so that a stroke costs a fit but no pass of the generator."""

from __future__ import annotations

import numpy as np
import torch

from linsem.generator import Generator, checked_pass
from linsem.pixels import to_rgb
from linsem.recent import Recent
from linsem.rows import Gathered


class Looks:
    """The images and features of recent latents of one generator; the features use at most `bytes_limit`.

    The features of one large image may exceed the limit, while its image does not; so images have a cache of their own,
    of an eighth of the limit. `rows` caches, in a quarter of it, the features read at labelled pixels; what fits leave
    to later ones has a sixteenth.
    """

    def __init__(self, generator: Generator, bytes_limit: int = 512 << 20) -> None:
        self.generator = generator
        self.kept: Recent[list[torch.Tensor]] = Recent(bytes_limit)
        self.images: Recent[np.ndarray] = Recent(bytes_limit // 8)
        self.rows = Gathered(bytes_limit // 4)

    def features(self, ws: torch.Tensor) -> list[torch.Tensor]:
        """The features of ws (num_ws, w_dim), each (1, C, h, w)."""
        ws = np.ascontiguousarray(ws.detach().cpu().numpy(), np.float32)
        features = self.kept.find(ws.tobytes())
        return self._passed(ws)[1] if features is None else features

    def image(self, ws: np.ndarray) -> np.ndarray:
        """The image of ws (num_ws, w_dim): rgb (H, W, 3) uint8."""
        ws = np.ascontiguousarray(ws, np.float32)
        rgb = self.images.find(ws.tobytes())
        return self._passed(ws)[0] if rgb is None else rgb

    def look(self, ws: np.ndarray) -> tuple[np.ndarray, list[torch.Tensor]]:
        """Image and features, from one pass."""
        ws = np.ascontiguousarray(ws, np.float32)
        rgb, features = self.images.find(ws.tobytes()), self.kept.find(ws.tobytes())
        return self._passed(ws) if rgb is None or features is None else (rgb, features)

    @torch.no_grad()
    def _passed(self, ws: np.ndarray) -> tuple[np.ndarray, list[torch.Tensor]]:
        image, features = checked_pass(self.generator, torch.from_numpy(ws)[None].to(self.generator.device))
        rgb = to_rgb(image)[0]
        self.images.keep(ws.tobytes(), rgb, rgb.nbytes)
        self.kept.keep(ws.tobytes(), features, sum(x.numel() * x.element_size() for x in features))
        return rgb, features
