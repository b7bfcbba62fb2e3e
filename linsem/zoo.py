"""The zoo's two doors: load a generator by name, file or Hub address; list what this installation offers.

`LINSEM_MODELS` picks what is offered: comma separated zoo names, local files, `hub://owner/repo/file[@revision]`, and
`name=file` for a zoo row whose weights one has; `all` stands for the whole zoo. Without it the shipped generators and
the nine networks of the paper are listed. `LINSEM_ASSETS` is the folder of the shipped weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from linsem.categories import Category, parse_categories
from linsem.checkpoints import Checkpoint, CheckpointError, build_network, read_checkpoint
from linsem.dcgan import find_digiface, load_digiface
from linsem.generator import Generator
from linsem.generators import GENERATORS, PAPER, GeneratorSpec

if TYPE_CHECKING:
    from linsem.hub import HubFile

__all__ = [
    "GENERATORS", "GeneratorSpec", "ModelError", "assets", "available_models", "is_available", "load_generator",
    "locate", "offered", "spec_of",
]  # fmt: skip

HUB = "hub://"
DEFAULT_CATEGORIES = parse_categories(["background", "object"])  # of a file that names none: something to start from
_SHIPPED = tuple(spec.id for spec in GENERATORS.values() if spec.asset or spec.package)

Progress = Callable[[int, int], None]


class ModelError(ValueError):
    """A generator cannot be had; the message is a sentence that says what to do."""


def load_generator(
    source: str | Path, *, device: torch.device | str = "cpu", progress: Progress | None = None
) -> Generator:
    """The frozen generator of a zoo name, a local checkpoint, or "hub://owner/repo/file[@revision]".

    `progress(done, total)` is told the bytes of a download. Raises `ModelError` that says what to do.
    """
    file = _as_file(source)
    if file is not None:
        checkpoint = _read(file)
        return _build(checkpoint, _described(checkpoint, file), device)
    spec = spec_of(source)
    path = locate(spec, progress)
    if spec.family != "dcgan":
        return _build(_read(path), spec, device)
    try:
        network = load_digiface(path)
    except ValueError as error:
        raise ModelError(f"{error}. {spec.help}") from error
    network.categories = spec.categories
    return network.to(device)


def available_models() -> list[dict[str, object]]:
    """What `/models` answers: the offered generators, the shipped ones first, each as a JSON-able dict.

    `available` is whether it can be loaded: its file is here, or the Hub has it and the network may be used.
    """
    return [
        {
            "id": spec.id,
            "family": spec.family,
            "resolution": spec.resolution,
            "categories": [{"name": c.name, "color": c.color} for c in spec.categories],
            "source": spec.source,
            "licence": spec.licence,
            "available": is_available(spec),
        }
        for spec in offered().values()
    ]


def offered(setting: str | None = None) -> dict[str, GeneratorSpec]:
    """The generators that `LINSEM_MODELS` (or `setting`) names, in its order.

    An entry that is none, or whose file is damaged, is a row without a file, whose `source` and `help` say why: one bad
    entry does not take the others away.
    """
    setting = os.environ.get("LINSEM_MODELS", "") if setting is None else setting
    entries = [entry.strip() for entry in setting.split(",") if entry.strip()] or [*_SHIPPED, *PAPER]
    specs: dict[str, GeneratorSpec] = {}
    for entry in entries:
        chosen = GENERATORS.values() if entry == "all" else [_offer(entry)]
        specs.update({spec.id: spec for spec in chosen})
    return specs


def spec_of(source: str | Path) -> GeneratorSpec:
    """The row of a name that is offered here or in the zoo, or a row made for a file or a Hub address."""
    name = str(source)
    entries = [entry.strip() for entry in os.environ.get("LINSEM_MODELS", "").split(",")]
    for entry in entries:
        if not entry.startswith(HUB) and "=" in entry and entry.partition("=")[0].strip() == name:
            return _entry(entry)
    if name in GENERATORS or name.startswith(HUB) or _as_file(name):
        return _entry(name)
    return offered().get(name) or _entry(name)


def assets() -> Path:
    """Where the shipped weights are: `LINSEM_ASSETS`, or `assets` beside the package."""
    return Path(os.environ.get("LINSEM_ASSETS") or Path(__file__).parent.parent / "assets")


def locate(spec: GeneratorSpec, progress: Progress | None = None) -> Path:
    """The local file of a generator, downloaded and verified if need be; raises `ModelError`."""
    if spec.repo:
        from linsem import hub  # here, since the shipped generators need no Hub client

        try:
            return hub.download(hub_file(spec), progress=progress)
        except hub.HubError as error:
            raise ModelError(str(error)) from error
    path = _local(spec)
    if path is None:
        raise ModelError(spec.help if spec.help == spec.source else f"{spec.id} cannot be loaded. {spec.help}")
    return path


def is_available(spec: GeneratorSpec) -> bool:
    """Whether `load_generator` has a file to load: here, in the Hub's cache, or on the Hub unless it is forbidden."""
    if spec.repo:
        from linsem import hub

        return not hub.is_offline() or hub.cached(hub_file(spec)) is not None
    try:
        return _local(spec) is not None
    except ModelError:
        return False


