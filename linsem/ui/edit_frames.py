"""What the page shows while an edit runs: frames with a line each, and the track so far, so that Stop keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gradio as gr
import numpy as np

from linsem.edit import NO_WAY, SAMPLES
from linsem.frames import EditFrame
from linsem.track import EditPoint, Track, push
from linsem.ui import show
from linsem.ui.outcome import ended, going, settles
from linsem.ui.thumbs import Strip, Thumb

EVERY = 0.12  # seconds between the frames sent to the browser
SAMPLING = 0.3  # of the progress bar: the samples that are drawn before the first step, if any


def frames_of(
    track: Track, frames: Iterator[EditFrame], steps: int, caption: str, more: dict[str, object],
    wish: np.ndarray | None = None,
) -> Iterator[tuple[object, ...]]:  # fmt: skip
    """Frames for the page. While it runs the track keeps the strokes, so that a run that is stopped can go on."""
    before, frame, last, clock, begun = track.now, None, 0.0, time.monotonic(), 0.0
    yield track, Strip((Thumb(before.rgb, "before"), Thumb(before.rgb, "now"))), show.progress(0, "Starting ...")
    for frame in frames:
        if time.monotonic() - last < EVERY:
            continue
        last = time.monotonic()
        if frame.sampled is not None:
            line = f"The first edit with these labels: {frame.sampled} of {SAMPLES} samples drawn to start from."
            begun = SAMPLING
            yield gr.skip(), gr.skip(), show.progress(begun * frame.sampled / SAMPLES, line)
            continue
        more = {**more, "settled": more.get("settled") or settles(frame.report | more)}
        yield _frame(track, frame, caption, {**more, "of": steps}, wish, begun)
    still = wish if NO_WAY in str(frame.report.get("note")) else None  # what led nowhere can be painted further
    yield _frame(track, frame, caption, {**more, "seconds": time.monotonic() - clock}, still)


def _frame(
    track: Track, frame: EditFrame, caption: str, more: dict[str, object], wish: np.ndarray | None = None,
    begun: float = 0.0,
) -> tuple[object, ...]:  # fmt: skip
    """What the tab shows of a frame; `more` is added to its report, and `wish` stays painted.

    It has `left_out`, a note; `added` or `removed`, the name of a category; `settled`, whether a frame so far had what
    will be seen; and in each frame but the last `of`, the steps asked for, because Stop may end the run there.
    """
    report = {**frame.report, **more}
    strip = Strip((Thumb(track.now.rgb, "before"), Thumb(frame.rgb, "now")))
    point = EditPoint(frame.ws, frame.rgb, frame.labels, caption, report, wish=wish, told_by=track.extractor)
    track = push(track, point)
    if "of" not in more:
        return track, strip, ended(report)
    return track, strip, show.progress(begun + (1 - begun) * report["steps"] / more["of"], going(report))
