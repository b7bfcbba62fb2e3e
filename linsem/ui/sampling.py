"""Semantic-conditional sampling as in the Sample tab: a layout from any source, results best first."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr
import numpy as np
from PIL import Image

from linsem.conditional import far_off
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.latents import save_latents
from linsem.palette import write_label_map
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.studio import Reading, SampleFrame
from linsem.ui import show
from linsem.ui.layouts import NO_LAYOUT, Layout, in_terms_of
from linsem.ui.reader import chosen_extractor, left_out
from linsem.ui.services import Services, whole
from linsem.ui.thumbs import Strip, Thumb

EVERY = 0.2  # seconds between the frames sent to the browser
FOUND = "best match"  # what a run says once it has results


@dataclass(frozen=True, eq=False)
class Results:
    """The results so far, with the extractor that scored them and the layout (H, W) that was asked for."""

    model: str
    frame: SampleFrame
    extractor: Extractor
    asked: np.ndarray

    def index(self, seed: int | None) -> int | None:
        """The position of the result that started from a seed: their order changes during a run. None if there is none.

        Without a seed, or if it is none of theirs, the position of the best.
        """
        seeds = list(self.frame.seeds)
        return (seeds.index(seed) if seed in seeds else 0) if seeds else None


class Sampling:
    """The actions of the tab, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    def run(
        self, session: Session, fitted: Fitted | None, layout: Layout | None, count: float, candidates: float,
        steps: float, seed: float, look: str = "",
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Sample; each frame contains the results so far, so that Stop keeps them."""
        if layout is None:
            raise InputError(f"there is no layout yet: {NO_LAYOUT[:1].lower()}{NO_LAYOUT[1:]}")
        settings = self.services.settings
        count = whole("results", count, 1, settings.max_results)
        candidates = whole("candidates", candidates, count, settings.max_candidates)
        steps, seed = whole("maximum steps", steps, 0, settings.max_steps), whole("first seed", seed, 0, MAX_SEED)
        look = _look_of(look)
        extractor = chosen_extractor(self.services, session, fitted)
        labels = in_terms_of(layout, extractor.categories)
        note = left_out(self.services, extractor, labels)
        yield gr.skip(), gr.skip(), show.progress(0, f"Looking at {candidates} candidates ...")
        frames = self.gpu.sample(session.model, extractor, labels, count, candidates, steps, seed, look=look)
        yield from self._frames(
            frames, lambda frame: Results(session.model, frame, extractor, labels), candidates, note
        )

    def _frames(
        self, frames: Iterator[SampleFrame], results_of: Callable[[SampleFrame], Results], candidates: int, note: str
    ) -> Iterator[tuple[object, ...]]:
        """The results so far, in frames for the page; earlier results stay until there are new ones."""
        clock, last, seen, frame, shown = time.monotonic(), 0.0, 0, None, None
        for frame in frames:
            seen += 1
            if time.monotonic() - last < EVERY or (frame.seeds and frame.index == shown):
                continue
            last, shown = time.monotonic(), frame.index if frame.seeds else None
            if not frame.seeds:
                done = 0.3 * min(seen * 8 / candidates, 1)
                yield gr.skip(), gr.skip(), show.progress(done, f"{candidates} candidates ...")
                continue
            results = results_of(frame)
            line = f"Step {frame.index} of {frame.total}: {FOUND} {show.percent(frame.scores[0])}."
            yield results, self.strip(results), show.progress(0.3 + 0.7 * frame.index / max(frame.total, 1), line)
        results = results_of(frame)
        many = len(frame.seeds) > 1
        line = f"{len(frame.seeds)} result{'s' if many else ''} in {time.monotonic() - clock:.1f} s"
        line += ", best first." if many else "."
        far = ""
        if far_off(frame.nearest, candidates):
            nearest = show.percent(frame.nearest)
            far = f"None of {candidates} images comes close to this layout: the nearest matches {nearest}."
        kind = "idle" if far or note else "good"
        yield results, self.strip(results), show.status(" ".join(filter(None, (far, line, note))), kind)

    @staticmethod
    def strip(results: Results | None, current: int | None = None) -> Strip:
        """The results, best first, one of them marked."""
        if results is None:
            return Strip(())
        frame = results.frame
        return Strip(
            tuple(
                Thumb(
                    frame.rgb[i],
                    f"match {show.percent(frame.scores[i])} · seed {seed}",
                    "best" if i == 0 else "",
                    key=str(seed),
                )
                for i, seed in enumerate(frame.seeds)
            ),
            current,
        )

    def choose(self, results: Results | None, event: gr.SelectData) -> tuple[object, ...]:
        """Choose a result by its seed, since it may have another place by now; and its views."""
        seeds = [] if results is None else [str(seed) for seed in results.frame.seeds]
        if event.value not in seeds:
            return gr.skip(), gr.skip()
        i = seeds.index(event.value)
        return results.frame.seeds[i], self.sides(results, i)

    @staticmethod
    def sides(results: Results | None, i: int | None) -> Strip:
        """A result as image, labels and overlay."""
        if results is None or i is None:
            return Strip(())
        frame, categories = results.frame, results.extractor.categories
        reading = Reading(frame.rgb, frame.labels, np.zeros(frame.labels.shape, np.float32))
        return Strip(
            tuple(
                Thumb(show.view(name, reading, i, categories), name, "", name == "Labels")
                for name in ("Image", "Labels", "Overlay")
            )
        )

    def files(self, results: Results | None) -> str:
        """Save all results as a zip of images, label maps, latents, scores and the layout; returns its path."""
        if results is None or not results.frame.seeds:
            raise InputError("there are no results yet: press Sample first")
        frame, categories = results.frame, results.extractor.categories
        path = self.services.downloads.path("samples.zip")
        latents = self.services.downloads.path("latents.safetensors")
        save_latents(latents, frame.ws, results.model, frame.seeds)
        with zipfile.ZipFile(path, "w") as archive:
            for i, seed in enumerate(frame.seeds):
                buffer = io.BytesIO()
                Image.fromarray(frame.rgb[i]).save(buffer, "PNG")
                archive.writestr(f"images/{i + 1}-seed{seed}.png", buffer.getvalue())
                labels = write_label_map(frame.labels[i], categories)
                archive.writestr(f"labels/{i + 1}-seed{seed}.png", labels)
            archive.write(latents, "latents.safetensors")
            archive.writestr("layout.png", write_label_map(results.asked, categories))  # can be uploaded again
            found = [{"seed": s, "score": score} for s, score in zip(frame.seeds, frame.scores, strict=True)]
            archive.writestr("results.json", json.dumps({"results": found}))
        return str(path)


def _look_of(text: str) -> int | None:
    """The seed in a text field, or None if it is empty."""
    text = text.strip()
    if text and not re.fullmatch(r"\d{1,400}", text, re.ASCII):
        raise InputError(f"colours from seed: enter a whole number from 0 to {MAX_SEED}, or nothing, not {text[:40]!r}")
    return whole("colours from seed", int(text), 0, MAX_SEED) if text else None
