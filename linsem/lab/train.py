"""Training of the shipped generators: a StyleGAN2 on the drawings, in resumable stages.

    python -m linsem.lab.train RUN --cache CACHE --stage reconstruction --size 32 --images 200000 --sharpen 4
    python -m linsem.lab.train RUN --cache CACHE --stage adversarial --size 128 --images 50000 --decay 1

The mapping network is initialised by `linsem.lab.mapping_start`: w holds what a code determines.

1. *reconstruction* (the warm start): with z = the code of a drawing, G(z) is trained to be that drawing.
2. *adversarial* (the finish): that loss is kept, and a patch discriminator (non-saturating, R1) sharpens what
   it leaves blurred. It also judges images without a drawing, of truncated and of mixed w: between two hair styles
   lies no drawing, and what the reconstruction alone leaves there is both at once, half transparent.

Drawings of variants that are drawn worse come up more often (`linsem.lab.focus`).

RUN holds `state.pt` (from which training resumes), `log.txt`, and sample sheets. Training is in bf16; on a processor
without instructions for that, `--precision float32` is several times as fast.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from linsem import pixels
from linsem.device import precision_of
from linsem.lab import dataset
from linsem.lab.discriminator import Discriminator
from linsem.lab.focus import Focus
from linsem.lab.muon import Muon
from linsem.lab.training_run import CONFIG, Run

MUON_PACE = 0.8
FACE = (0.33, 0.68, 0.31, 0.69)  # top, bottom, left, right, as shares: the area of eyes, brows, mouth and glasses
FACE_WEIGHT = 1.25
ALONE = 150  # initial steps of the discriminator without the generator
LEAST_PSI = 0.4  # of those that are truncated


def _targets(rgb: np.ndarray, rows: np.ndarray, size: int) -> torch.Tensor:
    return pixels.resize_image(pixels.to_image(rgb[np.sort(rows)]), (size, size))


def _untruncated(run: Run, z: torch.Tensor) -> torch.Tensor:
    """The ws (N, num_ws, w_dim) of codes.

    There is no truncation here: the drawing of a code is not that of its truncated w, and a network trained to produce
    it anyway blurs everything continuous, the pose first.
    """
    return run.mapping(z)[:, None].repeat(1, CONFIG.num_ws, 1)


@torch.no_grad()
def _loose(run: Run, count: int, random: torch.Generator) -> torch.Tensor:
    """Latents (count, num_ws, w_dim) to which no drawing belongs: half of them truncated, half mixtures of two.

    The mapping is not trained on them: it shall not move the codes' w to where images are easily drawn.
    """
    first, second = (_untruncated(run, torch.randn(count, CONFIG.z_dim, generator=random)) for _ in range(2))
    psi = LEAST_PSI + (1 - LEAST_PSI) * torch.rand(count, 1, 1, generator=random)
    cross = torch.randint(1, CONFIG.num_ws, (count, 1, 1), generator=random)
    mixed = torch.where(torch.arange(CONFIG.num_ws)[:, None] < cross, first, second)
    truncated = run.mapping.w_avg.lerp(first, psi)
    return torch.where((torch.arange(count) % 2 == 0)[:, None, None], truncated, mixed)


def _draw(run: Run, ws: torch.Tensor, size: int) -> torch.Tensor:
    """The images at a size, with the gradient."""
    last = 2 * (size.bit_length() - 3)
    return run.synthesis(ws, last_layer=last, noise_mode="none", dtype=run.dtype)[0]


def _difference(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The loss (N,) on three scales: the coarse ones capture the pose; the fine one the sparse lines, with more weight.

    Absolute plus squared error: the former alone settles for the median, which omits small parts until their position
    is known to the pixel; the latter alone stays blurred.
    """
    weight = _busyness(real)
    loss = (_penalty(fake - real).mean(dim=1, keepdim=True) * weight).mean(dim=(1, 2, 3))
    for factor in (2, 4):
        loss = loss + _penalty(F.avg_pool2d(fake, factor) - F.avg_pool2d(real, factor)).mean(dim=(1, 2, 3))
    return loss


def _penalty(difference: torch.Tensor) -> torch.Tensor:
    return difference.abs() + 3 * difference.square()


