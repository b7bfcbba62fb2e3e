"""The main findings in sentences, with the numbers of the tables in the folder `evidence` of the assets."""

from __future__ import annotations

import json
from pathlib import Path

from linsem.zoo import assets


def headlines() -> list[tuple[str, str]]:
    """(number, sentence) for each finding whose file is available."""
    found = []
    for make in (_linear, _few, _strokes, _edits, _presence, _layouts):
        try:
            found.append(make())
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):  # no such file, or another format
            continue
    return found


def _linear() -> tuple[str, str]:
    score = values("extractors")
    best = max(score["nse1"], score["nse2"])
    return percent(score["lse"] / best), (
        f"of what the best network with hidden layers finds is found by one matrix "
        f"(mIoU {score['lse']:.2f} against {best:.2f})."
    )


def _few() -> tuple[str, str]:
    score = values("few-shot")["linear"]  # largest logits on all sides, and the stricter of both full extractors
    full = max(score["full"], score["full_at_psi"])
    fast = score.get("reference_fast", {}).get("8")
    faster = f" ({percent(fast / full)} at ten times that rate)" if fast else ""
    return percent(score["suggested"]["8"] / full), (
        f"of the accuracy of thousands of labelled images is reached with eight that it suggests; with eight at random "
        f"{percent(score['ours']['8'] / full)}, and {percent(score['reference']['8'] / full)} as the paper fits "
        f"them, at a rate that is low for these features{faster}."
    )


def _strokes() -> tuple[str, str]:
    score = values("scribbles")
    full = score["dense"]
    # Of strokes, the figures of those that are fitted as a visitor's are.
    return percent(score["corrected_page"] / full), (
        f"of the accuracy of images painted all over is reached with strokes over {percent(score['pixels'])} of "
        f"their pixels, in rounds, each where it was wrong; with strokes anywhere {percent(score['page'] / full)}."
    )


def _edits() -> tuple[str, str]:
    rows = values("edit")
    theirs = max(row["done"] for name, row in rows.items() if name in ("reference", "reference_slow"))
    moved = f", or {percent(rows['reference_w']['done'])} with its objective moved to w" * ("reference_w" in rows)
    others = rows.get("ours_others")
    random = "" if others is None else f", and {percent(others['done'])} with extractors of eight random ones"
    full = [rows[name]["done"] for name in ("ours_full", "reference_w_full") if name in rows]
    taught = (
        f" With the full extractor it is {percent(full[0])}, and {percent(full[1])} by the paper's objective in w."
        if len(full) == 2
        else ""
    )
    return f"{rows['ours']['done'] * rows['ours']['edits']:.0f} of {rows['ours']['edits']}", (
        "scripted edits are done with an extractor of eight images that show all categories "
        f"({percent(rows['ours_alone']['done'])} without samples to start from){random}: at least four fifths of what "
        "was asked for, and little changed elsewhere. As the "
        f"paper edits, {percent(theirs)} are{moved}, and with nothing done {percent(rows['nothing']['done'])}.{taught}"
    )


def _presence() -> tuple[str, str]:
    rows = values("presence")

    def done(ways: tuple[str, ...]) -> str:
        return f"{sum(rows[way]['images'] * rows[way]['done'] for way in ways):.0f}"

    asked = rows["remove"]["images"] + rows["add"]["images"]
    return f"{done(('remove', 'add'))} of {asked}", (
        "times a hat, glasses, facial hair or hair is taken out or brought in, at least four fifths, by its name alone "
        f"({done(('remove_few', 'add_few'))} with an extractor of eight images); taken out as the labels alone say, "
        f"it is gone {percent(rows['remove_guessed']['done'])} of the time."
    )


def _layouts() -> tuple[str, str]:
    rows = values("sample")
    ours, theirs = rows["ours"], rows["reference"]
    moved = f" ({rows['reference_w']['miou']:.2f} with its objective moved to w)" * ("reference_w" in rows)
    each = " against ".join(f"{row['seconds']:.1f}\N{NO-BREAK SPACE}s" for row in (ours, theirs))
    return f"{theirs['seconds'] / ours['seconds']:.0f} times", (
        f"as fast as the paper's way is an image made that obeys a layout: {each} on the machine that these were "
        f"measured on (four of each of {ours['layouts']} layouts, all from the same candidates, which a single "
        f"layout has to draw for itself), with an mIoU of {ours['miou']:.2f} against {theirs['miou']:.2f}{moved}."
    )


def values(name: str) -> dict:
    """The numbers of a table, from its JSON file."""
    return json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))


def percent(share: float) -> str:
    """A share in whole percent, with a no-break space."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def folder() -> Path:
    """The folder of the tables and figures."""
    return assets() / "evidence"
