"""What the command line says where, and what it leaves, as a script sees it: streams, exit codes and files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from linsem import cli, shell
from tests import test_cli
from tests.test_cli import Gone

model, run, asked = test_cli.model, test_cli.run, test_cli.asked
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", ["edit", "sample"])
def test_the_report_is_a_line_of_its_own_where_both_streams_are_one(asked, monkeypatch, command):
    both = io.StringIO()
    with monkeypatch.context() as there:
        there.setattr("sys.stdout", both)
        there.setattr("sys.stderr", both)
        assert cli.main(asked(command)) == 0
    progress, last = both.getvalue().splitlines()[-2:]
    assert json.loads(last)["model"] == "tiny" and "step " in progress


def test_without_an_error_stream_the_other_one_has_the_report_alone(asked, monkeypatch, capsys):
    arguments = asked("edit")
    capsys.readouterr()
    with monkeypatch.context() as there:
        there.setattr("sys.stderr", None)
        assert cli.main(arguments) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["model"] == "tiny"
        assert cli.main(["generate", "--psi", "9"]) == 2
    assert capsys.readouterr().out == ""


def test_a_pipe_in_the_folder_of_results_is_refused_and_stays(run, tmp_path, capsys):
    """Whoever opened it to write would wait for a reader for ever."""
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "seed0.png")
    run("generate", "--seeds", "1", "--out", "out")
    assert cli.main(["generate", "--seeds", "0", "--out", "out"]) == 2
    assert "expected a file, got a pipe" in capsys.readouterr().err and (tmp_path / "out" / "seed0.png").is_fifo()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed0.png", "seed1.png"]


class Unbuffered(Gone):
    """One that tells at once that its reader has gone."""

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("output", [None, Gone(BrokenPipeError()), Unbuffered(BrokenPipeError())])
def test_a_closed_output_is_a_reader_that_has_gone(run, model, monkeypatch, capsys, output):
    for command in (["convert", str(model), "o.safetensors"], ["generate", "--seeds", "0", "--out", "o"]):
        with monkeypatch.context() as there:
            there.setattr("sys.stdout", output)
            assert cli.main(command) == shell.BROKEN_PIPE
    assert Path("o/seed0.png").exists() and Path("o.safetensors").exists()
    assert capsys.readouterr().err == ""


def test_a_description_that_cannot_be_written_is_told_once(run, model, monkeypatch, capsys):
    with monkeypatch.context() as there:
        there.setattr("sys.stdout", Gone(OSError(28, "No space left on device")))
        assert cli.main(["convert", str(model), "o.safetensors"]) == 2
    assert capsys.readouterr().err.count("No space left") == 1


@pytest.mark.parametrize("order", ["IN OUT --half", "IN --half OUT", "--half IN OUT", "IN --out OUT --half"])
def test_the_converted_file_may_be_named_on_either_side_of_an_option(run, model, tmp_path, order):
    places = {"IN": str(model), "OUT": "half.safetensors"}
    report = run("convert", *(places.get(word, word) for word in order.split()))
    assert report["out"] == "half.safetensors"
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["half.safetensors"]


@pytest.mark.parametrize(
    "arguments", ["convert a --half b c", "convert a b --half c", "convert a --other b", "generate 0-7", "serve 7860"]
)
def test_a_word_too_many_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        cli.parser().parse_args(arguments.split())
    assert "unrecognized arguments: " in capsys.readouterr().err


TOLD_TO_END = """
import os, signal, sys
from linsem import cli

def tell(line):
    assert [name for name in os.listdir() if name.endswith(".part")]
    os.kill(os.getpid(), signal.SIGTERM)

cli.tell = tell
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_command_that_is_told_to_end_leaves_no_partial_file(asked, tmp_path):
    extractor = asked("edit")[4]
    command = [sys.executable, "-c", TOLD_TO_END, "export", "--extractor", extractor, "--out", "big.zip"]
    before = sorted(os.listdir())
    child = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (shell.TERMINATED, "")
    assert sorted(os.listdir()) == before


def test_a_command_changes_nothing_of_how_its_process_ends(run):
    before = signal.getsignal(signal.SIGTERM)
    run("generate", "--seeds", 0)
    with ThreadPoolExecutor(1) as pool:  # where none can be told to end
        assert pool.submit(run, "generate", "--seeds", 0).result()["images"] == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_samples_of_a_run_are_told_from_those_of_an_earlier_one(asked, tmp_path, capsys):
    reports = []
    for seed in ("0", "500"):
        assert cli.main([*asked("sample"), "--count", "2", "--candidates", "4", "--seed", seed]) == 0
        reports.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    first, second = ([row[kind] for row in each["results"] for kind in ("image", "labels")] for each in reports)
    found = {path.name for path in (tmp_path / "kept").glob("*.png")}
    assert found == {*first, *second} and not {*first} & {*second}
    assert not any("earlier runs" in note for note in reports[0]["notes"])
    assert f"out: holds 4 files of earlier runs too, as {min(first)}" in reports[1]["notes"]
    latents = np.array([row["seed"] for row in reports[1]["results"]])
    assert ((latents >= 500) & (latents < 504)).all()
