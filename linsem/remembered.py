"""Caching of a value derived from a frozen weight, recomputed when the weight changes."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Remembered:
    """`compute(weight)`, cached for a weight without gradient until it is replaced or modified in place."""

    def __init__(self, compute: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.compute = compute
        self._last: tuple[torch.Tensor, tuple[int, int], torch.Tensor] | None = None

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """The value for a weight."""
        if weight.requires_grad or weight.is_inference():
            return self.compute(weight)
        version = (weight.data_ptr(), weight._version)
        if self._last is None or self._last[0] is not weight or self._last[1] != version:
            with torch.inference_mode(False), torch.no_grad():  # otherwise autograd could not use it later
                self._last = (weight, version, self.compute(weight))
        return self._last[2]

    def __deepcopy__(self, memo: dict) -> Remembered:
        """An empty cache, since a copy of a network has its own weights."""
        return Remembered(self.compute)

    def __getstate__(self) -> dict[str, object]:
        return {"compute": self.compute, "_last": None}