def hub_file(spec: GeneratorSpec) -> HubFile:
    """The Hub address of a row that has one."""
    from linsem import hub

    return hub.HubFile(spec.repo, spec.file, spec.commit or "main", spec.repo_type, spec.sha256)


def _local(spec: GeneratorSpec) -> Path | None:
    if spec.package:
        try:
            path = find_digiface()
        except ValueError as error:
            raise ModelError(str(error)) from error
    elif spec.asset:
        path = assets() / spec.asset
    else:
        path = Path(spec.path) if spec.path else None
    return path if path is not None and path.is_file() else None


def _as_file(source: str | Path) -> Path | None:
    """The file that a source names, unless it is a name of the zoo or a Hub address."""
    text = str(source)
    if not text or text in GENERATORS or text.startswith(HUB):
        return None
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, no such home
        return None


def _read(path: Path) -> Checkpoint:
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        raise ModelError(f"{path.name} cannot be loaded: {error}") from error


def _build(checkpoint: Checkpoint, spec: GeneratorSpec, device: torch.device | str) -> Generator:
    """The network of a checkpoint under the row's name, with the row's categories."""
    if spec.family not in ("", checkpoint.family):
        raise ModelError(f"{spec.id}: expected a network of the family {spec.family}, got {checkpoint.family}")
    categories = spec.categories if spec.family else _categories(checkpoint.metadata) or DEFAULT_CATEGORIES
    try:
        return build_network(checkpoint, id=spec.id, categories=categories).to(device)
    except CheckpointError as error:
        raise ModelError(f"{spec.id} cannot be loaded: {error}") from error


def _offer(entry: str) -> GeneratorSpec:
    try:
        return _entry(entry)
    except ModelError as error:
        name = Path(entry.rpartition("=")[2]).name[:64] or entry[:64]
        return GeneratorSpec(name, "", 0, DEFAULT_CATEGORIES, str(error), "unknown", help=str(error))


def _entry(entry: str) -> GeneratorSpec:
    """One entry of `LINSEM_MODELS`, or one source of `load_generator`."""
    if entry in GENERATORS:
        return GENERATORS[entry]
    if entry.startswith(HUB):
        return _hub_row(entry)
    name, _, file = entry.partition("=")
    if file and name.strip() in GENERATORS:
        return _own(GENERATORS[name.strip()], file.strip())
    path = _as_file(entry)
    if path is not None:
        return _file_row(path, path.stat().st_mtime_ns)
    names = ", ".join(list(GENERATORS)[:6])
    raise ModelError(
        f"{entry[:200]!r} is no generator: expected a name of the zoo ({names}, ...), a checkpoint file that "
        f"exists, or {HUB}owner/repo/file"
    )


def _own(spec: GeneratorSpec, file: str) -> GeneratorSpec:
    """A row of the zoo with somebody's own weights."""
    if file.startswith(HUB):
        row = _hub_row(file)
        where = {"repo": row.repo, "repo_type": row.repo_type, "file": row.file, "commit": row.commit}
    else:
        path = _as_file(file)
        if path is None:
            raise ModelError(f"{spec.id}: expected a checkpoint, found no file {file!r}; correct LINSEM_MODELS")
        where = {"path": str(path), "repo": None, "file": None, "commit": None}
    return replace(spec, **where, asset=None, package=None, sha256=None, size=None)


@lru_cache(maxsize=64)
def _file_row(path: Path, modified: int) -> GeneratorSpec:
    """A row for a local file; it is read for what it holds, once for each time that it is changed."""
    return _described(_read(path), path)


def _hub_row(url: str) -> GeneratorSpec:
    """A row for a Hub address; what it holds is known once it is in the cache."""
    from linsem import hub

    try:
        file = hub.parse_url(url)
    except hub.HubError as error:
        raise ModelError(str(error)) from error
    where = {"repo": file.repo, "repo_type": file.repo_type, "file": file.file, "commit": file.revision}
    unknown = GeneratorSpec(url, "", 0, DEFAULT_CATEGORIES, url, "see its page on the Hub", **where)
    here = hub.cached(file)
    if here is None:
        return unknown
    try:
        row = _file_row(here, here.stat().st_mtime_ns)
    except ModelError:  # damaged: the download will see that and mend it
        return unknown
    return replace(row, id=url, path=None, source=url, **where)


def _described(checkpoint: Checkpoint, path: Path) -> GeneratorSpec:
    """A row of what a file says of itself: its own id if it has one that is not taken, else the file's name."""
    config, metadata = checkpoint.config, checkpoint.metadata
    own = metadata.get("id", "")
    return GeneratorSpec(
        own if own and own not in GENERATORS else path.name, checkpoint.family, config.size[0],
        _categories(metadata) or DEFAULT_CATEGORIES, f"a local file ({checkpoint.source_format})",
        metadata.get("licence", "unknown: its author's"), path=str(path), z_dim=config.z_dim,
        w_dim=getattr(config, "w_dim", config.z_dim), c_dim=getattr(config, "c_dim", 0),
    )  # fmt: skip


def _categories(metadata: Mapping[str, str]) -> tuple[Category, ...]:
    try:
        return parse_categories(metadata.get("categories"))
    except ValueError as error:
        raise ModelError(f"the checkpoint's metadata is damaged: {error}") from error
