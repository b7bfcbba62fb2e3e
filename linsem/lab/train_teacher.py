"""Training of the shipped teacher: a U-Net on rendered drawings with exact label maps, strongly augmented.

    python -m linsem.lab.train_teacher RUN --cache CACHE --images 70000 --out assets/avatars-128.teacher.safetensors

The loss is a weighted cross-entropy, which thin categories (brows, noses, frames) need, plus a Dice term per image,
which penalises a few pixels of a hat where there is none, as the paper's IoU does. The first 9,600 images (or two
fifths of all) and every fourth batch after them are used at half the size, which is four times as cheap. Weights are
averaged (EMA); the average is evaluated on held-out drawings, clean and degraded, at intervals, and written to `--out`
when it is the best so far. RUN holds `state.pt`, from which training resumes, and `log.txt`. bf16, one core.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from linsem import pixels
from linsem.lab import dataset, degrade, drawings
from linsem.lab.judge import scores_of
from linsem.lab.muon import Muon
from linsem.palette import Category
from linsem.teacher import Teacher, TeacherConfig, UNet, save_teacher

WIDTHS = (32, 64, 128, 192)
SHARES = (0.54, 0.15, 0.12, 0.034, 0.0057, 0.0033, 0.0017, 0.0064, 0.0084, 0.0088, 0.12)  # of the pixels, measured
FIRST, COUNT, HELD_OUT_COUNT = 100_000, 8_000, 2_500


@dataclass(frozen=True)
class Step:
    """The loss since the last report, and at some steps the scores of the averaged weights."""

    seen: int
    loss: float
    rate: float  # images per second
    scores: dict[str, float] = field(default_factory=dict)


class Run:
    """A network in training: its average, its optimisers, the number of images seen, and its best score."""

    def __init__(self, folder: Path, config: TeacherConfig, lr: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        self.folder = folder
        self.network = UNet(config).to(memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizers = _optimizers(self.network, lr)
        self.seen, self.best = 0, 0.0
        if (folder / "state.pt").exists():
            state = torch.load(folder / "state.pt", weights_only=True)
            for name in ("network", "ema"):
                getattr(self, name).load_state_dict(state[name])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self.seen, self.best = state["seen"], state["best"]

    def save(self) -> None:
        """Write `state.pt` atomically."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "ema")}
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save(state | {"seen": self.seen, "best": self.best}, self.folder / "state.part")
        (self.folder / "state.part").replace(self.folder / "state.pt")

    @torch.no_grad()
    def average(self, keep: float) -> None:
        """Update the EMA of the weights, including running statistics."""
        pairs = zip(self.ema.state_dict().values(), self.network.state_dict().values(), strict=True)
        for average, value in pairs:
            if average.is_floating_point():
                average.lerp_(value, 1 - keep)
            else:
                average.copy_(value)


