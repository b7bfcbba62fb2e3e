"""Reads files of torch.save, in the zip format (since torch 1.6) and the legacy format, as inert values.

torch.load(weights_only=True) could read whole files but not the storages inside NVIDIA's pickles, and it allocates what
a file claims before checking it. This reader serves all three cases; the tests compare it with torch.load.
"""

from __future__ import annotations

from typing import Any

from linsem.checkpoints.allowed import PLAIN_NAMES, STORAGES
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, Persistent, entries, is_table, size_of
from linsem.checkpoints.pickles import read_pickle
from linsem.checkpoints.storages import Storage, storage_of
from linsem.checkpoints.zipped import read_zip

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_STORAGES = 20_000
MAX_NAMES = 20_000  # in one state dict; a generator and a discriminator of 1024 pixels have about 400
TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter")


def looks_legacy(data: memoryview) -> bool:
    """Whether the bytes start like a legacy torch file: with a pickle that holds just a magic number."""
    head = bytes(data[:32])
    return head[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in head[:16]


def read_torch_zip(data: memoryview) -> tuple[Any, dict[str, Storage]]:
    """The value of a torch file in the zip format, and its storages by key."""
    members = read_zip(data)
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("a zip file, but not one of torch.save: expected one member data.pkl")
    root = pickles[0][: -len("data.pkl")]
    if bytes(members.get(f"{root}byteorder", b"little")) != b"little":
        raise CheckpointError("a torch file of another byte order than little")
    value, _ = read_pickle(members[pickles[0]])
    storages = {}
    for key, (kind, count) in _storages_in(value).items():
        if f"{root}data/{key}" not in members:
            raise CheckpointError(f"the storage {key[:40]!r} is not in the file")
        storages[key] = _storage(kind, count, members[f"{root}data/{key}"], key)
    return value, storages


def read_torch_legacy(
    data: memoryview, names: frozenset[tuple[str, str]] = PLAIN_NAMES
) -> tuple[Any, dict[str, Storage]]:
    """The value of a legacy torch file, and its storages by key."""
    magic, position = read_pickle(data, 0, frozenset())
    version, position = read_pickle(data, position, frozenset())
    system, position = read_pickle(data, position, frozenset())
    if magic != MAGIC or version != PROTOCOL or not isinstance(system, dict):
        raise CheckpointError("not a torch file: its magic number or version is another one")
    if system.get("little_endian") is not True:
        raise CheckpointError("a torch file of another byte order than little")
    value, position = read_pickle(data, position, names)
    keys, position = read_pickle(data, position, frozenset())
    described = _storages_in(value)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise CheckpointError("damaged torch file: its list of storages")
    storages = {}
    for key in keys:
        if key not in described:
            raise CheckpointError(f"the storage {key[:40]!r} is not used by the file")
        kind, count = described[key]
        header = bytes(data[position : position + 8])
        if len(header) != 8 or int.from_bytes(header, "little", signed=True) != count:
            raise CheckpointError(f"the storage {key[:40]!r} has another length than described")
        size = count * Storage(kind, memoryview(b"")).itemsize
        storages[key] = _storage(kind, count, data[position + 8 : position + 8 + size], key)
        position += 8 + size
    return value, storages


def nested_storage(data: memoryview) -> Storage:
    """The storage in a legacy torch file with only one, as NVIDIA's pickles embed for each tensor."""
    if not looks_legacy(data):
        raise CheckpointError("a storage inside the pickle is not in torch's legacy form")
    value, storages = read_torch_legacy(data, STORAGES)
    if not isinstance(value, Persistent) or len(storages) != 1:
        raise CheckpointError("expected a single storage inside the pickle")
    return next(iter(storages.values()))


def _storage(kind: str, count: int, raw: memoryview, key: str) -> Storage:
    storage = Storage(kind, raw)
    if len(raw) != count * storage.itemsize:
        raise CheckpointError(f"the storage {key[:40]!r} has {len(raw)} bytes, expected {count} numbers of {kind}")
    return storage


def _storages_in(value: Any) -> dict[str, tuple[str, int]]:
    """The kind and count of every storage that is referred to, by key; each container is visited once."""
    found: dict[str, tuple[str, int]] = {}
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list | tuple | Made):
            if id(item) in seen:
                continue
            seen.add(id(item))
        if isinstance(item, Persistent):
            kind, key, count = storage_of(item.pid)
            if found.setdefault(key, (kind, count)) != (kind, count):
                raise CheckpointError(f"the storage {key[:40]!r} is described in two ways")
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, Made):
            waiting.extend((item.args, item.state, item.items, item.values))
    if len(found) > MAX_STORAGES:
        raise CheckpointError(f"{len(found)} storages, expected at most {MAX_STORAGES}")
    return found


def state_table(value: Any) -> dict[str, Any]:
    """The tensor descriptions of a state dict by name, or an empty dict if `value` is not one."""
    if not is_table(value) or size_of(value) > MAX_NAMES:
        return {}
    table = entries(value)
    found = {k: v for k, v in table.items() if isinstance(k, str) and isinstance(v, Made) and v.is_of(*TENSORS)}
    return found if len(found) == len(table) else {}
