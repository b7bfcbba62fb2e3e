"""Adam for vectors, orthogonalised momentum for matrices (Jordan et al., 2024: "Muon").

A styled convolution divides by the norm of its own weights, so only their direction counts; an update whose singular
values are all alike moves every direction that the momentum holds, the rare ones too.
"""

from __future__ import annotations

from collections import defaultdict

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton-Schulz coefficients: singular values go to 0.7..1.2 in five rounds


class Muon(torch.optim.Optimizer):
    """Parameters of two or more dimensions, taken as matrices (rows = the first dimension).

    Args:
        params: the parameters (or groups).
        lr: how far the root mean square of a matrix moves in a step.
        momentum: Nesterov's.
    """

    def __init__(self, params: object, lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step; matrices of one shape go through the iteration together."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape[0], parameter[0].numel()].append(parameter)
            for (rows, columns), parameters in shapes.items():
                wishes = torch.stack([self._wish(p, group["momentum"]).reshape(rows, columns) for p in parameters])
                steps = orthogonalize(wishes) * max(rows, columns) ** 0.5
                for parameter, step in zip(parameters, steps, strict=True):
                    parameter.sub_(step.reshape(parameter.shape).to(parameter.dtype), alpha=group["lr"])

    def _wish(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        if "buffer" not in state:
            state["buffer"] = torch.zeros_like(parameter)
        state["buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["buffer"], momentum)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """(B, R, C) to the nearest (semi-)orthogonal matrices, roughly: singular values near 1. In bfloat16."""
    x = matrices.to(torch.bfloat16)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).float()
