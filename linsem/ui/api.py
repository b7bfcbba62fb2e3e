"""The named API endpoints: plain images, files and numbers.

Every input is checked here, whatever its component has accepted; for an invalid one, an `InputError` explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from linsem.asked import index_of
from linsem.categories import shares
from linsem.conditional import far_off
from linsem.errors import InputError
from linsem.export import write_dataset
from linsem.extractor import Extractor, ExtractorError, findable, load_extractor, save_extractor
from linsem.latents import load_latent, save_latents
from linsem.masks import read_layout
from linsem.palette import overlay, parse_categories, read_label_map, write_label_map
from linsem.regions import read_region
from linsem.seeds import MAX_SEED, parse_seeds
from linsem.studio import EditFrame, SampleFrame
from linsem.ui.cached import cached_png
from linsem.ui.files import uploaded
from linsem.ui.services import Services, real, whole

MAX_PIXELS = 64_000_000  # total over the label maps of one call
FRAMES = 8  # intermediate results of an edit or a sampling, roughly


class Api:
    """The endpoints as plain methods; `endpoints.build` connects them to components."""

    def __init__(self, services: Services) -> None:
        self.services, self.settings, self.gpu = services, services.settings, services.gpu
        self.studio, self.downloads = services.studio, services.downloads

    def models(self) -> list[dict[str, object]]:
        """List the generators that are offered here."""
        return self.studio.models()

    def generate(self, model: str, seeds: str, psi: float = 0.7) -> list[str]:
        """Generate one image per seed; `seeds` is text such as "0-7, 12"."""
        model, chosen, psi = self._drawing(model, seeds, psi)
        return [cached_png(rgb) for rgb in self.gpu.draw(model, chosen, psi)[1]]

    def fit(
        self, model: str, seeds: str, label_maps: list[str] | None, categories: object = None, psi: float = 0.7
    ) -> tuple[str, dict[str, object]]:
        """Fit an extractor to one label map per seed, in which unlabelled pixels are 255 or transparent."""
        model, chosen, psi = self._drawing(model, seeds, psi)
        categories = parse_categories(categories, self.studio.categories(model))
        files = label_maps if isinstance(label_maps, list) else [label_maps] if label_maps else []
        if len(files) != len(chosen):
            raise InputError(f"label_maps: expected one a seed ({len(chosen)}, each counted once), got {len(files)}")
        ws, rgb = self.gpu.draw(model, chosen, psi)
        maps, understood, pixels = [], [], 0
        for seed, file in zip(chosen, files, strict=True):
            try:
                read = read_label_map(uploaded(file, "label_maps"), categories, size=rgb.shape[1:3])
            except InputError as error:
                raise InputError(f"the label map of seed {seed}: {error}") from error
            pixels += read.report["width"] * read.report["height"]
            if pixels > MAX_PIXELS:
                raise InputError(f"label_maps: expected at most {MAX_PIXELS // 10**6} megapixels in one call")
            maps.append(read.labels)
            understood.append({"seed": seed, **read.report})
        extractor = self.gpu.fit(model, list(ws), maps, categories)
        path = self.downloads.path(f"{model}.extractor.safetensors")
        save_extractor(extractor, path)
        reading = self.gpu.read(model, extractor, list(ws))
        painted = np.stack(maps) != 255
        agree = float((reading.labels == np.stack(maps))[painted].mean())
        report = {
            "kind": extractor.kind, "images": len(chosen), "pixels": int(painted.sum()),
            "agreement": round(agree, 4), "mean_uncertainty": round(float(reading.uncertainty.mean()), 4),
            "unpainted": [c.name for k, c in enumerate(categories) if not (np.stack(maps) == k).any()],
            "label_maps": understood,
        }  # fmt: skip
        return str(path), report

    def segment(
        self, model: str, seeds: str, psi: float = 0.7, extractor: str | None = None
    ) -> tuple[list[str], list[tuple[str, str]], dict[str, object]]:
        """Make label maps and overlays for seeds, with the given extractor or the one that ships with the generator."""
        model, chosen, psi = self._drawing(model, seeds, psi)
        chosen_extractor = self._extractor(model, extractor)
        categories = chosen_extractor.categories
        ws, _ = self.gpu.draw(model, chosen, psi)
        reading = self.gpu.read(model, chosen_extractor, list(ws))
        files, gallery, rows = [], [], []
        for i, seed in enumerate(chosen):
            labels = write_label_map(reading.labels[i], categories)
            files.append(self.downloads.write(f"{model}-seed{seed}.png", labels))
            gallery.append((cached_png(overlay(reading.rgb[i], reading.labels[i], categories)), f"seed {seed}"))
            unsure = round(float(reading.uncertainty[i].mean()), 4)
            rows.append({"seed": seed, "shares": shares(reading.labels[i], categories), "mean_uncertainty": unsure})
        return files, gallery, {"images": rows, "categories": [c.name for c in categories]}

    def edit(
        self, model: str, seed: float, latent: str | None = None, psi: float = 0.7, target: str | None = None,
        region: str | None = None, extractor: str | None = None, steps: float = 50,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Edit an image until its labels match `target` (255: no wish) in `region` (white; default: around it)."""
        model = self.studio.check_model(model)
        chosen = self._extractor(model, extractor)
        steps = whole("steps", steps, 1, self.settings.max_steps)
        ws, rgb = self._start(model, seed, latent, psi)
        if (path := uploaded(target, "target")) is None:
            raise InputError("target: expected a label map, got nothing")
        wished = read_label_map(path, chosen.categories, size=rgb.shape[:2])
        where = uploaded(region, "region")
        mask = None if where is None else read_region(where, rgb.shape[:2])
        frames = self.gpu.edit(model, chosen, ws, wished.labels, mask, steps)
        yield from self._edited(model, chosen, frames, steps, target=wished.report)

    def add(
        self, model: str, category: str, seed: float, latent: str | None = None, psi: float = 0.7,
        region: str | None = None, extractor: str | None = None, steps: float = 50,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Bring a category, by its name, into an image, as another one has it, in `region` (white)."""
        yield from self._whole(self.gpu.add, model, category, seed, latent, psi, region, extractor, steps)

    def remove(
        self, model: str, category: str, seed: float, latent: str | None = None, psi: float = 0.7,
        region: str | None = None, extractor: str | None = None, steps: float = 50,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Take a category, by its name, out of an image, in `region` (white; default: everywhere)."""
        yield from self._whole(self.gpu.remove, model, category, seed, latent, psi, region, extractor, steps)

    def sample(
        self, model: str, layout: str | None, count: float, candidates: float, steps: float, seed: float,
        extractor: str | None = None, look: float | None = None,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Generate images whose labels match a layout, best first; with the colours of the seed `look`, if given."""
        model = self.studio.check_model(model)
        chosen = self._extractor(model, extractor)
        count = whole("count", count, 1, self.settings.max_results)
        candidates = whole("candidates", candidates, count, self.settings.max_candidates)
        steps = whole("steps", steps, 0, self.settings.max_steps)
        seed = whole("seed", seed, 0, MAX_SEED)
        look = None if look is None else whole("look", look, 0, MAX_SEED)
        if (path := uploaded(layout, "layout")) is None:
            raise InputError("layout: expected a label map, got nothing")
        asked = read_layout(path, chosen.categories, chosen.size)
        frame, every, sent = None, max(1, steps // FRAMES), -steps
        for frame in self.gpu.sample(model, chosen, asked.labels, count, candidates, steps, seed, look=look):
            if frame.seeds and frame.index >= sent + every:
                sent = frame.index
                yield _captioned(frame), None, None, _ranking(frame)
        files = [
            self.downloads.write(f"labels-{i + 1}-seed{s}.png", write_label_map(frame.labels[i], chosen.categories))
            for i, s in enumerate(frame.seeds)
        ]
        path = self.downloads.path("latents.safetensors")
        save_latents(path, frame.ws, model, frame.seeds)
        note = " ".join(filter(None, (far_off(frame.nearest, candidates), findable(chosen, asked.labels)[1])))
        yield _captioned(frame), files, str(path), {**_ranking(frame), "note": note, "layout": asked.report}

    def export(
        self, model: str, extractor: str | None = None, count: float = 100, first_seed: float = 0, psi: float = 0.7
    ) -> Iterator[tuple[str | None, dict[str, object]]]:
        """Export `count` generated images with their label maps as a zip file."""
        model = self.studio.check_model(model)
        chosen = self._extractor(model, extractor)
        count = whole("count", count, 1, self.settings.max_export)
        first = whole("first_seed", first_seed, 0, MAX_SEED + 1 - count)
        psi = real("psi", psi, 0, 2)
        batches = self.gpu.label(model, chosen, range(first, first + count), psi)
        path = self.downloads.path(f"{model}-{count}.zip")
        for step in write_dataset(path, batches, count, chosen.categories, generator=model, psi=psi):
            size = step.path.stat().st_size if step.path else 0
            yield (str(step.path) if step.path else None), {"images": step.done, "of": step.total, "bytes": size}

    # --- shared helpers ----------------------------------------------------------------------------------------------

    def _drawing(self, model: str, seeds: str, psi: float) -> tuple[str, tuple[int, ...], float]:
        chosen = parse_seeds(seeds, self.settings.max_seeds)
        return self.studio.check_model(model), chosen, real("psi", psi, 0, 2)

    def _extractor(self, model: str, file: str | None) -> Extractor:
        path = uploaded(file, "extractor")
        if path is None and self.studio.shipped(model) is None:
            raise ExtractorError(f"{model} ships without an extractor: give one as `extractor`, as /fit makes it")
        return self.studio.extractor(model, None if path is None else load_extractor(path))

    def _whole(
        self, begin: Callable, model: str, category: str, seed: float, latent: str | None, psi: float,
        region: str | None, extractor: str | None, steps: float,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Bring in a category, or take it out."""
        model = self.studio.check_model(model)
        chosen = self._extractor(model, extractor)
        steps, index = whole("steps", steps, 1, self.settings.max_steps), index_of(category, chosen)
        ws, rgb = self._start(model, seed, latent, psi)
        where = uploaded(region, "region")
        mask = None if where is None else read_region(where, rgb.shape[:2])
        yield from self._edited(model, chosen, begin(model, chosen, ws, index, mask, steps), steps)

    def _edited(
        self, model: str, chosen: Extractor, frames: Iterator[EditFrame], steps: int, **more: object
    ) -> Iterator[tuple[object, ...]]:
        """What the endpoints of edits return of its frames; `more` is added to the last report."""
        frame, every = None, max(1, steps // FRAMES)
        for index, frame in enumerate(each for each in frames if each.report):
            if index % every == 0:
                yield cached_png(frame.rgb), None, None, frame.report
        labels = self.downloads.write("labels.png", write_label_map(frame.labels, chosen.categories))
        path = self.downloads.path("latent.safetensors")
        save_latents(path, frame.ws[None], model)
        yield cached_png(frame.rgb), labels, str(path), {**frame.report, **more}

    def _start(self, model: str, seed: float, latent: str | None, psi: float) -> tuple[np.ndarray, np.ndarray]:
        """The ws (num_ws, w_dim) and the rgb of the image to start from."""
        path = uploaded(latent, "latent")
        if path is None:
            drawn = self.gpu.draw(model, [whole("seed", seed, 0, MAX_SEED)], real("psi", psi, 0, 2))
            return drawn[0][0], drawn[1][0]
        ws = load_latent(path, model)
        return ws, self.gpu.render(model, [ws])[0]


def _captioned(frame: SampleFrame) -> list[tuple[str, str]]:
    rows = zip(frame.rgb, frame.scores, frame.seeds, strict=True)
    return [(cached_png(rgb), f"score {score:.3f}, seed {seed}") for rgb, score, seed in rows]


def _ranking(frame: SampleFrame) -> dict[str, object]:
    rows = [{"seed": n, "score": round(s, 4)} for n, s in zip(frame.seeds, frame.scores, strict=True)]
    nearest = None if frame.nearest is None else round(frame.nearest, 4)
    return {"results": rows, "step": frame.index, "of": frame.total, "nearest": nearest}
