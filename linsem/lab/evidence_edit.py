"""`evidence edit`: scripted edits by this library, the reference protocol and the baselines, judged by the teacher."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from linsem import pixels
from linsem.conditional import make_bank
from linsem.errors import InputError
from linsem.extractor import Extractor, load_extractor
from linsem.generator import Generator, seed_z
from linsem.jump import Atlas, make_atlas
from linsem.lab import edits, reference_steer, sheets, steer_judge
from linsem.lab.tables import Table, kept, stem
from linsem.palette import overlay
from linsem.pixels import IGNORE
from linsem.steer import teacher_segmenter
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import load_generator

editing = importlib.import_module("linsem.edit")  # the attribute `linsem.edit` is the function
PSI = 1.0  # the reference protocol does not truncate
FIRST_SEED = 20_000
_NAMES = {
    "ours_others": "ours, extractors of eight random images",
    "ours_full": "ours, full LSE",
    "ours_as_teacher": "ours, on the same edits as through the teacher",
    "ours_alone": "ours, no samples to start from",
    "reference": "reference, rate of its web app",
    "reference_full": "reference, rate of its web app, full LSE",
    "reference_w": "reference, in w",
    "reference_w_full": "reference, in w, full LSE",
    "reference_slow": "reference, rate of its batch script",
    "nothing": "nothing done",
}


@dataclass(frozen=True)
class Case:
    """One scripted edit: the image's seed, the target, the region, and the original image."""

    seed: int
    name: str
    target: np.ndarray
    region: np.ndarray
    z: torch.Tensor
    ws: torch.Tensor
    before: torch.Tensor


def cases(generator: Generator, teacher: Teacher, count: int) -> list[Case]:
    """The first `count` edits that fit the images from FIRST_SEED on."""
    maps = steer_judge.label_images(generator, teacher, range(FIRST_SEED, FIRST_SEED + 3 * count + 40), PSI)
    grow = max(1, round(editing.GROW * generator.size[0]))
    made = []
    for seed, name, target in edits.scripted(maps, count):
        z = seed_z(generator, [seed])
        ws = generator.map(z, PSI)
        with torch.no_grad():
            before, _ = generator.synthesize(ws)
        made.append(Case(seed, name, target, editing.region_of(target != IGNORE, grow), z, ws, before))
    return made


Method = Callable[[Case], torch.Tensor]
WAYS = (
    "ours", "ours_others", "ours_full", "ours_alone", "reference", "reference_slow", "reference_full", "reference_w",
    "reference_w_full", "colour", "teacher", "nothing",
)  # fmt: skip


def methods(generator: Generator, teacher: Teacher, steps: int) -> dict[str, Method]:
    """Each method of the table, as a function from a case to the edited image."""
    few = steer_judge.few_shot(generator, teacher)
    full = load_extractor(generator.id, generator)
    segment = teacher_segmenter(teacher)

    @cache
    def atlas(extractor: Extractor) -> Atlas:
        return make_atlas(generator, make_bank(generator, extractor, range(editing.SAMPLES)))

    def ours(case: Case, extractor: Extractor = few, alone: bool = False) -> torch.Tensor:
        asked = (generator, extractor, case.ws[0], case.target, case.region)
        return editing.edit(*asked, steps=steps, atlas=not alone and atlas(extractor)).image

    @cache
    def others() -> list[Extractor]:
        return steer_judge.others(generator, teacher)

    def by_others(case: Case) -> torch.Tensor:
        try:
            return ours(case, others()[case.seed % len(others())])
        except InputError:  # none of its images showed the category, so it cannot be asked for
            return case.before

    def reference(case: Case, extractor: Extractor = few, lr: float = reference_steer.LR) -> torch.Tensor:
        predicted = _predicted(generator, extractor, case)
        step = reference_steer.edit(generator, extractor, case.z, case.target, predicted, steps=steps, lr=lr)
        return _image(generator, step.ws)

    def reference_in_w(case: Case, extractor: Extractor = few) -> torch.Tensor:
        predicted = _predicted(generator, extractor, case)
        step = reference_steer.edit_in_w(generator, extractor, case.ws, case.target, predicted, steps=steps)
        return _image(generator, step.ws)

    def through_teacher(case: Case) -> torch.Tensor:
        predicted = teacher(case.before)[0].numpy()
        step = reference_steer.edit(generator, segment, case.z, case.target, predicted, steps=steps)
        return _image(generator, step.ws)

    colors = mean_colors(generator, teacher)

    def by_color(case: Case) -> torch.Tensor:
        mask = case.target != IGNORE
        paint = colors(case)[np.where(mask, case.target, 0)]
        return _image(generator, reference_steer.edit_by_color(generator, few, case.z, paint, mask, steps=steps).ws)

    return {
        "ours": ours, "ours_others": by_others, "ours_full": partial(ours, extractor=full),
        "ours_alone": partial(ours, alone=True), "reference": reference,
        "reference_slow": partial(reference, lr=reference_steer.SLOW),
        "reference_full": partial(reference, extractor=full), "reference_w": reference_in_w,
        "reference_w_full": partial(reference_in_w, extractor=full),
        "colour": by_color, "teacher": through_teacher,
        "nothing": lambda case: case.before,
    }  # fmt: skip


