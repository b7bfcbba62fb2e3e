"""Several devices by `accelerate`, where it is asked for; one otherwise, by the same calls."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from linsem.errors import InputError


class Processes:
    """The processes of `accelerate launch`: which part of a batch is ours, and what all of them agree on."""

    def __init__(self, batch: int, device: torch.device) -> None:
        """Join the others. Raises ValueError without the package, or where the batch cannot be shared evenly."""
        try:
            from accelerate import Accelerator  # optional, and slow to import
        except ImportError as error:
            raise InputError("accelerate=True needs the package accelerate (pip install accelerate)") from error
        self._accelerator = Accelerator(cpu=device.type == "cpu")
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        if batch % self.count:
            raise InputError(f"batch: expected a multiple of the {self.count} processes, got {batch}")
        if self._accelerator.device.type != device.type:
            raise InputError(f"generator: expected on {self._accelerator.device}, got {device}")

    @classmethod
    def alone(cls, device: torch.device) -> Processes:
        """One process, without the package."""
        self = cls.__new__(cls)
        self._accelerator, self.count, self.rank = None, 1, 0
        return self

    @property
    def first(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    def share(self, seeds: Sequence[int]) -> list[int]:
        """Our part of the batch: every `count`-th; a last batch that is too short is given to all whole."""
        return list(seeds[self.rank :: self.count]) if len(seeds) % self.count == 0 else list(seeds)

    def average(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replace each by its mean over the processes."""
        if self.count > 1:
            for each in gradients:
                each.copy_(self._accelerator.reduce(each, reduction="mean"))

    def total(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Their sums over the processes."""
        if self.count == 1:
            return tensors
        return {name: self._accelerator.reduce(x, reduction="sum") for name, x in tensors.items()}
