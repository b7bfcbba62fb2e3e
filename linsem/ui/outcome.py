"""What an edit has come to, in words: from its report, with what the tab Edit adds to it (`linsem.ui.editing`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linsem.edit import NO_WAY
from linsem.extractor import Extractor
from linsem.presence import GUESSED
from linsem.specks import SHARE
from linsem.ui import show

WHOLE = 0.5  # of the usual area of a category: with less than that painted, an object is not painted whole
CHANGES = ((2.0, "hardly changed"), (6.0, "changed a little"), (np.inf, "changed too"))  # below so much of 255
NAMED = 3  # categories that went or came
MATCHED_COLOR = 12.0  # of 255: a colour that is off by less is hardly another
MATCHED, SETTLES = 0.98, " The rest still settles: Stop keeps what is shown."


def too_small(before: np.ndarray, target: np.ndarray, extractor: Extractor) -> str:
    """A hint for an object of which only a small part is painted, in labels (H, W), 255 = unpainted; or "".

    A hat of three thin lines is met by a few stripes, in labels and in the image.
    """
    names = []
    for k, (category, least) in enumerate(zip(extractor.categories, extractor.least, strict=False)):
        painted, there = float((target == k).mean()), float((before == k).mean())
        if 0 < painted < WHOLE * least / SHARE and there < least:
            names.append(category.name)
    if not names:
        return ""
    return f"For a cleaner result, fill the whole shape of {' and '.join(map(repr, names))}."


def settles(report: dict[str, object]) -> bool:
    """Whether all of a wish is there that will be seen, so that the rest of the run may be spared."""
    return _outcome(report)[0] > MATCHED and float(report.get("color_off", 0)) < MATCHED_COLOR


def going(report: dict[str, object]) -> str:
    """The state of a run that goes on. What was `settled` once stays so: a line that comes and goes moves the page."""
    share, what = _outcome(report)
    if not (report.get("added") or report.get("removed")):
        what = f"matched ({show.percent(float(report['agreement_before']))} at the start)"
    line = f"Step {report['steps']} of {report['of']}: {show.percent(share)} {what}."
    off = float(report.get("color_off", 0))
    if "color_off" in report:
        line += f" The colour there is off by {off:.0f} of 255."
    return line + (SETTLES if report.get("settled") or settles(report) else "")


def ended(report: dict[str, object], earlier: bool = False) -> str:
    """The outcome of a run, with any notes, as a status line; `earlier`: other labels are read by now."""
    left, note = str(report.get("left_out") or ""), str(report.get("note") or "")
    share, what = _outcome(report)
    hint = str(report.get("hint") or "")
    by, since = ("by the labels read then, ", "By now other labels are read.") if earlier else ("", "")
    beside = _beside(report)
    colors = f"The colour there is off by {report['color_off']:.0f} of 255." if "color_off" in report else ""
    if "of" in report:
        line = f"Stopped after {report['steps']} of {report['of']} steps: {by}{show.percent(share)} {what}."
        return show.status(" ".join(filter(None, (line, beside, colors, since, left, hint))), "idle")
    if note and not report["steps"]:
        already = "the image already shows what you painted" if left else note
        return show.status(f"Nothing to do: {already}. {left}".strip(), "idle")
    named = report.get("added") or report.get("removed")
    if NO_WAY in note:
        kept = "" if named else " Your strokes are still there: change them, or allow more steps."
        line = f"Not changed: {note}.{kept}"
        return show.status(" ".join(filter(None, (line, colors, since, left, hint))), "bad")
    if not named:
        what += f" ({show.percent(float(report['agreement_before']))} before)"
    line = f"Done: {by or 'as the labels read it, '}{show.percent(share)} {what}."
    change = float(report["outside_change"])
    much = next(word for most, word in CHANGES if change < most)
    cost = f"Elsewhere it {much} (colours moved by {change:.1f} of 255). "
    cost += f"{report['steps']} steps, {float(report['seconds']):.1f}\u00a0s."
    more = left or (f"{note[:1].upper()}{note[1:]}." if note else "")
    noted = hint or earlier or GUESSED in note  # what is left they may not see
    kind = "bad" if share < 0.5 else "idle" if noted or change >= CHANGES[1][0] else "good"
    return show.status(" ".join(filter(None, (line, beside, colors, cost, since, more, hint))), kind)


def _beside(report: dict[str, object]) -> str:
    """What went and came beside what was asked for."""
    lost, gained = (_listed(report.get(name) or []) for name in ("lost", "gained"))
    took = f"took much of {lost}" if lost else ""
    brought = f"brought {gained}" if gained else ""
    return f"It also {' and '.join(filter(None, (took, brought)))}." if took or brought else ""


def _listed(names: Sequence[str]) -> str:
    few = [f"{name!r}" for name in names[:NAMED]] + ["more"] * (len(names) > NAMED)
    return " and ".join(filter(None, (", ".join(few[:-1]), *few[-1:])))


def _outcome(report: dict[str, object]) -> tuple[float, str]:
    """How far an edit has come, in 0..1, and of what."""
    if report.get("added"):
        return float(report["there"]), f"of {report['added']!r} is there"
    if report.get("removed"):
        return float(report["gone"]), f"of {report['removed']!r} is gone"
    return float(report["agreement_after"]), "of your strokes are matched"
