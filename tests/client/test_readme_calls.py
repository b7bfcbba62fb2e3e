"""The README's calls of a running page are run: Python, a shell; JavaScript is in the browser's tests."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.readme import block

pytestmark = pytest.mark.filterwarnings("ignore")  # what the client's own libraries warn of is not ours
ADDRESS = "http://127.0.0.1:7860"


def test_the_python_of_a_client(address, tmp_path, monkeypatch):
    code = block("client")
    assert ADDRESS in code
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code.replace(ADDRESS, address.rstrip("/")), "README.md", "exec"), names)
    assert len(names["files"]) == 4
    assert set(names["report"]["images"][0]["shares"]) >= {"skin", "hair"}


def test_the_calls_of_a_shell(address):
    code = block("curl")
    assert ADDRESS in code and shutil.which("bash")
    if shutil.which("curl") is None:  # the command is there, the program may not be
        subprocess.run(["bash", "-n"], input=code, text=True, check=True)
        return
    told = subprocess.run(
        ["bash", "-euo", "pipefail"], input=code.replace(ADDRESS, address.rstrip("/")), capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert "event: complete" in told
    images, *_ = json.loads(told.strip().split("data: ")[-1])
    assert len(images) == 4
