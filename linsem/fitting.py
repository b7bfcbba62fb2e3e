"""The regression problem of a few-shot fit: its rows, their weights, its prior, and its solution as an extractor."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsem.calibrate import temperature_of
from linsem.curvature import Full, Preconditioner, evened
from linsem.doubt import Outside, doubted
from linsem.examples import Examples
from linsem.extractor import NEVER, Extractor
from linsem.generator import Generator
from linsem.palette import Category
from linsem.rows import Gathered
from linsem.softmax import Problem, common_shares, cross_validate, logits_of, solved
from linsem.specks import SHARE, areas, least_areas

CHOICE_PIXELS = 1_500  # used to choose the prior
RIDGES = (0.1, 0.03, 0.01)  # weaker ones suit images like the labelled ones, but are worse for editing and sampling
MAX_RIDGE = 1e30  # single precision ends soon after
POWER = 0.5
ONE_IMAGE_RIDGE = 0.01  # chosen by leaving out parts of the only image, the ridge is no better
GROWN = 2  # times the pixels of an earlier fit: with more than that, the prior is chosen anew
DENSE = 0.5  # if labels or guesses cover less than this, they do not tell how common a category is
LEAST_SHARE = 1e-3
KEPT = 0.9  # of the area on which a category is found where it is labelled: not more than this is a speck


@dataclass(frozen=True, eq=False)
class Earlier:
    """What a fit leaves to those that go on from it, besides its solution, to shorten the wait after a stroke.

    The solutions `outside` some images (`linsem.doubt`), and the preconditioner, for its `ridge` and `power`.
    """

    outside: Outside | None
    even: Preconditioner
    ridge: float
    power: float

    @property
    def nbytes(self) -> int:
        """The memory it takes, also of what other fits share."""
        return self.even.nbytes + (0 if self.outside is None else self.outside.nbytes)


class Fitting:
    """The regression problem in the basis, over the categories that have a pixel."""

    def __init__(
        self,
        generator: Generator,
        categories: tuple[Category, ...],
        layers: tuple[int, ...],
        examples: Examples,
    ) -> None:
        self.generator, self.categories, self.layers, self.images = generator, categories, layers, len(examples.maps)
        self.areas = areas(examples.maps, len(categories))
        self.least = least_areas(self.areas)
        self.channels = [generator.layers[i].channels for i in layers]
        self.coordinates, self.basis = examples.coordinates, examples.coordinates.basis
        counts = torch.bincount(examples.y, minlength=len(categories))
        self.present = counts.nonzero()[:, 0]
        index = torch.full_like(counts, -1)
        index[self.present] = torch.arange(len(self.present), device=index.device)
        self.group, self.stands, self.guessed = examples.group, examples.stands, examples.guessed
        self.problem = Problem(examples.x, index[examples.y], examples.weight, len(self.present))
        self.ridge, self.temperature = ONE_IMAGE_RIDGE, 1.0
        self.covered, self.times = examples.covered, examples.times
        self.labelled = examples.labelled
        self.earlier: Earlier | None = None
        self.outside: Outside | None = None

    def recall(self, memory: Gathered | None, start: Extractor | None) -> None:
        """Go on from what `memory` has of the fit `start`, unless there are many more pixels now.

        Only from that: a result may depend on what a visitor did before, but not on what others painted (whose fits may
        at most push this one out of memory, so that the way is longer).
        """
        if memory is not None and start is not None and self._prior_of(start) is not None:
            self.earlier = memory.fits.find(self._name_of(start))

    def remember(self, memory: Gathered | None, made: Extractor, even: Preconditioner) -> None:
        """Keep what shortens a fit that goes on from `made`."""
        if memory is not None:
            earlier = Earlier(self.outside, even, self.ridge, self.basis.power)
            memory.fits.keep(self._name_of(made), earlier, earlier.nbytes)

    def weigh(self, balance: float, start: Extractor | None) -> None:
        """With sparse labels, weight categories by their share of the images, not by how much of them was painted.

        An annotator paints as much of a nose as of the sky. The shares are estimated on pixels that need no label, from
        the predictions of `start`, or of a first fit with equal class weights.
        """
        if self.covered >= DENSE:
            return
        problem, rest = self.problem, self.coordinates.rest
        counts = torch.bincount(problem.y, minlength=problem.classes).to(problem.weight)
        if start is None:
            even = replace(problem, weight=1 / (counts[problem.y] * problem.classes))
            theta, before = solved(even, ONE_IMAGE_RIDGE, 16), torch.full_like(counts, 1 / problem.classes)
            shares = common_shares(logits_of(theta, rest), before)
        else:
            shares = logits_of(self.start(start), rest).softmax(1).mean(0)
        self._enlarge(shares)
        weight = (shares.clamp_min(LEAST_SHARE).pow(1 - balance) / counts)[problem.y]
        self.problem = replace(problem, weight=weight / weight.sum())

    def _enlarge(self, shares: torch.Tensor) -> None:
        """Raise the minimum area of a category to its share of all images, however little of it was painted."""
        least = torch.tensor(self.least, dtype=torch.float64, device="cpu")
        least[self.present.cpu()] = least[self.present.cpu()].maximum(SHARE * shares.cpu().double())
        self.least = tuple(least.tolist())

    def doubt(self) -> None:
        """Drop the guesses that the other images contradict."""
        if self.images == 1:
            return
        last = None if self.earlier is None else self.earlier.outside
        gone, self.outside = doubted(self.problem, self.group, self.guessed, ONE_IMAGE_RIDGE, last)
        keep = ~gone
        if keep.all():
            return
        self.covered *= float(self.stands[keep].sum())
        self.areas[:, self.present.cpu()] *= self._share_of(keep)
        self.least = least_areas(self.areas)
        self.problem = self.problem.part(keep)
        self.group, self.stands, self.guessed = self.group[keep], self.stands[keep], self.guessed[keep]

    def _name_of(self, fit: Extractor) -> bytes:
        """What `Earlier` is kept under, with these images and categories, for whoever goes on from `fit`."""
        names = repr([self.categories[k].name for k in self.present.tolist()]).encode()
        weights = [fit.weights["bias"], fit.weights["layer0.weight"]]
        parts = [self.coordinates.name, self.labelled, names, *(w.detach().cpu().numpy().tobytes() for w in weights)]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    def _share_of(self, keep: torch.Tensor) -> np.ndarray:
        """The share of each category that is kept on each image, (images, present); 1 where there was none."""
        cell = self.group * self.problem.classes + self.problem.y
        before = self.stands.new_zeros(self.images * self.problem.classes).index_add_(0, cell, self.stands)
        after = torch.zeros_like(before).index_add_(0, cell, self.stands * keep)
        return torch.where(before > 0, after / before.clamp_min(1e-12), 1).view(self.images, -1).cpu().numpy()

    def choose(self, ridge: float | None, power: float | None, start: Extractor | None, even: bool) -> None:
        """Set the prior and the temperature: as given, those of `start`, or by cross-validation (`cross_validate`)."""
        known = None if start is None else self._prior_of(start)
        if known is not None:
            self.ridge = known[0] if ridge is None else ridge
            self._rescale(known[1] if power is None else power)
            self.temperature = start.temperature
            return
        self._rescale(POWER if power is None else power)
        given = ONE_IMAGE_RIDGE if ridge is None and self.images == 1 else ridge
        rows = evenly(len(self.problem.y), CHOICE_PIXELS, self.problem.y.device)
        ridges = RIDGES if given is None else (given,)
        choice = cross_validate(self.problem.part(rows), self.group[rows], ridges, even=even)
        self.ridge = choice.ridge
        if len(choice.rows):
            of = rows[choice.rows]
            found = temperature_of(choice.logits, self.problem.y[of], self.stands[of])
            self.temperature = max(found, 1.0)  # held-out fits stop early, so they are less confident

    def _prior_of(self, start: Extractor) -> tuple[float, float] | None:
        """Ridge and power of an earlier fit on as many images and not many fewer pixels.

        None if it was on others, or does not say, or says something else than we write. A fit from nothing counts each
        pixel once for each draw of the noise.
        """
        try:
            known, power = float(start.notes["ridge"]), float(start.notes.get("power", POWER))
            before = int(start.notes["pixels"]) / int(start.notes.get("times", 1))
        except (KeyError, ValueError, ZeroDivisionError, OverflowError):  # the last: of 400 digits
            return None
        fits = start.notes.get("images") == str(self.images) and GROWN * before >= len(self.problem.y) / self.times
        return (known, power) if fits and 0 <= known <= MAX_RIDGE and 0 <= power <= 1 else None

    def preconditioner(self, brief: bool) -> Preconditioner:
        """The preconditioner (`evened`), or that of the earlier fit: a stroke hardly changes the second moments."""
        known = self.earlier
        if known and isinstance(known.even, Full) and (known.ridge, known.power) == (self.ridge, self.basis.power):
            return known.even
        return evened(self.problem.x, self.problem.weight, self.ridge, brief=brief)

    def _rescale(self, power: float) -> None:
        """Rescale the rows to another power of the basis."""
        if power != self.basis.power:
            self.problem.x.mul_(self.basis.factors(power))
            self.basis = self.basis.with_power(power)

    def start(self, start: Extractor | None) -> torch.Tensor:
        """Initial theta (present, R + 1): the earlier solution where it has the category, else log class shares."""
        theta = self.problem.start()
        if start is None:
            return theta
        parts = [start.weights[f"layer{i}.weight"] for i in range(len(self.layers))]
        old = self.basis.from_raw(torch.cat(parts, dim=1).to(theta.device), start.weights["bias"].to(theta.device))
        index = {c.name: k for k, c in enumerate(start.categories)}
        for row, k in enumerate(self.present.tolist()):
            at = index.get(self.categories[k].name)
            if at is not None and float(start.weights["bias"][at]) != NEVER:
                theta[row] = old[at]
        return theta

    def _least(self, theta: torch.Tensor) -> tuple[float, ...]:
        """The minimum areas, lowered so that no category is a speck on an image on which it is labelled.

        For images that are mostly labelled: what strokes cover does not tell how large a category is on its image.
        """
        least = np.array(self.least)
        covered = self.areas.sum(axis=1, keepdims=True)
        small = (self.areas > 0) & (self.areas < 2 * least) & (covered >= DENSE)
        if self.images == 1 or not small.any():
            return self.least
        classes = self.problem.classes
        cell = self.group * classes + logits_of(theta, self.problem.x).argmax(1)
        parts = self.stands.new_zeros(self.images * classes).index_add_(0, cell, self.stands).view(self.images, -1)
        found = np.zeros_like(self.areas)
        found[:, self.present.cpu()] = (parts / parts.sum(1, keepdim=True).clamp_min(1e-12)).cpu()
        most = np.where(small & (found > 0), KEPT * covered * found, np.inf).min(axis=0)
        return tuple(np.minimum(least, most).tolist())

    def extractor(self, theta: torch.Tensor) -> Extractor:
        """The solution as an extractor of raw features, over all categories."""
        some_matrix, some_bias = self.basis.to_raw(theta.detach())
        matrix = some_matrix.new_zeros(len(self.categories), some_matrix.shape[1])
        bias = some_bias.new_full((len(self.categories),), NEVER)
        matrix[self.present], bias[self.present] = some_matrix, some_bias
        weights = {f"layer{i}.weight": part.clone() for i, part in enumerate(matrix.split(self.channels, dim=1))}
        notes = {
            "ridge": repr(float(self.ridge)), "power": repr(float(self.basis.power)),
            "images": str(self.images), "pixels": str(len(self.problem.y)), "times": str(self.times),
        }  # fmt: skip
        return Extractor(
            "LSE", self.categories, self.layers, self.generator.id, tuple(self.generator.size),
            weights | {"bias": bias}, self.temperature, notes, self._least(theta.detach()),
        )  # fmt: skip


def evenly(count: int, most: int, device: torch.device) -> torch.Tensor:
    """At most `most` of the indices 0..count-1, evenly spaced."""
    step = max(math.ceil(count / most), 1)
    return torch.arange(0, count, step, device=device)
