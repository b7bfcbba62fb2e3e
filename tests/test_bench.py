"""The bench prints each figure with a description, and keeps the table."""

from __future__ import annotations

import json

from linsem.lab import bench


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


def test_a_model_that_is_not_there_is_told(capsys):
    assert bench.main(["nonsense", "--only", "fit_speedup", "--quick"]) == 2
    assert "nonsense" in capsys.readouterr().err
