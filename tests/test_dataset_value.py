"""The data set whose value is measured."""

from __future__ import annotations

import numpy as np

from linsem.generator import seed_z
from linsem.lab import dataset_value
from linsem.pixels import to_rgb


def test_what_is_exported_is_drawn_at_psi_1_from_seeds_of_its_own(toy):
    rgb, labels = dataset_value.exported(toy, toy.known_extractor(), 3, batch=2)
    ws = toy.map(seed_z(toy, range(50_000_000, 50_000_003)), psi=1.0)
    assert np.array_equal(labels, toy.truth(ws))
    assert np.abs(rgb.astype(int) - to_rgb(toy.synthesize(ws)[0])).max() <= 1  # another batch, another rounding
    assert not np.array_equal(labels, toy.truth(toy.map(seed_z(toy, range(50_000_000, 50_000_003)), psi=0.5)))
