"""Runs many clients at once for some minutes: no client may get another one's data, and memory must not grow.

    python -m tests.soak --clients 20 --minutes 5 --json

Each client has its own categories and seeds, and fits its own extractor. All results must match them: the names in the
label maps and the extractor, the seeds of the samples, the pixels of the images.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError
from PIL import Image

from linsem.extractor import load_extractor
from linsem.latents import load_latents
from linsem.palette import parse_categories, read_label_map, write_label_map
from tests.served import Server, server

CALLS = {"generate": 4, "segment": 4, "fit": 4, "edit": 2, "sample": 2, "export": 1}  # relative frequencies
SEEDS = 1_000  # seeds per client
FULL = "Queue is full"
SETTLED = 60.0  # seconds until memory has reached its level
GROWTH = 1.10


@dataclass
class Outcome:
    """The result of a run: seconds of each call, what went wrong, and memory in MB over time."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    refused: Counter = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(map(len, self.seconds.values()))

    def level(self) -> float:
        """Memory after the first minute (or the first half of a shorter run): the median over a tenth of the run."""
        last = self.memory[-1][0]
        settled = min(SETTLED, last / 2)
        near = [mb for at, mb in self.memory if abs(at - settled) <= max(last / 20, 1.0)]
        return statistics.median(near or [mb for _, mb in self.memory])

    def end(self) -> float:
        """Memory at the end: the median of the last tenth of the run."""
        last = self.memory[-1][0]
        return statistics.median([mb for at, mb in self.memory if at >= 0.9 * last])


class Visitor(threading.Thread):
    """One client, which makes one call after the other and checks the results."""

    def __init__(self, number: int, address: str, until: float, outcome: Outcome, folder: Path, seed: int) -> None:
        super().__init__(name=f"visitor-{number}", daemon=True)
        self.number, self.address, self.until, self.outcome = number, address, until, outcome
        self.rng, self.folder = random.Random(f"{seed}/{number}"), folder / str(number)
        self.first, self.drawn = SEEDS * (number + 1), {}
        self.names = [f"ground of {number}", f"figure of {number}"]
        self.categories = parse_categories([{"name": name} for name in self.names])
        self.extractor: str | None = None

    def run(self) -> None:
        try:
            self.folder.mkdir(parents=True)
            self.client = Client(self.address, verbose=False, download_files=self.folder / "got")
            rows = self.client.predict(api_name="/models")
            self.model = next(row for row in rows if row["available"])
            self._visit("fit", self.fit)
            name = list(CALLS)[self.number % len(CALLS)]  # however short the run, clients make different calls
            self._visit(name, getattr(self, name))
            while time.monotonic() < self.until:
                name = self.rng.choices(list(CALLS), list(CALLS.values()))[0]
                self._visit(name, getattr(self, name))
        except Exception as error:
            self.outcome.wrong.append(f"{self.name} gave up: {type(error).__name__}: {error}")

    def _visit(self, name: str, call: object) -> None:
        clock = time.monotonic()
        try:
            call()
        except QueueError as error:
            self.outcome.refused[str(error)] += 1
            if FULL not in str(error):
                self.outcome.wrong.append(f"{self.name} /{name}: {error}")
            time.sleep(0.5)
            return
        except Exception as error:
            self.outcome.wrong.append(f"{self.name} /{name}: {type(error).__name__}: {error}")
            return
        self.outcome.seconds[name].append(time.monotonic() - clock)

    # --- the calls ---------------------------------------------------------------------------------------------------

    def seed(self) -> int:
        return self.first + self.rng.randrange(12)

    def generate(self) -> None:
        """A seed always gives the same image, different from those of other clients."""
        seed = self.seed()
        got = self.client.predict(self.model["id"], str(seed), 0.7, api_name="/generate")
        self.check(len(got) == 1, "one image a seed")
        pixels = np.asarray(Image.open(got[0]["image"])).tobytes()
        self.check(self.drawn.setdefault(seed, pixels) == pixels, f"seed {seed} is another image than before")

    def fit(self) -> None:
        """A fitted extractor has the categories of this client."""
        labels = self.scribbles()
        file, report = self.client.predict(
            self.model["id"], str(self.seed()), [self.written(labels)], self.asked(), 0.7, api_name="/fit"
        )
        self.check(self.of(load_extractor(file).categories), "an extractor with other categories")
        self.check(report["pixels"] == int((labels != 255).sum()), "a report on other labels")
        self.extractor = file

    def segment(self) -> None:
        """Label maps from this client's extractor name its categories."""
        seed = self.seed()
        files, overlays, report = self.client.predict(
            self.model["id"], str(seed), 0.7, handle_file(self.extractor), api_name="/segment"
        )
        self.check(report["categories"] == self.names, f"somebody else's categories: {report['categories']}")
        self.check([row["seed"] for row in report["images"]] == [seed], "somebody else's seeds")
        self.check(len(files) == len(overlays) == 1, "one label map and one overlay")
        self.read(files[0])

    def edit(self) -> None:
        """An edit returns a latent of this model and labels in this client's categories."""
        _, labels, latent, report = self.client.predict(
            self.model["id"], self.seed(), None, 0.7, self.written(self.scribbles()), None,
            handle_file(self.extractor), self.rng.choice((1, 3, 6)), api_name="/edit",
        )  # fmt: skip
        self.read(labels)
        self.check(load_latents(latent, self.model["id"]).shape[0] == 1, "one latent")
        self.check(set(report["target"]["counts"]) <= set(self.names), "somebody else's target")

    def sample(self) -> None:
        """Samples start from the requested seeds."""
        _, files, latents, report = self.client.predict(
            self.model["id"], self.written(self.scribbles(0.5)), 2, 8, self.rng.choice((0, 2)), self.first,
            handle_file(self.extractor), api_name="/sample",
        )  # fmt: skip
        seeds = [row["seed"] for row in report["results"]]
        self.check(all(self.first <= seed < self.first + 8 for seed in seeds), f"somebody else's seeds: {seeds}")
        for file in files:
            self.read(file)
        self.check(len(load_latents(latents, self.model["id"])) == len(seeds) == 2, "two results")

    def export(self) -> None:
        """A data set holds this client's seeds and categories."""
        file, _ = self.client.predict(
            self.model["id"], handle_file(self.extractor), 4, self.first, 0.7, api_name="/export"
        )
        with zipfile.ZipFile(file) as archive:
            rows = [json.loads(line) for line in archive.read("manifest.jsonl").decode().splitlines()]
            named = json.loads(archive.read("categories.json"))["categories"]
        self.check([row["seed"] for row in rows] == list(range(self.first, self.first + 4)), "somebody else's seeds")
        self.check([each["name"] for each in named] == self.names, "somebody else's categories")

    # --- helpers -----------------------------------------------------------------------------------------------------

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise AssertionError(what)

    def of(self, categories: tuple) -> bool:
        return [category.name for category in categories] == self.names

    def asked(self) -> list[dict[str, str]]:
        return [{"name": category.name, "color": category.color} for category in self.categories]

    def read(self, file: str) -> None:
        """Check that a label map's metadata names this client's categories."""
        with Image.open(file) as image:
            image.load()
            named = [each["name"] for each in json.loads(image.text["linsem:categories"])]
        self.check(named == self.names, f"a label map with the categories {named}")
        read_label_map(Path(file), self.categories)

    def scribbles(self, share: float = 0.1) -> np.ndarray:
        """Partial labels of a disc on a background."""
        size = self.model["resolution"]
        y, x = np.mgrid[:size, :size] / size
        disc = (x - self.rng.uniform(0.4, 0.6)) ** 2 + (y - self.rng.uniform(0.4, 0.6)) ** 2 < 0.09
        unknown = np.random.default_rng(self.rng.randrange(2**32)).random((size, size)) > share
        return np.where(unknown, 255, disc.astype(np.uint8)).astype(np.uint8)

    def written(self, labels: np.ndarray) -> object:
        path = self.folder / f"{self.rng.randrange(10**9)}.png"
        path.write_bytes(write_label_map(labels, self.categories))
        return handle_file(str(path))


