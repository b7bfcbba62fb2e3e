"""Freed memory is returned to the system, and threads share arenas, if the C library supports it."""

from __future__ import annotations

import subprocess
import sys

from linsem import heap

MANY = """
import sys, threading
from linsem.heap import give_back, share_arenas

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "shared":
    assert share_arenas()

def work():  # many small pieces, freed but for one now and then
    kept.append([bytes(4000) for _ in range(5000)][::500])

kept = []
before = resident()
for _ in range(3):
    crowd = [threading.Thread(target=work) for _ in range(12)]
    [each.start() for each in crowd]
    [each.join() for each in crowd]
if sys.argv[1] == "shared":
    give_back()
print(resident() - before)
"""


def test_less_stays_after_many_threads():
    held = {
        way: float(subprocess.run([sys.executable, "-c", MANY, way], capture_output=True, text=True, check=True).stdout)
        for way in ("alone", "shared")
    }
    assert held["shared"] < 0.8 * held["alone"]


AGAIN = """
import resource, sys, threading
import torch
from linsem.heap import give_back, keep_freed, share_arenas

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "kept":
    assert share_arenas() and keep_freed()
empty = resident()

def work():
    blocks = [torch.zeros(7_500_000) for _ in range(7)]
    [block.add_(1) for block in blocks]

def run(times):  # as a job of the app, in a thread
    crowd = [threading.Thread(target=work) for _ in range(times)]
    [(each.start(), each.join()) for each in crowd]

run(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
run(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
give_back()
print(resident() - empty)
"""


def test_kept_memory_is_not_asked_for_again_and_goes_back_when_told():
    def run(way):
        command = [sys.executable, "-c", AGAIN, way]
        return map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    faults, left = run("kept")
    assert faults < 0.2 * next(iter(run("returned")))
    assert left < 20  # MB


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(heap, "_library", lambda: None)
    assert heap.share_arenas() is heap.give_back() is heap.keep_freed() is False
