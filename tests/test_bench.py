"""The bench prints each figure with a description, and keeps the table."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from linsem.lab import bench, bench_busy


def test_the_table_says_what_each_figure_is(monkeypatch, tmp_path, capsys):
    def first(model, quick):
        """How long a step takes.

        Not this.
        """
        return 1.23456 if quick else 2.0

    monkeypatch.setattr(bench, "FIGURES", {"first": first})
    monkeypatch.setattr(bench, "keep_freed", lambda: True)
    bench.main(["toy", "--only", "first", "--quick", "--json", "--out", str(tmp_path)])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"first": 1.235}
    assert json.loads((tmp_path / "bench-toy.json").read_text()) == {"first": 1.235}
    table = (tmp_path / "bench-toy.md").read_text()
    assert "| first | 1.235 | How long a step takes |" in table and "(quick)" in table.splitlines()[0]


def test_every_figure_says_what_it_is():
    sentences = [bench.meaning(name) for name in bench.FIGURES]
    assert len(set(sentences)) == len(sentences) and all(len(sentence) > 20 for sentence in sentences)


def test_threads_wait_differently_in_the_two_edits_beside_busy_processes(monkeypatch):
    """And neither by what this process has set for itself."""
    seen, beside = [], []

    def run(command, env, **more):
        seen.append((command[-1].startswith("import torch; "), set(bench_busy.SETTINGS) & env.keys()))
        return SimpleNamespace(stdout="2.0" if beside else "0.5")

    @contextmanager
    def busy(count):
        beside.append(count)
        yield
        beside.clear()

    monkeypatch.setattr(bench_busy.subprocess, "run", run)
    monkeypatch.setattr(bench_busy, "_busy", busy)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert bench_busy.busy_edit("toy", True) == bench_busy.busy_edit_by_default("toy", True) == 4.0
    assert seen == [(False, set())] * 2 + [(True, set())] * 2


def test_busy_processes_end_with_the_block_however_it_ends(monkeypatch):
    started, start = [], bench_busy.subprocess.Popen
    monkeypatch.setattr(bench_busy.subprocess, "Popen", lambda *a: started.append(start(*a)) or started[-1])

    def broken():
        with bench_busy._busy(2):
            assert [each.poll() for each in started] == [None, None]
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        broken()
    assert all(each.poll() is not None for each in started)


def test_a_model_that_is_not_there_is_told(capsys):
    assert bench.main(["nonsense", "--only", "fit_speedup", "--quick"]) == 2
    assert "nonsense" in capsys.readouterr().err
