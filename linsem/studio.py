"""The studio: the networks in memory, and what can be done with them. Numpy in, numpy out, no visitor.

One `Studio` serves everybody. It loads generators when they are first asked for, keeps the features of the images seen
last, and hands out frozen values. It holds no state of a visitor, and no request changes a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from linsem import zoo
from linsem.bank import Banks, bank_key, cache_folder
from linsem.conditional import STEPS, iter_sample
from linsem.device import device_of, precision_of
from linsem.edit import iter_edit, removal_target
from linsem.errors import InputError
from linsem.export import Labelled, iter_labelled
from linsem.extractor import Extractor, ExtractorError, check_fits, load_extractor
from linsem.fewshot import Annotation, iter_few_shot
from linsem.frames import EditFrame, Reading, SampleFrame
from linsem.generator import Generator, seed_z
from linsem.jump import Atlas, make_atlas
from linsem.looks import Looks
from linsem.once import Once
from linsem.palette import Category
from linsem.pixels import resize_labels
from linsem.settings import Settings
from linsem.spread import PIXELS, Spreads, guess, is_sparse
from linsem.suggest import least_like, suggest_next
from linsem.zoo import ModelError

__all__ = ["EditFrame", "Reading", "SampleFrame", "Studio"]

BATCH = 8
SAMPLES = 200  # looked at before an edit
KEPT = 16  # of what was learnt from them, a megabyte each
DRAW_EVERY = 3  # moves of a sampling
QUICK = 128  # on a CPU only generators up to this size are drawn that often for an edit


class Studio:
    """The networks, and what can be done with them."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.device = device_of(self.settings.device)
        self.dtype = precision_of(self.settings.precision)
        self._looks: Once[Looks] = Once()
        self._shipped: Once[Extractor | None] = Once()
        self._fetched: dict[str, Path] = {}
        self._spreads = Spreads()
        self._banks = Banks(cache_folder(self.settings.cache))
        self._atlases: dict[str, Atlas] = {}

    # --- what there is -----------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, object]]:
        """The offered generators, as `/models` answers."""
        return zoo.available_models()

    def default_model(self) -> str:
        """The generator to begin with; raises `ModelError` if none is available."""
        rows, wanted = self.models(), self.settings.model
        if wanted and {wanted, zoo.split_label(wanted)[0]} & {str(row["id"]) for row in rows}:
            return wanted
        for row in rows:
            if row["available"]:
                return str(row["id"])
        raise ModelError("no generator is available here: put a checkpoint in assets/, or set LINSEM_MODELS")

    def check_model(self, model: str | None) -> str:
        """The id of an offered generator (nothing: the default one); raises `ModelError` for any other."""
        if not model:
            return self.default_model()
        offered = [str(row["id"]) for row in self.models()]
        if model not in offered and zoo.split_label(model)[0] not in offered:
            raise ModelError(f"model: expected one of {', '.join(offered[:12])}, got {str(model)[:80]!r}")
        return model

    def categories(self, model: str) -> tuple[Category, ...]:
        """The generator's own categories."""
        return zoo.spec_of(model).categories

    def generator(self, model: str) -> Generator:
        """The frozen generator, loaded the first time; all labels of a conditional one share what is loaded."""
        return zoo.with_label(self._looks_of(model).generator, zoo.split_label(model)[1])

    def fetch(self, model: str) -> None:
        """Have the generator's verified file on this machine, without loading it; raises `ModelError`.

        A worker on the GPU that is forked after this loads that file: it asks the Hub for nothing, and hashes nothing.
        """
        name = zoo.split_label(model)[0]
        if name not in self._looks and name not in self._fetched:
            self.check_model(model)
            self._fetched[name] = zoo.locate(zoo.spec_of(name))

    def shipped(self, model: str) -> Extractor | None:
        """The extractor that ships with a generator, or None."""
        model, _ = zoo.split_label(model)

        def load() -> Extractor | None:
            file = zoo.assets() / f"{model}.extractor.safetensors"
            if "/" in model or not file.is_file():  # an address has none
                return None
            try:
                return load_extractor(file)
            except ExtractorError:
                return None

        return self._shipped.get(model, load)

    def extractor(self, model: str, fitted: Extractor | None = None) -> Extractor:
        """The visitor's own extractor, or else the shipped one; raises `ExtractorError` if there is neither."""
        extractor = fitted or self.shipped(model)
        if extractor is None:
            raise ExtractorError(f"{model} ships without an extractor: label an image first, in the tab Label")
        if extractor.generator_id != zoo.split_label(model)[0]:
            raise ExtractorError(
                f"this extractor was made for the generator {extractor.generator_id!r}, and the chosen one is {model!r}"
            )
        return extractor

    # --- what can be done --------------------------------------------------------------------------------------------

    def draw(self, model: str, seeds: Sequence[int], psi: float) -> tuple[np.ndarray, np.ndarray]:
        """Seeds to ws (N, num_ws, w_dim) float32 and rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        ws = self.latents(model, seeds, psi)
        return ws, np.stack([looks.image(row) for row in ws])

    def render(self, model: str, ws: Sequence[np.ndarray]) -> np.ndarray:
        """Each ws (num_ws, w_dim) to its image: rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        return np.stack([looks.image(self._checked_ws(looks.generator, each)) for each in ws])

    def latents(self, model: str, seeds: Sequence[int], psi: float) -> np.ndarray:
        """Seeds to ws (N, num_ws, w_dim) float32."""
        if not 0 <= psi <= 2:
            raise InputError(f"psi: expected 0 to 2, got {psi}")
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
        spread: bool | None = None,
    ) -> Extractor:
        """The extractor that the labels ask for: ws (num_ws, w_dim) and labels (H, W) of each image; on the CPU.

        Labels of another size than the image's are resized. A category that is painted nowhere is never predicted.
        With `spread`, strokes take what they touch of one colour (`linsem.spread`) before anything is fitted, which
        then sees fewer pixels: somebody waits. None: they do on images of which less than half is labelled.
        """
        looks = self._looks_of(model)
        spread = False if spread is None and not self.settings.spread else spread
        size = tuple(looks.generator.size)
        maps = [resize_labels(each, size) for each in labels]
        annotations = []
        for w, each in zip(ws, maps, strict=True):
            made = Annotation(torch.from_numpy(np.ascontiguousarray(w)), each)
            if is_sparse(each) if spread is None else spread:
                rgb = looks.image(self._checked_ws(looks.generator, w))
                made = guess(made, rgb, self._spreads)
            annotations.append(made)
        start = None if start is None or start.generator_id != looks.generator.id else start
        *_, last = iter_few_shot(
            looks.generator,
            annotations,
            tuple(categories),
            start=start,
            features_of=looks.features,
            rows_of=looks.rows,
            missing="keep",
            spread=False,
            pixels=PIXELS if spread else None,
        )
        return last.extractor.to("cpu")

    def read(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading:
        """What the extractor reads in the images of ws."""
        looks, ready = self._ready(model, extractor)
        rows = []
        for each in ws:
            rgb, features = looks.look(self._checked_ws(looks.generator, each))
            labels, uncertainty = ready.read(features)
            rows.append((rgb, labels[0], uncertainty[0]))
        rgb, labels, uncertainty = (np.stack(column) for column in zip(*rows, strict=True))
        return Reading(rgb, labels, uncertainty)

    def overview(
        self, model: str, extractor: Extractor, ws: Sequence[np.ndarray], labelled: Sequence[int]
    ) -> tuple[Reading, int | None]:
        """As `read`, and the position of the image to label next, besides those at `labelled`; None if none is left."""
        reading = self.read(model, extractor, ws)
        looks = self._looks_of(model)
        latents = torch.from_numpy(np.stack(ws))
        return reading, least_like(looks.generator, latents, labelled, looks.features)

    def suggest(
        self, model: str, seeds: Sequence[int], count: int, psi: float, labelled: Sequence[np.ndarray] = ()
    ) -> list[int]:
        """The seeds that are most useful to label next, besides the latents of `labelled`, which are so already."""
        generator = self.generator(model)
        known = [torch.from_numpy(self._checked_ws(generator, ws)) for ws in labelled]
        return suggest_next(generator, None, seeds, count, psi=psi, labelled=torch.stack(known) if known else None)

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
        options = {"atlas": self._atlas_of(model, ready), **options}
        start = torch.from_numpy(self._checked_ws(looks.generator, ws))
        for each in iter_edit(looks.generator, ready, start, target, region, steps=steps, **options):
            yield EditFrame.of(each)

    def removal(
        self, model: str, extractor: Extractor, ws: np.ndarray, category: int, region: np.ndarray | None = None
    ) -> np.ndarray:
        """The target (H, W) uint8 that takes a category away, within the region (default: everywhere)."""
        looks, ready = self._ready(model, extractor)
        with torch.no_grad():
            logits = ready.logits(looks.look(self._checked_ws(looks.generator, ws))[1])
        labels = ready.labels(logits)[0].cpu().numpy()
        region = np.ones(labels.shape, bool) if region is None else region
        return removal_target(logits[0], labels, category, region)

    def sample(
        self,
        model: str,
        extractor: Extractor,
        layout: np.ndarray,
        count: int = 4,
        candidates: int = 200,
        steps: int = STEPS,
        seed: int = 0,
        psi: float = 1.0,
        look: int | None = None,
    ) -> Iterator[SampleFrame]:
        """Semantic-conditional sampling, a frame a step, or the last one again; the last one is the result."""
        _, ready = self._ready(model, extractor)
        generator = self.generator(model)
        options = {"candidates": candidates, "steps": steps, "seed": seed, "psi": psi, "draw_every": DRAW_EVERY}
        options |= {"banks": self._banks, "look": look}
        results, frame = None, None
        for each in iter_sample(generator, ready, layout, count, **options):
            if frame is None or each.results is not results:
                results, frame = each.results, SampleFrame.of(each, generator)
            yield frame

    def label(self, model: str, extractor: Extractor, seeds: Sequence[int], psi: float) -> Iterator[list[Labelled]]:
        """Generate and label seeds, a batch at a time, without keeping anything."""
        _, ready = self._ready(model, extractor)
        yield from iter_labelled(self.generator(model), ready, seeds, psi, BATCH)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _looks_of(self, model: str) -> Looks:
        def load() -> Looks:
            here = self._fetched.get(name)
            generator = zoo.load_generator(self.check_model(model), device=self.device, dtype=self.dtype, file=here)
            return Looks(generator, self.settings.cache_mb << 20)

        name = zoo.split_label(model)[0]
        return self._looks.get(name, load)

    def _atlas_of(self, model: str, extractor: Extractor) -> Atlas | None:
        """What the generator's samples tell about wishes; the last ones are kept. None where that would take long."""
        generator = self.generator(model)
        if generator.device.type == "cpu" and max(generator.size) > QUICK:
            return None
        key = bank_key(generator, extractor, range(SAMPLES), 1.0)
        atlas = self._atlases.get(key) or make_atlas(generator, self._banks.make(generator, extractor, range(SAMPLES)))
        self._atlases = dict(list({**self._atlases, key: atlas}.items())[-KEPT:])  # replaced, for others may read it
        return atlas

    def _ready(self, model: str, extractor: Extractor) -> tuple[Looks, Extractor]:
        looks = self._looks_of(model)
        check_fits(extractor, looks.generator)
        return looks, extractor.to(looks.generator.device)

    @staticmethod
    def _checked_ws(generator: Generator, ws: np.ndarray) -> np.ndarray:
        expected = (generator.num_ws, generator.w_dim)
        if tuple(ws.shape) != expected:
            raise InputError(f"latent: expected {expected} for {generator.id!r}, got {tuple(ws.shape)}")
        return np.ascontiguousarray(ws, np.float32)
