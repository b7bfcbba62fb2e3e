"""How long the page takes to be served, and what the process weighs when nobody is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.served import ROOT, server

SECONDS, MEGABYTES = 8.0, 900.0
LOADS = """
import sys, torch
from linsem import zoo
zoo.load_generator(next(row["id"] for row in zoo.available_models() if row["available"]))
before = "torch._dynamo" in sys.modules or "sympy" in sys.modules
from linsem.start import warm
warm()
print(before, "torch._dynamo" in sys.modules)
"""


def test_a_generator_is_loaded_without_torchs_compiler_and_optimising_warms_up():
    found = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "True"], found.stderr


def test_start_and_idle_memory(capsys):
    with server() as target:
        time.sleep(6)  # until it has warmed up
        memory, seconds, cpu = target.memory, target.seconds, target.cpu_seconds
    with capsys.disabled():
        print(f"\nstart to page: {seconds:.1f} s ({cpu:.1f} s of a processor); idle: {memory:.0f} MB")
    assert 100 < memory < MEGABYTES
    assert 0.5 < cpu < SECONDS  # what the start costs, whatever else the machine is doing
    if os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1):  # of a busy machine the clock says nothing
        assert seconds < SECONDS
