"""The command line: the same functions as the page and the API, for a shell.

    python -m linsem generate --model avatars-128 --seeds 0-7 --out images
    python -m linsem fit --seeds 3 --label-maps seed3.png --out mine.safetensors
    python -m linsem segment --seeds 0-7 --extractor mine.safetensors --out labels
    python -m linsem edit --seed 3 --target wish.png --out edited
    python -m linsem sample --layout layout.png --count 4 --out samples
    python -m linsem export --num 10000 --out faces.zip
    python -m linsem convert checkpoint.pkl checkpoint.safetensors
    python -m linsem serve

Each prints a JSON report as its last line, `convert` before it what is inside the file. A mistake in the input is one
sentence on the error stream and exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from linsem.arguments import whole_number
from linsem.categories import shares
from linsem.checkpoints.convert import convert_and_report
from linsem.conditional import far_off
from linsem.edit import SAMPLES
from linsem.errors import InputError
from linsem.examples import as_categories
from linsem.export import iter_export
from linsem.extractor import findable, save_extractor
from linsem.latents import load_latent, save_latents
from linsem.masks import read_layout
from linsem.options import CONVERTED, parser_of
from linsem.palette import overlay, parse_categories, read_label_map, write_label_map
from linsem.regions import read_region
from linsem.seeds import parse_seeds
from linsem.settings import Settings
from linsem.shell import (
    Unread,
    check_folder,
    check_out,
    checked_psi,
    extractor_of,
    folder,
    keep,
    label_map_of,
    notes_of,
    own_offer,
    print_report,
    printable,
    put,
    say,
    stopping,
    studio_of,
    tell,
    terminable,
    text_of,
)

STOPPED = 130  # the exit code of an interrupted command, by shell convention
LIMIT = 1_000_000  # seeds in one call


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = parser().parse_args(arguments)
    try:
        for name, value in vars(args).items():
            if value == "":  # as of a variable that is not set: not the same as an option that is not given
                raise InputError(f"{name.replace('_', '-')}: expected a value, got an empty text")
        ends = contextlib.nullcontext() if args.run is serve else terminable()  # a page ends at once, as `app.py` does
        with ends, own_offer():
            report = args.run(args)
        if report is not None:
            print_report(report)
    except Unread as gone:
        return gone.code
    except (InputError, OSError) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("stopped", interrupted=True)
        return STOPPED
    return 0


def generate(args: argparse.Namespace) -> dict:
    """One image a seed."""
    studio, model = studio_of(args)
    seeds, psi = parse_seeds(args.seeds, LIMIT), checked_psi(args.psi)
    out = folder(args.out)
    for seed in seeds:
        _, rgb = studio.draw(model, [seed], psi)
        keep(out / f"seed{seed}.png", rgb[0])
    return {"model": model, "images": len(seeds), "out": str(out)}


def fit(args: argparse.Namespace) -> dict:
    """An extractor from one label map a seed."""
    studio, model = studio_of(args)
    seeds = parse_seeds(args.seeds, LIMIT)
    if len(seeds) != len(args.label_maps):
        raise InputError(f"label-maps: expected one a seed ({len(seeds)}), got {len(args.label_maps)}")
    given = None if args.categories is None else text_of(args.categories)
    categories = as_categories(parse_categories(given, studio.categories(model)))
    check_out(args.out)
    ws, size = studio.latents(model, seeds, args.psi), tuple(studio.generator(model).size)
    read = [label_map_of(path, categories, size) for path in args.label_maps]
    maps, notes = [each.labels for each in read], notes_of(args.label_maps, read)
    extractor = studio.fit(model, list(ws), maps, categories)
    save_extractor(extractor, args.out)
    reading, painted = studio.read(model, extractor, list(ws)), np.stack(maps) != 255
    agreement = float((reading.labels == np.stack(maps))[painted].mean())
    report = {"pixels": int(painted.sum()), "agreement": round(agreement, 4), "notes": notes}
    report["unpainted"] = list(extractor.unknown)
    return {"model": model, **report, "out": str(args.out)}


def segment(args: argparse.Namespace) -> dict:
    """Label maps and overlays of seeds."""
    studio, model = studio_of(args)
    extractor, seeds, psi = extractor_of(studio, model, args), parse_seeds(args.seeds, LIMIT), checked_psi(args.psi)
    rows, out = [], folder(args.out)
    for seed in seeds:
        ws = studio.latents(model, [seed], psi)
        reading = studio.read(model, extractor, list(ws))
        keep(out / f"seed{seed}.png", write_label_map(reading.labels[0], extractor.categories))
        seen = overlay(reading.rgb[0], reading.labels[0], extractor.categories)
        keep(out / f"seed{seed}.overlay.png", seen)
        found = shares(reading.labels[0], extractor.categories)
        rows.append({"seed": seed, "shares": found, "mean_uncertainty": round(float(reading.uncertainty.mean()), 4)})
    return {"model": model, "images": rows, "out": str(out)}


def edit(args: argparse.Namespace) -> dict:
    """Move one image until its labels follow the target, or a category is there or gone."""
    studio, model = studio_of(args)
    extractor = extractor_of(studio, model, args)
    if args.latent:
        ws = load_latent(args.latent, model, args.seed)
        rgb = studio.render(model, [ws])[0]
    else:
        drawn = studio.draw(model, [args.seed or 0], args.psi)
        ws, rgb = drawn[0][0], drawn[1][0]
    region = None if args.region is None else read_region(args.region, rgb.shape[:2])
    begin, wish, notes = (studio.remove, args.remove, []) if args.add is None else (studio.add, args.add, [])
    if args.target is not None:
        read = read_label_map(Path(args.target), extractor.categories, size=rgb.shape[:2])
        begin, wish, notes = studio.edit, read.labels, notes_of([args.target], [read])
    check_folder(args.out)
    frame = None
    with stopping():
        for each in begin(model, extractor, ws, wish, region, args.steps):
            if each.sampled is not None:
                tell(f"{each.sampled} of {SAMPLES} samples drawn, among which the edit may start")
                continue
            frame = each
            told = next(name for name in ("gone", "there", "agreement_after") if name in frame.report)
            tell(f"step {frame.report['steps']}, {told.removesuffix('_after')} {frame.report[told]:.3f}")
    if frame is None:
        raise KeyboardInterrupt
    out = folder(args.out)
    keep(out / "before.png", rgb)
    keep(out / "image.png", frame.rgb)
    keep(out / "labels.png", write_label_map(frame.labels, extractor.categories))
    save_latents(out / "latent.safetensors", frame.ws[None], model)
    return {"model": model, **frame.report, "notes": notes, "out": str(out)}


def sample(args: argparse.Namespace) -> dict:
    """Images whose labels obey a layout, best first."""
    studio, model = studio_of(args)
    extractor = extractor_of(studio, model, args)
    asked = read_layout(Path(args.layout), extractor.categories, studio.generator(model).size)
    layout, notes = asked.labels, notes_of([args.layout], [asked])
    check_folder(args.out)
    frame = None
    with stopping():
        for frame in studio.sample(
            model, extractor, layout, args.count, args.candidates, args.steps, args.seed, args.psi, args.look
        ):  # fmt: skip
            if frame.scores:
                tell(f"step {frame.index}, best score {frame.scores[0]:.3f}")
    if frame is None or not frame.seeds:
        raise KeyboardInterrupt
    out = folder(args.out)
    older, rows = {path.name for path in out.glob("*-seed*.png")}, []
    for i, (seed, score) in enumerate(zip(frame.seeds, frame.scores, strict=True)):
        image, labels = f"{i + 1}-seed{seed}.png", f"{i + 1}-seed{seed}.labels.png"
        keep(out / image, frame.rgb[i])
        keep(out / labels, write_label_map(frame.labels[i], extractor.categories))
        rows.append({"seed": seed, "score": round(score, 4), "image": image, "labels": labels})
    save_latents(out / "latents.safetensors", frame.ws, model, frame.seeds)
    nearest, note = frame.nearest, far_off(frame.nearest, args.candidates)
    unasked = findable(extractor, layout)[1]
    notes += [unasked] if unasked else []
    if older := sorted(older - {row[kind] for row in rows for kind in ("image", "labels")}):
        notes.append(f"out: holds {len(older)} files of earlier runs too, as {older[0]}")
    nearest = None if nearest is None else round(nearest, 4)
    return {"model": model, "results": rows, "nearest": nearest, "note": note, "notes": notes, "out": str(out)}


def export(args: argparse.Namespace) -> dict:
    """A labelled data set in a zip; under `accelerate launch` each process writes a shard."""
    shard = (0, 1)
    if args.accelerate:
        from linsem.export import accelerate_shard

        shard, device = accelerate_shard()
        args.device = str(device)
    checked_psi(args.psi)
    whole_number("num", args.num, 1)
    check_out(args.out)
    studio, model = studio_of(args)
    extractor = extractor_of(studio, model, args)
    generator = studio.generator(model)
    for step in iter_export(
        generator, extractor.to(generator.device), count=args.num, first_seed=args.first_seed, psi=args.psi,
        out_path=args.out, batch=args.batch, shard=shard,
    ):  # fmt: skip
        tell(f"{step.done} of {step.total} images")
    return {"model": model, "images": step.done, "out": str(step.path), "bytes": step.path.stat().st_size}


def convert(args: argparse.Namespace) -> dict:
    """Any known checkpoint as one safetensors file, and what is inside it."""
    if args.out is not None and args.named is not None:
        raise InputError(f"out: expected one name, got {args.out} and {args.named}")
    text, report = convert_and_report(args.checkpoint, args.out or args.named or CONVERTED, half=args.half)
    put(printable(text))
    return report


def serve(args: argparse.Namespace) -> None:
    """The page, until it is stopped."""
    port = None if args.port is None else whole_number("port", args.port, 1, 65535)
    try:  # imported here because no other command needs gradio
        from linsem.ui.page import build, launch
    except ModuleNotFoundError as error:
        raise InputError(f"serve needs the package {error.name}: pip install gradio spaces") from error

    settings = Settings.from_env()
    settings = replace(settings, host=args.host or settings.host, port=port or settings.port)
    launch(build(settings), settings)


def parser() -> argparse.ArgumentParser:
    """The argument parser, with all commands and their options."""
    return parser_of([generate, fit, segment, edit, sample, export, convert, serve], __doc__)
