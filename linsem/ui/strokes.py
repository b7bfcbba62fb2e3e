"""What is painted in the Edit tab, and the state of the track that it belongs to."""

from __future__ import annotations

import numpy as np

from linsem.errors import InputError
from linsem.pixels import IGNORE
from linsem.track import Track, painted_here
from linsem.ui.canvas import PainterLabels


def target_of(track: Track, painted: PainterLabels | None) -> np.ndarray:
    """The labels (H, W) to follow; refused where the painter shows another state, or nothing is painted."""
    if painted is None or painted.key != track.key:
        raise InputError("the painter does not show this image yet: wait a moment, then paint")
    if (painted.labels == IGNORE).all():
        raise InputError("nothing is painted yet: draw at least one stroke, then press Run")
    return painted.labels


def with_strokes(track: Track, painted: PainterLabels | None) -> Track:
    """The track with what is painted on the state shown, if the painter shows that."""
    here = painted is not None and painted.key == track.key
    return painted_here(track, painted.labels) if here else track


def painted_before(track: Track, painted: PainterLabels | None) -> PainterLabels | None:
    """What is painted, if the painter still shows the state before the one shown."""
    if painted is None or not track.position or painted.labels.shape != track.now.labels.shape:
        return None
    return painted if painted.key == f"{track.name}.{track.points[track.position - 1].number}" else None


def painted_since(track: Track, painted: PainterLabels | None) -> np.ndarray:
    """The wish (H, W) of the state shown, with the strokes that were painted on the state before it during its run."""
    blank = np.full(track.now.labels.shape, IGNORE, np.uint8)
    wish, before = track.now.wish, painted_before(track, painted)
    wish = blank if wish is None else wish
    if before is None:
        return wish
    known = track.points[track.position - 1].wish
    return np.where(before.labels != (blank if known is None else known), before.labels, wish).astype(np.uint8)
