"""Runs the README's calls of a running page in Python and the shell; the browser tests run the JavaScript."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

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


CURL = """#!{python}
import sys, urllib.request
words, url, more = sys.argv[1:], None, {{"method": "GET", "headers": {{}}}}
while words:
    word = words.pop(0)
    if word == "-X":
        more["method"] = words.pop(0)
    elif word == "-H":
        name, value = words.pop(0).split(": ", 1)
        more["headers"][name] = value
    elif word == "-d":
        more["data"] = words.pop(0).encode()
    elif not word.startswith("-"):
        url = word
print(urllib.request.urlopen(urllib.request.Request(url, **more)).read().decode())
"""  # for a machine that has none


def test_the_calls_of_a_shell(address, tmp_path, monkeypatch):
    code = block("curl")
    assert ADDRESS in code
    if shutil.which("curl") is None:
        (tmp_path / "curl").write_text(CURL.format(python=sys.executable))
        (tmp_path / "curl").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = subprocess.run(
        ["bash", "-euo", "pipefail"], input=code.replace(ADDRESS, address.rstrip("/")), capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert "event: complete" in told
    images, *_ = json.loads(told.strip().split("data: ")[-1])
    assert len(images) == 4
