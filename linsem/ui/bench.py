"""The labelling bench: strokes on generated images, and the segmentation that is updated after each stroke."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import gradio as gr
import numpy as np

from linsem.categories import names_of
from linsem.changes import USUAL_PSI
from linsem.errors import InputError
from linsem.examples import NO_LABELS, AnnotationError, check_counts
from linsem.extractor import Extractor, save_extractor
from linsem.seeds import format_seeds, next_seeds, parse_seeds
from linsem.session import (
    Fitted,
    Picture,
    Session,
    add_pictures,
    check_room,
    keep_labelled,
    new_session,
    paint,
)
from linsem.studio import Reading
from linsem.sureness import sureness
from linsem.ui import show
from linsem.ui.canvas import PainterLabels, PainterState
from linsem.ui.errors import GONE, Refusal
from linsem.ui.services import Services, real
from linsem.ui.thumbs import Strip, Thumb
from linsem.zoo import split_label

FIRST_IMAGES, FIRST_PSI = 8, USUAL_PSI
SHORT_NAME = 24  # characters of a category's name in a line
FEW = 3  # learnt categories: with so few the page says what becomes of all others
POOL, SUGGESTED = 60, 4  # images to choose from, and how many of them to suggest
NEXT_LATER = "Which image to label next shows here after your first strokes"
NOT_YET = show.empty(
    "Nothing learnt yet", "After your first strokes this shows how sure the extractor is of each category."
)


@dataclass(frozen=True, eq=False)
class Fresh:
    """Images drawn for the bench `token`: their ws (N, num_ws, w_dim), and the size (H, W) of each."""

    token: str
    seeds: tuple[int, ...]
    psi: float
    ws: np.ndarray
    size: tuple[int, int]


class Bench:
    """The actions of the Label tab, as functions of values; `linsem.ui.label` connects them to components."""

    def __init__(self, services: Services) -> None:
        self.services, self.gpu, self.turns = services, services.gpu, services.turns

    # --- the bench ---------------------------------------------------------------------------------------------------

    def begin(self, model: str) -> Session:
        """Start a new bench with the first images."""
        model = self.services.studio.check_model(model)
        session = new_session(model, self.services.studio.categories(model))
        return self.with_images(session, first_seeds(self.services.settings.max_pictures), FIRST_PSI)

    def fresh(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, seeds: str, psi: float
    ) -> Fresh:
        """Draw the images of these seeds that no labelled image has; `join` adds them to the bench.

        Drawing may take seconds, so it returns no session: the visitor may paint meanwhile.
        """
        kept = keep_labelled(absorb(session, painted))
        fresh = self._draw(kept, seeds, psi)
        if fresh.seeds and usable(session, fitted):
            self.gpu.read(session.model, fitted.extractor, [fresh.ws[0]])  # so that `join` finds it read
        return fresh

    def join(self, session: Session, painted: PainterLabels | None, fresh: Fresh) -> Session:
        """Replace the unlabelled images by the fresh ones, which are of this bench."""
        return self._joined(keep_labelled(absorb(session, painted)), fresh)

    def suggested(self, session: Session, painted: PainterLabels | None, psi: float) -> str:
        """Suggest seeds that show what no labelled image shows, from those after the largest seed on the bench.

        This takes seconds, so it returns no session: the visitor may paint meanwhile.
        """
        session, psi = absorb(session, painted), real("psi", psi, 0, 2)
        labelled, most = session.labelled, self.services.settings.max_pictures
        if len(labelled) >= most:
            raise InputError(f"all {most} images are labelled, and there is no room for more: remove one first")
        pool = next_seeds(session.last_seed, POOL)
        count = min(SUGGESTED, most - len(labelled))
        return format_seeds(self.gpu.suggest(session.model, pool, count, psi, [picture.ws for picture in labelled]))

    def with_images(self, session: Session, seeds: str, psi: float) -> Session:
        """Append the images of these seeds that are not on the bench yet."""
        return self._joined(session, self._draw(session, seeds, psi))

    def _draw(self, session: Session, seeds: str, psi: float) -> Fresh:
        limit, psi = self.services.settings.max_pictures, real("psi", psi, 0, 2)
        chosen = _not_here(session, parse_seeds(seeds, limit), psi)
        check_room(session, len(chosen), limit)
        if not chosen:
            return Fresh(session.token, (), psi, np.zeros(0), (0, 0))
        ws, rgb = self.gpu.draw(session.model, chosen, psi)
        return Fresh(session.token, chosen, psi, ws, rgb.shape[1:3])

    def _joined(self, session: Session, fresh: Fresh) -> Session:
        limit = self.services.settings.max_pictures
        room = max(0, limit - len(session.pictures))  # less than when they were drawn, if more are labelled by now
        new = _not_here(session, fresh.seeds, fresh.psi)[:room]
        rows = [fresh.seeds.index(seed) for seed in new]
        return add_pictures(session, fresh.ws[rows], new, fresh.psi, fresh.size, limit) if rows else session

    # --- the live loop -----------------------------------------------------------------------------------------------

    def fit(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None
    ) -> tuple[object, object, object]:
        """Fit to all labels; returns the fit, the painter's image with its new overlay, and a status line.

        Nothing of them if another fit of this bench, of what was painted later, was begun meanwhile, or another bench
        has come. And no image if another one was chosen meanwhile: a slow browser that gets both at once would look at
        the last of them alone, and not open the other.
        """
        turn, chosen = self.turns.take(session.token, "fit"), self.turns.last(session.token, "picture")
        found, state, line = self._fit(session, fitted, painted)
        if not self.turns.is_last(session.token, "fit", turn):
            return gr.skip(), gr.skip(), gr.skip()
        return found, state if self.turns.last(session.token, "picture") == chosen else gr.skip(), line

    def _fit(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None
    ) -> tuple[object, object, str]:
        clock = time.monotonic()
        session = absorb(session, painted)
        index = shown(session, painted)
        labelled = session.labelled
        try:
            check_painted(session)  # here: on ZeroGPU asking a worker would cost the visitor seconds
        except InputError as error:
            line = show.status(_plain(error), "idle")
            if fitted is None or not fitted.seconds:
                return gr.skip(), gr.skip(), line
            # Drop the fit, whose strokes are not all there any more.
            rgb = self.gpu.render(session.model, [session.pictures[index].ws])[0]
            return None, replace(painter_state(session, index, None, rgb), opens=False), line
        try:
            extractor, reading = self.gpu.fit_and_read(
                session.model, [p.ws for p in labelled], [p.labels for p in labelled], session.categories,
                fitted.extractor if fitted else None, session.pictures[index].ws,
            )  # fmt: skip
        except (InputError, Refusal) as error:
            return gr.skip(), gr.skip(), show.status(_plain(error), "idle")
        seconds = time.monotonic() - clock
        pixels = sum(picture.painted for picture in labelled)
        images = f"{len(labelled)} image{'s' if len(labelled) > 1 else ''}"
        line = f"Learnt from {pixels:,} pixels on {images} in {seconds:.2f} s. {_what_next(extractor)}"
        state = replace(painter_state(session, index, reading), opens=False)
        return Fitted(extractor, session.version, seconds, session.token), state, show.status(line.strip(), "good")

    def overview(
        self, session: Session, fitted: Fitted | None, painted: PainterLabels | None, view: str
    ) -> tuple[Strip, str, gr.Button, str | None]:
        """The thumbnails, the certainty bars, the button for the next image to label, and that image's key."""
        session = absorb(session, painted)
        index = shown(session, painted)
        if not usable(session, fitted):
            rgb = self.gpu.render(session.model, [picture.ws for picture in session.pictures])
            items = tuple(Thumb(rgb[i], *caption(p), key=p.key) for i, p in enumerate(session.pictures))
            return Strip(items, index), NOT_YET, gr.Button(NEXT_LATER, interactive=False), None
        # The image shown counts as labelled: what is asked for is the one after it.
        known = [i for i, picture in enumerate(session.pictures) if picture.painted or i == index]
        reading, suggestion = self.gpu.overview(
            session.model, fitted.extractor, [picture.ws for picture in session.pictures], known
        )
        items = tuple(
            Thumb(show.view(view, reading, i, session.categories), *caption(p, i == suggestion), key=p.key)
            for i, p in enumerate(session.pictures)
        )
        bars = show.sureness_bars(sureness(session, reading.labels, reading.uncertainty))
        all_done = all(picture.painted for picture in session.pictures)
        said = "All images here are labelled" if all_done else "All other images here are labelled"
        button = gr.Button(said, interactive=False)
        if suggestion is not None:
            title = session.pictures[suggestion].title
            text = f"Label {title} next: it differs most from what you have labelled"
            if not session.pictures[index].painted:
                text = f"Label {title} next, after this image"
            button = gr.Button(text, interactive=True)
        return Strip(items, index), bars, button, None if suggestion is None else session.pictures[suggestion].key

    def show_picture(self, session: Session, fitted: Fitted | None, index: int) -> PainterState:
        """The image at a position, with its prediction if there is a fit."""
        index = min(max(index, 0), len(session.pictures) - 1)
        ws = session.pictures[index].ws
        if usable(session, fitted):
            return painter_state(session, index, self.gpu.read(session.model, fitted.extractor, [ws]))
        return painter_state(session, index, None, self.gpu.render(session.model, [ws])[0])

    def extractor_file(self, session: Session, fitted: Fitted | None) -> str:
        """Save the visitor's extractor; returns its path."""
        if not usable(session, fitted):
            raise InputError("there is no extractor of yours yet: paint two categories first")
        path = self.services.downloads.path(f"{session.model}.mine.extractor.safetensors")
        save_extractor(fitted.extractor, path)
        return str(path)