def mean_colors(generator: Generator, teacher: Teacher) -> Callable[[Case], np.ndarray]:
    """(K, 3) uint8: a category's mean colour in the image itself, else over other images, as a user would pick."""
    count = len(teacher.categories)
    with torch.no_grad():
        image, _ = generator.synthesize(generator.map(seed_z(generator, range(24)), PSI))
    fallback = _colors_in(pixels.to_rgb(image), teacher(image).numpy(), count, np.full((count, 3), 128.0))

    def colors(case: Case) -> np.ndarray:
        return _colors_in(pixels.to_rgb(case.before), teacher(case.before).numpy(), count, fallback).astype(np.uint8)

    return colors


def _colors_in(rgb: np.ndarray, labels: np.ndarray, count: int, fallback: np.ndarray) -> np.ndarray:
    table = fallback.astype(np.float64).copy()
    for k in range(count):
        if (labels == k).sum() >= 8:
            table[k] = rgb[labels == k].mean(0)
    return table


@torch.no_grad()
def _predicted(generator: Generator, extractor: Extractor, case: Case) -> np.ndarray:
    return extractor.predict(generator.synthesize(case.ws)[1])[0]


def _image(generator: Generator, ws: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return generator.synthesize(ws)[0]


def run(
    model: str, *, quick: bool = False, out: Path | None = None, steps: int = 50, count: int | None = None,
    only: Sequence[str] | None = None,
) -> Table:  # fmt: skip
    """The table of `count` edits (default: 100, `quick`: 14); with `out` also a sheet of 24 uncurated edits.

    The sheet shows before, target and after. The slow optimisation through the teacher runs on the first quarter of the
    edits only (at least fourteen), for which ours is reported as well. With `only`, some methods are run, and the
    others' rows are taken from the table in `out`.
    """
    generator, teacher = load_generator(model), load_teacher(model)
    todo = cases(generator, teacher, count or (14 if quick else 100))
    fewer = min(len(todo), max(14, len(todo) // 4))
    title = (
        f"{len(todo)} scripted edits on {model}, {steps} steps, judged by the teacher (done: agreement over "
        f"{steer_judge.DONE_AGREEMENT} and a change outside under {steer_judge.DONE_CHANGE} of 255)"
    )
    verdicts, rows = {}, []
    table = kept(out, stem("edit", model), title)[0] if only else {}
    ways = methods(generator, teacher, steps)
    for name, method in ways.items():
        if only and name not in only:
            continue
        part = todo[:fewer] if name == "teacher" else todo
        images = [method(case) for case in part]
        verdicts[name] = [
            steer_judge.judge(teacher, case.before, after, case.target, case.region)
            for case, after in zip(part, images, strict=True)
        ]
        print(f"{name}: {steer_judge.summary(verdicts[name])}", flush=True)
        if name == "ours":
            rows = [_row(case, after, teacher) for case, after in zip(todo[:24], images, strict=False)]
    if fewer < len(todo) and "ours" in verdicts:
        verdicts["ours_as_teacher"] = verdicts["ours"][:fewer]
    if out is not None and rows:
        out.mkdir(parents=True, exist_ok=True)
        sheets.save_columns(rows, out / f"{stem('edits', model)}.png", per_row=6)
    table |= {name: {"edits": len(each), **steer_judge.summary(each)} for name, each in verdicts.items()}
    table = {name: table[name] for name in (*ways, "ours_as_teacher") if name in table}
    return Table("edit", title, table, [{"method": _NAMES.get(k, k), **values} for k, values in table.items()])


def _row(case: Case, after: torch.Tensor, teacher: Teacher) -> list[np.ndarray]:
    before = pixels.to_rgb(case.before)[0]
    wish = overlay(before, case.target, teacher.categories, 0.75)
    return [before, wish, pixels.to_rgb(after)[0]]
