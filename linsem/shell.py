"""What the commands of the shell share: the model that is asked for, files that come in, and where results go."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError, load_extractor
from linsem.masks import LabelMap
from linsem.offers import as_file, offered, spec_of, split_label
from linsem.settings import Settings
from linsem.studio import Studio


def studio_of(args: argparse.Namespace) -> tuple[Studio, str]:
    """A studio by the settings and the options, and the name of the model that is asked for."""
    settings = replace(Settings.from_env(), cache_mb=0)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device, precision = args.device or settings.device, args.precision or settings.precision
    studio = Studio(replace(settings, device=device, precision=precision))
    return studio, _offered(args.model or settings.model) if args.model or settings.model else studio.default_model()


def _offered(model: str) -> str:
    """The name of the model that a command asks for; one that is not offered here is offered to this command.

    The list in LINSEM_MODELS says what a server's visitors may choose. Who types a command may read the files anyway.
    """
    name, label = split_label(model)
    if name in offered():
        return model
    spec, file = spec_of(name), as_file(name)
    other = None if file is None else as_file(spec.id)  # a file of that name here would be read in its place
    if other is not None and not other.samefile(file):
        raise InputError(f"model: {name} is called {spec.id}, as is another file in this folder; call one otherwise")
    if "," in name:
        raise InputError(f"model: expected a name without a comma, got {name[:200]!r}")
    os.environ["LINSEM_MODELS"] = name
    return spec.id if label is None else f"{spec.id}~{label}"


def extractor_of(studio: Studio, model: str, args: argparse.Namespace) -> Extractor:
    """The one given by a file, or else the one that ships; raises `ExtractorError`."""
    if not args.extractor and studio.shipped(model) is None:
        raise ExtractorError(f"{model} ships without an extractor: give one with --extractor, as `fit` writes it")
    return studio.extractor(model, load_extractor(args.extractor) if args.extractor else None)


def notes_of(paths: Sequence[str], maps: Sequence[LabelMap]) -> list[str]:
    """What the person should know of how the files were understood."""
    return [
        f"{Path(path).name}: {note}" for path, each in zip(paths, maps, strict=True) for note in each.report["notes"]
    ]


def check_out(path: str) -> None:
    """Raise ValueError now for a file that could not be written at the end of long work."""
    if Path(path).is_dir() or not Path(path).absolute().parent.is_dir():
        raise InputError(f"out: expected a file in a folder that exists, got {path}")


def folder(path: str) -> Path:
    """A folder for results, made if it is not there."""
    made = Path(path)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: expected a folder that can be made, got {path} ({error.strerror})") from error
    return made


def tell(line: str) -> None:
    """How far it is, in the same line of the error stream."""
    print(f"\r{line}   ", end="", file=sys.stderr, flush=True)


def checked_psi(psi: float) -> float:
    """The truncation, before anything is drawn or made."""
    if not 0 <= psi <= 2:
        raise InputError(f"psi: expected 0 to 2, got {psi}")
    return psi


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Ctrl-C ends what runs within, and not the command: what was found so far is kept."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nlinsem: stopped; what was found so far is kept", file=sys.stderr)


class Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Says what an option is where it is not given, if that is something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = action.default in (None, "", False, argparse.SUPPRESS) or "default" in (action.help or "")
        return action.help if named else super()._get_help_string(action)
