"""`evidence sample`: sampling for layouts of held-out drawings, by this library, the reference, and the teacher.

"Realism" is the share of the results that look, to the teacher's features, like some image that the generator draws by
itself (the precision of Kynkäänniemi et al., 2019, among REAL of its images at psi 1): an optimisation can obey a
layout by leaving everything that the generator draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from linsem import conditional, pixels
from linsem.generator import Generator, batches, seed_z
from linsem.lab import drawings, reference_steer, sheets, steer_judge
from linsem.lab.distribution import precision_recall
from linsem.lab.quality import features
from linsem.lab.tables import Table, kept, stem
from linsem.metrics import class_iou, paper_iou
from linsem.palette import colorize
from linsem.steer import teacher_segmenter
from linsem.teacher import Teacher, load_teacher
from linsem.zoo import load_generator

RESULTS = 4
FIRST_LAYOUT = drawings.HELD_OUT + 50_000
BANK = 1000
Method = Callable[[np.ndarray, int], torch.Tensor]
REAL, FIRST_REAL = 1000, 20_000_000  # images of the generator's own, of seeds that neither a bank nor a fit here has
WAYS = ("ours", "starts", "reference", "reference_w", "teacher")
_NAMES = {
    "starts": "ours, without a step", "reference_w": "reference, in w",
    "ours_as_teacher": "ours, on the same layouts as through the teacher",
}  # fmt: skip


def methods(generator: Generator, teacher: Teacher, *, steps: int, inits: int, bank: int) -> dict[str, Method]:
    """Each method, as a function from (layout, index of the layout) to images (RESULTS, 3, H, W).

    Each of ours draws a bank of its own with the first layout, so that its seconds include one.
    """
    few = steer_judge.few_shot(generator, teacher)

    def ours(**how: int) -> Method:
        made: list[conditional.Bank] = []

        def run(layout: np.ndarray, index: int) -> torch.Tensor:
            if not made:
                made.append(conditional.make_bank(generator, few, range(bank)))
            results = conditional.sample(generator, few, layout, RESULTS, bank=made[0], **how)
            return torch.stack([each.image for each in results])

        return run

    def by_reference(segmenter: object, **how: bool) -> Method:
        def run(layout: np.ndarray, index: int) -> torch.Tensor:
            first = [(index * RESULTS + i) * inits for i in range(RESULTS)]
            options = {"inits": inits, "steps": steps, **how}
            found = [reference_steer.sample(generator, segmenter, layout, seed, **options).ws for seed in first]
            with torch.no_grad():
                return generator.synthesize(torch.cat(found))[0]

        return run

    return {
        "ours": ours(), "starts": ours(steps=0), "reference": by_reference(few),
        "reference_w": by_reference(few, in_w=True), "teacher": by_reference(teacher_segmenter(teacher)),
    }  # fmt: skip


def diversity(images: torch.Tensor) -> float:
    """The mean absolute difference between pairs of a layout's results, in 0..255."""
    images = images.clamp(-1, 1)
    return float(np.mean([(a - b).abs().mean() * 127.5 for a, b in combinations(images, 2)]))


@torch.no_grad()
def own_images(generator: Generator, count: int) -> Iterator[torch.Tensor]:
    """What the generator draws by itself, in batches, of other seeds than a bank has."""
    for part in batches(count, 8):
        seeds = range(FIRST_REAL + part.start, FIRST_REAL + part.stop)
        yield generator.synthesize(generator.map(seed_z(generator, seeds), psi=1.0))[0]


@dataclass
class _Tally:
    """The figures of a method, layout by layout."""

    ious: list[torch.Tensor] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    features: list[torch.Tensor] = field(default_factory=list)

    def row(self, real: torch.Tensor, layouts: int | None = None) -> dict[str, float | str]:
        """The figures over the first `layouts` (default: all); seconds, which share a bank, only over all.

        `real` are the features of the generator's own images.
        """
        count = layouts or len(self.ious)
        seconds = "" if layouts else round(sum(self.seconds) / (count * RESULTS), 3)
        return {
            "layouts": count,
            "miou": round(float(np.nanmean(class_iou(torch.cat(self.ious[:count])).numpy())), 4),
            "seconds": seconds,
            "diversity": round(float(np.mean(self.spread[:count])), 2),
            "realism": round(precision_recall(torch.cat(self.features[:count]), real)[0], 3),
        }


def run(
    model: str, *, quick: bool = False, out: Path | None = None, count: int | None = None,
    only: Sequence[str] | None = None,
) -> Table:  # fmt: skip
    """The table of `count` layouts (default: 100, `quick`: 6); with `out` also a sheet of 12 layouts by 4 results.

    Seconds are per result and include the bank's share. The slow optimisation through the teacher runs on the first
    quarter of the layouts only (at least six), for which ours is reported as well. With `only`, some methods are run,
    and the others' rows are taken from the table in `out`.
    """
    generator, teacher = load_generator(model), load_teacher(model)
    count = count or (6 if quick else 100)
    fewer = min(count, max(6, count // 4))
    layouts = [drawings.render_seed(FIRST_LAYOUT + i, generator.size[0])[1] for i in range(count)]
    setting = {"steps": reference_steer.STEPS, "inits": 20 if quick else 100, "bank": 200 if quick else BANK}
    real = features(teacher, own_images(generator, REAL // 5 if quick else REAL))
    title = f"{count} layouts of held-out drawings on {model}, {RESULTS} results each, judged by the teacher"
    table = kept(out, stem("sample", model), title)[0] if only else {}
    tallies, rows = {}, []
    ways = methods(generator, teacher, **setting)
    for name, method in ways.items():
        if only and name not in only:
            continue
        tally = tallies[name] = _Tally()
        for index, layout in enumerate(layouts[: fewer if name == "teacher" else count]):
            clock = time.monotonic()
            images = method(layout, index)
            tally.seconds.append(time.monotonic() - clock)
            target = torch.from_numpy(layout)[None].expand(len(images), -1, -1)
            tally.ious.append(paper_iou(teacher(images), target, len(teacher.categories)))
            tally.spread.append(diversity(images))
            tally.features.append(features(teacher, iter([images])))
            if name == "ours" and index < 12:
                rows.append([colorize(layout, teacher.categories), *pixels.to_rgb(images)])
        print(f"{name}: {tally.row(real)}", flush=True)
    table |= {name: tally.row(real) for name, tally in tallies.items()}
    if fewer < count and "ours" in tallies:
        table["ours_as_teacher"] = tallies["ours"].row(real, fewer)
    if out is not None and rows:
        out.mkdir(parents=True, exist_ok=True)
        sheets.save(sheets.grid(rows), out / f"{stem('layouts', model)}.png")
    table = {name: table[name] for name in (*ways, "ours_as_teacher") if name in table}
    return Table("sample", title, table, [{"method": _NAMES.get(k, k), **values} for k, values in table.items()])
