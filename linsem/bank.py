"""Banks: seeds of a generator with the labels that an extractor predicts for them, and the colours of their images.

They are made once and cached on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from linsem.arguments import number, shown, whole_number
from linsem.categories import names_of
from linsem.device import without_autocast
from linsem.errors import InputError
from linsem.extractor import Extractor, ExtractorError, check_fits
from linsem.generator import Generator, batches, check_finite, check_seeds, checked_pass, fitting, mapped
from linsem.pixels import to_rgb
from linsem.whole import whole

BANK_SIZE = 64  # label maps in a bank are at most this high: enough to rank, small enough to scan
COLORS = 8  # cells a side of an image's colours: enough to tell images apart by
FORMAT = 3  # version of the files and of their keys; changing it invalidates older files
KEPT_FILES, KEPT_BYTES = 32, 256 << 20  # of the banks on disk; the least recently used are deleted first
KEPT_HERE = 4  # in memory, if the folder cannot be written
ABANDONED = 3600  # seconds after which an unfinished file is taken to be left by a process that died


@dataclass(frozen=True, eq=False)
class Bank:
    """Seeds with their labels, (N, h, w) uint8, for one generator (None: unknown), extractor and psi.

    `colors` (N, 8, 8, 3) uint8: the images' mean colours in each cell of a grid. None: not known, for an extractor that
    reads the first layers only, since then no image is drawn. `categories` are the names of the labels (None: unknown);
    `label` is what a conditional generator drew.
    """

    seeds: tuple[int, ...]
    labels: np.ndarray
    psi: float
    generator_id: str | None = None
    colors: np.ndarray | None = None
    categories: tuple[str, ...] | None = None
    label: int | None = None


def make_bank(
    generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0, batch: int = 8
) -> Bank:
    """Generate and label the seeds: the last step of `iter_bank`."""
    *_, last = iter_bank(generator, extractor, seeds, psi=psi, batch=batch)
    return last


@without_autocast
def iter_bank(
    generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0, batch: int = 8
) -> Iterator[Bank]:
    """Yield the bank as it grows, batch by batch; only the layers that the extractor reads are computed.

    The labels of all steps share one array, whose rows are never written again; so do the colours.
    """
    check_fits(extractor, generator)
    seeds, psi, batch = check_seeds(seeds), number("psi", psi), whole_number("batch", batch, 1)
    size, drawn = bank_size(generator), extractor.last_layer == len(generator.layers) - 1
    labels = np.empty((len(seeds), *size), np.uint8)
    colors = np.empty((len(seeds), COLORS, COLORS, 3), np.uint8)
    extractor, last_layer = extractor.to(generator.device), None if drawn else extractor.last_layer
    for part in batches(len(seeds), fitting(generator, batch, last_layer)):
        with torch.no_grad():
            ws = mapped(generator, seeds[part], psi)
            image, features = checked_pass(generator, ws, image=drawn, last_layer=last_layer)
            try:
                labels[part] = extractor.predict(features, size)
            except ExtractorError:
                check_finite(features, seeds[part], generator.id)  # names the seed
                raise
            if drawn:
                check_finite([image], seeds[part], generator.id, "pixels")
                colors[part] = to_rgb(F.adaptive_avg_pool2d(image.clamp(-1, 1), COLORS))
        seen = colors[: part.stop] if drawn else None
        names, label = names_of(extractor.categories), getattr(generator, "label", None)
        yield Bank(seeds[: part.stop], labels[: part.stop], psi, generator.id, seen, names, label)


def check_bank(bank: Bank, generator: Generator, extractor: Extractor | None = None, *, least: int = 1) -> None:
    """Raise InputError unless this is a bank of the generator and the extractor's categories, of so many seeds."""
    if not isinstance(bank, Bank):
        raise InputError(f"bank: expected a Bank, as make_bank gives it, got {type(bank).__name__}")
    if bank.generator_id is not None and bank.generator_id != generator.id:
        raise InputError(f"bank: expected one of the generator {generator.id!r}, got one of {bank.generator_id!r}")
    check_label("bank", bank, generator)
    if extractor is not None:
        check_categories("bank", bank.categories, extractor)
    if len(bank.seeds) < least:
        raise InputError(f"bank: expected at least {least} seeds, got {len(bank.seeds)}")


def check_label(what: str, made: Any, generator: Generator) -> None:
    """Raise InputError if what a conditional generator made is of another of its labels; unknown is what has no id."""
    own = getattr(generator, "label", None)
    if made.generator_id is not None and _told(made.label) != _told(own):
        raise InputError(f"{what}: expected one of the generator's label {own}, got one of its label {made.label}")


def _told(label: Any) -> str:
    """A label of a conditional generator as text; that of a family of one's own may be a tensor or an array."""
    return str(label.tolist() if hasattr(label, "tolist") else label)


def check_categories(what: str, found: tuple[str, ...] | None, extractor: Extractor) -> None:
    """Raise InputError if labels made earlier are of other categories than the extractor's, or in another order."""
    wanted = names_of(extractor.categories)
    if found is not None and found != wanted:
        raise InputError(f"{what}: its labels are of {shown(list(found))}, the extractor's of {shown(list(wanted))}")


