"""The experimental results in the About tab: tables and figures, beside the `headlines`.

Everything is read from the folder `evidence` of the assets when the page is built; missing files are skipped. The
figures are not part of the page: the browser requests each from `WHERE` when it scrolls into view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from PIL import Image

from linsem.headlines import folder
from linsem.ui.show import text

WHERE = "/evidence"  # path on this server
LONG = 40  # characters; longer cells are sentences, and wrap
NUMBER = re.compile(r"-?[\d.,]+(?: [%s])?")


@dataclass(frozen=True)
class Chapter:
    """Tables (file stems) and figures (file: caption) on one question."""

    title: str
    says: str
    tables: tuple[str, ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)


CHAPTERS = (
    Chapter(
        "How much a linear reading finds",
        "LSE is the one matrix, NSE-1 and NSE-2 are networks with hidden layers in its place, centroid is the nearest "
        "mean feature.",
        ("extractors", "extractors-avatars-64"),
    ),
    Chapter(
        "A few labelled images",
        "How far 1 to 16 labelled images get, against an extractor that learnt from thousands; the reference is the "
        "paper's own way of fitting.",
        ("few-shot",),
        {
            "few-shot.png": "Accuracy on images that were not labelled, by the number of labelled ones.",
            "one-image.png": "Strokes on one image alone (first column), and the images of other seeds, none left out, "
            "read with what was learnt from them: image, labels, overlay.",
        },
    ),
    Chapter(
        "Strokes instead of whole label maps",
        "What is lost when only some pixels of an image are painted, and what is won back when a stroke spreads over "
        "what it touches of one colour.",
        ("scribbles",),
        {"scribbles.png": "Accuracy by the share of the pixels that are painted, against painting all of them."},
    ),
    Chapter(
        "Where it is unsure, and which image to label next",
        "AUROC: how well the map of uncertainty tells wrong pixels from right ones (1 is perfect, 0.5 is chance).",
        ("uncertainty",),
        {"calibration.png": "How sure it says that it is, and how often it is right; the diagonal is perfect."},
    ),
    Chapter(
        "Which layers of the generator matter",
        "Accuracy with only some of the feature maps, and what they cost.",
        ("layers",),
        {"layers.png": "Accuracy against the layers that are read, from the coarsest on and from the finest on."},
    ),
    Chapter(
        "Editing an image by its labels",
        "Scripted wishes, such as longer hair or no glasses; ours and the reference know the network that judges only "
        "by the labels that they learnt from and the wishes.",
        ("edit",),
        {"edits.png": "Each block, from above: the image, the labels that were asked for, the image afterwards."},
    ),
    Chapter(
        "Taking a category out, or bringing one in",
        "Hats, glasses, beards and hair. What is wished for is what a similar sample shows in the place; by the labels "
        "alone a hat is gone that is still to be seen.",
        ("presence",),
        {
            "removed.png": "Each block, from above: the image; the next most likely categories asked for; our way.",
            "added.png": "Each block, from above: the image, and the same with a hat, glasses, a beard or hair.",
        },
    ),
    Chapter(
        "Images from a layout",
        "Layouts of drawings that no network has seen; the mIoU says how well the images obey them.",
        ("sample",),
        {"layouts.png": "Each row: the layout that was asked for, and four images that obey it, unlike each other."},
    ),
    Chapter(
        "Training another network with what is generated",
        "A small segmentation network learns from exported images and labels, and is tested on drawings.",
        ("dataset",),
    ),
    Chapter(
        "The generators themselves",
        "How close the avatars are to the drawings that they were trained on.",
        ("quality", "quality-avatars-64", "digiface"),
        {
            "avatars-128-psi-0.7.png": "avatars-128, seeds 0 to 63, none left out, at variety 0.7.",
            "avatars-128-psi-1.png": "The same seeds at variety 1.",
            "digiface-64.png": "digiface-64, fresh seeds, none left out: image, labels, overlay.",
        },
    ),
    Chapter("Speed and memory", "Measured on a plain processor with two threads.", ("bench",)),
)
HEADS = {
    "outside_mae": "change elsewhere, of 255", "outside_feature": "change elsewhere, features", "miou": "mIoU",
    "of it, seen": "of it, categories seen", "at most": "at most, with these categories",
}  # fmt: skip
NOT_SHOWN = {"bench": ("figure",)}  # columns meant for programs


def chapters(root: str) -> Iterator[tuple[str, str]]:
    """(title, HTML) for each chapter with at least one file; files that belong to no chapter come last."""
    known = {name for each in CHAPTERS for name in (*(f"{stem}.md" for stem in each.tables), *each.pictures)}
    rest = [path for path in sorted(folder().glob("*")) if path.suffix in (".md", ".png") and path.name not in known]
    tables = tuple(path.stem for path in rest if path.suffix == ".md")
    pictures = {path.name: path.stem.replace("-", " ") for path in rest if path.suffix == ".png"}
    for chapter in (*CHAPTERS, Chapter("More tables and pictures", "", tables, pictures)):
        parts = [
            *_each(table, [(stem,) for stem in chapter.tables]),
            *_each(figure, [(name, caption, root) for name, caption in chapter.pictures.items()]),
        ]
        if parts:
            yield chapter.title, f'<p class="ls-says">{text(chapter.says)}</p>{"".join(parts)}'


def _each(make: Callable[..., str], of: list[tuple[str, ...]]) -> Iterator[str]:
    """The HTML of each file that exists."""
    for arguments in of:
        try:
            yield make(*arguments)
        except (OSError, ValueError):  # not there, or no table or picture
            continue


def table(stem: str) -> str:
    """Convert a Markdown table to HTML with its title; column names meant for programs are spelt out or left out."""
    lines = (folder() / f"{stem}.md").read_text(encoding="utf-8").splitlines()
    title = next((line.lstrip("# ") for line in lines if line.startswith("#")), stem)
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    head, *body = [row for row in rows if set("".join(row)) - set("-: ")]
    shown = [i for i, name in enumerate(head) if name not in NOT_SHOWN.get(stem, ())]
    heads = "".join(f"<th>{text(HEADS.get(head[i], head[i]))}</th>" for i in shown)
    cells = "".join(f"<tr>{''.join(_cell(row[i]) for i in shown if i < len(row))}</tr>" for row in body)
    return (
        f'<h4>{text(title)}</h4><div class="ls-table" tabindex="0" role="region" aria-label="{text(title)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>"
    )


def _cell(value: str) -> str:
    kind = ' class="ls-long"' if len(value) > LONG else ' class="ls-number"' if NUMBER.fullmatch(value) else ""
    return f"<td{kind}>{text(value)}</td>"


def figure(name: str, caption: str, root: str, rows: float = 1.0) -> str:
    """A figure with its caption; `rows` is the share of its height to show, from the top."""
    with Image.open(folder() / name) as image:
        width, height = image.size
    shown, words = round(height * rows), text(caption)
    cut = f' style="aspect-ratio:{width}/{shown}"' if rows < 1 else ""
    where = f"{text(root.rstrip('/') + WHERE)}/{text(name)}"
    return (
        f'<figure class="ls-figure" style="--ratio:{width / shown:.2f}">'
        f'<img loading="lazy" alt="{words}" width="{width}" height="{height}"{cut} src="{where}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
