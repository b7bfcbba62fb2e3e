"""Edits for many users: as `linsem.edit` and `linsem.presence`, with the samples of each extractor drawn only once."""

from __future__ import annotations

import time
from collections.abc import Generator as Yielding
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from linsem.asked import Asked, ask_for
from linsem.bank import Banks, bank_key
from linsem.categories import names_of
from linsem.edit import SAMPLES, EditPlan, EditResult, affordable, iter_planned, plan_edit, wants_atlas
from linsem.edit_plan import EditError
from linsem.extractor import Extractor
from linsem.frames import EditFrame
from linsem.generator import Generator
from linsem.jump import Atlas, make_atlas
from linsem.pixels import to_rgb
from linsem.presence import adding, removing
from linsem.recent import Recent
from linsem.steer import check_steps

BYTES = 16 << 20  # of atlases in memory, a megabyte each where all layers share a w


class Edits:
    """Edits, one frame per step; before the first one there are frames while samples are drawn (`EditFrame`)."""

    def __init__(self, banks: Banks) -> None:
        self._banks, self._atlases = banks, Recent[Atlas](BYTES)

    def edit(
        self, generator: Generator, extractor: Extractor, ws: torch.Tensor, target: np.ndarray,
        region: np.ndarray | None, steps: int, **wish: object,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `linsem.iter_edit`."""
        check_steps(steps)
        plan = plan_edit(generator, extractor, ws, target, region, **wish)
        wanted = wants_atlas(plan, steps)
        atlas = (yield from self._atlas(generator, extractor, _before(plan))) if wanted else False
        yield from _frames(iter_planned(plan, steps=steps, atlas=atlas))

    def remove(
        self, generator: Generator, extractor: Extractor, ws: torch.Tensor, category: int | str,
        region: np.ndarray | None, steps: int,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `linsem.iter_remove`."""
        clock, steps = time.monotonic(), check_steps(steps)
        asked = ask_for(generator, extractor, ws, category, region)
        asked.check_removable()
        wanted = affordable(generator)
        atlas = (yield from self._atlas(generator, extractor, _before(asked))) if wanted else None
        yield from _frames(removing(asked, atlas, clock, steps=steps))

    def add(
        self, generator: Generator, extractor: Extractor, ws: torch.Tensor, category: int | str,
        region: np.ndarray | None, steps: int,
    ) -> Iterator[EditFrame]:  # fmt: skip
        """As `linsem.iter_add`."""
        clock, steps = time.monotonic(), check_steps(steps)
        asked = ask_for(generator, extractor, ws, category, region)
        asked.check_learnt()
        if not affordable(generator):
            raise EditError(f"without a GPU, nothing is added to images of {generator.id}: paint where it should be")
        atlas = yield from self._atlas(generator, extractor, _before(asked))
        yield from _frames(adding(asked, atlas, clock, steps=steps))

    def _atlas(self, generator: Generator, extractor: Extractor, before: EditFrame) -> Yielding[EditFrame, None, Atlas]:
        """The atlas for an edit, the most recent ones cached; yields `before` while its samples are drawn."""
        key = bank_key(generator, extractor, range(SAMPLES), 1.0)
        atlas = self._atlases.find(key.encode())
        if atlas is not None:  # the key is of labels, not of their names, which may have been changed since
            return replace(atlas, categories=names_of(extractor.categories))
        for bank in self._banks.grow(generator, extractor, range(SAMPLES), key=key):
            yield replace(before, sampled=len(bank.seeds))
        atlas = make_atlas(generator, bank)
        self._atlases.keep(key.encode(), atlas, bank.labels.nbytes + atlas.w.nbytes + atlas.basis.nbytes)
        return atlas


def _before(start: EditPlan | Asked) -> EditFrame:
    """The image before the first step."""
    return EditFrame(to_rgb(start.image)[0], start.labels, start.ws[0].cpu().numpy(), {})


def _frames(results: Iterator[EditResult]) -> Iterator[EditFrame]:
    for each in results:
        yield EditFrame.of(each)
