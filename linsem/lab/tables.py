"""Results of the evidence commands, and their files: values for programs, rows for people, lines for plots."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

USUAL = "avatars-128"
_COLORS = ("#1f4e79", "#d1495b", "#5c8001", "#b07d12", "#6b4c9a", "#3a3a3a")


@dataclass(frozen=True)
class Plot:
    """Lines by name: points (x, y), and optional lower and upper bounds of each y."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    spread: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One table of the evidence. `values` are the key figures; `name` is the stem of its files."""

    name: str
    title: str
    values: Mapping[str, object]
    rows: Sequence[Mapping[str, object]]
    plots: Mapping[str, Plot] = field(default_factory=dict)


def stem(name: str, model: str) -> str:
    """The file name of a table or an image: its name, and its model if that is not the default."""
    return name if model == USUAL else f"{name}-{re.sub(r'[^A-Za-z0-9_.]+', '-', model).strip('-.')}"


def kept(folder: Path | None, name: str, title: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Values and rows of a table in a folder, for a run of some of its methods; SystemExit unless it has this title."""
    shown = None if folder is None else folder / f"{name}.md"
    if shown is None or not shown.exists() or shown.read_text(encoding="utf-8").splitlines()[0] != f"# {title}":
        raise SystemExit(f"--only needs --out with this table, of all methods: {title}")
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = [{key: _parsed(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), rows


def _parsed(text: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with equal keys as a Markdown table."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_text(row.get(name, "")) for name in names) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(table: Table, folder: Path) -> None:
    """Write NAME.csv, NAME.md, NAME.json, and a PNG per plot."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{table.name}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table.rows[0]) if table.rows else [])
        writer.writeheader()
        writer.writerows(table.rows)
    (folder / f"{table.name}.md").write_text(f"# {table.title}\n\n{markdown(table.rows)}\n", encoding="utf-8")
    (folder / f"{table.name}.json").write_text(json.dumps(dict(table.values), indent=1) + "\n", encoding="utf-8")
    for name, plot in table.plots.items():
        draw(plot).save(folder / f"{name}.png", optimize=True)


def draw(plot: Plot, size: tuple[int, int] = (760, 480)) -> Image.Image:
    """Draw the plot: lines with points and whiskers, axes from the data, a legend below the title."""
    image = Image.new("RGB", size, "#ffffff")
    pen = ImageDraw.Draw(image)
    points = [p for line in plot.lines.values() for p in line]
    ends = [(0.0, v) for pairs in plot.spread.values() for pair in pairs for v in pair]
    x_low, x_high = _range([x for x, _ in points])
    y_low, y_high = _range([y for _, y in points + ends])
    left, top, right, bottom = 70, 64, size[0] - 24, size[1] - 54

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x_low) / (x_high - x_low) * (right - left),
            bottom - (y - y_low) / (y_high - y_low) * (bottom - top),
        )

    for tick in range(6):
        y = y_low + (y_high - y_low) * tick / 5
        at = place(x_low, y)[1]
        pen.line([(left, at), (right, at)], fill="#e4e4e4")
        pen.text((left - 8, at), f"{y:.3g}", fill="#333333", anchor="rm", font_size=13)
    for x in sorted({x for x, _ in points}):
        at = place(x, y_low)[0]
        pen.line([(at, bottom), (at, bottom + 5)], fill="#333333")
        pen.text((at, bottom + 9), f"{x:.3g}", fill="#333333", anchor="mt", font_size=13)
    pen.line([(left, top), (left, bottom), (right, bottom)], fill="#333333")
    pen.text((left, 12), plot.title, fill="#111111", anchor="lt", font_size=17)
    pen.text((right, size[1] - 18), plot.x, fill="#333333", anchor="rm", font_size=14)
    pen.text((left, size[1] - 18), plot.y, fill="#333333", anchor="lm", font_size=14)
    start = left
    for i, (name, line) in enumerate(plot.lines.items()):
        color = _COLORS[i % len(_COLORS)]
        placed = [place(*p) for p in line]
        if len(placed) > 1:
            pen.line(placed, fill=color, width=3)
        for (x, y), (low, high) in zip(line, plot.spread.get(name, [p[1:] * 2 for p in line]), strict=True):
            pen.line([place(x, low), place(x, high)], fill=color, width=1)
            cx, cy = place(x, y)
            pen.ellipse([cx - 4, cy - 4, cx + 4, cy + 4], fill=color)
        pen.rectangle([start, 41, start + 12, 53], fill=color)
        pen.text((start + 17, 47), name, fill="#333333", anchor="lm", font_size=14)
        start += 34 + int(pen.textlength(name, font_size=14))
    return image


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.06
    return low - room, high + room