def _busyness(real: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) weights: 1 in flat areas, up to 7 where the image differs from its blur; more in the face.

    A brow has few pixels and one of a dozen shapes: without more weight all brows become their average.
    """
    size = max(3, real.shape[-1] // 16 * 2 + 1)
    blurred = F.avg_pool2d(real, size, 1, size // 2, count_include_pad=False)
    contrast = F.max_pool2d((real - blurred).abs().mean(dim=1, keepdim=True), 3, 1, 1)
    weight = 1 + 6 * (contrast / 0.4).clamp_max(1)
    top, bottom, left, right = (round(share * real.shape[-1]) for share in FACE)
    weight[:, :, top:bottom, left:right] *= FACE_WEIGHT
    return weight


def reconstruct(
    run: Run, rgb: np.ndarray, codes: torch.Tensor, size: int, images: int, batch: int, lr: float,
    decay: float = 0.3,
) -> None:  # fmt: skip
    """Train G(code) towards the drawing; over the last part `decay` of the images the learning rate falls."""
    optimizers = _optimizers(run, lr)
    steps, focus = images // batch, Focus(codes.numpy())
    rows = focus.batches(batch, run.seen)
    clock, total = time.time(), 0.0
    for step in range(steps):
        _pace(optimizers, lr, (steps - step) / (decay * steps + 1))
        pick = next(rows)
        losses = _difference(_draw(run, _untruncated(run, codes[pick]), size), _targets(rgb, pick, size))
        losses.mean().backward()
        _step(optimizers)
        focus.update(pick, losses.detach().numpy())
        run.seen += batch
        total += losses.mean().item()
        run.average(batch, 5000)
        if (step + 1) % 200 == 0 or step == steps - 1:
            rate = 200 * batch / (time.time() - clock)
            run.log(f"reconstruction {size} seen {run.seen} loss {total / 200:.4f} {rate:.1f} img/s; {focus.worst()}")
            clock, total = time.time(), 0.0
        if (step + 1) % 500 == 0 or step == steps - 1:
            _recentre(run)
            run.save()
            sheet(run, size, f"rec-{size}-{run.seen:07d}.png")


def _optimizers(run: Run, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions and the affine maps, Adam for the rest; `pace` is relative to lr."""
    matrices = [p for p in run.synthesis.parameters() if p.ndim == 2 or (p.ndim == 4 and p.shape[-1] == 3)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in run.synthesis.parameters() if id(p) not in chosen]
    adam = [{"params": [*run.mapping.parameters()], "pace": 20.0}, {"params": rest, "pace": 1.0}]
    return [
        Muon([{"params": matrices, "pace": MUON_PACE}], lr, dtype=run.dtype),
        torch.optim.Adam(adam, lr=lr, betas=(0.9, 0.99), fused=True),
    ]


def _pace(optimizers: list[torch.optim.Optimizer], lr: float, left: float) -> None:
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = group["pace"] * lr * min(1.0, left + 0.02)


