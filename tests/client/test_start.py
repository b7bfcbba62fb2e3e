"""How long the page takes to be served, and what the process weighs when nobody is there."""

from __future__ import annotations

import os
import time

from tests.served import server

SECONDS, MEGABYTES = 8.0, 900.0


def test_start_and_idle_memory(capsys):
    with server() as target:
        time.sleep(1)
        memory, seconds, cpu = target.memory, target.seconds, target.cpu_seconds
    with capsys.disabled():
        print(f"\nstart to page: {seconds:.1f} s ({cpu:.1f} s of a processor); idle: {memory:.0f} MB")
    assert 100 < memory < MEGABYTES
    assert 0.5 < cpu < SECONDS  # what the start costs, whatever else the machine is doing
    if os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1):  # of a busy machine the clock says nothing
        assert seconds < SECONDS
