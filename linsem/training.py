"""The state of supervised training under a teacher, its update by a batch, and its files; see `linsem.supervised`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from linsem.calibrate import temperature_of
from linsem.errors import InputError
from linsem.extractor import Extractor
from linsem.gather import gather, random_pixels
from linsem.generator import Generator, batches, check_finite, checked_pass, chosen_layers, mapped
from linsem.moments import Moments, moments_of
from linsem.palette import Category
from linsem.parallel import Processes
from linsem.readout import FORWARD, initial_weights
from linsem.specks import usual_areas

_CENTRE_PIXELS = 512  # per image, to estimate the class centres
SAME = 0.99  # of the teacher's labels that must agree for teacher and generator to count as the same, on any machine


@dataclass(frozen=True)
class Recipe:
    """One extractor to train: its kind, its layers (indices into `generator.layers`; None: all), its learning rate."""

    kind: str
    layers: tuple[int, ...] | None = None
    lr: float = 2e-3


class Training:
    """The state of a run, and the networks it reads."""

    def __init__(
        self,
        generator: Generator,
        teacher: Callable[[torch.Tensor], torch.Tensor],
        categories: tuple[Category, ...],
        recipes: Mapping[str, Recipe],
        total: int,
        psi: float,
        seed: int,
    ) -> None:
        self.generator, self.teacher, self.categories = generator, teacher, categories
        self.recipes, self.total, self.psi, self.seed = recipes, total, psi, seed
        self.layers = {name: chosen_layers(generator, r.layers) for name, r in recipes.items()}
        self.moments: list[Moments] = []  # of each layer
        self.weights, self.optimizers, self.temperatures = {}, {}, dict.fromkeys(recipes, 1.0)
        self.losses: dict[str, torch.Tensor | float] = dict.fromkeys(recipes, 0.0)
        self.counted = 0
        # the categories' summed shares, and the number of images that have any of them
        self.areas = torch.zeros(2, len(categories), dtype=torch.float32, device=generator.device)
        for name, recipe in recipes.items():
            channels = [generator.layers[i].channels for i in self.layers[name]]
            weights = initial_weights(recipe.kind, channels, len(categories), seed)
            self.weights[name] = {k: w.to(generator.device) for k, w in weights.items()}
            if recipe.kind != "centroid":
                self.optimizers[name] = _optimizer(self.weights[name], recipe.lr)

    @torch.no_grad()
    def measure(self, seeds: Sequence[int]) -> None:
        """Measure the moments of every channel over a few images."""
        means, variances = [], []
        for each in seeds:
            _, features = checked_pass(self.generator, self._ws([each]), image=False)
            check_finite(features, [each], self.generator.id)
            means.append([x.mean(dim=(0, 2, 3)) for x in features])
            variances.append([x.var(dim=(0, 2, 3), correction=0) for x in features])
        self.moments = moments_of(means, variances)

    def _ws(self, seeds: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            return mapped(self.generator, seeds, self.psi)

    @torch.no_grad()
    def examples(self, seeds: Sequence[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Raw features and the teacher's labels (N, H, W) int64, from the one pass that all extractors share."""
        image, features = checked_pass(self.generator, self._ws(seeds))
        labels = self._checked(self.teacher(image), len(seeds))
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= len(self.categories):
            wrong = least if least < 0 else most
            raise InputError(f"teacher: label {wrong}, but there are {len(self.categories)} categories")
        return features, labels

    def _checked(self, labels: object, count: int) -> torch.Tensor:
        """The teacher's labels, (N, H, W) int64; raises InputError if they are of another size or no whole numbers."""
        expected = (count, *self.generator.size)
        try:
            labels = torch.as_tensor(labels, device=self.generator.device)
        except (RuntimeError, TypeError, ValueError):  # None, text, rows of different lengths
            raise InputError(f"teacher: expected labels {expected}, got {type(labels).__name__}") from None
        if tuple(labels.shape) != expected or labels.is_floating_point() or labels.dtype == torch.bool:
            got = f"{tuple(labels.shape)}, {labels.dtype}"
            raise InputError(f"teacher: expected labels {expected}, whole numbers, got {got}")
        return labels.long()

    def step(self, index: int, seeds: Sequence[int], processes: Processes) -> None:
        """Train every extractor on one batch."""
        features, labels = self.examples(seeds)
        features = [x.detach() for x in features]  # of a network that turns gradients on by itself
        check_finite(features, seeds, self.generator.id)
        self._measure_areas(labels)
        for name, recipe in self.recipes.items():
            if recipe.kind == "centroid":
                self._add_to_centres(name, features, labels, seeds)
        for name, optimizer in self.optimizers.items():
            even = [self.moments[i].even(features[i], self.recipes[name].kind) for i in self.layers[name]]
            self._descend(name, optimizer, index, even, labels, processes)
        self.counted += 1

    def _measure_areas(self, labels: torch.Tensor) -> None:
        """Accumulate the areas of the categories, from which `linsem.specks` derives minimum areas."""
        flat = labels.flatten(1)
        counts = self.areas.new_zeros(len(flat), len(self.categories))
        counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
        self.areas += torch.stack([(counts / flat.shape[1]).sum(0), (counts > 0).sum(0)])

    def _descend(
        self,
        name: str,
        optimizer: torch.optim.Optimizer,
        index: int,
        features: list[torch.Tensor],
        labels: torch.Tensor,
        processes: Processes,
    ) -> None:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * _schedule(index / self.total)
        with torch.enable_grad():
            logits = FORWARD[self.recipes[name].kind](self.weights[name], features, tuple(labels.shape[-2:]))
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        processes.average([w.grad for w in self.weights[name].values()])
        optimizer.step()
        self.losses[name] = self.losses[name] + loss.detach()  # stays on the device until a report

    def _add_to_centres(
        self, name: str, features: list[torch.Tensor], labels: torch.Tensor, seeds: Sequence[int]
    ) -> None:
        """Sum unit-length pixel features by class, over the concatenated layers of eq. 2."""
        size = tuple(labels.shape[-2:])
        parts = [self.weights[name][f"layer{i}.weight"] for i in range(len(self.layers[name]))]
        for n, each in enumerate(seeds):
            picked = random_pixels(size, _CENTRE_PIXELS, each)
            x = F.normalize(gather([f[n : n + 1] for f in features], self.layers[name], picked, size), dim=1)
            y = labels[n].flatten()[torch.from_numpy(picked).to(labels.device)]
            for part, block in zip(parts, x.split([p.shape[1] for p in parts], dim=1), strict=True):
                part.index_add_(0, y, block)

    @torch.no_grad()
    def calibrate(self, seeds: Sequence[int], batch: int, processes: Processes) -> None:
        """Set the temperatures on some pixels of images that were not trained on, `batch` images at a time."""
        found: dict[str, list[torch.Tensor]] = {name: [] for name in self.recipes}
        known = []
        extractors = {name: self._extractor(name, processes) for name in self.recipes}
        for part in batches(len(seeds), batch):
            features, labels = self.examples(seeds[part])
            known.append(labels.flatten()[::7])
            for name, extractor in extractors.items():
                logits = extractor.logits(features, tuple(labels.shape[-2:]))
                found[name].append(logits.movedim(1, -1).flatten(0, 2)[::7])
        for name, logits in found.items():
            self.temperatures[name] = temperature_of(torch.cat(logits), torch.cat(known))

    def report(self, images: int, processes: Processes) -> tuple[dict[str, float], dict[str, Extractor]]:
        """The mean losses since the last report, and the current extractors."""
        losses = self.check_losses(images)
        self.losses, self.counted = dict.fromkeys(self.losses, 0.0), 0
        extractors = {name: self._extractor(name, processes) for name in self.recipes}
        return losses, extractors

    def check_losses(self, images: int) -> dict[str, float]:
        """The mean losses since the last report; raises InputError unless all are finite."""
        losses = self._mean_losses()
        wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            raise InputError(f"recipe {wrong[0]!r}: its loss is no longer finite after {images} images")
        return losses

    def _mean_losses(self) -> dict[str, float]:
        return {name: float(total) / max(self.counted, 1) for name, total in self.losses.items()}

    @torch.no_grad()
    def _extractor(self, name: str, processes: Processes) -> Extractor:
        kind, layers = self.recipes[name].kind, self.layers[name]
        weights = {key: w.detach().clone() for key, w in self.weights[name].items()}
        if kind == "centroid":
            weights = _unit_rows(processes.total(weights), len(layers))
        for i, layer in enumerate(layers):
            if kind != "centroid":  # the weights were learnt on even features but are applied to raw ones
                self.moments[layer].fold(weights, kind, i)
        size = tuple(self.generator.size)
        least = usual_areas(*processes.total({"areas": self.areas})["areas"].double().cpu().numpy())
        return Extractor(
            kind, self.categories, layers, self.generator.id, size, weights, self.temperatures[name],
            {"supervision": "teacher"}, least,
        )  # fmt: skip

    def probe(self, seeds: Sequence[int]) -> torch.Tensor:
        """The teacher's labels of some images, (n, H, W) uint8, which identify the teacher and the generator."""
        return self.examples(seeds)[1].to(torch.uint8).cpu()

    def _sums(self) -> dict[str, torch.Tensor]:
        """The accumulators of this process, by name."""
        centres = [name for name, recipe in self.recipes.items() if recipe.kind == "centroid"]
        return {"areas": self.areas} | {f"{n} {k}": w for n in centres for k, w in self.weights[n].items()}

    def save(self, path: Path, label: str, index: int, probe: torch.Tensor, processes: Processes) -> None:
        """Write everything that the next step depends on, atomically: all processes take part, the first one writes."""
        sums = processes.total({name: x.clone() for name, x in self._sums().items()})
        if not processes.first:
            return
        state = {
            "label": label, "index": index, "probe": probe, "weights": self.weights,
            "moments": [(each.mean, each.deviation, each.size) for each in self.moments],
            "temperatures": self.temperatures, "sums": sums, "losses": self._mean_losses(),
            "adam": {k: o.state_dict() for k, o in self.optimizers.items()},
        }  # fmt: skip
        partial = path.with_suffix(path.suffix + ".part")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path, label: str, probe: torch.Tensor, processes: Processes) -> int:
        """Restore the state and return the number of batches done; the first process carries on the sums of all.

        The losses are those of the last report where no batch is left, and otherwise begin anew.
        """
        try:
            state = torch.load(path, weights_only=True, map_location=self.generator.device)
            found = state["label"]
        except (RuntimeError, OSError, ValueError, LookupError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(f"{path.name} is not the state of a run, or it is cut off: {error}") from error
        if found != label:
            raise InputError(f"{path.name} is the state of another run ({found}), this one is {label}")
        if state["probe"].shape != probe.shape or (state["probe"].cpu() == probe).double().mean() < SAME:
            raise InputError(f"{path.name} is the state of another run: its teacher labels the same seeds otherwise")
        self.moments, self.temperatures = [Moments(*each) for each in state["moments"]], state["temperatures"]
        for name, weights in self.weights.items():
            for key, w in weights.items():
                w.data.copy_(state["weights"][name][key])
        for name, x in self._sums().items():
            x.data.copy_(state["sums"][name] * processes.first)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["adam"][name])
        if state["index"] == self.total:
            self.losses = dict(state["losses"])
        return state["index"]


def _optimizer(weights: dict[str, torch.Tensor], lr: float) -> torch.optim.Adam:
    """Adam; the mixing weights of the layers have ten times the learning rate, as in the reference implementation."""
    groups = [
        {"params": [w.requires_grad_(True)], "lr": lr, "base_lr": lr * (10 if name == "mix" else 1)}
        for name, w in weights.items()
    ]
    return torch.optim.Adam(groups, lr=lr, betas=(0.9, 0.99))


def _schedule(done: float) -> float:
    """A short linear warm-up and a cosine decay to zero."""
    return min(1.0, 20 * done + 0.05) * (0.5 + 0.5 * math.cos(math.pi * done))


def _unit_rows(weights: dict[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Normalise class sums over all layers to unit length; a class that was never seen keeps zeros."""
    norm = sum(weights[f"layer{i}.weight"].square().sum(1) for i in range(count)).sqrt().clamp_min(1e-12)
    return {key: w / norm[:, None] if w.ndim == 2 else w for key, w in weights.items()}
