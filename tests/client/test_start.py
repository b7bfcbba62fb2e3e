"""The time until the page is served, and the memory of an idle server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

from tests.served import ROOT, server

TIMES, OWN_TIMES, MEGABYTES = 2.5, 0.75, 900.0  # the first two of what the libraries take, whatever the machine is
LOADS = """
import sys, torch
from linsem import zoo
zoo.load_generator(next(row["id"] for row in zoo.available_models() if row["available"]))
before = "torch._dynamo" in sys.modules or "sympy" in sys.modules
from linsem.start import warm
warm()
print(before, "torch._dynamo" in sys.modules)
"""
IMPORTS = "import os, gradio, huggingface_hub, torch; used = os.times(); print(used.user + used.system)"
LOWEST = """
from dataclasses import fields
import gradio as gr
from linsem.settings import Settings
from linsem.ui.bench import Bench
from linsem.ui.page import build
from linsem.ui.services import Services
low = {each.name: each.metadata["low"] for each in fields(Settings) if each.metadata["low"] is not None}
settings = Settings(device="cpu", **low)
sliders = [block for block in build(settings).blocks.values() if isinstance(block, gr.Slider)]
assert all(each.minimum <= each.value <= each.maximum for each in sliders)
print(len(sliders), len(Bench(Services.make(settings)).begin(None).pictures))
"""


def test_a_generator_is_loaded_without_torchs_compiler_and_optimising_warms_up():
    found = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "True"], found.stderr


def test_with_every_limit_at_its_lowest_there_is_a_page_and_it_begins():
    found = subprocess.run([sys.executable, "-c", LOWEST], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == ["8", "1"], found.stderr


def test_start_and_idle_memory(capsys):
    with server() as target:
        time.sleep(6)  # until it has warmed up
        memory, seconds, cpu = target.memory, target.seconds, target.cpu_seconds
    imports = float(subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True).stdout)
    with capsys.disabled():
        spent = f"{cpu:.1f} s of a processor, of which the libraries take {imports:.1f}"
        print(f"\nstart to page: {seconds:.1f} s ({spent}); idle: {memory:.0f} MB")
    assert 100 < memory < MEGABYTES
    assert 0.5 < cpu < (1 + OWN_TIMES) * imports
    if os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1):  # of a busy machine the clock says nothing
        assert seconds < TIMES * imports


def test_a_space_serves_where_its_environment_says(monkeypatch):
    """Spaces set GRADIO_SERVER_NAME; without it and without LINSEM_HOST only this machine is served."""
    answers = []
    for name in ("0.0.0.0", None):
        with monkeypatch.context() as patch:
            patch.setenv("GRADIO_SERVER_NAME", name) if name else patch.delenv("GRADIO_SERVER_NAME", raising=False)
            with server(host="") as target, contextlib.closing(socket.socket()) as line:
                answers.append(line.connect_ex(("127.0.0.2", urlsplit(target.address).port)))
    assert answers[0] == 0 and answers[1] != 0
