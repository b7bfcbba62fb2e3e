"""Speed figures of `linsem.lab.bench`: the latent loop against a bare pass, the bank, and the synthesis."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from linsem import conditional
from linsem import steer as loop
from linsem.extractor import load_extractor
from linsem.generator import freeze, seed_z
from linsem.lab import plain_stylegan2
from linsem.stylegan2 import StyleGAN2, StyleGAN2Config
from linsem.zoo import load_generator

BANK = 1000


def step_overhead(model: str, quick: bool) -> float:
    """A step of the loop (agreement and closeness, the extractor's layers) against a bare forward and backward pass.

    Both move four latents; the bare pass sums the last feature map that the extractor reads.
    """
    generator = load_generator(model)
    extractor = load_extractor(model, generator)
    ws = generator.map(seed_z(generator, range(4)))
    with torch.no_grad():
        target = extractor.predict(generator.synthesize(generator.map(seed_z(generator, [9])))[1])[0]
    steps = loop.steer(generator, extractor, ws, loop.Wish(target), steps=10_000, weights=loop.Weights(close=1e-3))
    latent = ws.clone().requires_grad_(True)

    def bare() -> None:
        _, features = generator.synthesize(latent, image=False, last_layer=extractor.last_layer)
        features[-1].sum().backward()
        latent.grad = None

    return _ratio(lambda: next(steps), bare, 6 if quick else 20)


def bank_ms(model: str, quick: bool) -> float:
    """Milliseconds from a new layout to the four best starts that are unlike each other, of a bank of 1,000 seeds."""
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 11, (BANK, 8, 8), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    colors = rng.integers(0, 256, (BANK, 8, 8, 3), dtype=np.uint8)
    bank = conditional.Bank(tuple(range(BANK)), maps, 1.0, None, colors)
    layouts = rng.integers(0, 11, (12, 16, 16), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    clocks = [_seconds(lambda layout=layout: conditional.choose_starts(bank, layout, 4)) for layout in layouts]
    return median(clocks) * 1e3


def synthesis_speedup_256(model: str, quick: bool) -> float:
    """How many times faster a StyleGAN2 (config-f, random weights) draws at 256 px than the plain implementation."""
    return synthesis_speedup(256, 2 if quick else 6)


def synthesis_speedup_256_of_four(model: str, quick: bool) -> float:
    """The same at 256 px for four images at once."""
    return synthesis_speedup(256, 1 if quick else 4, batch=4)


def synthesis_speedup_1024(model: str, quick: bool) -> float:
    """The same at 1024 px for one image."""
    return synthesis_speedup(1024, 1 if quick else 3)


def synthesis_speedup_1024_of_four(model: str, quick: bool) -> float:
    """The same at 1024 px for four images at once."""
    return synthesis_speedup(1024, 1 if quick else 2, batch=4)


def bfloat16_speedup_256(model: str, quick: bool) -> float:
    """How many times faster the same network draws at 256 px in bfloat16 than in float32."""
    network, ws = random_network(256, 1)
    with torch.inference_mode():
        rough = partial(network.synthesize, ws, dtype=torch.bfloat16)
        return _ratio(lambda: network.synthesize(ws), rough, 2 if quick else 6)


def bfloat16_error_256(model: str, quick: bool) -> float:
    """What bfloat16 costs at 256 px: the root mean square of the error, over that of the image about its mean."""
    network, ws = random_network(256, 1 if quick else 4)
    with torch.inference_mode():
        exact, rough = (network.synthesize(ws, dtype=dtype)[0] for dtype in (torch.float32, torch.bfloat16))
    return float((rough - exact).square().mean().sqrt() / exact.std())


def synthesis_speedup(size: int, rounds: int, batch: int = 1) -> float:
    """The plain implementation's time over that of `linsem.stylegan2`, float32, the median of paired runs.

    Each uses the weights in the memory format that suits it.
    """
    network, ws = random_network(size, batch)
    plain, _ = random_network(size, batch, laid_out=False)
    with torch.inference_mode():
        return _ratio(lambda: plain_stylegan2.synthesize(plain, ws), lambda: network.synthesize(ws), rounds)


def random_network(size: int, batch: int, *, laid_out: bool = True) -> tuple[StyleGAN2, torch.Tensor]:
    """A StyleGAN2 of config-f with random weights, laid out as after loading or not, and the ws of some images."""
    torch.manual_seed(0)
    channels = tuple(min(512, 32768 // (4 * 2**k)) for k in range(size.bit_length() - 2))
    network = freeze(StyleGAN2(StyleGAN2Config(channels=channels)))
    network = network.lay_out() if laid_out else network
    return network, network.map(seed_z(network, range(batch)))


def _ratio(first: Callable[[], object], second: Callable[[], object], rounds: int) -> float:
    """The median ratio of first to second, run alternately after a warm-up."""
    first(), second()
    return median(_seconds(first) / _seconds(second) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


FIGURES = {
    "step_overhead": step_overhead,
    "bank_ms": bank_ms,
    "synthesis_speedup_256": synthesis_speedup_256,
    "synthesis_speedup_256_of_four": synthesis_speedup_256_of_four,
    "synthesis_speedup_1024": synthesis_speedup_1024,
    "synthesis_speedup_1024_of_four": synthesis_speedup_1024_of_four,
    "bfloat16_speedup_256": bfloat16_speedup_256,
    "bfloat16_error_256": bfloat16_error_256,
}
