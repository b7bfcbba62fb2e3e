"""What other programs cost, for `linsem.lab.bench`: an edit beside one busy process for each core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import numpy as np

STEPS, ROUNDS = 5, 3
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # how threads wait: this process has set its own


def busy_edit(model: str, quick: bool) -> float:
    """How many times longer an edit of five steps takes beside one busy process for each core than alone."""
    return _slower(model, quick, "")


def busy_edit_by_default(model: str, quick: bool) -> float:
    """The same where threads wait for each other as torch has it, which `linsem.threads` changes."""
    return _slower(model, quick, "import torch; ")


def edit_seconds(model: str, rounds: int) -> float:
    """The body of both, run in a process of its own: the median seconds of the edit, after one to warm up."""
    from linsem.edit import edit
    from linsem.extractor import load_extractor
    from linsem.generator import seed_z
    from linsem.zoo import load_generator

    generator = load_generator(model)
    extractor = load_extractor(model, generator)
    ws = generator.map(seed_z(generator, [7, 8]), psi=0.7)
    now, target = extractor.predict(generator.synthesize(ws)[1])
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        edit(generator, extractor, ws[0], target, np.not_equal(now, target), steps=STEPS)
        times.append(time.perf_counter() - begun)
    return median(times[1:])


def _slower(model: str, quick: bool, first: str) -> float:
    rounds = 1 if quick else ROUNDS
    alone = _seconds(model, rounds, first)
    with _busy(os.cpu_count() or 1):
        return _seconds(model, rounds, first) / alone


def _seconds(model: str, rounds: int, first: str) -> float:
    """The seconds of an edit in a process that begins with the code `first`: threads wait as it is when torch comes."""
    code = f"{first}from linsem.lab.bench_busy import edit_seconds; print(edit_seconds({model!r}, {rounds}))"
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that keep a core busy each."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield
