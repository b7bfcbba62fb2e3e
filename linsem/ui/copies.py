"""The copies of the work that a visitor's own browser keeps, to continue with later."""

from __future__ import annotations

import base64
import binascii
import io
import json
import secrets
from collections.abc import Collection, Sequence

import gradio as gr
import numpy as np

from linsem.pixels import IGNORE
from linsem.project import Project, ProjectEdit, ProjectError, ProjectImage, load_project, save_project
from linsem.session import Session
from linsem.track import Track
from linsem.ui.bench import absorb
from linsem.ui.canvas import PainterLabels
from linsem.ui.opened import Opened

EXAMPLE = "example"  # the origin of its bench
KEPT_BYTES = 1_500_000  # of a copy: a browser allows about 5 MB per site

# Copies of the work in this browser: [token of the bench, copy, stamp] each, newest first. A bench replaces only its
# own copy and the one that it was resumed from, unless that was written to since, so that two pages do not overwrite
# each other's.
PLACE, MOST = "linsem-benches", 2_000_000  # (tabs.js too); characters, of the about five million that a browser allows
# A page that is loaded anew begins with its own: its token is in the storage of its tab.
READ = f"""() => {{
  let kept = "";
  try {{
    kept = localStorage.getItem("{PLACE}") || "";
    const all = JSON.parse(kept), own = sessionStorage.getItem("{PLACE}");
    return [JSON.stringify([...all.filter((each) => each[0] === own), ...all.filter((each) => each[0] !== own)])];
  }} catch (error) {{ return [kept]; }}
}}"""
WRITE = f"""(said) => {{
  if (!said) return;
  const {{ entry, origin }} = JSON.parse(said);
  try {{ sessionStorage.setItem("{PLACE}", entry[0]); }} catch (error) {{}}
  let all = [];
  try {{ all = JSON.parse(localStorage.getItem("{PLACE}")) || []; }} catch (error) {{ all = []; }}
  all = Array.isArray(all) ? all : [];
  all = all.filter((each) => each[0] !== entry[0] && each[0] !== origin && each[2] !== origin);
  for (all.unshift(entry); all.length; all.pop()) {{
    const text = JSON.stringify(all);
    try {{ if (text.length <= {MOST}) return void localStorage.setItem("{PLACE}", text); }} catch (error) {{}}
  }}
}}"""

# Of the work on a bench: its token, the project in base64, and a stamp that is another each time it is stored.
Copy = tuple[str, str, str]


def keep(
    session: Session, painted: PainterLabels | None, track: Track | None, kept: tuple[Track, ...] = ()
) -> str | None:
    """The copy for the browser: seeds instead of latents, no extractor (it is fitted again).

    None if there is nothing to keep, or too much.
    """
    session = absorb(session, painted)
    if not session.labelled and not any(edited(session, each) for each in (track, *kept)):
        return None
    labels = ((),) if session.labelled else ()
    for tracks in ((track, *kept), (track,), *labels):  # rather without edits than not at all
        target = io.BytesIO()
        try:
            save_project(project_of(session, tracks, None, latents=False), target)
        except ProjectError:  # more than goes into a file
            continue
        if len(target.getvalue()) <= KEPT_BYTES:
            return base64.b64encode(target.getvalue()).decode("ascii")
    return None


def store(
    session: Session, painted: PainterLabels | None, track: Track | None, origin: str,
    kept: tuple[Track, ...] = (),
) -> str | dict:  # fmt: skip
    """What the browser stores, as JSON: the `Copy` of this bench, and the stamp of the one it was resumed from."""
    copy = None
    if origin != EXAMPLE or changed(session, painted, (track, *kept)):
        copy = keep(session, painted, track, kept)
    if copy is None:
        return gr.skip()
    return json.dumps({"entry": [session.token, copy, secrets.token_hex(6)], "origin": origin})


