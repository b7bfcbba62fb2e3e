"""What the command line says where, and what it leaves, as a script sees it: streams, exit codes and files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from linsem import cli, shell
from tests import test_cli
from tests.test_cli import Gone

model, run, asked = test_cli.model, test_cli.run, test_cli.asked


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
