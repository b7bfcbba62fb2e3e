"""Helpers shared by the shell commands: model, input files, and output paths."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError, load_extractor
from linsem.masks import LabelMap, LabelMapError
from linsem.offers import as_file, offered, spec_of, split_label
from linsem.palette import Category, read_label_map
from linsem.settings import Settings
from linsem.studio import Studio
from linsem.whole import followed, may_be_file, whole

# Exit codes by shell convention: of a command whose reader has gone, and of one that was told to end.
BROKEN_PIPE, TERMINATED = 141, 143


def keep(path: Path, content: np.ndarray | bytes) -> None:
    """Write an image (H, W, 3) uint8 as a PNG, or the bytes of a file, whole or not at all."""
    with whole(path) as partial:
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            Image.fromarray(content).save(partial, format="PNG")


def studio_of(args: argparse.Namespace) -> tuple[Studio, str]:
    """A studio with the given settings and options, and the name of the requested model."""
    settings = replace(Settings.from_env(), cache_mb=0)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device, precision = args.device or settings.device, args.precision or settings.precision
    studio = Studio(replace(settings, device=device, precision=precision))
    return studio, _offered(args.model or settings.model) if args.model or settings.model else studio.default_model()


def _offered(model: str) -> str:
    """The name of the requested model; one that is not offered by the settings is offered to this command.

    LINSEM_MODELS limits what a server's visitors may choose; a user of the command line can read the files anyway.
    """
    name, label = split_label(model)
    if name in offered():
        return model
    spec, file = spec_of(name), as_file(name)
    other = None if file is None else as_file(spec.id)  # a file named like the id would be read in its place
    if other is not None and not other.samefile(file):
        raise InputError(f"model: {name} is called {spec.id}, as is another file in this folder; call one otherwise")
    if "," in name:
        raise InputError(f"model: expected a name without a comma, got {name[:200]!r}")
    os.environ["LINSEM_MODELS"] = name
    return spec.id if label is None else f"{spec.id}~{label}"


@contextlib.contextmanager
def own_offer() -> Iterator[None]:
    """What a command offers itself (`studio_of`) is not offered to what follows it in the same process."""
    before = os.environ.get("LINSEM_MODELS")
    try:
        yield
    finally:
        os.environ.pop("LINSEM_MODELS", None)
        if before is not None:
            os.environ["LINSEM_MODELS"] = before


def extractor_of(studio: Studio, model: str, args: argparse.Namespace) -> Extractor:
    """The extractor given by a file, else the shipped one; raises `ExtractorError`."""
    if not args.extractor and studio.shipped(model) is None:
        raise ExtractorError(f"{model} ships without an extractor: give one with --extractor, as `fit` writes it")
    return studio.extractor(model, load_extractor(args.extractor) if args.extractor else None)


def label_map_of(path: str, categories: Sequence[Category], size: tuple[int, int]) -> LabelMap:
    """The label map in a file, of several that are given; raises `LabelMapError`, which names the file."""
    try:
        return read_label_map(Path(path), categories, size=size)
    except LabelMapError as error:
        raise LabelMapError(f"{path}: {error}") from error


def notes_of(paths: Sequence[str], maps: Sequence[LabelMap]) -> list[str]:
    """Messages for the user on how the files were interpreted."""
    return [
        f"{Path(path).name}: {note}" for path, each in zip(paths, maps, strict=True) for note in each.report["notes"]
    ]


def check_out(path: str) -> None:
    """Raise InputError early for an output file that could not be written at the end of long work."""
    parent = followed(path).parent
    if not may_be_file(path) or not parent.is_dir():
        raise InputError(f"out: expected a file in a folder that exists, got {path}")
    check_folder(str(parent))


def check_folder(path: str) -> None:
    """Raise InputError early for an output folder that could not be made, or written, at the end of long work."""
    there = Path(path).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"out: expected a folder that can be made and written, got {path}")


def text_of(path: str) -> str:
    """The text of a file; raises InputError."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # Windows writes a mark first
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, got byte {error.start} as something else") from error


def folder(path: str) -> Path:
    """A folder for results, created if needed."""
    made = Path(path)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: expected a folder that can be made, got {path} ({error.strerror})") from error
    return made


class Unread(Exception):
    """The standard output is read by nobody any more, or cannot be written: the command ends with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Told:
    """What is told on the error stream: progress, on a single line, and sentences, each on a line of its own."""

    def __init__(self) -> None:
        self._open = False  # whether a line of progress has not ended yet

    def tell(self, line: str) -> None:
        """Show progress."""
        self._write(f"\r{line}   ")
        self._open = True

    def say(self, sentence: str, *, interrupted: bool = False) -> None:
        """Say a sentence, on a new line, also where the terminal shows that the command was interrupted."""
        self._open |= interrupted
        self.end()
        self._write(f"linsem: {sentence}\n")

    def end(self) -> None:
        """End the line of progress, if there is one: where both streams go to one file, another line follows it."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        """What cannot be shown is no reason to give up the work."""
        if sys.stderr is None:  # it was closed from the start, and `print` would take the other stream
            return
        try:
            print(text, end="", file=sys.stderr, flush=True)
        except OSError:  # whoever read it has gone
            sys.stderr = open(os.devnull, "w")


_told = Told()
tell, say = _told.tell, _told.say


def printable(text: str) -> str:
    """A text as the standard output can show it, which on Windows need not be able to show every name."""
    code = _encoding()
    return text.encode(code, errors="backslashreplace").decode(code)


def put(text: str) -> None:
    """Print a line below the progress; raises `Unread`."""
    _told.end()
    if sys.stdout is None or sys.stdout.closed:
        raise Unread(BROKEN_PIPE)
    try:
        print(text, flush=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            sys.stdout.close()  # so that nothing is written again at the end
        if isinstance(error, BrokenPipeError):  # whoever read it has gone
            raise Unread(BROKEN_PIPE) from None
        say(f"the report could not be written ({error.strerror})")
        raise Unread(2) from None


def print_report(report: dict) -> None:
    """Print a report as one line of JSON; raises `Unread`."""
    plain = _encoding().lower().replace("-", "") != "utf8"
    put(json.dumps(report, ensure_ascii=plain))


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def checked_psi(psi: float) -> float:
    """Check the truncation before anything is drawn or created."""
    if not 0 <= psi <= 2:
        raise InputError(f"psi: expected 0 to 2, got {psi}")
    return psi


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Let Ctrl-C end the enclosed work but not the command, so that the results so far are kept, if there are any."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopping; what was found so far is kept, if anything", interrupted=True)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the enclosed work as an error does, so that no partial file stays."""
    if threading.current_thread() is not threading.main_thread():  # no other can be told
        yield
        return

    def end(*_: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
