"""The images and features of the latents seen last, so that a stroke costs a fit and no pass of the generator."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch

from linsem.forks import ForkLock
from linsem.generator import Generator, checked_pass
from linsem.pixels import to_rgb
from linsem.rows import Gathered


class Looks:
    """The images and features of the latents seen last, at most `bytes_limit` of them, for one generator.

    `rows` remembers, in a quarter of that again, what was read off the features at labelled pixels.
    """

    def __init__(self, generator: Generator, bytes_limit: int = 512 << 20) -> None:
        self.generator, self.bytes_limit = generator, bytes_limit
        self._entries: OrderedDict[bytes, tuple[np.ndarray, list[torch.Tensor], int]] = OrderedDict()
        self._bytes = 0
        self._lock = ForkLock()
        self.rows = Gathered(bytes_limit // 4)

    def features(self, ws: torch.Tensor) -> list[torch.Tensor]:
        """ws (num_ws, w_dim) to its features, each (1, C, h, w)."""
        return self.look(ws.detach().cpu().numpy())[1]

    def look(self, ws: np.ndarray) -> tuple[np.ndarray, list[torch.Tensor]]:
        """ws (num_ws, w_dim) to rgb (H, W, 3) uint8 and the features."""
        ws = np.ascontiguousarray(ws, np.float32)
        key = ws.tobytes()
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][:2]
        with torch.no_grad():
            image, features = checked_pass(self.generator, torch.from_numpy(ws)[None].to(self.generator.device))
        entry = (to_rgb(image)[0], features, sum(x.numel() * x.element_size() for x in features))
        with self._lock:
            self._keep(key, entry)
        return entry[:2]

    def _keep(self, key: bytes, entry: tuple[np.ndarray, list[torch.Tensor], int]) -> None:
        if key in self._entries or entry[2] > self.bytes_limit:  # another thread was faster, or it never fits
            return
        self._entries[key] = entry
        self._bytes += entry[2]
        while self._bytes > self.bytes_limit:
            self._bytes -= self._entries.popitem(last=False)[1][2]
