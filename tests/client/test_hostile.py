"""A short run of `tests.hostile_calls`, and tests that its judge detects what it looks for."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace

import pytest

from linsem.ui.errors import OURS
from tests.door import Answer
from tests.hostile_calls import SECRET, Attack, Outcome, attack
from tests.served import ROOT, server
from tests.watched import Watched

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of the bombs that the test itself makes
COUNT = 130


@pytest.fixture(scope="module")
def outcome():
    with server() as target:
        return attack(target, COUNT, seed=1, tell=lambda line: None)


def test_malformed_calls_are_answered_in_sentences_and_change_nothing(outcome):
    assert outcome.problems == []
    assert outcome.calls == COUNT and min(outcome.kinds.values()) > 2 and len(outcome.kinds) == 5
    assert outcome.answers["refused"] > COUNT / 2  # the twin: they are malformed
    print(f"\n{outcome.calls} calls, {outcome.level:.0f} MB then {outcome.end:.0f} MB, slowest {outcome.slowest:.1f} s")


@pytest.fixture
def judge(tmp_path):
    """A judge without a server."""
    attack = object.__new__(Attack)
    attack.outcome = Outcome()
    attack.target = SimpleNamespace(folder=tmp_path)
    return attack


@pytest.mark.parametrize(
    ("answer", "must_refuse"),
    [
        (Answer("refused", "", "Seeds: expected numbers, got 'x'. Traceback (most recent call last)"), True),
        (Answer("refused", "", None), True), (Answer("refused", "", "no"), True),
        (Answer("refused", "", {"a": 1}), True),
        (Answer("refused", "", "ThisIsNoSentenceAtAll"), True), (Answer("refused", "", OURS), True),
        (Answer("done", "[1]", None, [1]), True), (Answer("broken", "500: Internal Server Error"), False),
        (Answer("done", f"what is in it: {SECRET}", None, [1]), False), (Answer("done", "root:x:0:0:", None, 1), False),
        (Answer("refused", "", f"There is no file {ROOT}/app.py here."), True),
    ],
)  # fmt: skip
def test_the_judge_sees_each_wrong_answer(judge, answer, must_refuse):
    answer = Answer(answer.kind, answer.text or str(answer.sentence), answer.sentence, answer.value)
    judge._judge("a call", answer, must_refuse)
    assert len(judge.outcome.problems) == 1


def test_the_judge_lets_right_answers_pass(judge):
    judge._judge("a call", Answer("refused", "x", "Seeds: expected numbers, got 'x'."), True)
    judge._judge("a call", Answer("done", "[1]", None, [1]), False)
    assert judge.outcome.problems == [] and judge.outcome.answers == Counter(refused=1, done=1)


def test_the_watch_sees_who_opens_a_file(tmp_path):
    (tmp_path / "secret").write_text("x")
    with Watched(tmp_path) as watched:
        os.stat(tmp_path / "secret")
        assert watched.opened == []
        (tmp_path / "secret").read_text()
        assert set(watched.opened) == {"secret"}
