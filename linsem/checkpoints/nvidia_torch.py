"""Reads NVIDIA's PyTorch pickles of StyleGAN2, from stylegan2-ada-pytorch and the stylegan3 repository.

They hold a dict {"G_ema": network, ...} or a network alone; some people write either by torch.save. The networks are
"persistent objects": a call with {class_name, state, module_src}, where state is the module's __dict__ and module_src
the Python source that NVIDIA's loader executes. Only class_name and state are used here. A generator's state_dict() in
a torch file has the same names and is read too.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch

from linsem.checkpoints import infer
from linsem.checkpoints.arrays import Decoder
from linsem.checkpoints.checkpoint import Checkpoint
from linsem.checkpoints.errors import CheckpointError
from linsem.checkpoints.inert import Made, add_once, entries, is_table, kind_of, shown
from linsem.checkpoints.layouts import same
from linsem.checkpoints.names import Rule, check_fir, rename
from linsem.checkpoints.tables import Table, notes_on, rank_of, under

SOURCE = "NVIDIA PyTorch pickle"
STATE_SOURCE = "NVIDIA PyTorch state dict"
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
CONST = re.compile(r"synthesis\.b\d+\.const")
MAX_DEPTH = 8
MAX_TENSORS = 4096
MAX_MODULES = 512  # a generator of 1024 pixels has about a hundred
MAX_ENTRIES = 512  # in one table of a module
MAX_NAME = 200

RULES: tuple[Rule, ...] = (
    (r".*resample_filter", None, check_fir),
    (r"(mapping\.(?:w_avg|embed\.\w+|fc\d+\.\w+)|synthesis\.b\d+\..*)", r"\1", same),
)


def looks_nvidia_torch(value: Any) -> bool:
    """Whether a pickle or a torch file holds a persistent network that may be a generator, alone or in a table."""
    return bool(_networks(value))


def read_nvidia_torch(value: Any, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from the value of a file that `looks_nvidia_torch`."""
    path, found = _networks(value)[0]
    network = _Module("", found)
    _check_is_stylegan2(network)
    state = rename(network.tensors(), RULES, decoder.tensor)
    clamp = _check_attributes(network, state, decoder)
    return infer.stylegan2(state, SOURCE, notes_on(path, [path for path, _ in _networks(value)[1:]]), clamp)


