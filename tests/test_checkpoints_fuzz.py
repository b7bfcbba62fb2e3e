"""A short run of `linsem.lab.fuzz_checkpoints`: damaged files raise CheckpointError, and nothing in them runs."""

import collections
import os
import random

import pytest

from linsem.lab import fuzz_checkpoints
from linsem.lab.fuzz_checkpoints import attempt, fuzz, mutate, watch
from tests.writers.corpus import corpus


@pytest.fixture(scope="module")
def files():
    return corpus()


def test_three_hundred_damaged_files_are_read_or_refused(files):
    kinds = collections.Counter()
    for outcome in fuzz(files, 300):
        assert outcome.kind != "escaped", f"{outcome.dialect} seed {outcome.seed}: {outcome.detail}"
        assert outcome.seconds < 20
        kinds[outcome.kind] += 1
    assert kinds["refused"] > 100  # the twin: the damage is real


def test_a_seed_is_one_injury_for_ever(files):
    one, other = (mutate(files["own"], list(files.values()), random.Random(5)) for _ in range(2))
    assert one == other != files["own"]


def test_the_watch_sees_what_it_should(monkeypatch):
    watch()
    monkeypatch.setattr(fuzz_checkpoints, "parse_checkpoint", lambda data: os.listdir("."))
    assert attempt("x", 0, b"").kind == "escaped"
    monkeypatch.setattr(fuzz_checkpoints, "parse_checkpoint", lambda data: {}[1])
    assert "KeyError" in attempt("x", 0, b"").detail
