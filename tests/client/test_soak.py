"""A short run of `tests.soak`: a few clients for some seconds."""

from __future__ import annotations

import time

import pytest

from tests.served import server
from tests.soak import CALLS, Outcome, Visitor, soak, table

pytestmark = pytest.mark.filterwarnings("ignore")  # what the client's own libraries warn of is not ours


def test_clients_at_once_get_their_own_data(capsys):
    with server() as target:
        outcome = soak(target, clients=4, seconds=10)
    slow = [what for what in outcome.wrong if not what.startswith("memory grew")]  # ten seconds have no level yet
    assert slow == [] and set(outcome.seconds) <= set(CALLS)
    assert len(outcome.seconds) >= 3 and outcome.calls > 4
    with capsys.disabled():
        print("\n" + ", ".join(f"{name} {number} x {median:.2f} s" for name, number, median, _ in table(outcome)))


class Mixed:
    """A client of a server that mixes up its visitors."""

    def __init__(self, theirs):
        self.theirs = theirs

    def predict(self, *args, api_name):
        return self.theirs[api_name]


def test_a_visitor_sees_what_is_somebody_elses(tmp_path):
    outcome = Outcome()
    visitor = Visitor(3, "", time.monotonic(), outcome, tmp_path, 0)
    visitor.model, visitor.extractor = {"id": "m", "resolution": 16}, __file__
    report = {"categories": ["ground of 4", "figure of 4"], "images": [{"seed": 4000}]}
    visitor.client = Mixed({"/segment": ([__file__], [1], report)})
    visitor._visit("segment", visitor.segment)
    assert "somebody else's categories" in outcome.wrong[0] and not outcome.seconds["segment"]


def test_memory_that_grows_is_seen():
    outcome = Outcome(memory=[(float(second), 500.0 + second) for second in range(300)])
    assert outcome.level() == pytest.approx(560, abs=16) and outcome.end() == pytest.approx(785, abs=16)
