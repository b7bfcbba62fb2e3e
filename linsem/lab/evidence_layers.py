"""`evidence layers`: accuracy and cost of an LSE by the layers that it reads."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from linsem.extractor import Extractor
from linsem.generator import Generator
from linsem.lab import evidence_setting as common
from linsem.lab.tables import Plot, Table
from linsem.supervised import Recipe, fit_supervised

_RUNS = 20


def choices(generator: Generator) -> dict[str, tuple[int, ...]]:
    """Sets of layers by name: all up to each size, all beyond it, each single one, every second."""
    layers = generator.layers
    heights = sorted({layer.height for layer in layers})
    named = {f"up to {h} px": tuple(i for i, x in enumerate(layers) if x.height <= h) for h in heights[1:]}
    named |= {f"from {h} px": tuple(i for i, x in enumerate(layers) if x.height >= h) for h in heights[1:]}
    named |= {f"only layer {i}, {x.height} px": (i,) for i, x in enumerate(layers)}
    named["the last of each size"] = tuple(max(i for i, x in enumerate(layers) if x.height == h) for h in heights)
    return named


def run(model: str, *, quick: bool = False, out: Path | None = None) -> Table:
    """One LSE for each set of layers, all trained in one pass over the same images."""
    setting = common.setting_of(model, quick=quick)
    named = choices(setting.generator)
    images = common.QUICK_FULL_IMAGES if quick else common.FULL_IMAGES // 2
    fitted = fit_supervised(
        setting.generator, setting.teacher, recipes={name: Recipe("LSE", chosen) for name, chosen in named.items()},
        images=images, batch=setting.batch, psi=setting.psi,
    )  # fmt: skip
    scores = common.judge(setting, fitted)
    rows, taken = [], costs(setting.generator, fitted)
    for name, chosen in named.items():
        generate, read = taken[name]
        rows.append({
            "layers": name, "mIoU": common.rounded(scores[name].miou),
            "channels": sum(setting.generator.layers[i].channels for i in chosen),
            "generator ms": round(generate, 1), "extractor ms": round(read, 1),
        })  # fmt: skip
    heights = sorted({layer.height for layer in setting.generator.layers})[1:]
    lines = {word: [(float(h), scores[f"{word} {h} px"].miou) for h in heights] for word in ("up to", "from")}
    plot = Plot("Layers that are read", "px", "mIoU", lines)
    values = {name: common.rounded(score.miou) for name, score in scores.items()}
    title = f"Layers of {model}, {images} training images, {setting.images} judged"
    return Table("layers", title, values, rows, {"layers": plot})


@torch.no_grad()
def costs(generator: Generator, extractors: Mapping[str, Extractor]) -> dict[str, tuple[float, float]]:
    """Milliseconds an image of the generator, as far as each extractor needs it, and of the extractor.

    The least of several rounds over all extractors, after one that is not counted, so that what else the machine does
    falls on all alike.
    """
    ws = generator.map(torch.zeros(1, generator.z_dim, device=generator.device))
    least = dict.fromkeys(extractors, (math.inf, math.inf))
    for index in range(1 + _RUNS):
        for name, extractor in extractors.items():
            start = time.perf_counter()
            _, features = generator.synthesize(ws, image=False, last_layer=extractor.last_layer)
            middle = time.perf_counter()
            extractor.predict(features)
            taken = 1000 * (middle - start), 1000 * (time.perf_counter() - middle)
            if index:
                least[name] = tuple(map(min, least[name], taken))
    return least