def bank_size(generator: Generator) -> tuple[int, int]:
    """(h, w) of the label maps in a generator's banks."""
    height, width = generator.size
    scale = min(1.0, BANK_SIZE / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


class Banks:
    """Banks cached in a folder, which several processes may share; if it cannot be written they are kept in memory.

    Files appear complete or not at all; one that cannot be read is made again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._here: dict[str, Bank] = {}

    @without_autocast
    def grow(
        self, generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0,
        key: str | None = None,
    ) -> Iterator[Bank]:  # fmt: skip
        """As `iter_bank`, or the complete bank at once if it is cached; incomplete banks are not cached.

        `key` is what `bank_key` gives for these arguments, if already known.
        """
        check_fits(extractor, generator)
        seeds, psi = check_seeds(seeds), number("psi", psi)
        name = f"bank-{key or bank_key(generator, extractor, seeds, psi)}.npz"
        bank = self._here.get(name) or _read(self.folder / name, generator, seeds, psi)
        if bank is not None:
            yield replace(bank, categories=names_of(extractor.categories))  # they may have been renamed since
            return
        for bank in iter_bank(generator, extractor, seeds, psi=psi):
            if len(bank.seeds) == len(seeds):
                self._keep(name, bank)
            yield bank

    def make(self, generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0) -> Bank:
        """The complete bank: the last step of `grow`."""
        *_, last = self.grow(generator, extractor, seeds, psi=psi)
        return last

    def _keep(self, name: str, bank: Bank) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self.folder / name) as partial, partial.open("wb") as file:
                colors = {} if bank.colors is None else {"colors": bank.colors}
                np.savez_compressed(file, seeds=np.array(bank.seeds), labels=bank.labels, psi=bank.psi, **colors)
            _sweep(self.folder)
        except OSError:  # replaced rather than modified: another thread may be reading it
            self._here = dict(list({**self._here, name: bank}.items())[-KEPT_HERE:])


def cached_bank(
    folder: Path, generator: Generator, extractor: Extractor, seeds: Sequence[int], *, psi: float = 1.0
) -> Bank:
    """`make_bank`, cached on disk under a key of everything it depends on."""
    return Banks(folder).make(generator, extractor, seeds, psi=psi)


def cache_folder(given: str = "") -> Path:
    """The folder of cached banks: the one given, or `LINSEM_CACHE`, or `linsem` in the user's cache directory."""
    chosen = given or os.environ.get("LINSEM_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "linsem"


def bank_key(generator: Generator, extractor: Extractor, seeds: Sequence[int], psi: float) -> str:
    """A digest of what determines the labels: the network, its weights and label, the extractor, the seeds and psi."""
    network = [generator.id, list(generator.size), repr(getattr(generator, "config", ""))]
    network += [_told(getattr(generator, "label", None)), str(getattr(generator, "dtype", ""))]
    network.append(repr(_plain(generator)))  # a user-defined family may keep its parameters there
    reader = [extractor.kind, list(extractor.layers), list(map(float, extractor.least))]
    known = [FORMAT, BANK_SIZE, network, reader, list(map(int, seeds)), float(psi)]
    digest = hashlib.sha256(json.dumps(known).encode())
    add_tensors(digest, extractor.weights)
    if isinstance(generator, torch.nn.Module):
        add_tensors(digest, _all_tensors(generator))
    if type(generator).__module__.partition(".")[0] != __package__:  # of somebody's own: its code may change
        with torch.no_grad():
            ws = mapped(generator, seeds[:1], psi)
            image, features = checked_pass(generator, ws)
        add_tensors(digest, {str(i): x for i, x in enumerate([ws, image, *features])})
    return digest.hexdigest()[:24]


def _plain(generator: Generator) -> list[tuple[str, object]]:
    """The numbers, texts and tuples among the attributes of a generator, and of all parts of a network."""
    parts = generator.named_modules() if isinstance(generator, torch.nn.Module) else [("", generator)]
    return sorted(
        (f"{name}.{k}", v)
        for name, part in parts
        for k, v in getattr(part, "__dict__", {}).items()
        if isinstance(v, (int, float, str, tuple))
    )


def _all_tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a network by name, also those that are not saved with it, and plain attributes."""
    found = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, part in network.named_modules():
        found |= {f"{name}.{k}": x for k, x in vars(part).items() if isinstance(x, torch.Tensor)}
    return found


def add_tensors(digest: hashlib._Hash, tensors: Mapping[str, torch.Tensor]) -> None:
    """Add tensors to a digest: names, shapes, types and data."""
    for name in sorted(tensors):
        x = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(x.shape)} {x.dtype}".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy())


def _read(path: Path, generator: Generator, seeds: Sequence[int], psi: float) -> Bank | None:
    """The bank in a file; None if there is none or it is damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            colors = file["colors"] if "colors" in file else None
            seen, label = tuple(int(s) for s in file["seeds"]), getattr(generator, "label", None)
            bank = Bank(seen, file["labels"], float(file["psi"]), generator.id, colors, label=label)
    except (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error):
        return None
    with contextlib.suppress(OSError):  # the folder may be read-only
        os.utime(path)  # marks it as recently used
    expected = (len(seeds), *bank_size(generator))
    fits = bank.labels.dtype == np.uint8 and bank.labels.shape == expected and bank.psi == psi
    fits = fits and (colors is None or (colors.dtype == np.uint8 and colors.shape == (len(seeds), COLORS, COLORS, 3)))
    return bank if fits and bank.seeds == tuple(map(int, seeds)) else None


def _sweep(folder: Path) -> None:
    """Delete the banks beyond the limits, and unfinished files left by processes that died."""
    rows = []
    for path in folder.glob("bank-*.npz"):
        try:
            rows.append((path.stat().st_mtime, path.stat().st_size, path))
        except OSError:  # deleted by another process
            continue
    total = 0
    for count, (_, size, path) in enumerate(sorted(rows, reverse=True), start=1):
        total += size
        if count > 1 and (count > KEPT_FILES or total > KEPT_BYTES):
            path.unlink(missing_ok=True)
    for path in folder.glob(".bank-*.part"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
        except OSError:
            continue
