"""Loads a generator by name, file or Hub address, and lists those that this installation offers.

`linsem.generators` has the rows of the zoo, and `linsem.offers` decides which of them are offered. `LINSEM_ASSETS` is
the folder of the shipped weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from linsem.checkpoints import Checkpoint, CheckpointError, build_network
from linsem.dcgan import check_digiface, find_digiface, load_digiface
from linsem.device import device_of, own_modes
from linsem.errors import InputError
from linsem.generator import Generator
from linsem.generators import GENERATORS, GeneratorSpec
from linsem.offers import (
    DEFAULT_CATEGORIES,
    ModelError,
    as_file,
    categories_of,
    described,
    offered,
    read_file,
    spec_of,
    split_label,
)  # fmt: skip

if TYPE_CHECKING:
    from linsem.hub import HubFile

__all__ = [
    "GENERATORS", "GeneratorSpec", "ModelError", "assets", "available_models", "is_available", "is_here",
    "load_generator", "locate", "offered", "spec_of", "split_label", "why_not", "with_label",
]  # fmt: skip

Progress = Callable[[int, int], None]


@own_modes()
def load_generator(
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    file: Path | None = None,
) -> Generator:
    """Load the frozen generator of a zoo name, a local checkpoint, or "hub://owner/repo/file[@revision]".

    A name that `LINSEM_MODELS` offers comes before a file of that name in the current folder; a `Path` is a file.
    For a conditional network, "NAME~3" draws the label 3. `device` is "cpu", "cuda", "cuda:1" ..., or "auto" for a GPU
    if there is one, for which TF32 convolutions are turned off in the whole process (`linsem.device`); extractors
    follow the device of the features they read. `dtype` is the precision of the synthesis in families that offer a
    choice (StyleGAN2: torch.bfloat16, faster where the processor supports it); the others stay in float32.
    `progress(done, total)` counts the bytes of a download. `file` is an earlier result of `locate` for this source,
    which saves the search. Raises `ModelError`, which says what to do, and InputError for a missing device.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ModelError(f"dtype: expected torch.float32 or torch.bfloat16, got {dtype!r}")
    named = str(source.absolute()) if isinstance(source, Path) else str(source)
    network = _load(named, device_of(str(device)), progress, file)
    if hasattr(network, "dtype"):
        network.dtype = dtype
    label = split_label(source)[1]
    return network if label is None else with_label(network, label)


def with_label(network: Generator, label: int | None) -> Generator:
    """The same network, drawing the given label (None: no label); raises `ModelError`."""
    if getattr(network, "label", None) == label:
        return network
    if not hasattr(network, "with_label"):
        raise ModelError(f"label: {network.id!r} was trained without labels, so none can be chosen")
    try:
        return network.with_label(label)
    except ValueError as error:
        raise ModelError(str(error)) from error


def _load(source: str, device: torch.device | str, progress: Progress | None, known: Path | None) -> Generator:
    """Load the network that a source names, ignoring the label."""
    name = split_label(source)[0]
    file = as_file(name)
    row = offered().get(name) if file is not None else None
    if file is not None and (row is None or not row.path):
        checkpoint = read_file(file)
        return _build(checkpoint, described(checkpoint, file), device)
    spec = spec_of(source)
    spec = replace(spec, id=split_label(spec.id)[0])
    path = known if known is not None and known.is_file() else locate(spec, progress)
    if spec.family != "dcgan":
        return _build(read_file(path), spec, device)
    try:
        network = load_digiface(path)
    except ValueError as error:
        raise ModelError(str(error)) from error  # the message says what to do
    network.categories = spec.categories
    return network.to(device)


def available_models() -> list[dict[str, object]]:
    """The offered generators, by default the shipped ones first, as JSON-able dicts: the response of `/models`.

    `available` says whether it can be loaded: its file is local, or on the Hub and the network may be used. If not,
    `help` says why or what to do.
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
            "help": why_not(spec),
        }
        for spec in offered().values()
    ]


def assets() -> Path:
    """The folder of the shipped weights: `LINSEM_ASSETS`, or `assets` in the installed package or beside it."""
    named = os.environ.get("LINSEM_ASSETS")
    if named:
        if not Path(named).is_dir():
            raise InputError(f"LINSEM_ASSETS: expected a folder that exists, got {named!r}")
        return Path(named)
    inside = Path(__file__).parent / "assets"
    return inside if inside.is_dir() else inside.parents[1] / "assets"


def locate(spec: GeneratorSpec, progress: Progress | None = None) -> Path:
    """The local file of a generator, downloaded and verified if need be; raises `ModelError`."""
    if spec.repo:
        from linsem import hub  # imported here, since the shipped generators need no Hub client

        try:
            return hub.download(hub_file(spec), progress=progress)
        except hub.HubError as error:
            raise ModelError(str(error)) from error
    path = _local(spec)
    if path is None:
        raise ModelError(spec.help if spec.help == spec.source else f"{spec.id} cannot be loaded. {spec.help}")
    return path


def is_available(spec: GeneratorSpec) -> bool:
    """Whether `load_generator` has a file to load: local, in the Hub's cache, or on the Hub unless offline."""
    if is_here(spec):
        return True
    if not spec.repo:
        return False
    from linsem import hub

    return not hub.is_offline()


def why_not(spec: GeneratorSpec) -> str:
    """A sentence that says why a generator cannot be loaded or how to get it; "" if it can be loaded."""
    if is_available(spec):
        return ""
    if spec.repo:
        return "It is on the Hub, and HF_HUB_OFFLINE forbids to ask there."
    try:
        _local(spec)
    except ModelError as error:
        return str(error)
    return spec.help


def is_here(spec: GeneratorSpec) -> bool:
    """Whether the file is on this machine, as such or in the Hub's cache, so that nothing has to be downloaded."""
    if spec.repo:
        from linsem import hub

        return hub.cached(hub_file(spec)) is not None
    try:
        return _local(spec) is not None
    except ModelError:
        return False


def hub_file(spec: GeneratorSpec) -> HubFile:
    """The file on the Hub of a row that has one."""
    from linsem import hub

    return hub.HubFile(spec.repo, spec.file, spec.commit or "main", spec.repo_type, spec.sha256)


def _local(spec: GeneratorSpec) -> Path | None:
    if spec.package:
        try:
            path = find_digiface()
            if path is not None:
                check_digiface(path)
        except (ValueError, OSError) as error:
            raise ModelError(str(error)) from error
    elif spec.asset:
        path = assets() / spec.asset
    else:
        path = Path(spec.path) if spec.path else None
    return path if path is not None and path.is_file() else None


def _build(checkpoint: Checkpoint, spec: GeneratorSpec, device: torch.device | str) -> Generator:
    """Build the network of a checkpoint with the name and categories of a row; raises `ModelError`."""
    if spec.family not in ("", checkpoint.family):
        raise ModelError(f"{spec.id}: expected a network of the family {spec.family}, got {checkpoint.family}")
    categories = spec.categories if spec.family else categories_of(checkpoint.metadata) or DEFAULT_CATEGORIES
    try:
        return build_network(checkpoint, id=spec.id, categories=categories).to(device)
    except CheckpointError as error:
        raise ModelError(f"{spec.id} cannot be loaded: {error}") from error