# --- values ----------------------------------------------------------------------------------------------------------


def first_seeds(limit: int) -> str:
    """The seeds that a bench for at most `limit` images starts with."""
    return format_seeds(range(1, 1 + min(FIRST_IMAGES, limit)))


def _not_here(session: Session, seeds: Sequence[int], psi: float) -> tuple[int, ...]:
    here = {(picture.seed, picture.psi) for picture in session.pictures}
    return tuple(seed for seed in seeds if (seed, psi) not in here)


def check_painted(session: Session) -> None:
    """Raise `AnnotationError` if less than two categories are painted."""
    if not session.labelled:
        raise AnnotationError(NO_LABELS)
    count = np.zeros(256, np.int64)
    for picture in session.labelled:
        count += np.bincount(picture.labels.ravel(), minlength=256)
    check_counts(count[: len(session.categories)], names_of(session.categories), len(session.labelled))


def absorb(session: Session, painted: PainterLabels | None) -> Session:
    """Add the painter's labels to the session, so that no stroke is lost, whichever event arrives first."""
    if not session.token:
        raise InputError(GONE)
    if painted is None or painted.stamp == 0:
        return session
    return paint(session, painted.key, painted.labels, painted.stamp)


def shown(session: Session, painted: PainterLabels | None) -> int:
    """The position of the image on the painter; 0 if it is unknown."""
    index = session.find(painted.key) if painted is not None else None
    return 0 if index is None else index


