"""Fuzz the checkpoint readers: damaged files may only raise `CheckpointError`, and nothing in them may run.

`python -m linsem.lab.fuzz_checkpoints --count 20000` starts from one small file of each dialect, written by the test
suite, and prints the outcomes: read completely, refused, caught by the last handler, or escaped (a failure). While a
file is read, a Python audit hook watches for code execution, processes, sockets and unpickling.
"""

from __future__ import annotations

import argparse
import codecs
import collections
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from linsem.checkpoints import CheckpointError, build_network, parse_checkpoint

FORBIDDEN = ("exec", "compile", "os.", "subprocess.", "socket.", "pickle.", "ctypes.", "marshal.", "shutil.", "import")
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)
NET = "damaged, or not a generator checkpoint"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one damaged file."""

    dialect: str
    seed: int
    kind: str
    """`read`, `refused`, `net` (refused by the last net) or `escaped`."""
    seconds: float
    detail: str = ""


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Apply one to four random mutations to `data`."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(INJURIES)(damaged, others, rng)
    return bytes(damaged)


def _flip(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)


def _extreme(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    if len(data) > width:
        start = rng.randrange(len(data) - width)
        data[start : start + width] = (rng.choice(EXTREMES) % 2 ** (8 * width)).to_bytes(width, "little")


def _cut(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice((1, 2, 4, 16, 256))]


def _repeat(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 4, 16, 256))]
    data[start:start] = piece * rng.randint(1, 3)


def _splice(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    start, source = rng.randrange(len(data) + 1), rng.randrange(len(other))
    length = rng.choice((1, 8, 64, 512))
    data[start : start + length] = other[source : source + length]


def _word(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    """Swap one of the file's own words for another, which keeps the structure but changes the meaning."""
    words = (
        b"weight",
        b"bias",
        b"noise",
        b"const",
        b"conv1",
        b"conv0",
        b"mapping",
        b"synthesis",
        b"FloatStorage",
        b"_rebuild_tensor_v2",
        b"OrderedDict",
        b"_modules",
        b"_parameters",
        b"Network",
        b"variables",
        b"channels",
    )
    old, new = rng.choice(words), rng.choice(words)
    start = data.find(old, rng.randrange(len(data) + 1))
    if start >= 0:
        data[start : start + len(old)] = new[: len(old)].ljust(len(old), b"x")


Injury = Callable[[bytearray, list[bytes], random.Random], None]
INJURIES: tuple[Injury, ...] = (_flip, _flip, _overwrite, _extreme, _extreme, _cut, _remove, _repeat, _splice, _word)

_watching: list[str] | None = None
_hooked = False


def _audit(event: str, args: tuple) -> None:
    if _watching is not None and event.startswith(FORBIDDEN):
        _watching.append(event)


def watch() -> None:
    """Install the audit hook, once per process (it cannot be removed); it is idle outside `attempt`."""
    global _hooked
    if not _hooked:
        codecs.lookup("cp437")  # zipfile looks up this codec for member names, and the first lookup imports
        sys.addaudithook(_audit)
        _hooked = True


def attempt(dialect: str, seed: int, data: bytes) -> Outcome:
    """Read and build `data`; any exception but `CheckpointError`, and any forbidden event, is an escape."""
    global _watching
    _watching, start, kind, detail = [], time.perf_counter(), "read", ""
    try:
        build_network(parse_checkpoint(data))
    except CheckpointError as error:
        kind, detail = ("net", repr(error.__cause__)) if str(error).startswith(NET) else ("refused", str(error))
    except Exception as error:
        kind, detail = "escaped", repr(error)
    events, _watching = _watching, None
    if events:
        kind, detail = "escaped", f"forbidden events: {', '.join(events[:5])}"
    return Outcome(dialect, seed, kind, time.perf_counter() - start, detail)


def fuzz(files: dict[str, bytes], count: int, first_seed: int = 0) -> Iterator[Outcome]:
    """Yield `count` outcomes, cycling through the dialects; number i depends on the seed `first_seed` + i alone."""
    watch()
    names, others = list(files), list(files.values())
    for name in names:
        attempt(name, -1, files[name])  # triggers torch's lazy imports
        whole = attempt(name, -1, files[name])
        if whole.kind != "read":
            raise ValueError(f"{name}: the undamaged file is not read: {whole.detail}")
    for seed in range(first_seed, first_seed + count):
        name = names[seed % len(names)]
        yield attempt(name, seed, mutate(files[name], others, random.Random(seed)))


def main() -> int:
    """Print a table; returns 1 if anything escaped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from tests.writers.corpus import corpus  # the writers of foreign formats exist for the tests only

    table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    nets: collections.Counter = collections.Counter()
    slowest = 0.0
    for outcome in fuzz(corpus(), args.count, args.seed):
        table[outcome.dialect][outcome.kind] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.kind == "net":
            nets[outcome.detail[:100]] += 1
        if outcome.kind == "escaped":
            print(f"ESCAPED {outcome.dialect} seed {outcome.seed}: {outcome.detail}", flush=True)
    kinds = ("read", "refused", "net", "escaped")
    print(f"{'dialect':<20}" + "".join(f"{kind:>10}" for kind in kinds))
    for dialect, counts in table.items():
        print(f"{dialect:<20}" + "".join(f"{counts[kind]:>10}" for kind in kinds))
    for detail, number in nets.most_common(10):
        print(f"last net: {number} x {detail}")
    totals = {kind: sum(counts[kind] for counts in table.values()) for kind in kinds}
    print(f"slowest: {slowest:.2f} s")
    if args.json:
        print(json.dumps({"count": args.count, **totals, "slowest": round(slowest, 3)}))
    return 1 if totals["escaped"] else 0


if __name__ == "__main__":
    sys.exit(main())
