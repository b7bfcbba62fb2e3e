"""Which generators an installation offers, and the `GeneratorSpec` (row) for a name, a file or a Hub address.

`LINSEM_MODELS` selects what is offered: a comma-separated list of zoo names, local files,
`hub://owner/repo/file[@revision]`, and `name=file` for a zoo row with other weights; `all` stands for the whole zoo. By
default, the shipped generators and the nine networks of the paper are listed.

For a conditional network, a suffix selects the label to draw: `ada-cifar10~3`, `mine.pkl~0`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from linsem.arguments import file_at
from linsem.categories import Category, parse_categories
from linsem.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from linsem.errors import InputError
from linsem.generators import GENERATORS, PAPER, GeneratorSpec

HUB = "hub://"
DEFAULT_CATEGORIES = parse_categories(["background", "object"])  # a starting point, for files that name none
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_SHIPPED = tuple(spec.id for spec in GENERATORS.values() if spec.asset or spec.package)


class ModelError(InputError):
    """A generator is not available; the message is a sentence that says what to do."""


def offered(setting: str | None = None) -> dict[str, GeneratorSpec]:
    """The generators that `LINSEM_MODELS` (or `setting`) names, in its order.

    An invalid entry, or one whose file is damaged, becomes a row without a file whose `source` and `help` say why, so
    that it does not affect the others. A second file of the same name has its folder appended to its name.
    """
    setting = os.environ.get("LINSEM_MODELS", "") if setting is None else setting
    entries = [entry.strip() for entry in setting.split(",") if entry.strip()] or [*_SHIPPED, *PAPER]
    specs: dict[str, GeneratorSpec] = {}
    bare: dict[str, GeneratorSpec] = {}  # one row for all labels of a conditional generator
    for entry in entries:
        for spec in GENERATORS.values() if entry == "all" else [_offer(entry)]:
            spec = _apart(spec, entry, bare)
            if spec is not None:
                specs[spec.id] = spec
    return specs


def _apart(spec: GeneratorSpec, entry: str, bare: dict[str, GeneratorSpec]) -> GeneratorSpec | None:
    """The row under a name that is unique in `bare`, where it is added; None for a row that is already there."""
    name, label = split_label(spec.id)
    there = bare.setdefault(name, replace(spec, id=name))
    if there == replace(spec, id=name):
        return spec
    if name not in GENERATORS:
        folder = Path(spec.path or entry.rpartition("=")[2]).parent
        names = (f"{name} ({folder.name})", f"{name} ({folder})", f"{name} ({entry})")
        name = next((each for each in names if each not in bare), "")
    elif spec == GENERATORS[name]:
        return None  # from "all", after an entry `name=file` for it
    elif there == GENERATORS[name]:
        bare[name] = replace(spec, id=name)
        return spec
    else:
        return _refused(entry, f"{name} has a file already, so {entry[:200]!r} is not offered; correct LINSEM_MODELS")
    bare[name] = replace(spec, id=name)
    return replace(spec, id=name if label is None else f"{name}~{label}")


def spec_of(source: str | Path) -> GeneratorSpec:
    """The row of a name that is offered or in the zoo, or a new row for a file or a Hub address."""
    name, label = split_label(source)
    if label is not None:
        return offered().get(str(source)) or _labelled(spec_of(name), label)
    entries = [entry.strip() for entry in os.environ.get("LINSEM_MODELS", "").split(",")]
    for entry in entries:
        if not entry.startswith(HUB) and "=" in entry and entry.partition("=")[0].strip() == name:
            return _entry(entry)
    if name in GENERATORS or name.startswith(HUB):
        return _entry(name)
    row = offered().get(name)
    if row is not None and (row.path or not as_file(name)):
        return row  # also where the current folder has a file of that name
    return _entry(name)


def split_label(source: str | Path) -> tuple[str, int | None]:
    """Split "NAME~3", one label of a conditional network, into both; for any other source, itself and None."""
    text = str(source)
    name, _, label = text.rpartition("~")
    if not name or not (label.isascii() and label.isdigit() and len(label) <= 6) or as_file(text):
        return text, None
    return name, int(label)


def as_file(source: str | Path) -> Path | None:
    """The existing file that a source names; None for any other source, a zoo name or a Hub address."""
    text = str(source)
    if not text or text in GENERATORS or text.startswith(HUB):
        return None
    return file_at(text)


def read_file(path: Path) -> Checkpoint:
    """Read a checkpoint; raises `ModelError`."""
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        raise ModelError(f"{path.name} cannot be loaded: {error}") from error


def _offer(entry: str) -> GeneratorSpec:
    try:
        return _entry(entry)
    except ModelError as error:
        name, _, file = entry.partition("=")
        known = bool(file) and name.strip() in GENERATORS
        return _refused(name.strip() if known else Path(entry).name[:64] or entry[:64], str(error))


def _refused(name: str, why: str) -> GeneratorSpec:
    """A row without a file, which says why."""
    return GeneratorSpec(name, "", 0, DEFAULT_CATEGORIES, why, "unknown", help=why)


def _entry(entry: str) -> GeneratorSpec:
    """The row of one entry of `LINSEM_MODELS` or of a source for `load_generator`; raises `ModelError`."""
    entry, label = split_label(entry)
    if label is not None:
        return _labelled(_entry(entry), label)
    if entry in GENERATORS:
        return GENERATORS[entry]
    if entry.startswith(HUB):
        return _hub_row(entry)
    name, _, file = entry.partition("=")
    if file and name.strip() in GENERATORS:
        return _own(GENERATORS[name.strip()], file.strip())
    path = as_file(entry)
    if path is not None:
        return _file_row(path, path.stat().st_mtime_ns)
    names = ", ".join(list(GENERATORS)[:6])
    raise ModelError(
        f"{entry[:200]!r} is no generator: expected a name of the zoo ({names}, ...), a checkpoint file that "
        f"exists, or {HUB}owner/repo/file"
    )


def with_assets(model: str) -> bool:
    """Whether a name of the list still stands for the weights that shipped, or were published, under it.

    `LINSEM_MODELS=avatars-64=FILE` puts other weights there, and what was fitted to the former says nothing of these.
    """
    spec = offered().get(model)
    return spec is not None and spec == GENERATORS.get(model)


def _labelled(spec: GeneratorSpec, label: int) -> GeneratorSpec:
    """The row of one label of a conditional generator; raises ModelError if it is known to have no such label."""
    if spec.family and not label < spec.c_dim and (spec.path or spec.id in GENERATORS):
        has = f"has the labels 0..{spec.c_dim - 1}" if spec.c_dim else "was trained without labels"
        raise ModelError(f"label: {spec.id!r} {has}, so {label} cannot be chosen")
    return replace(spec, id=f"{spec.id}~{label}")


def _own(spec: GeneratorSpec, file: str) -> GeneratorSpec:
    """A zoo row with other weights: it keeps its name, categories and terms; resolution and labels are the file's."""
    if file.startswith(HUB):
        row = _hub_row(file)
        where = {"repo": row.repo, "repo_type": row.repo_type, "file": row.file, "commit": row.commit}
    else:
        path = as_file(file)
        if path is None:
            raise ModelError(f"{spec.id}: expected a checkpoint, found no file {file!r}; correct LINSEM_MODELS")
        # Files of this family are recognised by their hash, so they are not read here.
        row = spec if spec.family == "dcgan" else _file_row(path, path.stat().st_mtime_ns)
        where = {"path": str(path), "repo": None, "file": None, "commit": None}
    if row.family not in ("", spec.family):
        raise ModelError(f"{spec.id}: expected a network of the family {spec.family}, got {row.family}")
    held = {"resolution": row.resolution, "c_dim": row.c_dim} if row.family else {}
    return replace(spec, **where, **held, asset=None, package=None, sha256=None, size=None)


