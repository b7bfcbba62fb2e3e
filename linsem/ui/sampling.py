"""Semantic-conditional sampling as the tab Sample does it: a layout from somewhere, results best first."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from linsem.conditional import far_off
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.latents import save_latents
from linsem.masks import read_layout
from linsem.palette import Category, colorize, read_label_map, write_label_map
from linsem.pixels import IGNORE
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.studio import Reading, SampleFrame
from linsem.ui import show
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.files import uploaded
from linsem.ui.segment import chosen_extractor
from linsem.ui.services import Services, real, shares, whole
from linsem.ui.thumbs import Strip, Thumb

EVERY = 0.2  # seconds between frames that are sent
NO_LAYOUT = "Upload a mask, take the layout of a generated image, or paint one."


@dataclass(frozen=True, eq=False)
class Layout:
    """What samples shall obey: labels (H, W) uint8 with 255 = free, its categories, where it comes from."""

    labels: np.ndarray
    categories: tuple[Category, ...]
    origin: str


@dataclass(frozen=True, eq=False)
class Results:
    """The results so far, with the extractor that scored them."""

    model: str
    frame: SampleFrame
    extractor: Extractor
    current: int | None = None


class Sampling:
    """What the tab does, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    # --- the layout --------------------------------------------------------------------------------------------------

    def upload(self, session: Session, fitted: Fitted | None, file: str | None) -> tuple[object, ...]:
        """A mask from a file, and what was understood of it."""
        if file is None:
            return None, *self.show_layout(None), show.status(NO_LAYOUT)
        return self._read(session, fitted, uploaded(file, "mask"), "your mask")

    def example(self, session: Session, fitted: Fitted | None, path: Path, name: str) -> tuple[object, ...]:
        """A mask that ships."""
        return self._read(session, fitted, path, name)

    def _read(self, session: Session, fitted: Fitted | None, path: Path, origin: str) -> tuple[object, ...]:
        categories = chosen_extractor(self.services, session, fitted).categories
        read = read_layout(path, categories, self.services.studio.generator(session.model).size)
        layout = Layout(read_label_map(path, categories).labels, categories, origin)
        return layout, *self.show_layout(layout), understood(read.report)

    def from_seed(self, session: Session, fitted: Fitted | None, seed: float, psi: float) -> tuple[object, ...]:
        """The layout of a generated image."""
        number = whole("seed", seed, 0, MAX_SEED)
        extractor = chosen_extractor(self.services, session, fitted)
        ws, _ = self.gpu.draw(session.model, [number], real("psi", psi, 0, 2))
        labels = self.gpu.read(session.model, extractor, [ws[0]]).labels[0]
        layout = Layout(labels, extractor.categories, f"the layout of seed {number}")
        line = f"The layout of seed {number}, with {len(np.unique(labels))} categories."
        return layout, *self.show_layout(layout), show.status(line, "good")

    def painted(self, session: Session, fitted: Fitted | None, painted: PainterLabels | None) -> tuple[object, ...]:
        """A layout from the painter; what is not painted is free."""
        extractor = chosen_extractor(self.services, session, fitted)
        if painted is None or (painted.labels == IGNORE).all():
            return None, *self.show_layout(None), show.status("Paint where things should be; the rest is free.")
        if painted.labels[painted.labels != IGNORE].max() >= len(extractor.categories):
            raise InputError("the painter shows other categories than the extractor has: open this tab again")
        layout = Layout(painted.labels, extractor.categories, "your painting")
        share = 100 * float((painted.labels != IGNORE).mean())
        return layout, *self.show_layout(layout), show.status(f"{share:.0f} % of the layout is painted.", "good")

    def canvas(self, session: Session, fitted: Fitted | None) -> PainterState:
        """An empty painter of the generator's size."""
        extractor = chosen_extractor(self.services, session, fitted)
        rgb = np.full((*extractor.size, 3), 236, np.uint8)
        names = "".join(category.name + category.color for category in extractor.categories)
        key = f"layout-{session.token}-{abs(hash(names)):x}"
        return PainterState(rgb, np.full(extractor.size, IGNORE, np.uint8), None, None, extractor.categories, key)

    @staticmethod
    def show_layout(layout: Layout | None) -> tuple[Strip, str]:
        """The layout as a picture, and its legend."""
        if layout is None:
            return Strip(()), ""
        picture = Thumb(colorize(layout.labels, layout.categories), layout.origin, "", True)
        return Strip((picture,)), show.legend(layout.categories, shares(layout.labels, layout.categories), "Asked for")

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(
        self, session: Session, fitted: Fitted | None, layout: Layout | None, count: float, candidates: float,
        steps: float, seed: float, look: str = "",
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Sample; each frame gives the results so far, so that Stop keeps what there is."""
        if layout is None:
            raise InputError("there is no layout yet: upload a mask, take one from a seed, or paint one")
        settings = self.services.settings
        count = whole("count", count, 1, settings.max_results)
        candidates = whole("candidates", candidates, count, settings.max_candidates)
        steps, seed = whole("steps", steps, 0, settings.max_steps), whole("seed", seed, 0, MAX_SEED)
        look = _look_of(look)
        extractor = chosen_extractor(self.services, session, fitted)
        labels = _in_terms_of(layout, extractor.categories)
        frames = self.gpu.sample(session.model, extractor, labels, count, candidates, steps, seed, look=look)
        yield None, Strip(()), show.progress(0, f"Looking at {candidates} candidates ...")
        clock, last, seen, frame, shown = time.monotonic(), 0.0, 0, None, None
        for frame in frames:
            seen += 1
            if time.monotonic() - last < EVERY or (frame.seeds and frame.index == shown):
                continue
            last, shown = time.monotonic(), frame.index if frame.seeds else None
            if not frame.seeds:
                yield gr.skip(), gr.skip(), show.progress(0.3 * seen * 8 / candidates, f"{candidates} candidates ...")
                continue
            results = Results(session.model, frame, extractor)
            line = f"Step {frame.index} of at most {frame.total}: best score {frame.scores[0]:.2f}."
            yield results, self.strip(results), show.progress(0.3 + 0.7 * frame.index / max(frame.total, 1), line)
        results = Results(session.model, frame, extractor)
        seconds = time.monotonic() - clock
        line = f"{len(frame.seeds)} results in {seconds:.1f} s, best first. Click one to look closer."
        far = far_off(frame.nearest, candidates)
        yield results, self.strip(results), show.status(f"{far} {line}".strip(), "idle" if far else "good")

    @staticmethod
    def strip(results: Results | None) -> Strip:
        """The results, best first."""
        if results is None:
            return Strip(())
        frame = results.frame
        return Strip(
            tuple(
                Thumb(frame.rgb[i], f"score {frame.scores[i]:.2f} · seed {frame.seeds[i]}", "best" if i == 0 else "")
                for i in range(len(frame.seeds))
            ),
            results.current,
        )

    @staticmethod
    def choose(results: Results | None, event: gr.SelectData) -> tuple[object, ...]:
        """Look at one result from all sides."""
        if results is None or not 0 <= int(event.index) < len(results.frame.seeds):
            return results, Strip(())
        i, frame, categories = int(event.index), results.frame, results.extractor.categories
        reading = Reading(frame.rgb, frame.labels, np.zeros(frame.labels.shape, np.float32))
        sides = tuple(
            Thumb(show.view(name, reading, i, categories), name, "", name == "Labels")
            for name in ("Image", "Labels", "Overlay")
        )
        return Results(results.model, frame, results.extractor, i), Strip(sides)

    def files(self, results: Results | None) -> str:
        """All results in one zip: images, label maps, latents."""
        if results is None or not results.frame.seeds:
            raise InputError("there are no results yet: press Sample first")
        frame, path = results.frame, self.services.downloads.path("samples.zip")
        latents = self.services.downloads.path("latents.safetensors")
        save_latents(latents, frame.ws, results.model, frame.seeds)
        with zipfile.ZipFile(path, "w") as archive:
            for i, seed in enumerate(frame.seeds):
                buffer = io.BytesIO()
                Image.fromarray(frame.rgb[i]).save(buffer, "PNG")
                archive.writestr(f"images/{i + 1}-seed{seed}.png", buffer.getvalue())
                labels = write_label_map(frame.labels[i], results.extractor.categories)
                archive.writestr(f"labels/{i + 1}-seed{seed}.png", labels)
            archive.write(latents, "latents.safetensors")
        return str(path)


def _look_of(text: str) -> int | None:
    """The seed in a field of text, which can be left empty."""
    text = text.strip()
    if text and not re.fullmatch(r"\d{1,17}", text, re.ASCII):
        raise InputError(f"look of seed: expected one whole number in 0..{MAX_SEED}, or nothing, got {text[:40]!r}")
    return whole("look of seed", int(text), 0, MAX_SEED) if text else None


def understood(report: dict) -> str:
    """What was understood of a mask, as a line."""
    how = {
        "names": "by the names in the file", "indexed": "by its indices", "grayscale": "by its gray values",
        "colours": "by its colours",
    }[report["mode"]]  # fmt: skip
    found = ", ".join(report["counts"]) or "nothing"
    line = f"{report['width']} × {report['height']}, read {how}: {found}."
    if report["unlabelled"]:
        line += f" {report['unlabelled']} pixels are free."
    return show.status(" ".join([line, *report["notes"]]), "good")


def _in_terms_of(layout: Layout, categories: tuple[Category, ...]) -> np.ndarray:
    """The layout's labels as indices of the extractor's categories, by name."""
    if layout.categories == categories:
        return layout.labels
    index = {category.name: k for k, category in enumerate(categories)}
    table = np.full(256, IGNORE, np.uint8)
    for k in np.unique(layout.labels[layout.labels != IGNORE]):
        name = layout.categories[k].name
        if name not in index:
            raise InputError(f"the layout asks for {name!r}, which the extractor does not know: load the layout again")
        table[k] = index[name]
    return table[layout.labels]