def _optimizers(network: UNet, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions before a normalisation, of which only the direction matters; AdamW for the rest."""
    matrices = [p for name, p in network.named_parameters() if p.ndim == 4 and not name.startswith("head")]
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    with torch.no_grad():
        for matrix in matrices:
            matrix /= matrix.square().mean().sqrt()  # steps are relative to weights of about 1
    return [Muon(matrices, lr), torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=1e-4)]


def class_weights(shares: tuple[float, ...]) -> torch.Tensor:
    """Moderate weights for rare categories: the fourth root of their rarity, with a mean of 1 over pixels."""
    shares_ = torch.tensor(shares)
    weights = shares_.clamp(min=1e-4) ** -0.25
    return weights / (weights * shares_).sum()


def loss_of(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus mean Dice loss of logits (N, K, H, W) against labels (N, H, W).

    Dice is computed per image and category, smoothed by one pixel: false pixels of an absent category are penalised.
    """
    entropy = F.cross_entropy(logits, labels.long(), weight=weights)
    share = logits.softmax(dim=1)
    truth = F.one_hot(labels.long(), logits.shape[1]).permute(0, 3, 1, 2)
    both = (share * truth).sum(dim=(2, 3))
    total = share.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return entropy + (1 - (2 * both + 1) / (total + 1)).mean()


def train(
    run: Run, rgb: np.ndarray, labels: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], *, images: int,
    batch: int = 16, lr: float = 3e-3, report: int = 1600, judge: int = 6400,
) -> Iterator[Step]:  # fmt: skip
    """Train until `images` have been seen; save and yield a step every `report` images, evaluate every `judge`."""
    categories = run.network.config.categories
    shares = SHARES if len(SHARES) == categories else (1 / categories,) * categories
    weights, losses, clock = class_weights(shares), [], time.monotonic()
    while run.seen < images:
        for group in (group for optimizer in run.optimizers for group in optimizer.param_groups):
            group["lr"] = _rate(run.seen, images, lr)
        small = run.seen < min(9600, 0.4 * images) or run.seen // batch % 4 == 3
        losses.append(_learn(run, rgb, labels, batch, weights, small=small))
        run.seen += batch
        run.average(min(0.995, run.seen / (run.seen + 10 * batch)))
        if run.seen % report < batch or run.seen >= images:
            rate, scores = len(losses) * batch / (time.monotonic() - clock), {}
            if run.seen % judge < batch or run.seen >= images:
                scores = scores_of(as_teacher(run.ema), *held_out)
            run.save()
            yield Step(run.seen, float(np.mean(losses)), rate, scores)
            losses, clock = [], time.monotonic()


def _rate(seen: int, images: int, lr: float) -> float:
    """A warm-up over the first 1,600 images, then a cosine decay to a hundredth."""
    return lr * min(1.0, (seen + 16) / 1600) * (0.505 + 0.495 * math.cos(math.pi * seen / images))


def _learn(run: Run, rgb: np.ndarray, labels: np.ndarray, batch: int, weights: torch.Tensor, *, small: bool) -> float:
    """One update; its data depend on `run.seen` alone, so a resumed run continues identically."""
    random = np.random.default_rng([1, run.seen])
    generator = torch.Generator().manual_seed(run.seen)
    rows = np.sort(random.choice(len(rgb), min(len(rgb), batch * (2 if small else 1)), replace=False))
    image, truth = pixels.to_image(rgb[rows]), torch.from_numpy(labels[rows])
    if small:
        image, truth = degrade.shrunk(image, truth, run.network.config.categories)
    image, truth = degrade.augmented(image, truth, generator)
    with torch.autocast("cpu", torch.bfloat16):
        logits = run.network.train()(image)
    loss = loss_of(logits.float(), truth, weights)
    loss.backward()
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


def as_teacher(network: UNet) -> Teacher:
    """A frozen copy; the network itself continues training."""
    names = drawings.CATEGORIES if len(drawings.CATEGORIES) == network.config.categories else None
    names = names or tuple(str(i) for i in range(network.config.categories))
    colors = (drawings.CATEGORY_COLORS * 24)[: len(names)]
    return Teacher(copy.deepcopy(network), tuple(map(Category, names, colors)))


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--images", type=int, default=70_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--judges", type=int, default=300, help="held-out drawings for the scores on the way")
    parser.add_argument("--out", type=Path, help="write the best average here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rgb, labels = dataset.cached(args.cache, FIRST, COUNT, 128, labels=True)
    judges = dataset.cached(args.cache, drawings.HELD_OUT, HELD_OUT_COUNT, 128, labels=True)
    held_out = tuple(array[-args.judges :] for array in judges)
    run = Run(args.run, TeacherConfig(len(drawings.CATEGORIES), WIDTHS), args.lr)
    for step in train(run, rgb, labels, held_out, images=args.images, batch=args.batch, lr=args.lr):
        scores = " ".join(f"{name} {value:.4f}" for name, value in step.scores.items())
        line = f"seen {step.seen} loss {step.loss:.4f} {step.rate:.1f} img/s {scores}"
        print(line, flush=True)
        with open(args.run / "log.txt", "a") as log:
            log.write(line + "\n")
        worth = sum(step.scores.values())
        if args.out and worth > run.best:
            run.best = worth
            run.save()
            save_teacher(run.ema, as_teacher(run.ema).categories, args.out)


if __name__ == "__main__":
    main()