def aside(
    session: Session, painted: PainterLabels | None, track: Track | None, found: list[Copy], opened: Opened,
    kept: tuple[Track, ...] = (), origin: str = "",
) -> list[Copy]:  # fmt: skip
    """The copies to offer once `opened` has replaced this bench, which came from `origin`.

    The one of this bench is the first, so that it can be come back to; after a resumption the last, so that each
    can be had in turn. An example that was only looked at is none.
    """
    found = [each for each in found if each[0] not in (session.token, *opened.tried)]
    own = []
    if session.token and (origin != EXAMPLE or changed(session, painted, (track, *kept))):
        copy = keep(session, painted, track, kept)
        own = [] if copy is None else [(session.token, copy, "")]
    return found + own if opened.origin not in ("", EXAMPLE) else own + found


def offer(found: Sequence[Copy], default: str) -> gr.Button:
    """The button that resumes the first of the copies, and says what it holds; hidden if there is none.

    The generator is named unless it is the `default`.
    """
    said = "Continue where you left off"
    if found:
        try:
            project = load_project(base64.b64decode(found[0][1], validate=True))
        except (binascii.Error, ValueError):  # then resuming goes on to the next one
            return gr.Button(said, visible=True)
        painted = [count for image in project.images if (count := int((image.labels != IGNORE).sum()))]
        edits = {edit.image for edit in project.edits}
        parts = [f"{sum(painted)} px on {so_many_images(painted)}"] * bool(painted)
        parts += [f"edits of {so_many_images(edits)}"] * bool(edits)
        said = f"Continue: {' and '.join(parts)}"
        if project.generator_id != default:
            said += f" of {project.generator_id}"
        said += f" (1 of {len(found)})" * (len(found) > 1)
    return gr.Button(said, visible=bool(found))


def copies(kept: str | None) -> list[Copy]:
    """The copies stored in the browser, newest first; anything else that it says is ignored."""
    if kept is not None and len(kept) > 4 * KEPT_BYTES:  # of two copies in base64
        return []
    try:
        rows = json.loads(kept or "[]")
    except (ValueError, RecursionError):
        return []
    rows = [each for each in rows if isinstance(each, list)] if isinstance(rows, list) else []
    rows = [[*each, ""] if len(each) == 2 else each for each in rows]  # stored before there were stamps
    rows = [(*each,) for each in rows if len(each) == 3 and all(isinstance(text, str) for text in each) and each[1]]
    first: dict[str, Copy] = {}
    for row in rows:
        first.setdefault(row[1], row)  # the same work in two pages is one
    return list(first.values())


def changed(session: Session, painted: PainterLabels | None, tracks: Sequence[Track | None]) -> bool:
    """Whether anything was painted, changed or edited on a bench since it was opened."""
    session = absorb(session, painted)
    stroked = bool(session.past) or any(picture.stamp for picture in session.pictures)
    return stroked or any(edited(session, track) for track in tracks)


def edited(session: Session, track: Track | None) -> bool:
    """Whether there are edits of this session's generator."""
    return track is not None and track.model == session.model and len(track.points) > 1


def project_of(session: Session, tracks: Sequence[Track | None], extractor: bytes | None, *, latents: bool) -> Project:
    """Everything as a value; the first of the tracks is the one shown, if there is one."""
    images = tuple(
        ProjectImage(p.seed, np.ascontiguousarray(p.ws) if latents or p.seed is None else None, p.labels, p.psi)
        for p in session.pictures
    )
    edits = tuple(
        ProjectEdit(np.ascontiguousarray(point.ws), point.caption, image=number)
        for number, track in enumerate(tracks)
        if edited(session, track)
        for point in track.points[: track.position + 1]
    )
    psi = session.pictures[0].psi if session.pictures else 0.7
    return Project(session.model, psi, session.categories, images, {}, extractor, edits)


def so_many_images(some: Collection) -> str:
    """How many images, in words."""
    return f"{len(some)} image{'' if len(some) == 1 else 's'}"
