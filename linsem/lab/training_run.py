"""The state of a generator in training: networks, their average, and the number of images seen; saved atomically."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from linsem.lab import drawings, mapping_start
from linsem.stylegan2 import Mapping, StyleGAN2Config, Synthesis

CONFIG = StyleGAN2Config(
    channels=(256, 256, 192, 96, 48, 32),
    z_dim=drawings.CODE_DIM,
    w_dim=256,
    mapping_layers=4,
    mapping_width=512,
    normalize_z=False,
)
SHARPENED = {"avatars-64": 4.0, "avatars-128": 16.0}  # of the generators that are shipped


@dataclass
class Run:
    """Everything that a stage reads and changes, and that is saved."""

    folder: Path
    mapping: Mapping
    synthesis: Synthesis
    ema: nn.ModuleDict
    seen: int = 0
    sharpened: float = 1.0
    dtype: torch.dtype = torch.bfloat16

    @classmethod
    def open(cls, folder: Path, start: Sequence[Path] = ()) -> Run:
        """The run in the folder, or a new one, from the weights of shipped generators: of each file what it holds."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        mapping, synthesis = Mapping(CONFIG), Synthesis(CONFIG)
        mapping_start.construct(mapping)
        synthesis.to(memory_format=torch.channels_last)
        ema = nn.ModuleDict({"mapping": copy.deepcopy(mapping), "synthesis": copy.deepcopy(synthesis)})
        run = cls(folder, mapping, synthesis, ema)
        if (folder / "state.pt").exists():
            state = torch.load(folder / "state.pt", weights_only=True)
            for name in ("mapping", "synthesis", "ema"):
                getattr(run, name).load_state_dict(state[name])
            run.seen, run.sharpened = state["seen"], state.get("sharpened", 1.0)
        elif start:
            state = {name: w for path in start for name, w in load_file(path).items()}
            for networks in (run.ema, nn.ModuleDict({"mapping": run.mapping, "synthesis": run.synthesis})):
                found = networks.load_state_dict({name: w.float() for name, w in state.items()}, strict=False)
                assert not found.unexpected_keys, found.unexpected_keys
            run.sharpened = SHARPENED.get(start[-1].stem, 1.0)  # the last file's mapping was taken
        return run

    def save(self, **more: object) -> None:
        """Write `state.pt` atomically."""
        names = ("mapping", "synthesis", "ema")
        state = (
            {name: getattr(self, name).state_dict() for name in names}
            | {"seen": self.seen, "sharpened": self.sharpened}
            | more
        )
        torch.save(state, self.folder / "state.part")
        (self.folder / "state.part").replace(self.folder / "state.pt")

    def sharpen(self, factor: float) -> None:
        """Narrow the ramps of the mapping network; only once, however often training is resumed."""
        if self.sharpened == factor:
            return
        for mapping in (self.mapping, self.ema["mapping"]):
            mapping_start.sharpen(mapping, factor / self.sharpened)
        self.sharpened = factor

    def log(self, text: str) -> None:
        """Write one line to the screen and the log."""
        print(text, flush=True)
        with open(self.folder / "log.txt", "a") as file:
            file.write(text + "\n")

    @torch.no_grad()
    def average(self, batch: int, half_life: float) -> None:
        """Update the EMA of the weights."""
        keep = 0.5 ** (batch / half_life)
        for name, module in (("mapping", self.mapping), ("synthesis", self.synthesis)):
            torch._foreach_lerp_(list(self.ema[name].parameters()), list(module.parameters()), 1 - keep)
        self.ema["mapping"].w_avg.copy_(self.mapping.w_avg)
