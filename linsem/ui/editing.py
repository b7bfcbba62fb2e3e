"""Semantic editing as the tab Edit does it: a track of states, frames while a run goes on, undo and redo."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace

import gradio as gr
import numpy as np
from PIL import Image

from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError
from linsem.latents import save_latents
from linsem.palette import overlay, rgb_of, write_label_map
from linsem.pixels import IGNORE, resize_labels
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.studio import EditFrame
from linsem.track import EditPoint, Track, new_track, push, reread, step
from linsem.ui import show
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.categories import hex_color
from linsem.ui.examples import EDIT_PSI, ExampleEdit, example_edits
from linsem.ui.segment import chosen_extractor
from linsem.ui.services import Services, real, whole
from linsem.ui.thumbs import Strip, Thumb

EVERY = 0.12  # seconds between frames that are sent
READY = "Paint what the image should show, then press Run."
PAINTED = "A wish is painted already: press Run, or paint on."


class Editing:
    """What the tab does, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    # --- where an edit starts ----------------------------------------------------------------------------------------

    def start(self, session: Session, fitted: Fitted | None, ws: np.ndarray, caption: str) -> Track:
        """A new track that begins with an image."""
        extractor = chosen_extractor(self.services, session, fitted)
        reading = self.gpu.read(session.model, extractor, [ws])
        return new_track(session.model, extractor, EditPoint(ws, reading.rgb[0], reading.labels[0], caption, {}))

    def from_seed(self, session: Session, fitted: Fitted | None, seed: float, psi: float) -> Track:
        """Begin with a seed."""
        number = whole("seed", seed, 0, MAX_SEED)
        ws, _ = self.gpu.draw(session.model, [number], real("psi", psi, 0, 2))
        return self.start(session, fitted, ws[0], f"seed {number}")

    def from_bench(self, session: Session, fitted: Fitted | None, index: int) -> Track:
        """Begin with an image of the bench."""
        if not session.pictures:
            raise InputError("there is no image on the bench: open the tab Label first")
        picture = session.pictures[min(max(index, 0), len(session.pictures) - 1)]
        return self.start(session, fitted, picture.ws, picture.title)

    def examples(self, session: Session, fitted: Fitted | None) -> list[ExampleEdit]:
        """The wishes that ship, where what reads them knows their categories."""
        try:
            return example_edits(session.model, chosen_extractor(self.services, session, fitted).categories)
        except InputError:  # nothing to read them with yet
            return []

    def shelf(self, session: Session, fitted: Fitted | None) -> dict:
        """Each example's image with its wish over it."""
        found = self.examples(session, fitted)
        if not found:
            return gr.update(visible=False)
        _, rgb = self.gpu.draw(session.model, [each.seed for each in found], EDIT_PSI)
        categories = chosen_extractor(self.services, session, fitted).categories
        items = (
            Thumb(overlay(picture, each.labels, categories, 0.7), f"try: {each.words}")
            for picture, each in zip(rgb, found, strict=True)
        )
        return gr.update(value=Strip(tuple(items)), visible=True)

    def from_example(self, session: Session, fitted: Fitted | None, index: int) -> Track:
        """Begin with an example: its image, and its wish painted on it."""
        found = self.examples(session, fitted)
        if not 0 <= index < len(found):
            raise InputError("this example is not there any more: choose another one")
        track = self.from_seed(session, fitted, found[index].seed, EDIT_PSI)
        labels = resize_labels(found[index].labels, track.now.labels.shape)
        return replace(track, points=(replace(track.now, wish=labels),))

    def visit(self, session: Session, fitted: Fitted | None, track: Track | None) -> Track:
        """When the tab is opened: an image to edit, read by the extractor of the moment. While there is none, since
        the categories have changed, the edits go on with the one they had."""
        if track is None or track.model != session.model:
            return self.from_bench(session, fitted, 0)
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ExtractorError:
            extractor = track.extractor
        return self._read(track, extractor)

    def _read(self, track: Track, extractor: Extractor) -> Track:
        """The track with the state shown as this extractor reads it."""
        if extractor is track.extractor and track.now.number not in track.stale:
            return track
        return reread(track, extractor, self.gpu.read(track.model, extractor, [track.now.ws]).labels[0])

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(
        self, track: Track | None, painted: PainterLabels | None, steps: float, everywhere: bool, colored: bool,
        color: str,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Follow the strokes; each frame gives the track so far, so that Stop keeps what there is."""
        track = _needed(track)
        target = _target(track, painted)
        steps = whole("steps", steps, 1, self.services.settings.max_steps)
        region = np.ones(target.shape, bool) if everywhere else None
        paint = None
        if colored:
            paint = np.broadcast_to(np.array(rgb_of(hex_color(color)), np.uint8), (*target.shape, 3)).copy()
        frames = self.gpu.edit(
            track.model, track.extractor, track.now.ws, target, region, steps, paint,
            target != IGNORE if colored else None,
        )  # fmt: skip
        names = [track.extractor.categories[k].name for k in np.unique(target[target != IGNORE])]
        yield from self._frames(track, frames, steps, f"more {', '.join(names[:3])}")

    def remove(self, track: Track | None, category: int | None, steps: float) -> Iterator[tuple[object, ...]]:
        """Take a category away."""
        track = _needed(track)
        if category is None:
            raise InputError("choose what to remove first")
        steps = whole("steps", steps, 1, self.services.settings.max_steps)
        name = track.extractor.categories[int(category)].name
        frames = self.gpu.remove(track.model, track.extractor, track.now.ws, int(category), None, steps)
        yield from self._frames(track, frames, steps, f"no {name}")

    @staticmethod
    def _frames(track: Track, frames: Iterator[EditFrame], steps: int, caption: str) -> Iterator[tuple[object, ...]]:
        before, frame, last = track.now, None, 0.0
        yield track, Strip((Thumb(before.rgb, "before"), Thumb(before.rgb, "now"))), show.progress(0, "Starting ...")
        for frame in frames:
            if time.monotonic() - last < EVERY:
                continue
            last = time.monotonic()
            yield _frame(track, before, frame, steps, caption, False)
        yield _frame(track, before, frame, steps, caption, True)

    # --- what is shown of a track ------------------------------------------------------------------------------------

    def settle(self, track: Track | None) -> tuple[object, ...]:
        """Painter, slider, the two buttons, the list of removable categories, the downloads."""
        track = _needed(track)
        now, first, categories = track.now, track.points[0], track.extractor.categories
        wish = np.full(now.labels.shape, IGNORE, np.uint8) if now.wish is None else now.wish
        state = PainterState(now.rgb, wish, now.labels, None, categories, track.key)
        present = [(categories[k].name, int(k)) for k in np.unique(now.labels) if k < len(categories)]
        files = self._files(track)
        return (
            state,
            (first.rgb, now.rgb),
            gr.Button(interactive=track.position > 0),
            gr.Button(interactive=track.position < len(track.points) - 1),
            gr.Dropdown(present, value=None),
            *[gr.DownloadButton(value=file, interactive=True) for file in files],
        )

    def _files(self, track: Track) -> list[str]:
        now, downloads = track.now, self.services.downloads
        buffer = io.BytesIO()
        Image.fromarray(now.rgb).save(buffer, "PNG")
        latent = downloads.path("latent.safetensors")
        save_latents(latent, now.ws[None], track.model)
        return [
            downloads.write("image.png", buffer.getvalue()),
            downloads.write("labels.png", write_label_map(now.labels, track.extractor.categories)),
            str(latent),
        ]

    @staticmethod
    def look(track: Track) -> tuple[Strip, str]:
        """The state shown and the one before it, and a line about it."""
        now, before = track.now, track.points[max(track.position - 1, 0)]
        line = _report_line(now.report) if now.report else show.status(READY if now.wish is None else PAINTED)
        return Strip((Thumb(before.rgb, "before"), Thumb(now.rgb, now.caption))), line

    def move(self, track: Track | None, by: int) -> tuple[object, ...]:
        """Undo or redo."""
        track = step(_needed(track), by)
        track = self._read(track, track.extractor)
        return track, *self.look(track)


def _needed(track: Track | None) -> Track:
    if track is None:
        raise InputError("choose an image to edit first")
    return track


def _target(track: Track, painted: PainterLabels | None) -> np.ndarray:
    if painted is None or painted.key != track.key:
        raise InputError("the painter does not show this image yet: wait a moment, then paint")
    if (painted.labels == IGNORE).all():
        raise InputError("nothing is painted: paint at least one stroke of what the image shall show")
    return painted.labels


def _frame(
    track: Track, before: EditPoint, frame: EditFrame, steps: int, caption: str, done: bool
) -> tuple[object, ...]:
    point = EditPoint(frame.ws, frame.rgb, frame.labels, caption, frame.report)
    strip = Strip((Thumb(before.rgb, "before"), Thumb(frame.rgb, "now")))
    report = frame.report
    if done:
        return push(track, point), strip, _report_line(report)
    held = f"{100 * report['agreement_after']:.0f} % of what you asked for holds"
    line = f"Step {report['steps']} of at most {steps}: {held} (at first {100 * report['agreement_before']:.0f} %)."
    return push(track, point), strip, show.progress(report["steps"] / steps, line)


def _report_line(report: dict[str, object]) -> str:
    note = report.get("note")
    if note and not report["steps"]:
        return show.status(f"Nothing to do: {note}.", "idle")
    after = 100 * float(report["agreement_after"])
    line = (
        f"{after:.0f} % of what you asked for holds now (before: {100 * float(report['agreement_before']):.0f} %). "
        f"The rest changed by {float(report['outside_change']):.1f} of 255 on average. "
        f"{report['steps']} steps, {float(report['seconds']):.1f} s."
    )
    line += f" {note[:1].upper()}{note[1:]}." if note else ""
    return show.status(line, "good" if after >= 50 else "bad")
