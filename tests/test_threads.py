"""How threads wait is settled before torch is loaded, which reads it once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPY = """
import os, runpy, sys

class Spy:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Spy)
"""


def seen_by_torch(code: str, **given: str) -> str:
    """The policy in the environment when `code` comes to import torch."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    done = subprocess.run(
        [sys.executable, "-c", SPY + code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code", ["import linsem", "from linsem.lab import bench", "runpy.run_path('app.py', run_name='__main__')"]
)
def test_threads_that_wait_sleep(code):
    assert seen_by_torch(code) == "PASSIVE"


@pytest.mark.parametrize("code", ["import linsem", "runpy.run_path('app.py', run_name='__main__')"])
def test_a_policy_that_was_given_stays(code):
    assert seen_by_torch(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_without_linsem_there_is_none():
    assert seen_by_torch("import torch") == "None"
