"""How threads wait is settled before torch is loaded, which reads it once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linsem.threads import TURNS

ROOT = Path(__file__).parents[1]
SPY = """
import os, runpy, sys

class Spy:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Spy)
"""


def seen_by_torch(code: str, **given: str) -> str:
    """How long threads wait, as the environment has it when `code` comes to import torch."""
    known = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in known} | given
    done = subprocess.run(
        [sys.executable, "-c", SPY + code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


APP = "runpy.run_path('app.py', run_name='__main__')"


@pytest.mark.parametrize("code", ["import linsem", "from linsem.lab import bench", APP])
def test_threads_do_not_wait_for_long(code):
    assert seen_by_torch(code) == TURNS
    assert seen_by_torch("import torch; " + code) == "None"  # the twin: nothing says so without linsem


@pytest.mark.parametrize("code", ["import linsem", APP])
def test_what_was_given_stays(code):
    assert seen_by_torch(code, GOMP_SPINCOUNT="7") == "7"
    assert seen_by_torch(code, OMP_WAIT_POLICY="ACTIVE") == "None"
