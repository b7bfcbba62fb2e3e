"""Saving and loading a visitor's work: as a file, and as a small copy stored in the visitor's browser."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace

import gradio as gr
import numpy as np

from linsem.errors import InputError
from linsem.extractor import load_extractor, save_extractor
from linsem.pixels import IGNORE
from linsem.project import Project, ProjectEdit, ProjectError, ProjectImage, load_project, save_project
from linsem.seeds import MAX_SEED, format_seeds
from linsem.session import Fitted, Picture, Session, new_session
from linsem.track import EditPoint, Track, new_track, push, recent, room_for
from linsem.ui import show
from linsem.ui.bench import Bench, absorb, usable
from linsem.ui.canvas import PainterLabels
from linsem.ui.copies import EXAMPLE, Copy, project_of, so_many_images
from linsem.ui.examples import example_project
from linsem.ui.files import uploaded
from linsem.ui.opened import Opened
from linsem.ui.services import Services

UNLABELLED = 4  # unlabelled images added to the example, to show that they are segmented too


# The bench of a project, its fit, its edits by the number of their image, and a sentence on what had no room.
_Bench = tuple[Session, Fitted | None, dict[int, Track], str]


class Projects:
    """Conversion between project files and the values of the page."""

    def __init__(self, services: Services, bench: Bench) -> None:
        self.services, self.bench, self.gpu = services, bench, services.gpu

    def save(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, track: Track | None,
        kept: tuple[Track, ...] = (),
    ) -> str:  # fmt: skip
        """Save everything to a file; returns its path."""
        session = absorb(session, painted)
        extractor = None
        if usable(session, fitted):
            path = self.services.downloads.path("extractor.safetensors")
            save_extractor(fitted.extractor, path)
            extractor = path.read_bytes()
        path = self.services.downloads.path(f"{session.model}.linsem.zip")
        save_project(project_of(session, (track, *kept), extractor, latents=True), path)
        return str(path)

    def load(self, file: str | None) -> Opened:
        """Load a project from a file."""
        path = uploaded(file, "project")
        if path is None:
            raise ProjectError("project: expected a file, got nothing")
        return self._opened(self._open(load_project(path)))

    def example(self, session: Session) -> Opened:
        """Load the project that ships with the generator, and add some unlabelled images."""
        path = example_project(session.model)
        if path is None:
            raise ProjectError(f"no example ships with {session.model}")
        session, *rest = self._open(load_project(path))
        labelled, room = session.labelled, self.services.settings.max_pictures - len(session.pictures)
        names = np.unique(np.concatenate([picture.labels.ravel() for picture in labelled]))
        line = (
            f"Example loaded: {len(labelled)} labelled images teach {(names != IGNORE).sum()} categories. "
            "Paint a correction, or look at the tab Segment."
        )
        if room > 0:
            psi = session.pictures[0].psi
            session = self.bench.with_images(session, format_seeds(range(1, 1 + min(UNLABELLED, room))), psi)
        return replace(self._opened((session, *rest), line), origin=EXAMPLE)

    def resume(self, found: list[Copy]) -> Opened:
        """Load the newest copy stored in the browser that can be loaded."""
        error: Exception = ProjectError("this browser keeps no earlier work")
        for i, (token, copy, stamp) in enumerate(found):
            try:
                opened = self._opened(self._open(load_project(base64.b64decode(copy, validate=True))))
            except (binascii.Error, ValueError, gr.Error) as failed:  # as of a generator that is not offered any more
                damaged = isinstance(failed, binascii.Error)
                error = ProjectError("the copy that this browser kept is damaged") if damaged else failed
                continue
            return replace(opened, origin=stamp or token, tried=tuple(each for each, *_ in found[: i + 1]))
        raise error

    def _opened(self, opened: _Bench, line: str | None = None) -> Opened:
        session, fitted, tracks, left_out = opened
        pixels = sum(picture.painted for picture in session.pictures)
        edits = f", and edits of {so_many_images(tracks)}" if tracks else ""
        line = line or f"Loaded {len(session.pictures)} images with {pixels} labelled pixels{edits}.{left_out}"
        painter = self.bench.show_picture(session, fitted, 0)
        kept = tuple(track for number, track in tracks.items() if number)
        return Opened(session, fitted, tracks.get(0), painter, show.status(line, "good"), kept=kept)

    def _open(self, project: Project) -> _Bench:
        model = self.services.studio.check_model(project.generator_id)
        if not project.images:
            raise ProjectError("project: there is no image in it")
        session = self._session(model, project)
        edits = _newest(project.edits, 4 * session.pictures[0].labels.size)  # bytes of rgb and labels
        fitted = self._fitted(session, project.extractor) or self._fit_for(session, edits)
        tracks = self._tracks(session, fitted, edits)
        lost = len(project.edits) - len(edits) if tracks else 0
        return session, fitted, tracks, _left_out(len(project.images) - len(session.pictures), lost)

    def _session(self, model: str, project: Project) -> Session:
        session = new_session(model, project.categories)
        images = _fitting(project.images, self.services.settings.max_pictures)
        psis = [project.psi if image.psi is None else image.psi for image in images]
        latents = self._latents(model, images, psis)
        drawn = self.gpu.render(model, [ws for _, ws in latents])  # raises for latents of another generator
        pictures = []
        for i, (image, psi, (seed, ws), rgb) in enumerate(zip(images, psis, latents, drawn, strict=True)):
            if image.labels.shape != rgb.shape[:2]:
                raise ProjectError(f"project: labels of {image.labels.shape}, but {model} draws {rgb.shape[:2]}")
            pictures.append(Picture(f"{session.token}-{i}", ws, seed, psi, image.labels))
        return replace(session, pictures=tuple(pictures), serial=len(pictures), version=1)

    def _latents(
        self, model: str, images: Sequence[ProjectImage], psis: Sequence[float]
    ) -> list[tuple[int | None, np.ndarray]]:
        """For each image the seed that gives its latent (None if no seed does), and the latent.

        Seeds of one psi are drawn together, since on ZeroGPU each drawing waits for a GPU anew.
        """
        drawn: dict[int, np.ndarray] = {}
        for psi in sorted(set(psis)):
            rows = [i for i, image in enumerate(images) if psis[i] == psi and _has_seed(image, psi)]
            if rows:
                ws, _ = self.gpu.draw(model, [images[i].seed for i in rows], psi)
                drawn |= dict(zip(rows, ws, strict=True))
        return [_latent(image, drawn.get(i)) for i, image in enumerate(images)]

    def _fitted(self, session: Session, extractor: bytes | None) -> Fitted | None:
        if extractor is None:
            return None
        path = self.services.downloads.path("extractor.safetensors")
        path.write_bytes(extractor)
        loaded = self.services.studio.extractor(session.model, load_extractor(path))
        if [c.name for c in loaded.categories] != [c.name for c in session.categories]:
            raise ProjectError("project: its extractor has other categories than its labels")
        return Fitted(replace(loaded, categories=session.categories), session.version, 0.0, session.token)

    def _fit_for(self, session: Session, edits: tuple[ProjectEdit, ...]) -> Fitted | None:
        """Fit immediately if there are edits that no other extractor could read."""
        if not edits or self.services.studio.shipped(session.model) is not None:
            return None
        fitted = self.bench.fit(session, None, None)[0]
        return fitted if isinstance(fitted, Fitted) else None  # there is none if there are too few labels

    def _tracks(self, session: Session, fitted: Fitted | None, edits: tuple[ProjectEdit, ...]) -> dict[int, Track]:
        if not edits:
            return {}
        try:
            extractor = self.services.studio.extractor(session.model, fitted.extractor if fitted else None)
        except InputError:  # drop the edits, which cannot be shown without an extractor, but keep the labels
            return {}
        reading = self.gpu.read(session.model, extractor, [edit.ws for edit in edits])
        tracks: dict[int, Track] = {}
        for i, edit in enumerate(edits):
            point = EditPoint(edit.ws, reading.rgb[i], reading.labels[i], edit.caption, {})
            track = tracks.get(edit.image)
            tracks[edit.image] = new_track(session.model, extractor, point) if track is None else push(track, point)
        return tracks


def _fitting(images: Sequence[ProjectImage], most: int) -> Sequence[ProjectImage]:
    """The images of a project for which there is room; unlabelled ones at the end are left out first."""
    labelled = [(image.labels != IGNORE).any() for image in images]
    if sum(labelled) > most:
        raise ProjectError(f"project: it has {sum(labelled)} labelled images, and there is room for {most} here")
    spare = most - sum(labelled)
    empty = [i for i, known in enumerate(labelled) if not known]
    return [image for i, image in enumerate(images) if labelled[i] or i in empty[:spare]]


def _newest(edits: Sequence[ProjectEdit], state_bytes: int) -> tuple[ProjectEdit, ...]:
    """The edits of a project for which there is room: as many images and states as a visitor can have.

    Image 0 is the one that was shown, and the others follow, newest first. `state_bytes` is the size of a state.
    """
    states: dict[int, list[ProjectEdit]] = {}
    for edit in edits:
        states.setdefault(edit.image, []).append(edit)
    kept = {number: recent(states[number]) for number in sorted(states)}
    others = [number for number in kept if number]
    others = others[: room_for([state_bytes * len(kept[number]) for number in others])]
    return tuple(edit for number in (0, *others) for edit in kept.get(number, ()))


def _left_out(images: int, edits: int) -> str:
    """A sentence on what of a project has no room, or ""."""
    parts = [f"{images} unlabelled image{'' if images == 1 else 's'}"] * bool(images)
    parts += [f"{edits} older edit{'' if edits == 1 else 's'}"] * bool(edits)
    return f" There was no room for {' and '.join(parts)}." if parts else ""


def _has_seed(image: ProjectImage, psi: float) -> bool:
    """Whether its seed can be drawn; one that cannot is an error only where there is no latent."""
    return image.seed is not None and (image.ws is None or (image.seed <= MAX_SEED and 0 <= psi <= 2))


def _latent(image: ProjectImage, drawn: np.ndarray | None) -> tuple[int | None, np.ndarray]:
    """The seed of an image, None if the latent that it gives (`drawn`) is not the image's, and the latent."""
    if image.ws is None or drawn is None:
        return (None, image.ws) if drawn is None else (image.seed, drawn)
    own = image.ws.shape != drawn.shape or not np.allclose(image.ws, drawn, atol=1e-3)
    return (None if own else image.seed), image.ws