def _step(optimizers: list[torch.optim.Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def adversarial(
    run: Run, rgb: np.ndarray, codes: torch.Tensor, size: int, images: int, batch: int, lr: float, r1: float,
    keep: float, decay: float = 1.0, loose: float = 0.5,
) -> None:  # fmt: skip
    """Reconstruction with a patch discriminator against the remaining blur; `keep` weights the reconstruction.

    For the first steps only the discriminator is trained. `loose` more images, as a share of the batch, have no drawing
    to be like.
    """
    discriminator = Discriminator().to(memory_format=torch.channels_last)
    judge = torch.optim.Adam(discriminator.parameters(), 4e-4, (0.5, 0.9), fused=True)
    saved = run.folder / f"game-{size}.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        discriminator.load_state_dict(state["discriminator"])
        judge.load_state_dict(state["judge"])
    optimizers, steps, focus = _optimizers(run, lr), images // batch, Focus(codes.numpy())
    rows, reals = focus.batches(batch, run.seen), focus.batches(batch, run.seen + 1)
    random = torch.Generator().manual_seed(run.seen)
    clock, sums = time.time(), np.zeros(3)
    for step in range(steps):
        _pace(optimizers, lr, (steps - step) / (decay * steps + 1))
        pick = next(rows)
        ws = [_untruncated(run, codes[pick]), _loose(run, round(loose * batch), random)]
        fake = _draw(run, torch.cat(ws), size)
        real = _targets(rgb, next(reals), size)
        every = r1 if step % 16 == 0 else 0.0
        judged = _discriminator_step(discriminator, judge, fake.detach(), real, every, run.dtype)
        discriminator.requires_grad_(False)
        game = F.softplus(-discriminator(fake, run.dtype)).mean()
        differences = _difference(fake[: len(pick)], _targets(rgb, pick, size))
        focus.update(pick, differences.detach().numpy())
        difference = differences.mean()
        (game * (saved.exists() or step >= ALONE) + keep * difference).backward()
        discriminator.requires_grad_(True)
        _step(optimizers)
        run.seen += batch
        run.average(batch, 5000)
        sums += judged, game.item(), difference.item()
        if (step + 1) % 100 == 0:
            rate = 100 * batch / (time.time() - clock)
            d, g, r = sums / 100
            run.log(f"adversarial {size} seen {run.seen} D {d:.3f} G {g:.3f} loss {r:.4f} {rate:.1f} img/s")
            clock, sums = time.time(), np.zeros(3)
        if (step + 1) % 250 == 0 or step == steps - 1:
            _recentre(run)
            run.save()
            torch.save({"discriminator": discriminator.state_dict(), "judge": judge.state_dict()}, saved)
            sheet(run, size, f"adv-{size}-{run.seen:07d}.png")


def _discriminator_step(
    discriminator: Discriminator, optimizer: torch.optim.Optimizer, fake: torch.Tensor, real: torch.Tensor, r1: float,
    dtype: torch.dtype,
) -> float:  # fmt: skip
    loss = F.softplus(discriminator(fake, dtype)).mean() + F.softplus(-discriminator(real, dtype)).mean()
    value = loss.item()
    if r1:
        half = real[: max(8, len(real) // 2)].requires_grad_()
        logits = discriminator(half, dtype)
        (slope,) = torch.autograd.grad(logits.sum(), half, create_graph=True)
        loss = loss + 16 * r1 / 2 * slope.square().sum() / logits.numel()  # averaged over patches
    loss.backward()
    _step([optimizer])
    return value


@torch.no_grad()
def _recentre(run: Run) -> None:
    z = torch.randn(10000, CONFIG.z_dim, generator=torch.Generator().manual_seed(0))
    run.mapping.w_avg.copy_(run.ema["mapping"](z).mean(0))
    run.ema["mapping"].w_avg.copy_(run.mapping.w_avg)


@torch.no_grad()
def sheet(run: Run, size: int, name: str) -> None:
    """Six by six fresh latents through the EMA weights, psi 1 above, psi 0.7 below."""
    z = torch.randn(18, CONFIG.z_dim, generator=torch.Generator().manual_seed(1))
    w = run.ema["mapping"](z)
    w = torch.cat([w, run.mapping.w_avg.lerp(w, 0.7)])
    ws = w[:, None].repeat(1, CONFIG.num_ws, 1)
    image, _ = run.ema["synthesis"](ws, last_layer=2 * (size.bit_length() - 3), noise_mode="none")
    rgb = pixels.to_rgb(image).reshape(4, 9, size, size, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(rgb.reshape(4 * size, 9 * size, 3)).save(run.folder / name)


def main() -> None:
    """Run a stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--stage", choices=("reconstruction", "adversarial"), required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--drawings", type=int, default=36_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--r1", type=float, default=0.01)
    parser.add_argument("--keep", type=float, default=2.0)
    parser.add_argument("--loose", type=float, default=0.5, help="adversarial: images without a drawing, of a batch")
    parser.add_argument(
        "--start",
        type=Path,
        nargs="+",
        default=[],
        help="shipped generators whose weights a new run takes, the last that has them",
    )
    parser.add_argument("--sharpen", type=float, help="how much narrower than written the mapping's ramps shall be")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    args = parser.parse_args()
    run = Run.open(args.run, args.start)
    run.dtype = precision_of(args.precision)
    if args.sharpen is not None:
        run.sharpen(args.sharpen)
    rgb, _ = dataset.cached(args.cache, 0, args.drawings, 128, labels=False)
    codes = torch.from_numpy(dataset.codes(0, args.drawings))
    if args.stage == "reconstruction":
        reconstruct(run, rgb, codes, args.size, args.images, args.batch, args.lr, args.decay)
    else:
        adversarial(run, rgb, codes, args.size, args.images, args.batch, args.lr, args.r1, args.keep,
                    args.decay, args.loose)  # fmt: skip


if __name__ == "__main__":
    main()
