"""What replaces the bench: an example, a file, a copy from the browser, or another generator's."""

from __future__ import annotations

from dataclasses import dataclass

from linsem.session import Fitted, Session
from linsem.track import Track
from linsem.ui.canvas import PainterState


@dataclass(frozen=True, eq=False)
class Opened:
    """A bench to replace the present one, and what is shown of it; `kept` are edits of images that are not shown.

    `origin` is the stamp of the copy that was resumed (its token if it has none), `linsem.ui.copies.EXAMPLE` for the
    example, "" for anything else; `tried` are the tokens of the copies that need not be offered again.
    """

    session: Session
    fitted: Fitted | None
    track: Track | None
    painter: PainterState
    line: str
    origin: str = ""
    tried: tuple[str, ...] = ()
    kept: tuple[Track, ...] = ()
