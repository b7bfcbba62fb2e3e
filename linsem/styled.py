"""The common base of StyleGAN and StyleGAN2: z to truncated ws, input checks, and the noise of the layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from linsem.arguments import number, shown, whole_number
from linsem.errors import InputError
from linsem.generator import check_last_layer, drawn, seeded

NOISE_MODES = ("const", "random", "none")


class Styled(nn.Module):
    """A network of `mapping` and synthesis; subclasses set `config`, `z_dim`, `w_dim`, `num_ws` and `layers`.

    `label` is the default label of a conditional network (None: a zero vector).
    """

    label: int | None = None

    def with_label(self, label: int | None) -> Styled:
        """The same network, sharing its parameters, with a default label, an integer from 0 (None: none).

        Raises InputError if the network was trained without labels or does not have this one.
        """
        count = self.config.c_dim
        if count == 0 and label is not None:
            raise InputError(f"label: {self.id!r} was trained without labels, so none can be chosen")
        if label is not None and (label := whole_number("label", label, 0)) >= count:
            raise InputError(f"label: {self.id!r} knows 0..{count - 1}, got {label}")
        other = copy.copy(self)
        other.label = label
        return other

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.mapping.w_avg.device

    def map(
        self, z: torch.Tensor, psi: float = 1.0, *, cutoff: int | None = None, c: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map z (N, z_dim) to ws (N, num_ws, w_dim); with psi != 1, ws below `cutoff` (None: all) are truncated.

        NVIDIA's StyleGAN samples use psi 0.7 and cutoff 8. `c` (N, c_dim) is the label of a conditional network
        (default: that of `with_label`).
        """
        psi = number("psi", psi)
        if not isinstance(z, torch.Tensor):
            raise InputError(f"z: expected a tensor (N, {self.z_dim}), got {type(z).__name__}")
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise InputError(f"z: expected (N, {self.z_dim}), got {tuple(z.shape)}")
        if c is not None and tuple(c.shape) != (len(z), self.config.c_dim):
            raise InputError(f"c: expected ({len(z)}, {self.config.c_dim}), got {tuple(c.shape)}")
        if c is None and self.label is not None:
            chosen = torch.full((len(z),), self.label, device=z.device)
            c = F.one_hot(chosen, self.config.c_dim).float()
        w = self.mapping(z, c).float()  # under autocast it is not, and could not be mixed with the mean
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if psi == 1:
            return ws
        head = self.mapping.w_avg.lerp(ws[:, :cutoff], psi)
        return head if cutoff is None else torch.cat([head, ws[:, cutoff:]], dim=1)

    def checked_last(
        self, ws: torch.Tensor, image: bool, last_layer: int | None, noise_mode: str, noise_seeds: Sequence[int] | None
    ) -> int:
        """The index of the last feature map to compute; InputError for arguments that `synthesize` does not accept."""
        if not isinstance(ws, torch.Tensor):
            raise InputError(f"ws: expected a tensor (N, {self.num_ws}, {self.w_dim}), got {shown(ws)}")
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise InputError(f"ws: expected (N, {self.num_ws}, {self.w_dim}), got {tuple(ws.shape)}")
        last = check_last_layer(last_layer, len(self.layers), image)
        if noise_mode not in NOISE_MODES:
            raise InputError(f"noise_mode: expected one of {', '.join(NOISE_MODES)}, got {noise_mode!r}")
        if noise_mode == "random" and (noise_seeds is None or len(noise_seeds) != len(ws)):
            raise InputError(f"noise_seeds: expected one a sample ({len(ws)}) with noise_mode='random'")
        return last


def noise_of(const: torch.Tensor, mode: str, seeds: Sequence[int] | None, index: int) -> torch.Tensor | None:
    """The noise of a layer, (H, W), (N, 1, H, W) or None.

    Random noise depends only on the sample's seed and the layer's index.
    """
    if mode == "none":
        return None
    if mode == "const" or seeds is None:
        return const
    rows = [drawn(seeded(int(seed) * 64 + index), 1, *const.shape) for seed in seeds]
    return torch.stack(rows).to(const.device)
