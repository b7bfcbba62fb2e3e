"""`evidence removal`: categories removed from generated images, and what the teacher still finds of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from linsem import pixels
from linsem.bank import make_bank
from linsem.categories import names_of
from linsem.edit import SAMPLES, EditResult
from linsem.edit_maps import grown, outside_change
from linsem.extractor import Extractor, load_extractor
from linsem.generator import Generator, seed_z
from linsem.jump import make_atlas
from linsem.lab import sheets, steer_judge
from linsem.lab.tables import Table, kept, stem
from linsem.removal import remove
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import load_generator

PSI, FIRST_SEED = 0.7, 25_000  # as on the page
REMOVED = ("hat", "glasses", "facial hair")
LEAST = 0.005  # of the image: a category that covers less of it is not removed
SEARCHED = 20  # images looked through for each removal, at most
GONE = 0.8  # of a category, by the teacher: from here on a removal is done, if the rest changed little
WAYS = ("ours", "few", "guesses", "nothing")
_NAMES = {
    "ours": "as a similar sample shows it",
    "few": "the same, extractor of 8 images",
    "guesses": "the next most likely categories",
    "nothing": "nothing done",
}


@dataclass(frozen=True, eq=False)
class Case:
    """A removal: the category's name, the image (1, 3, H, W) and its ws (num_ws, w_dim), the teacher's labels."""

    category: str
    ws: torch.Tensor
    before: torch.Tensor
    labels: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What became of a removal: the shares that are gone by the extractor and by the teacher, and the change around."""

    category: str
    gone: float
    by_teacher: float
    outside: float
    seconds: float

    @property
    def done(self) -> bool:
        """Whether the teacher finds the category gone and the rest hardly changed."""
        return self.by_teacher >= GONE and self.outside < steer_judge.DONE_CHANGE


Method = Callable[[Case], EditResult]


def cases(generator: Generator, teacher: Teacher, extractors: Sequence[Extractor], count: int) -> list[Case]:
    """The first `count` images from FIRST_SEED on of each category, in which the teacher and all extractors find it."""
    names, found = names_of(teacher.categories), {name: [] for name in REMOVED}
    for seed in range(FIRST_SEED, FIRST_SEED + SEARCHED * count):
        ws = generator.map(seed_z(generator, [seed]), PSI)
        with torch.no_grad():
            image, features = generator.synthesize(ws)
        labels = teacher(image)[0].cpu().numpy()
        read = [each.predict(features)[0] for each in extractors]
        for name, own in found.items():
            least = min((each == names.index(name)).mean() for each in (labels, *read))
            if least >= LEAST and len(own) < count:
                own.append(Case(name, ws[0], image, labels))
        if all(len(own) == count for own in found.values()):
            return [case for row in zip(*found.values(), strict=True) for case in row]
    raise ValueError(f"removal: only {[len(own) for own in found.values()]} of {count} images fit")


def methods(generator: Generator, full: Extractor, few: Extractor, steps: int) -> dict[str, Method]:
    """Each method of the table, as a function from a case to the edited image."""

    def by_sample(extractor: Extractor) -> Method:
        atlas = make_atlas(generator, make_bank(generator, extractor, range(SAMPLES)))
        return lambda case: remove(generator, extractor, case.ws, case.category, steps=steps, atlas=atlas)

    def nothing(case: Case) -> EditResult:
        return EditResult(case.before, case.labels, case.ws, {"gone": 0.0})

    return {
        "ours": by_sample(full),
        "few": by_sample(few),
        "guesses": lambda case: remove(generator, full, case.ws, case.category, steps=steps, atlas=False),
        "nothing": nothing,
    }


def judged(teacher: Teacher, case: Case, result: EditResult, seconds: float) -> Verdict:
    """The verdict on a removal."""
    k = names_of(teacher.categories).index(case.category)
    had = case.labels == k
    left = (teacher(result.image)[0].cpu().numpy() == k).sum() / had.sum()
    outside = outside_change(result.image, case.before, grown(grown(had)))
    return Verdict(case.category, float(result.report["gone"]), float(max(0.0, 1 - left)), outside, seconds)


def run(
    model: str, *, quick: bool = False, out: Path | None = None, steps: int = 50, count: int | None = None,
    only: Sequence[str] | None = None,
) -> Table:  # fmt: skip
    """The table of `count` removals of each category (default: 20, `quick`: 4); with `out` also a sheet of 24.

    With `only`, some methods are run, and the others' rows are taken from the table in `out`.
    """
    generator, teacher = load_generator(model), load_teacher(model)
    full, few = load_extractor(generator.id, generator), steer_judge.few_shot(generator, teacher)
    todo = cases(generator, teacher, (full, few), count or (4 if quick else 20))
    title = (
        f"{len(todo)} removals on {model}, {steps} steps, judged by the teacher (done: {GONE:.0%} of the category gone "
        f"and a change elsewhere under {steer_judge.DONE_CHANGE} of 255)"
    )
    table = kept(out, stem("removal", model), title)[0] if only else {}
    ways, images = methods(generator, full, few, steps), {}
    for name, method in ways.items():
        if only and name not in only:
            continue
        verdicts, images[name] = [], []
        for case in todo:
            clock = time.monotonic()
            result = method(case)
            verdicts.append(judged(teacher, case, result, time.monotonic() - clock))
            images[name].append(pixels.to_rgb(result.image)[0])
        table[name] = _summary(verdicts)
        print(f"{name}: {table[name]}", flush=True)
    if out is not None and {"ours", "guesses", "nothing"} <= set(images):
        columns = [list(each) for each in zip(images["nothing"], images["guesses"], images["ours"], strict=True)][:24]
        out.mkdir(parents=True, exist_ok=True)
        sheets.save_columns(columns, out / f"{stem('removals', model)}.png", per_row=12)
    table = {name: table[name] for name in ways if name in table}
    return Table("removal", title, table, [{"asked for": _NAMES[name], **row} for name, row in table.items()])


def _summary(verdicts: list[Verdict]) -> dict[str, float]:
    """The mean of each figure, and the share of removals that are done, also of each category."""

    def done(name: str) -> float:
        return round(float(np.mean([v.done for v in verdicts if v.category == name])), 3)

    return {
        "removals": len(verdicts),
        "gone by the labels": round(float(np.mean([v.gone for v in verdicts])), 4),
        "gone by the teacher": round(float(np.mean([v.by_teacher for v in verdicts])), 4),
        "change elsewhere": round(float(np.mean([v.outside for v in verdicts])), 3),
        "done": round(float(np.mean([v.done for v in verdicts])), 3),
        **{f"done, {name}": done(name) for name in dict.fromkeys(v.category for v in verdicts)},
        "seconds": round(float(np.mean([v.seconds for v in verdicts])), 2),
    }
