"""Optional data parallelism by `accelerate`, with a single process behind the same interface otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from linsem.errors import InputError


class Processes:
    """The processes of `accelerate launch`: the share of each in a batch, and reductions over all."""

    def __init__(self, batch: int, device: torch.device) -> None:
        """Join the others. Raises InputError without the package, or if the batch cannot be divided evenly."""
        try:
            from accelerate import Accelerator  # optional, and slow to import
        except ImportError as error:
            raise InputError("accelerate=True needs the package accelerate (pip install accelerate)") from error
        self._accelerator = Accelerator(cpu=device.type == "cpu")
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        if batch % self.count:
            raise InputError(f"batch: expected a multiple of the {self.count} processes, got {batch}")
        own = self._accelerator.device  # of several GPUs each process has its own
        if (own.type, own.index or 0) != (device.type, device.index or 0):
            raise InputError(f"generator: expected on {own}, got {device}")

    @classmethod
    def alone(cls, device: torch.device) -> Processes:
        """A single process, without the package."""
        self = cls.__new__(cls)
        self._accelerator, self.count, self.rank = None, 1, 0
        return self

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, seeds: Sequence[int]) -> list[int]:
        """This process's share of the batch, every `count`-th seed; a last batch that cannot be divided goes to all."""
        return list(seeds[self.rank :: self.count]) if len(seeds) % self.count == 0 else list(seeds)

    def average(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.count > 1:
            for each in gradients:
                each.copy_(self._accelerator.reduce(each, reduction="mean"))

    def total(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The sums of the tensors over the processes."""
        if self.count == 1:
            return tensors
        return {name: self._accelerator.reduce(x, reduction="sum") for name, x in tensors.items()}
