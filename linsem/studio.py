"""The studio: the networks in memory and all operations on them, with numpy arrays in and out.

One `Studio` serves all users. It loads generators on first use, caches the features of recent images, and returns
frozen values. It holds no user state, and no request modifies a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from linsem import zoo
from linsem.bank import Banks, cache_folder
from linsem.conditional import CANDIDATES, STEPS, iter_sample
from linsem.device import device_of, precision_of
from linsem.edits import Edits
from linsem.errors import InputError
from linsem.export import Labelled, iter_labelled
from linsem.extractor import Extractor, ExtractorError, check_fits, load_extractor
from linsem.fewshot import Annotation, iter_few_shot
from linsem.frames import EditFrame, Reading, SampleFrame
from linsem.generator import Generator, seed_z
from linsem.looks import Looks
from linsem.offers import with_assets
from linsem.once import Once
from linsem.palette import Category
from linsem.pixels import resize_labels
from linsem.settings import Settings
from linsem.spread import PIXELS, PIXELS_OF_ONE, RANK, Spreads, guess, to_spread
from linsem.suggest import least_like, suggest_next
from linsem.zoo import ModelError

__all__ = ["EditFrame", "Reading", "SampleFrame", "Studio"]

BATCH = 8
MODELS = 8  # generators in memory, each with its features; the least recently used are loaded again when needed
DRAW_EVERY = 3  # moves between the images of a sampling


class Studio:
    """The networks and the operations on them."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.device = device_of(self.settings.device)
        self.dtype = precision_of(self.settings.precision)
        self._looks: Once[Looks] = Once(MODELS)
        self._shipped: Once[Extractor | None] = Once()
        self._fetched: dict[str, Path] = {}
        self._spreads = Spreads()
        self._banks = Banks(cache_folder(self.settings.cache))
        self._edits = Edits(self._banks)

    # --- what there is -----------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, object]]:
        """The available generators, in the form that `/models` returns."""
        return zoo.available_models()

    def default_model(self) -> str:
        """The generator to start with; raises `ModelError` if none is available."""
        rows, wanted = self.models(), self.settings.model
        here = [str(row["id"]) for row in rows if row["available"]]
        if wanted and {wanted, zoo.split_label(wanted)[0]} & set(here):
            return wanted
        if here:
            return here[0]
        why = next((f"{row['id']}: {row['help']}" for row in rows if row["help"]), "set LINSEM_MODELS")
        raise ModelError(f"no generator is available here; {why}")

    def check_model(self, model: str | None) -> str:
        """The id of an available generator (empty: the default one); raises `ModelError` for any other."""
        if not model:
            return self.default_model()
        offered = [str(row["id"]) for row in self.models()]
        name, label = zoo.split_label(model)
        known = model if label is None else f"{name}~{label}"  # "x~01" is no other name than "x~1"
        if known not in offered and name not in offered:
            raise ModelError(f"model: expected one of {', '.join(offered[:12])}, got {str(model)[:80]!r}")
        return known

    def categories(self, model: str) -> tuple[Category, ...]:
        """The generator's own categories."""
        return zoo.spec_of(model).categories

    def generator(self, model: str) -> Generator:
        """The frozen generator, loaded on first use; all labels of a conditional one share its parameters."""
        return zoo.with_label(self._looks_of(model).generator, zoo.split_label(model)[1])

    def fetch(self, model: str) -> None:
        """Download the generator's file if needed and verify it, without loading it; raises `ModelError`.

        A worker on the GPU that is forked after this loads that file: it asks the Hub for nothing, and hashes nothing.
        """
        name = zoo.split_label(model)[0]
        if name not in self._looks and name not in self._fetched:
            self.check_model(model)
            self._fetched[name] = zoo.locate(zoo.spec_of(model))

    def shipped(self, model: str) -> Extractor | None:
        """The extractor that ships with a generator, or None."""
        model, _ = zoo.split_label(model)

        def load() -> Extractor | None:
            file = zoo.assets() / f"{model}.extractor.safetensors"
            if "/" in model or not file.is_file() or not with_assets(model):  # an address or another file has none
                return None
            try:
                return load_extractor(file)
            except ExtractorError:
                return None

        return self._shipped.get(model, load)

    def extractor(self, model: str, fitted: Extractor | None = None) -> Extractor:
        """The user's own extractor, else the shipped one; raises `ExtractorError` if there is neither."""
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
        """Draw seeds: ws (N, num_ws, w_dim) float32 and rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        ws = self.latents(model, seeds, psi)
        return ws, np.stack([looks.image(row) for row in ws])

    def render(self, model: str, ws: Sequence[np.ndarray]) -> np.ndarray:
        """The images of ws (num_ws, w_dim) each: rgb (N, H, W, 3) uint8."""
        looks = self._looks_of(model)
        return np.stack([looks.image(self._checked_ws(looks.generator, each)) for each in ws])

    def latents(self, model: str, seeds: Sequence[int], psi: float) -> np.ndarray:
        """The ws (N, num_ws, w_dim) float32 of seeds."""
        if not 0 <= psi <= 2:
            raise InputError(f"psi: expected 0 to 2, got {psi}")
        generator = self.generator(model)
        with torch.no_grad():
            rows = [
                generator.map(z[None], float(psi))[0] for z in seed_z(generator, seeds)
            ]  # one by one, so that results do not depend on the batch
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
        """Fit an extractor to ws (num_ws, w_dim) and labels (H, W) of each image; returned on the CPU.

        Labels are resized to the image if needed. A category without a pixel is never predicted. With `spread` (None:
        on images of which less than half is labelled), strokes are first spread over areas of one colour
        (`linsem.spread`). With True, as after each stroke on the page, the fit also uses fewer pixels and directions,
        to keep the wait short.
        """
        looks = self._looks_of(model)
        spread = False if spread is None and not self.settings.spread else spread
        size = tuple(looks.generator.size)
        maps = [resize_labels(each, size) for each in labels]
        annotations = []
        for w, each in zip(ws, maps, strict=True):
            made = Annotation(torch.from_numpy(np.ascontiguousarray(w)), each)
            if to_spread(each, spread):
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
            **{"pixels": min(PIXELS, PIXELS_OF_ONE * len(maps)), "rank": RANK} if spread else {},
        )
        return last.extractor.to("cpu")

    def read(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading:
        """The extractor's predictions on the images of ws."""
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
        """The seeds most useful to label next, given the latents of the images `labelled` already."""
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
        **wish: object,
    ) -> Iterator[EditFrame]:
        """Semantic editing, one frame per step; the last one is the result.

        With an extractor that has not been edited with before, there are frames before the first step (`EditFrame`).
        `wish` are the colours and the `enough` of `linsem.iter_edit`.
        """
        return self._edits.edit(*self._to_edit(model, extractor, ws), target, region, steps, **wish)

    def remove(
        self,
        model: str,
        extractor: Extractor,
        ws: np.ndarray,
        category: int | str,
        region: np.ndarray | None = None,
        steps: int = 50,
    ) -> Iterator[EditFrame]:
        """Take a category, by its number or its name, out of an image; frames as those of `edit`.

        Their reports say how much of it is `gone`.
        """
        return self._edits.remove(*self._to_edit(model, extractor, ws), category, region, steps)

    def add(
        self,
        model: str,
        extractor: Extractor,
        ws: np.ndarray,
        category: int | str,
        region: np.ndarray | None = None,
        steps: int = 50,
    ) -> Iterator[EditFrame]:
        """Bring a category, by its number or its name, into an image, as a sample has it; frames as those of `edit`.

        Their reports say how much of it is `there`.
        """
        return self._edits.add(*self._to_edit(model, extractor, ws), category, region, steps)

    def sample(
        self,
        model: str,
        extractor: Extractor,
        layout: np.ndarray,
        count: int = 4,
        candidates: int = CANDIDATES,
        steps: int = STEPS,
        seed: int = 0,
        psi: float = 1.0,
        look: int | None = None,
    ) -> Iterator[SampleFrame]:
        """Semantic-conditional sampling, one frame per step, unchanged if nothing was drawn; the last is the result."""
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
            return Looks(zoo.with_label(generator, None), self.settings.cache_mb << 20)

        name = zoo.split_label(model)[0]
        return self._looks.get(name, load)

    def _to_edit(self, model: str, extractor: Extractor, ws: np.ndarray) -> tuple[Generator, Extractor, torch.Tensor]:
        generator = self.generator(model)
        return generator, self._ready(model, extractor)[1], torch.from_numpy(self._checked_ws(generator, ws))

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
