"""Finds the state dicts in a torch file, the averaged ones first, and takes away what training put before their names.

Projects save a generator under many keys, alone or beside the raw weights that it averages. Lightning, torch.compile
and DataParallel put a prefix before each name. Keys and prefixes form a path here, whose parts tell what a table holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from linsem.checkpoints.inert import add_once, entries, is_table, size_of
from linsem.checkpoints.torchfile import state_table

AVERAGED = ("g_ema", "G_ema", "ema", "generator_ema", "generator_smooth", "params_ema")
"""What projects call the average of a generator over its training, which gives better images than the raw one."""
LIKE_AVERAGED = re.compile(r"(?:.*_)?ema(?:_.*)?", re.IGNORECASE)
"""Other names that say so, which come after these."""
RAW = ("g", "G", "generator", "netG", "params")
OTHER = ("d", "D", "discriminator", "netD", "d_ema", "D_ema", "discriminator_smooth", "augment_pipe")
"""What is never a generator, although its layers may have the same names."""

WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.){0,8}")
MAX_TABLES = 64  # looked at in one file
MAX_ALL_NAMES = 30_000  # in all of them together
MAX_PARENTS = 16  # tables whose own tables are looked at
MAX_INNER = 200  # tables in each of these, or in the file
MAX_PREFIXES = 4  # tried in one table

Rank = tuple[int, int]
LAST: Rank = (2, 0)


@dataclass(frozen=True)
class Table:
    """A state dict in a file."""

    path: tuple[str, ...]
    """The keys that lead to it, then the parts of the prefix that its names had."""
    names: dict[str, Any]
    """The descriptions of its tensors by name, without that prefix."""
    beside: dict[Any, Any]
    """The table that it lies in, which may hold the mean w."""

    @property
    def rank(self) -> Rank:
        """How early it is read, as `rank_of` its path."""
        return rank_of(self.path) or LAST


def rank_of(path: tuple[str, ...]) -> Rank | None:
    """How early a table is read: averaged weights (0, ...), then raw ones (1, ...), then `LAST`; None: never."""
    if any(part in OTHER for part in path):
        return None
    if any(part in AVERAGED or LIKE_AVERAGED.fullmatch(part) for part in path):
        return 0, min(AVERAGED.index(part) if part in AVERAGED else len(AVERAGED) for part in path)
    raw = [RAW.index(part) for part in path if part in RAW]
    return (1, min(raw)) if raw else LAST


def notes_on(path: tuple[str, ...], others: list[tuple[str, ...]]) -> tuple[str, ...]:
    """What to tell people about the choice of the table at `path`, while `others` could have been read too."""
    name, rank = ".".join(path), rank_of(path)
    if rank and rank[0] == 1:
        return (f"the file has no averaged network ({AVERAGED[0]}): {name} was read",)
    equal = [other for other in others if rank_of(other) == LAST]
    if rank == LAST and equal:
        return (f"the file does not say which of its {1 + len(equal)} networks is the averaged one: {name} was read",)
    return ()


def tables_in(value: Any) -> list[Table]:
    """All state dicts that a file holds, in itself or up to two keys deep, in the order of `rank_of`.

    Raises `CheckpointError` if the file is no table. A pickle can hold one table under a million keys, so each is
    looked at once, and no more of them than the limits above.
    """
    found: list[Table] = []
    seen: set[int] = set()
    left = MAX_ALL_NAMES
    for path, inner, beside in _ranked(_places(value)):
        if id(inner) in seen or len(found) >= MAX_TABLES or size_of(inner) > left:
            continue
        seen.add(id(inner))
        left -= size_of(inner)
        names = state_table(inner)
        if names:
            found.append(Table(path, names, beside))
    return found


Place = tuple[tuple[str, ...], Any, dict[Any, Any]]


def _places(value: Any) -> list[Place]:
    """The file, the tables in it and the tables in these, each with its keys and with what it lies in."""
    top = _inner((), entries(value))
    places = [((), value, {}), *top]
    for path, inner, _ in islice(_ranked(top), MAX_PARENTS):
        if size_of(inner) <= MAX_INNER:
            places += _inner(path, entries(inner))
    return places


def _inner(path: tuple[str, ...], table: dict[Any, Any]) -> list[Place]:
    tables = ((key, item) for key, item in table.items() if is_table(item))
    return [((*path, str(key)[:60]), item, table) for key, item in islice(tables, MAX_INNER)]


def _ranked(places: list[Place]) -> Iterator[Place]:
    """The places that may hold a generator, by rank."""
    ranks = [(rank, place) for place in places if (rank := rank_of(place[0])) is not None]
    return (place for _, place in sorted(ranks, key=lambda pair: pair[0]))


def under(table: Table, anchors: tuple[str, ...]) -> list[Table]:
    """The parts of a table whose names have one prefix, which precedes the name of an anchor, in order of rank.

    A name that is there with and without the prefix of a wrapper raises `CheckpointError`, since either could be meant.
    """
    if not any(name.endswith(anchors) for name in table.names):
        return []
    names: dict[str, Any] = {}
    for name, value in table.names.items():
        add_once(names, WRAPPERS.sub("", name, count=1), value)
    ends = [name.removesuffix(anchor) for name in names for anchor in anchors if name.endswith(anchor)]
    prefixes = {end: (*table.path, *_parts(end)) for end in ends if not end or end.endswith(".")}
    ranks = {prefix: rank for prefix, path in prefixes.items() if (rank := rank_of(path)) is not None}
    best = sorted(ranks, key=lambda prefix: ranks[prefix])[:MAX_PREFIXES]
    return [Table(prefixes[prefix], _without(prefix, names), table.beside) for prefix in best]


def _parts(prefix: str) -> tuple[str, ...]:
    return tuple(part[:60] for part in prefix[:200].split(".") if part)


def _without(prefix: str, names: dict[str, Any]) -> dict[str, Any]:
    """The names that have a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}