@lru_cache(maxsize=64)
def _file_row(path: Path, modified: int) -> GeneratorSpec:
    """A row for a local file, which is read again only if it was modified."""
    return described(read_file(path), path)


def _hub_row(url: str) -> GeneratorSpec:
    """A row for a Hub address; its content is known only once the file is in the cache."""
    from linsem import hub

    try:
        file = hub.parse_url(url)
    except hub.HubError as error:
        raise ModelError(str(error)) from error
    where = {"repo": file.repo, "repo_type": file.repo_type, "file": file.file, "commit": file.revision}
    unknown = GeneratorSpec(url, "", 0, DEFAULT_CATEGORIES, url, "see its page on the Hub", **where)
    try:
        here = hub.cached(file)
    except hub.HubError as error:  # a name that is impossible in the cache
        raise ModelError(str(error)) from error
    if here is None:
        return unknown
    try:
        row = _file_row(here, here.stat().st_mtime_ns)
    except ModelError:  # damaged: `download` will detect and replace it
        return unknown
    return replace(row, id=url, path=None, source=url, **where)


def described(checkpoint: Checkpoint, path: Path) -> GeneratorSpec:
    """A row from the content of a file; its id is the one in the metadata if that is not taken, else the file name."""
    config, metadata = checkpoint.config, checkpoint.metadata
    return GeneratorSpec(
        _own_name(metadata.get("id", "")) or path.name, checkpoint.family, config.size[0],
        categories_of(metadata) or DEFAULT_CATEGORIES, f"a local file ({checkpoint.source_format})",
        metadata.get("licence", "unknown: its author's"), path=str(path),
        c_dim=getattr(config, "c_dim", 0),
    )  # fmt: skip


def _own_name(text: str) -> str:
    """The id in a file's metadata, or "" if it would name another file, an address or a zoo row."""
    plain = _NAME.fullmatch(text) and text not in GENERATORS and as_file(text) is None
    return text if plain else ""


def categories_of(metadata: Mapping[str, str]) -> tuple[Category, ...]:
    """The categories in the metadata of a checkpoint, () if it has none; raises `ModelError`."""
    try:
        return parse_categories(metadata.get("categories"))
    except ValueError as error:
        raise ModelError(f"the checkpoint's metadata is damaged: {error}") from error
