"""The studio: the networks in memory, and what can be done with them. Numpy in, numpy out, no visitor.

One `Studio` serves everybody. It loads generators when they are first asked for, keeps the features of the images seen
last, and hands out frozen values. It holds no state of a visitor, and no request changes a network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linsem import zoo
from linsem.conditional import iter_sample
from linsem.edit import iter_edit, removal_target
from linsem.export import Labelled, iter_labelled
from linsem.extractor import Extractor, ExtractorError, check_fits, load_extractor
from linsem.fewshot import Annotation, iter_few_shot
from linsem.generator import Generator, seed_z
from linsem.looks import Looks
from linsem.palette import Category
from linsem.pixels import resize_labels, to_rgb
from linsem.settings import Settings
from linsem.zoo import ModelError

BATCH = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """What an extractor reads in images: rgb (N, H, W, 3) uint8, labels (N, H, W) uint8, uncertainty (N, H, W) in
    [0, 1]."""

    rgb: np.ndarray
    labels: np.ndarray
    uncertainty: np.ndarray


@dataclass(frozen=True, eq=False)
class EditFrame:
    """An edit after some steps: rgb (H, W, 3), labels (H, W), ws (num_ws, w_dim), and the report of `linsem.edit`."""

    rgb: np.ndarray
    labels: np.ndarray
    ws: np.ndarray
    report: dict[str, object]


@dataclass(frozen=True, eq=False)
class SampleFrame:
    """A sampling after `index` of `total` steps; the results so far, best first: rgb (N, H, W, 3), labels (N, H, W), ws
    (N, num_ws, w_dim), scores and seeds (N). Before the first results N is 0."""

    index: int
    total: int
    rgb: np.ndarray
    labels: np.ndarray
    ws: np.ndarray
    scores: tuple[float, ...]
    seeds: tuple[int, ...]


class Studio:
    """The networks, and what can be done with them."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.device = _device(self.settings.device)
        self._looks: dict[str, Looks] = {}
        self._shipped: dict[str, Extractor | None] = {}
        self._lock = threading.RLock()

    # --- what there is -----------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, object]]:
        """The offered generators, as `/models` answers."""
        return zoo.available_models()

    def default_model(self) -> str:
        """The generator to begin with; raises `ModelError` if none is available."""
        if self.settings.model:
            return self.settings.model
        for row in self.models():
            if row["available"]:
                return str(row["id"])
        raise ModelError("no generator is available here: put a checkpoint in assets/, or set LINSEM_MODELS")

    def check_model(self, model: str | None) -> str:
        """The id of an offered generator (nothing: the default one); raises `ModelError` for any other."""
        if not model:
            return self.default_model()
        offered = [str(row["id"]) for row in self.models()]
        if model not in offered:
            raise ModelError(f"model: expected one of {', '.join(offered[:12])}, got {str(model)[:80]!r}")
        return model

    def categories(self, model: str) -> tuple[Category, ...]:
        """The generator's own categories."""
        return zoo.spec_of(model).categories

    def generator(self, model: str) -> Generator:
        """The frozen generator, loaded the first time."""
        return self._looks_of(model).generator

    def shipped(self, model: str) -> Extractor | None:
        """The extractor that ships with a generator, or None."""
        with self._lock:
            if model not in self._shipped:
                try:
                    self._shipped[model] = load_extractor(model)
                except ExtractorError:
                    self._shipped[model] = None
            return self._shipped[model]

    def extractor(self, model: str, fitted: Extractor | None = None) -> Extractor:
        """The visitor's own extractor, or else the shipped one; raises `ExtractorError` if there is neither."""
        extractor = fitted or self.shipped(model)
        if extractor is None:
            raise ExtractorError(f"{model} ships without an extractor: label an image first, in the tab Label")
        if extractor.generator_id != model:
            raise ExtractorError(
                f"this extractor was made for the generator {extractor.generator_id!r}, and the chosen one is {model!r}"
            )
        return extractor

    # --- what can be done --------------------------------------------------------------------------------------------

    def draw(self, model: str, seeds: Sequence[int], psi: float) -> tuple[np.ndarray, np.ndarray]:
        """Seeds to ws (N, num_ws, w_dim) float32 and rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        ws = self.latents(model, seeds, psi)
        return ws, np.stack([looks.look(row)[0] for row in ws])

    def render(self, model: str, ws: Sequence[np.ndarray]) -> np.ndarray:
        """Each ws (num_ws, w_dim) to its image: rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        return np.stack([looks.look(self._checked_ws(looks.generator, each))[0] for each in ws])

    def latents(self, model: str, seeds: Sequence[int], psi: float) -> np.ndarray:
        """Seeds to ws (N, num_ws, w_dim) float32."""
        if not 0 <= psi <= 2:
            raise ValueError(f"psi: expected 0 to 2, got {psi}")
        generator = self.generator(model)
        with torch.no_grad():
            rows = [
                generator.map(z[None], float(psi))[0] for z in seed_z(generator, seeds)
            ]  # alone: the same in any call
        return torch.stack(rows).cpu().numpy()

    def fit(
        self,
        model: str,
        ws: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        categories: Sequence[Category],
        start: Extractor | None = None,
    ) -> Extractor:
        """The extractor that the labels ask for: ws (num_ws, w_dim) and labels (H, W) of each image; on the CPU.

        Labels of another size than the image's are resized. A category that is painted nowhere is never predicted.
        """
        looks = self._looks_of(model)
        size = tuple(looks.generator.size)
        annotations = [
            Annotation(torch.from_numpy(np.ascontiguousarray(w)), resize_labels(each, size))
            for w, each in zip(ws, labels, strict=True)
        ]
        start = None if start is None or start.generator_id != model else start
        *_, last = iter_few_shot(
            looks.generator,
            annotations,
            tuple(categories),
            start=start,
            features_of=looks.features,
            missing="keep",
        )
        return last.extractor.to("cpu")

    def read(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading:
        """What the extractor reads in the images of ws."""
        looks, ready = self._ready(model, extractor)
        rows = []
        for each in ws:
            rgb, features = looks.look(self._checked_ws(looks.generator, each))
            rows.append((rgb, ready.predict(features)[0], ready.uncertainty(features)[0]))
        rgb, labels, uncertainty = (np.stack(column) for column in zip(*rows, strict=True))
        return Reading(rgb, labels, uncertainty)

    def edit(
        self,
        model: str,
        extractor: Extractor,
        ws: np.ndarray,
        target: np.ndarray,
        region: np.ndarray | None = None,
        steps: int = 50,
        **options: object,
    ) -> Iterator[EditFrame]:
        """Semantic editing, a frame a step; the last one is the result."""
        looks, ready = self._ready(model, extractor)
        start = torch.from_numpy(self._checked_ws(looks.generator, ws))
        for each in iter_edit(looks.generator, ready, start, target, region, steps=steps, **options):
            yield EditFrame(to_rgb(each.image)[0], each.labels, each.ws.cpu().numpy(), dict(each.report))

    def removal(
        self, model: str, extractor: Extractor, ws: np.ndarray, category: int, region: np.ndarray | None = None
    ) -> np.ndarray:
        """The target (H, W) uint8 that takes a category away, within the region (default: everywhere)."""
        looks, ready = self._ready(model, extractor)
        with torch.no_grad():
            logits = ready.logits(looks.look(self._checked_ws(looks.generator, ws))[1])[0]
        labels = logits.argmax(0).to(torch.uint8).cpu().numpy()
        region = np.ones(labels.shape, bool) if region is None else region
        return removal_target(logits, labels, category, region)

    def sample(
        self,
        model: str,
        extractor: Extractor,
        layout: np.ndarray,
        count: int = 4,
        candidates: int = 200,
        steps: int = 30,
        seed: int = 0,
        psi: float = 1.0,
    ) -> Iterator[SampleFrame]:
        """Semantic-conditional sampling, a frame a step; the last one is the result."""
        looks, ready = self._ready(model, extractor)
        generator = looks.generator
        for each in iter_sample(
            generator, ready, layout, count, candidates=candidates, steps=steps, seed=seed, psi=psi
        ):
            results = each.results
            if not results:
                shape = (0, *generator.size)
                empty = np.zeros((0, generator.num_ws, generator.w_dim), np.float32)
                yield SampleFrame(
                    each.index, each.total, np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8), empty, (), ()
                )
                continue
            yield SampleFrame(
                each.index,
                each.total,
                to_rgb(torch.stack([r.image for r in results])),
                np.stack([r.labels for r in results]),
                np.stack([r.ws.cpu().numpy() for r in results]),
                tuple(float(r.score) for r in results),
                tuple(int(r.seed) for r in results),
            )

    def label(self, model: str, extractor: Extractor, seeds: Sequence[int], psi: float) -> Iterator[list[Labelled]]:
        """Generate and label seeds, a batch at a time, without keeping anything."""
        looks, ready = self._ready(model, extractor)
        yield from iter_labelled(looks.generator, ready, seeds, psi, BATCH)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _looks_of(self, model: str) -> Looks:
        with self._lock:
            if model not in self._looks:
                self.check_model(model)
                generator = zoo.load_generator(model, device=self.device)
                self._looks[model] = Looks(generator, self.settings.cache_mb << 20)
            return self._looks[model]

    def _ready(self, model: str, extractor: Extractor) -> tuple[Looks, Extractor]:
        looks = self._looks_of(model)
        check_fits(extractor, looks.generator)
        return looks, extractor.to(looks.generator.device)

    @staticmethod
    def _checked_ws(generator: Generator, ws: np.ndarray) -> np.ndarray:
        expected = (generator.num_ws, generator.w_dim)
        if tuple(ws.shape) != expected:
            raise ValueError(f"latent: expected {expected} for {generator.id!r}, got {tuple(ws.shape)}")
        return np.ascontiguousarray(ws, np.float32)


def preload(studio: Studio, tell: Callable[[str], None] = print) -> str | None:
    """Load the default generator and run it once, so that the first visitor does not wait. Returns its id."""
    try:
        model = studio.default_model()
        studio.generator(model)
        studio.shipped(model)
        if studio.device.type == "cpu":  # on ZeroGPU the main process may load, but not compute
            studio.draw(model, (1,), 0.7)
    except ValueError as error:
        tell(f"linsem: {error}")
        return None
    return model


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"LINSEM_DEVICE: expected auto, cpu or cuda, got {name[:40]!r}") from error