def soak(target: Server, clients: int, seconds: float, seed: int = 0) -> Outcome:
    """Run `clients` at once for this many seconds."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        visitors = [
            Visitor(number, target.address, start + seconds, outcome, Path(folder), seed) for number in range(clients)
        ]
        for visitor in visitors:
            visitor.start()
        while any(visitor.is_alive() for visitor in visitors) and target.alive:
            outcome.memory.append((time.monotonic() - start, target.memory))
            time.sleep(0.5)
        for visitor in visitors:
            visitor.join(60 if target.alive else 1)
    if not target.alive:
        outcome.wrong.append(f"the server died: {target.said()[-1000:]}")
    pictures = Counter(pixels for visitor in visitors for pixels in visitor.drawn.values())
    if pictures and max(pictures.values()) > 1:
        outcome.wrong.append("two seeds gave one image")
    if outcome.end() > GROWTH * outcome.level():
        outcome.wrong.append(f"memory grew from {outcome.level():.0f} MB to {outcome.end():.0f} MB")
    return outcome


def table(outcome: Outcome) -> list[tuple[str, int, float, float]]:
    """For each call its count, and the median and 95th percentile of its seconds."""
    return [
        (name, len(rows), float(np.median(rows)), float(np.percentile(rows, 95)))
        for name, rows in sorted(outcome.seconds.items()) if rows
    ]  # fmt: skip


def main() -> int:
    """Print the figures; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with server() as target:
        outcome = soak(target, args.clients, 60 * args.minutes, args.seed)
    print(f"{'call':<10}{'number':>8}{'median':>9}{'95 %':>9}   seconds")
    for name, number, median, high in table(outcome):
        print(f"{name:<10}{number:>8}{median:>9.2f}{high:>9.2f}")
    print(f"memory: {outcome.level():.0f} MB after the first minute, {outcome.end():.0f} MB at the end")
    print(f"refused by a full queue: {sum(outcome.refused.values())}")
    for what in outcome.wrong[:40]:
        print(f"WRONG: {what}")
    if args.json:
        rows = {name: {"number": n, "median": round(m, 3), "p95": round(p, 3)} for name, n, m, p in table(outcome)}
        print(json.dumps({
            "clients": args.clients, "minutes": args.minutes, "calls": rows, "wrong": len(outcome.wrong),
            "queue_full": sum(outcome.refused.values()),
            "memory_mb": [round(outcome.level()), round(outcome.end())],
        }))  # fmt: skip
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
