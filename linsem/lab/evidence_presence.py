"""`evidence presence`: categories taken out of generated images, or brought in, judged by the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from linsem import pixels
from linsem.asked import ask_for
from linsem.bank import make_bank
from linsem.categories import names_of
from linsem.edit import SAMPLES, EditResult
from linsem.errors import InputError
from linsem.extractor import Extractor, load_extractor
from linsem.generator import Generator, seed_z
from linsem.jump import Atlas, make_atlas
from linsem.lab import sheets, steer_judge
from linsem.lab.tables import Table, kept, stem
from linsem.presence import add, plan_addition, remove
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import load_generator

PSI, FIRST_SEED = 0.7, 25_000  # as on the page
CATEGORIES = ("hat", "glasses", "facial hair", "hair")
LEAST = 0.005  # of the image: a category that covers less of it is not taken out
SEARCHED = 400  # images looked through at most
DONE = 0.8  # of a category gone, or of the shape that was wished for there, by the teacher, if the rest changed little
SHEET = 24
_NAMES = {
    "remove": "remove: as a similar sample shows it",
    "remove_few": "remove: the same, extractor of 8 images",
    "remove_guessed": "remove: the next most likely categories",
    "add": "add: as a similar sample shows it",
    "add_few": "add: the same, extractor of 8 images",
}
WAYS = tuple(_NAMES)


@dataclass(frozen=True, eq=False)
class Case:
    """A category to take out of an image, or to bring in.

    `ws` (num_ws, w_dim) and `before` (1, 3, H, W) are the image's, and `area` is what the teacher finds of the category
    in it, in pixels.
    """

    category: str
    ws: torch.Tensor
    before: torch.Tensor
    area: int


@dataclass(frozen=True)
class Verdict:
    """What became of a case: how far it went by the labels and by the teacher, the change around, and the seconds."""

    category: str
    by_labels: float
    by_teacher: float
    outside: float
    seconds: float

    @property
    def done(self) -> bool:
        """Whether the teacher finds it done, and the rest hardly changed."""
        return self.by_teacher >= DONE and self.outside < steer_judge.DONE_CHANGE


Outcome = tuple[EditResult, np.ndarray]  # of an addition also the pixels (H, W) bool for which it was wished
Method = Callable[[Case], Outcome]


def cases(
    generator: Generator, teacher: Teacher, extractors: Sequence[Extractor], count: int
) -> tuple[list[Case], list[Case]]:
    """The first `count` images from FIRST_SEED on of each category that have it, and as many that lack it.

    By the teacher and by all extractors.
    """
    names = names_of(teacher.categories)
    if not set(CATEGORIES) <= set(names):
        raise InputError(f"presence: expected a teacher that finds {', '.join(CATEGORIES)}, got {', '.join(names)}")
    found = {(name, there): [] for name in CATEGORIES for there in (True, False)}
    for seed in range(FIRST_SEED, FIRST_SEED + SEARCHED):
        ws = generator.map(seed_z(generator, [seed]), PSI)
        with torch.no_grad():
            image, features = generator.synthesize(ws)
        maps = [teacher(image)[0].cpu().numpy(), *(each.predict(features)[0] for each in extractors)]
        for name in CATEGORIES:
            shares = [(each == names.index(name)).mean() for each in maps]
            area = int((maps[0] == names.index(name)).sum())
            if min(shares) >= LEAST or max(shares) == 0:
                found[name, area > 0].append(Case(name, ws[0], image, area))
        if all(len(own) >= count for own in found.values()):
            break
    else:
        raise ValueError(f"presence: only {[len(own) for own in found.values()]} of {count} images fit")

    def chosen(there: bool) -> list[Case]:
        rows = zip(*(found[name, there][:count] for name in CATEGORIES), strict=True)
        return [each for row in rows for each in row]

    return chosen(True), chosen(False)


def methods(generator: Generator, full: Extractor, few: Extractor, steps: int) -> dict[str, Method]:
    """Each row of the table, as a function from a case to the edited image."""

    @lru_cache
    def atlas(few_shot: bool) -> Atlas:
        return make_atlas(generator, make_bank(generator, few if few_shot else full, range(SAMPLES)))

    def removed(case: Case, few_shot: bool = False, guessed: bool = False) -> Outcome:
        extractor, samples = few if few_shot else full, False if guessed else atlas(few_shot)
        result = remove(generator, extractor, case.ws, case.category, steps=steps, atlas=samples)
        return result, np.zeros(0, bool)

    def added(case: Case, few_shot: bool = False) -> Outcome:
        extractor, samples = few if few_shot else full, atlas(few_shot)
        asked = ask_for(generator, extractor, case.ws, case.category)
        wished = plan_addition(asked, samples).wish.target == asked.category
        return add(generator, extractor, case.ws, case.category, steps=steps, atlas=samples), wished

    return {
        "remove": removed,
        "remove_few": partial(removed, few_shot=True),
        "remove_guessed": partial(removed, guessed=True),
        "add": added,
        "add_few": partial(added, few_shot=True),
    }


def judged(teacher: Teacher, case: Case, result: EditResult, wished: np.ndarray) -> Verdict:
    """The verdict on a case: of a removal if the image showed the category, else of an addition."""
    found = teacher(result.image)[0].cpu().numpy() == names_of(teacher.categories).index(case.category)
    by_teacher = max(0.0, 1 - found.sum() / case.area) if case.area else found[wished].mean()
    report = result.report
    by_labels = report["gone" if case.area else "there"]
    return Verdict(
        case.category, float(by_labels), float(by_teacher), float(report["outside_change"]), float(report["seconds"])
    )


def run(
    model: str, *, quick: bool = False, out: Path | None = None, steps: int = 50, count: int | None = None,
    only: Sequence[str] | None = None,
) -> Table:  # fmt: skip
    """The table of `count` images for each category (default: 15, `quick`: 3); with `out` also two sheets.

    With `only`, some methods are run, and the others' rows are taken from the table in `out`.
    """
    generator, teacher = load_generator(model), load_teacher(model)
    full, few = load_extractor(generator.id, generator), steer_judge.few_shot(generator, teacher)
    showing, lacking = cases(generator, teacher, (full, few), count or (3 if quick else 15))
    title = (
        f"Categories taken out of {len(showing)} images of {model}, and brought into {len(lacking)}, {steps} steps, "
        f"judged by the teacher (done: {DONE:.0%} of it, and a change elsewhere under {steer_judge.DONE_CHANGE} of 255)"
    )
    table = kept(out, stem("presence", model), title)[0] if only else {}
    ways, images = methods(generator, full, few, steps), {}
    for name, method in ways.items():
        if only and name not in only:
            continue
        verdicts, images[name] = [], []
        todo = showing if name.startswith("remove") else lacking
        for case in todo:
            result, wished = method(case)
            verdicts.append(judged(teacher, case, result, wished))
            images[name].append(pixels.to_rgb(result.image)[0])
        table[name] = _summary(verdicts)
        print(f"{name}: {table[name]}", flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _sheet(
            showing, [images.get(name) for name in ("remove_guessed", "remove")], out / f"{stem('removed', model)}.png"
        )
        _sheet(lacking, [images.get("add")], out / f"{stem('added', model)}.png")
    table = {name: table[name] for name in ways if name in table}
    return Table("presence", title, table, [{"way": _NAMES[name], **row} for name, row in table.items()])


def _sheet(todo: Sequence[Case], images: Sequence[list[np.ndarray] | None], path: Path) -> None:
    """The first cases, each above what became of it by each way, if all ways were run."""
    if all(each is not None for each in images):
        before = [pixels.to_rgb(case.before)[0] for case in todo]
        columns = [list(each) for each in zip(before, *images, strict=True)]
        sheets.save_columns(columns[:SHEET], path, per_row=SHEET // 2)


def _summary(verdicts: list[Verdict]) -> dict[str, float]:
    """The mean of each figure, and the share that is done, also of each category."""

    def done(name: str) -> float:
        return round(float(np.mean([v.done for v in verdicts if v.category == name])), 3)

    return {
        "images": len(verdicts),
        "by the labels": round(float(np.mean([v.by_labels for v in verdicts])), 4),
        "by the teacher": round(float(np.mean([v.by_teacher for v in verdicts])), 4),
        "change elsewhere": round(float(np.mean([v.outside for v in verdicts])), 3),
        "done": round(float(np.mean([v.done for v in verdicts])), 3),
        **{f"done, {name}": done(name) for name in dict.fromkeys(v.category for v in verdicts)},
        "seconds": round(float(np.mean([v.seconds for v in verdicts])), 2),
    }