def _networks(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The persistent networks in a file with their keys, the averaged ones first."""
    if _is_network(value):
        return [((), value)]
    table = entries(value) if is_table(value) else {}
    paths = {(str(key)[:60],): item for key, item in table.items() if _is_network(item)}
    ranks = {path: rank for path in paths if (rank := rank_of(path)) is not None}
    return [(path, paths[path]) for path in sorted(ranks, key=lambda path: ranks[path])]


def find_states(table: Table) -> list[Table]:
    """The state dicts of generators in a table of a torch file, which were saved without their pickle."""
    return [found for found in under(table, ("mapping.fc0.weight",)) if any(map(CONST.fullmatch, found.names))]


def read_state(table: Table, decoder: Decoder) -> Checkpoint:
    """Read a checkpoint from one of `find_states`."""
    note = "a state dict tells neither a clamp nor the mapping's learning rate: none and 0.01 were assumed"
    return infer.stylegan2(rename(table.names, RULES, decoder.tensor), STATE_SOURCE, (note,))


def _is_network(value: Any) -> bool:
    return isinstance(value, Made) and value.is_of(PERSISTENT)


class _Module:
    """A persistent object: its class name, attributes and children, all inert."""

    def __init__(self, path: str, value: Any, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise CheckpointError(f"{path[:80]}: modules nested deeper than {MAX_DEPTH}")
        if not _is_network(value) or not isinstance(value.args, tuple) or len(value.args) != 1:
            raise CheckpointError(f"{path or 'G_ema'}: expected a network, got {kind_of(value)}")
        meta = _table(path, value.args[0])
        if meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
            raise CheckpointError(f"{path or 'G_ema'}: expected a class with a name")
        if meta.get("version") != 6:
            raise CheckpointError(f"{path or 'G_ema'}: expected version 6, got {shown(meta.get('version'))}")
        self.path, self.depth = path, depth
        self.class_name = meta["class_name"][:80]
        self.attributes = _table(path, meta.get("state"))
        self.children = {name: value for name, value in self.part("_modules").items() if value is not None}

    def part(self, name: str) -> dict[str, Any]:
        """One of the module's tables; raises CheckpointError unless its keys are short strings."""
        table = _table(self.path, self.attributes.get(name, {}))
        if not all(isinstance(key, str) and len(key) <= MAX_NAME for key in table):
            raise CheckpointError(f"{self.path}: a name in {name} is not text of at most {MAX_NAME} characters")
        return table

    def child(self, name: str) -> _Module:
        """The child of that name; raises CheckpointError if there is none."""
        if name not in self.children:
            raise CheckpointError(f"{self.path}{name}: expected a module, got none")
        return _Module(f"{self.path}{name}.", self.children[name], self.depth + 1)

    def tensors(self) -> dict[str, Any]:
        """The descriptions of all parameters and buffers by dotted name."""
        found: dict[str, Any] = {}
        waiting = [self]
        visited = 0
        while waiting:
            module = waiting.pop(0)
            visited += 1
            for part in ("_parameters", "_buffers"):
                for name, value in module.part(part).items():
                    if value is not None:
                        add_once(found, f"{module.path}{name}", value)
            if len(found) > MAX_TENSORS:
                raise CheckpointError(f"more than {MAX_TENSORS} tensors in one network")
            if visited + len(waiting) + len(module.children) > MAX_MODULES:  # checked before any child is created
                raise CheckpointError(f"more than {MAX_MODULES} modules in one network")
            waiting.extend(module.child(name) for name in module.children)
        return found


def _table(path: str, value: Any) -> dict[str, Any]:
    """A table of a module, bounded in size because it is copied for each module that shares it."""
    table = entries(value)
    if len(table) > MAX_ENTRIES:
        raise CheckpointError(f"{path or 'G_ema'}: expected at most {MAX_ENTRIES} entries in a table, got {len(table)}")
    return table


def _check_is_stylegan2(network: _Module) -> None:
    """Raise for any other network, naming it."""
    if "synthesis" in network.children and "mapping" in network.children:
        synthesis = network.child("synthesis")
        blocks = [name for name in synthesis.children if name.startswith("b") and name[1:].isdigit()]
        if blocks and "conv1" in synthesis.child(blocks[0]).children:
            missing = [name for name in blocks if "torgb" not in synthesis.child(name).children]
            if missing:
                raise CheckpointError(
                    f"a StyleGAN2 of another architecture than 'skip': block {missing[0][:40]} has no torgb"
                )
            return
        if "input" in synthesis.children and any(name.startswith("L0_") for name in synthesis.children):
            raise CheckpointError(
                f"this is a StyleGAN3 ({synthesis.class_name} with Fourier features), expected a StyleGAN2"
            )
        children = ", ".join(list(synthesis.children)[:4])[:120]
        raise CheckpointError(f"expected a StyleGAN2, got a {synthesis.class_name} made of {children or 'nothing'}")
    raise CheckpointError(f"expected a StyleGAN2 generator, got a {network.class_name} without mapping and synthesis")


def _check_attributes(network: _Module, state: dict[str, torch.Tensor], decoder: Decoder) -> float | None:
    """Check learning-rate gain and activation, zero the noise strength of layers without noise; returns the clamp."""
    mapping, clamps = network.child("mapping"), set()
    for name in mapping.children:
        layer, weight = mapping.child(name), state.get(f"mapping.{name}.weight")
        if not name.startswith("fc") or weight is None or weight.ndim != 2:
            continue
        _expect(layer, "activation", "lrelu")
        gain = layer.attributes.get("weight_gain")
        if gain is not None:
            found = float(decoder.array(f"{layer.path}weight_gain", gain))
            expected = 0.01 / math.sqrt(max(weight.shape[1], 1))
            if not math.isclose(found, expected, rel_tol=1e-3):
                raise CheckpointError(f"{layer.path}weight_gain: expected {expected:.4g}, got {found:.4g}")
    synthesis = network.child("synthesis")
    for name in synthesis.children:
        block = synthesis.child(name)
        for part in ("conv0", "conv1", "torgb"):
            if part not in block.children:
                continue
            layer = block.child(part)
            clamps.add(_clamp(layer, decoder))
            if part != "torgb":
                _expect(layer, "activation", "lrelu")
                if layer.attributes.get("use_noise") is False:
                    state[f"{layer.path}noise_strength"] = torch.zeros(())
    if len(clamps) > 1:
        raise CheckpointError(f"expected one clamp for all layers, got {len(clamps)} different ones")
    return clamps.pop() if clamps else None


def _expect(module: _Module, name: str, value: str) -> None:
    found = module.attributes.get(name, value)
    if found != value:
        raise CheckpointError(f"{module.path}{name}: expected {value!r}, got {shown(found)}")


def _clamp(layer: _Module, decoder: Decoder) -> float | None:
    value = layer.attributes.get("conv_clamp")
    return None if value is None else float(decoder.array(f"{layer.path}conv_clamp", value))