def usable(session: Session, fitted: Fitted | None) -> bool:
    """Whether there is a fit, and it belongs to this bench and its generator, and has its categories."""
    return (
        fitted is not None
        and fitted.token in ("", session.token)
        and fitted.extractor.generator_id == split_label(session.model)[0]
        and names_of(fitted.extractor.categories) == names_of(session.categories)
    )


def painter_state(session: Session, index: int, reading: Reading | None, rgb: np.ndarray | None = None) -> PainterState:
    """The state of the painter for the image at a position; its prediction is the first image of the reading."""
    picture = session.pictures[index]
    if reading is None:
        return PainterState(rgb, picture.labels, None, None, session.categories, picture.key)
    return PainterState(
        reading.rgb[0], picture.labels, reading.labels[0], reading.uncertainty[0], session.categories, picture.key
    )


def caption(picture: Picture, suggested: bool = False) -> tuple[str, str]:
    """The title and the badge of a thumbnail."""
    badge = "label next" if suggested else f"{picture.painted:,} px" if picture.painted else ""
    return picture.title, badge


def _what_next(extractor: Extractor) -> str:
    """What a fit of few categories means for the others, and what can be done with one of more."""
    unknown = extractor.unknown
    if len(extractor.categories) - len(unknown) > FEW or not unknown:
        return "Paint more, or use it in Segment, Edit and Sample."
    known = [_short(name) for name in names_of(extractor.categories) if name not in unknown]
    either = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
    return f"Everything counts as {either} until you paint what else there is, such as {_short(unknown[0])}."


def _short(name: str) -> str:
    return name if len(name) <= SHORT_NAME else f"{name[: SHORT_NAME - 1]}…"


def _plain(error: Exception) -> str:
    sentence = str(getattr(error, "message", None) or error)
    return sentence[:1].upper() + sentence[1:] + "." * (not sentence.endswith((".", "!", "?")))
