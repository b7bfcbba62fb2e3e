"""Speed and memory ratios; each figure is timed side by side with its baseline, in one run on one machine.

    python -m linsem.lab.bench [MODEL] [--only NAME ...] [--quick] [--json] [--out assets/evidence]

Each figure is a function of the model's name and `quick`; FIGURES lists them in the order of the output. Freed memory
is kept between passes (`linsem.heap`), as in the app.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.fewshot import Annotation, fit_few_shot
from linsem.generator import freeze
from linsem.heap import keep_freed
from linsem.lab import bench_busy, bench_speed, tables
from linsem.lab import evidence_setting as common
from linsem.lab.reference_fewshot import EPOCHS, SEEDS, fit_reference
from linsem.lab.scribble import scribble
from linsem.looks import Looks
from linsem.noise import has_noise
from linsem.settings import Settings
from linsem.studio import Studio

SHOTS, MEMORY_SHOTS = 8, 16
_QUICK_EPOCHS = 2  # of the reference protocol's 50; each takes the same time


def fit_speedup(model: str, quick: bool) -> float:
    """How many times longer the reference protocol takes than our dense fit of the same eight images.

    Both start from latents and labels. `quick` runs some epochs of the reference and multiplies.
    """
    setting = common.setting_of(model, quick=quick)
    annotations = common.annotate(setting, common.random_seeds(SEEDS[0], SHOTS))
    categories = setting.teacher.categories
    ours = [_seconds(lambda: fit_few_shot(setting.generator, annotations, categories, missing="keep"))
            for _ in range(3)]  # fmt: skip
    epochs = _QUICK_EPOCHS if quick else EPOCHS
    reference = _seconds(lambda: fit_reference(setting.generator, annotations, categories, epochs=epochs))
    return reference * (EPOCHS / epochs) / median(ours)


def stroke_in_passes(model: str, quick: bool) -> float:
    """The wait after a stroke, to the new labels of that image, in generator passes of one image of the same size.

    Eight images have strokes and an extractor; one gets another stroke. Features, and what was read off them, are
    cached, the solution is begun from the last one. Strokes do not spread, which `stroke_spread_in_passes` has.
    """
    setting = common.setting_of(model, quick=quick)
    looks = Looks(setting.generator)
    options = {"missing": "keep", "features_of": looks.features, "rows_of": looks.rows, "spread": False}

    def wait(annotations: list[Annotation], start: Extractor | None = None) -> Extractor:
        fitted = fit_few_shot(setting.generator, annotations, setting.teacher.categories, start=start, **options)
        fitted.predict(looks.features(annotations[0].ws))
        return fitted

    return _after_strokes(setting, wait)


def stroke_spread_in_passes(model: str, quick: bool) -> float:
    """The same on the page, where the stroke spreads first and the other images may speak against what it takes."""
    setting = common.setting_of(model, quick=quick)
    studio = Studio(Settings())

    def wait(annotations: list[Annotation], start: Extractor | None = None) -> Extractor:
        ws = [each.ws.numpy() for each in annotations]
        maps = [each.labels for each in annotations]
        fitted = studio.fit(model, ws, maps, setting.teacher.categories, start, spread=True)
        studio.read(model, fitted, ws[:1])
        return fitted

    return _after_strokes(setting, wait)


def _after_strokes(setting: common.Setting, wait: Callable[..., Extractor]) -> float:
    """The median time of `wait` after one more stroke on the first of eight images, in passes of one image."""
    dense = common.annotate(setting, common.random_seeds(SEEDS[0], SHOTS))
    before = [replace(a, labels=scribble(a.labels, 0.01, i)) for i, a in enumerate(dense)]
    start, waits, passes = wait(before), [], []
    for i in range(5):
        more = scribble(dense[0].labels, 0.002, 100 + i)
        stroke = replace(before[0], labels=np.where(more != 255, more, before[0].labels))
        waits.append(_seconds(lambda stroke=stroke: wait([stroke, *before[1:]], start)))
        with torch.no_grad():
            passes.append(_seconds(lambda: setting.generator.synthesize(dense[0].ws[None])))
    return median(waits) / median(passes)


def fit_memory_mb(model: str, quick: bool) -> float:
    """MB that a dense 16-shot fit takes beyond the peak of a pass, on a noisy 256 px StyleGAN2 of 5,376 channels."""
    code = "from linsem.lab.bench import measure_memory; print(measure_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure_memory() -> float:
    """The body of `fit_memory_mb`, run in a process of its own: MB."""
    import resource  # not available on every system

    from linsem.palette import parse_categories
    from linsem.stylegan2 import StyleGAN2, StyleGAN2Config

    torch.manual_seed(0)
    generator = freeze(StyleGAN2(StyleGAN2Config(channels=(512, 512, 512, 512, 512, 256, 128)), id="random"))
    assert sum(layer.channels for layer in generator.layers) == 5376
    for name, strength in generator.named_parameters():
        if name.endswith("noise_strength"):  # as in trained networks, so that the fit also uses fresh noise draws
            strength.fill_(0.1)
    assert has_noise(generator)
    categories = parse_categories([{"name": f"part {k}"} for k in range(12)])
    ws = generator.map(torch.randn(MEMORY_SHOTS, generator.z_dim))
    rows, columns = np.indices(generator.size)
    labels = [((rows * 3 // 256 + 3 * (columns * 4 // 256) + i) % 12).astype(np.uint8) for i in range(MEMORY_SHOTS)]
    annotations = [Annotation(w, each) for w, each in zip(ws, labels, strict=True)]
    with torch.no_grad():
        generator.synthesize(ws[:1], image=False)  # so that the peak of a pass is reached before the fit
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit_few_shot(generator, annotations, categories)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 2**20


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


FIGURES: dict[str, Callable[[str, bool], float]] = {
    "fit_speedup": fit_speedup,
    "stroke_in_passes": stroke_in_passes,
    "stroke_spread_in_passes": stroke_spread_in_passes,
    "fit_memory_mb": fit_memory_mb,
    "busy_edit": bench_busy.busy_edit,
    "busy_edit_by_default": bench_busy.busy_edit_by_default,
} | bench_speed.FIGURES


def main(arguments: list[str] | None = None) -> int:
    """Measure from the command line; returns 2 with a message for a model that cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="avatars-128")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--out", type=Path, help="a folder for the table")
    args = parser.parse_args(arguments)
    if args.out is not None and args.only != list(FIGURES):
        parser.error("--out keeps the whole table: leave --only away")
    keep_freed()
    found = {}
    for name in args.only:
        try:
            found[name] = round(FIGURES[name](args.model, args.quick), 3)
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{name}: {found[name]}", flush=True)
    if args.out is not None:
        rows = [{"figure": name, "value": value, "what": meaning(name)} for name, value in found.items()]
        title = f"Ratios and costs on {args.model}, {torch.get_num_threads()} threads" + " (quick)" * args.quick
        tables.write(tables.Table(tables.stem("bench", args.model), title, found, rows), args.out)
    if args.json:
        print(json.dumps(found), flush=True)
    return 0


def meaning(name: str) -> str:
    """The description of a figure: the first paragraph of its function's docstring."""
    return " ".join((FIGURES[name].__doc__ or "").split("\n\n")[0].split()).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
