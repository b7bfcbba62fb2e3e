"""Semantic editing as in the Edit tab: a track of states, frames during a run, undo and redo."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr
import numpy as np
from PIL import Image

from linsem.changes import title_of
from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError
from linsem.latents import save_latents
from linsem.palette import overlay, write_label_map
from linsem.pixels import IGNORE, resize_labels
from linsem.seeds import MAX_SEED
from linsem.session import Fitted, Session
from linsem.studio import EditFrame
from linsem.track import EditPoint, Track, new_track, painted_here, reread, step
from linsem.ui import show
from linsem.ui.bench import caption
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.colors import wished_rgb
from linsem.ui.edit_frames import frames_of
from linsem.ui.examples import EDIT_PSI, ExampleEdit, example_edits
from linsem.ui.outcome import ended, too_small
from linsem.ui.reader import all_known, chosen_extractor, left_out
from linsem.ui.services import Services, real, whole
from linsem.ui.strokes import painted_before, painted_since, target_of, with_strokes
from linsem.ui.thumbs import Strip, Thumb

READY = "Paint what should be there, then press Run; or choose what to add or remove."
PAINTED = "This is painted already: press Run, or add strokes."


class Editing:
    """The actions of the tab, as functions of values."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu = services, services.gpu

    # --- where an edit starts ----------------------------------------------------------------------------------------

    def start(self, session: Session, fitted: Fitted | None, ws: np.ndarray, caption: str) -> Track:
        """A new track that starts from an image."""
        extractor = chosen_extractor(self.services, session, fitted)
        reading = self.gpu.read(session.model, extractor, [ws])
        return new_track(session.model, extractor, EditPoint(ws, reading.rgb[0], reading.labels[0], caption, {}))

    def from_seed(self, session: Session, fitted: Fitted | None, seed: float, psi: float) -> Track:
        """Start from a seed."""
        number = whole("seed", seed, 0, MAX_SEED)
        psi = real("psi", psi, 0, 2)
        ws, _ = self.gpu.draw(session.model, [number], psi)
        return self.start(session, fitted, ws[0], title_of(number, psi))

    def from_bench(self, session: Session, fitted: Fitted | None, key: object = None) -> Track:
        """Start from the image of the bench with this key (None: the first)."""
        if not session.pictures:
            raise InputError("there is no image on the bench: open the tab Label first")
        index = 0 if key is None else session.find(key)
        if index is None:
            raise InputError("this image is not on the bench any more: choose another one")
        picture = session.pictures[index]
        return self.start(session, fitted, picture.ws, picture.title)

    def examples(self, session: Session, fitted: Fitted | None) -> list[ExampleEdit]:
        """The shipped examples whose categories the current extractor has learnt."""
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except InputError:  # no extractor yet
            return []
        found = example_edits(session.model, extractor.categories)
        return [each for each in found if all_known(extractor, each.labels)]

    def shelf(self, session: Session, fitted: Fitted | None, track: Track | None = None) -> Strip:
        """The image of each example, overlaid with its wish; the one that the track started from is the current one."""
        found = self.examples(session, fitted)
        if not found:
            return Strip(())
        _, rgb = self.gpu.draw(session.model, [each.seed for each in found], EDIT_PSI)
        categories = chosen_extractor(self.services, session, fitted).categories
        items = (
            Thumb(overlay(picture, each.labels, categories, 0.7), each.words)
            for picture, each in zip(rgb, found, strict=True)
        )
        first = "" if track is None else track.points[0].caption
        begun = [i for i, each in enumerate(found) if each.caption == first]
        return Strip(tuple(items), begun[0] if begun else None)

    def strip(self, session: Session, track: Track | None = None) -> Strip:
        """The images of the bench; the one that the track started from is the current one."""
        if not session.pictures:
            return Strip(())
        rgb = self.gpu.render(session.model, [picture.ws for picture in session.pictures])
        items = tuple(Thumb(rgb[i], caption(p)[0], key=p.key) for i, p in enumerate(session.pictures))
        first = None if track is None else track.points[0]
        begun = [
            i for i, p in enumerate(session.pictures)
            if first is not None and first.caption == p.title and np.array_equal(p.ws, first.ws)
        ]  # fmt: skip
        return Strip(items, begun[0] if begun else None)

    def from_example(self, session: Session, fitted: Fitted | None, index: int) -> Track:
        """Start from an example: its image, with its wish painted on it."""
        found = self.examples(session, fitted)
        if not 0 <= index < len(found):
            raise InputError("this example is not there any more: choose another one")
        track = self.from_seed(session, fitted, found[index].seed, EDIT_PSI)
        first = replace(track.now, wish=_wish(found[index], track), caption=found[index].caption)
        return replace(track, points=(first,))

    def visit(self, session: Session, fitted: Fitted | None, track: Track | None) -> Track:
        """The track to show when the tab is opened, read by the current extractor.

        While there is none, because the categories have changed, the track keeps its own.
        """
        if track is None or track.model != session.model:
            return self.from_bench(session, fitted)
        try:
            extractor = chosen_extractor(self.services, session, fitted)
        except ExtractorError:
            extractor = track.extractor
        return self.read(track, extractor)

    def read(self, track: Track, extractor: Extractor) -> Track:
        """The track with its current state read by this extractor."""
        if extractor is track.extractor and track.now.number not in track.stale:
            return track
        return reread(track, extractor, self.gpu.read(track.model, extractor, [track.now.ws]).labels[0])

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(
        self, track: Track | None, painted: PainterLabels | None, steps: float, everywhere: bool, colored: bool,
        color: str,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Follow the strokes; each frame contains the track so far, so that Stop keeps it."""
        track = _needed(track)
        target = target_of(track, painted)
        note = left_out(self.services, track.extractor, target, alone=colored)
        steps = whole("steps", steps, 1, self.services.settings.max_steps)
        region = np.ones(target.shape, bool) if everywhere else None
        paint = None
        if colored:
            paint = np.broadcast_to(np.array(wished_rgb(color), np.uint8), (*target.shape, 3)).copy()
        frames = self.gpu.edit(
            track.model, track.extractor, track.now.ws, target, region, steps, paint,
            target != IGNORE if colored else None,
        )  # fmt: skip
        names = [track.extractor.categories[k].name for k in _most_changed(track.now.labels, target)]
        more = {"left_out": note, "hint": too_small(track.now.labels, target, track.extractor)}
        track = painted_here(track, target)
        yield from frames_of(track, frames, steps, f"more {', '.join(names[:3])}", more, target)

    def add(
        self, track: Track | None, painted: PainterLabels | None, category: int | None, steps: float
    ) -> Iterator[tuple[object, ...]]:
        """Bring a category into the image, as another sample has it; what is painted stays on the state before."""
        return self._presence(
            self.gpu.add, with_strokes(_needed(track), painted), category, steps, "add", "added", "with"
        )

    def remove(
        self, track: Track | None, painted: PainterLabels | None, category: int | None, steps: float
    ) -> Iterator[tuple[object, ...]]:
        """Take a category out of the image; what is painted stays on the state before."""
        return self._presence(
            self.gpu.remove, with_strokes(_needed(track), painted), category, steps, "remove", "removed", "no"
        )

    def _presence(
        self, begin: Callable[..., Iterator[EditFrame]], track: Track, category: int | None, steps: float, verb: str,
        done: str, said: str,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        if category is None:
            raise InputError(f"choose what to {verb} first")
        steps = whole("steps", steps, 1, self.services.settings.max_steps)
        name = track.extractor.categories[int(category)].name
        frames = begin(track.model, track.extractor, track.now.ws, int(category), None, steps)
        yield from frames_of(track, frames, steps, f"{said} {name}", {done: name})

    # --- what is shown of a track ------------------------------------------------------------------------------------

    def settle(self, track: Track | None, painted: PainterLabels | None = None) -> tuple[object, ...]:
        """Values for the painter, the slider, undo and redo, what can be added and removed, and the downloads.

        What was painted while the run that made this state was going on is painted on it too.
        """
        track = _needed(track)
        now, first, categories = track.now, track.points[0], track.extractor.categories
        wish, before, was = painted_since(track, painted), painted_before(track, painted), painted_since(track, None)
        state = PainterState(now.rgb, wish, now.labels, None, categories, track.key, since=before, back=was)
        named = [(each.name, k) for k, each in enumerate(categories) if each.name not in track.extractor.unknown]
        shown = np.isin(np.arange(len(categories)), now.labels)
        files = self._files(track)
        return (
            state,
            (first.rgb, now.rgb) if track.position else None,
            gr.Button(interactive=track.position > 0),
            gr.Button(interactive=track.position < len(track.points) - 1),
            *[
                _choice(verb, [e for e in named if shown[e[1]] == there], bool(track.extractor.unknown))
                for verb, there in (("Add", 0), ("Remove", 1))
            ],
            *[gr.DownloadButton(value=file, interactive=True) for file in files],
        )

    @staticmethod
    def nothing() -> tuple[object, ...]:
        """The same where there is no track."""
        buttons = [gr.Button(interactive=False)] * 2
        lists = [gr.Dropdown([], value=None, interactive=False, label=f"What to {verb}") for verb in ("add", "remove")]
        return None, None, *buttons, *lists, *[gr.DownloadButton(interactive=False)] * 3

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
        """The current state, beside the previous one once there is an edit, and a status line."""
        now, before = track.now, track.points[max(track.position - 1, 0)]
        shown = Thumb(now.rgb, now.caption)
        strip = Strip((Thumb(before.rgb, "before"), shown) if track.position else (shown,))
        if now.report:
            return strip, ended(now.report, now.told_by is not track.extractor)
        what = READY if now.wish is None else PAINTED
        return strip, show.status(f"{now.caption[:1].upper()}{now.caption[1:]}. {what}")

    def move(self, track: Track | None, painted: PainterLabels | None, by: int) -> tuple[object, ...]:
        """Undo or redo; what is painted on the state shown is there again when it is shown again."""
        track = step(with_strokes(_needed(track), painted), by)
        track = self.read(track, track.extractor)
        return track, *self.look(track)


def _most_changed(labels: np.ndarray, target: np.ndarray) -> list[int]:
    """The categories of a target (H, W), 255 = unpainted, most changed pixels first, and the first category last."""
    painted = np.unique(target[target != IGNORE])
    changed = np.bincount(target[(target != IGNORE) & (target != labels)], minlength=256)
    return sorted(painted.tolist(), key=lambda k: (k == 0, -changed[k]))


def _choice(verb: str, choices: list[tuple[str, int]], others: bool) -> gr.Dropdown:
    """The list of what can be added or removed; where there is nothing, its label says so.

    `others`: whether there are categories that are not learnt.
    """
    missing = " (no other is learnt)" if others else " (none is missing)"
    none = "" if choices else {"Add": missing, "Remove": " (none is there)"}[verb]
    return gr.Dropdown(choices, value=None, interactive=bool(choices), label=f"What to {verb.lower()}{none}")


def _needed(track: Track | None) -> Track:
    if track is None:
        raise InputError("choose an image to edit first")
    return track


def _wish(example: ExampleEdit, track: Track) -> np.ndarray:
    """The wish of an example, at the size of the images."""
    return resize_labels(example.labels, track.now.labels.shape)
