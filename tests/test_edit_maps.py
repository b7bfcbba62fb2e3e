"""What went and came beside what an edit was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from linsem.edit_maps import lost_and_gained

LEAST = (0.0, 0.02, 0.02, 0.02)


def labelled(*areas):
    """(20, 20) labels: 0, but for the categories 1, 2, ... in a row of each, so many pixels wide."""
    labels = np.zeros((20, 20), np.uint8)
    for category, area in enumerate(areas, start=1):
        labels[3 * category, :area] = category
    return labels


NOTHING = np.zeros((20, 20), bool)


@pytest.mark.parametrize(
    ("before", "after", "lost", "gained"),
    [
        ((12, 12), (12, 12), [], []),
        ((12, 12), (0, 12), [1], []),
        ((12, 12), (5, 12), [1], []),
        ((12, 12), (7, 12), [], []),  # more than half of it is left
        ((12, 0), (12, 12), [], [2]),
        ((12, 6), (12, 12), [], []),  # there before
        ((12, 0), (12, 5), [], []),  # a speck: 5 of 400 pixels
        ((5, 12), (0, 12), [], []),  # a speck of which nothing is left
        ((12, 0), (0, 12), [1], [2]),
    ],
)
def test_a_category_is_lost_or_gained_by_its_area(before, after, lost, gained):
    assert lost_and_gained(labelled(*before), labelled(*after), NOTHING, LEAST) == (lost, gained)


def test_what_was_asked_for_does_not_count():
    before, after = labelled(12, 0), labelled(0, 12)
    asked = (before == 1) | (after == 2)
    assert lost_and_gained(before, after, asked, LEAST) == ([], [])
    half = asked.copy()
    half[3, :6] = False  # of what went, half was not asked for, but that is a speck
    assert lost_and_gained(before, after, half, LEAST) == ([], [])
    assert lost_and_gained(before, after, half, (0.0, 0.0, 0.0, 0.0)) == ([1], [])


def test_unlabelled_pixels_are_of_no_category():
    before, after = labelled(12), labelled(12)
    after[:, :] = 255
    assert lost_and_gained(before, after, NOTHING, LEAST) == ([0, 1], [])
