"""Muon: orthogonalised momentum for matrices (Jordan et al., 2024), used beside Adam for vectors.

A styled convolution divides by the norm of its weights, so only their direction matters; an update with equal singular
values moves along every direction in the momentum, including rare ones.
"""

from __future__ import annotations

from collections import defaultdict

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton-Schulz coefficients: singular values reach 0.7..1.2 in five iterations


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two or more dimensions, taken as matrices (rows = the first dimension).

    Args:
        params: the parameters (or groups).
        lr: the root mean square of a matrix's change per step.
        momentum: of Nesterov's method.
        dtype: the precision of the orthogonalisation; bfloat16 is enough.
    """

    def __init__(
        self, params: object, lr: float = 1e-3, momentum: float = 0.95, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step; matrices of equal shape are orthogonalised together."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape[0], parameter[0].numel()].append(parameter)
            for (rows, columns), parameters in shapes.items():
                wishes = torch.stack([self._wish(p, group["momentum"]).reshape(rows, columns) for p in parameters])
                steps = orthogonalize(wishes, self.dtype) * max(rows, columns) ** 0.5
                for parameter, step in zip(parameters, steps, strict=True):
                    parameter.sub_(step.reshape(parameter.shape).to(parameter.dtype), alpha=group["lr"])

    def _wish(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(parameter)
        state["buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["buffer"], momentum)


def orthogonalize(matrices: torch.Tensor, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """The nearest (semi-)orthogonal matrices to (B, R, C), approximately (singular values near 1)."""
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).float()
