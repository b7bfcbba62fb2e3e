"""Writes a StyleGAN2 state of `linsem` as NVIDIA's PyTorch pickle."""

from __future__ import annotations

import math
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from linsem.checkpoints.torchfile import MAGIC, PROTOCOL
from tests.writers.emit import Call, Global, Pid, dumps, number

SOURCE = "raise SystemExit('module_src was executed')\n"


def storage_bytes(tensor: torch.Tensor, kind: str = "FloatStorage") -> bytes:
    """A single storage in torch's legacy format."""
    raw = tensor.detach().contiguous().numpy().tobytes()
    pid = Pid(("storage", Global("torch", kind), "140", "cpu", tensor.numel(), None))
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = dumps(MAGIC, 2) + dumps(PROTOCOL, 2) + dumps(system, 2) + dumps(pid, 2) + dumps(["140"], 2)
    return head + struct.pack("<q", tensor.numel()) + raw


def tensor_call(tensor: torch.Tensor) -> Call:
    """A tensor as torch pickles it outside its own files."""
    storage = Call("torch.storage", "_load_from_bytes", (storage_bytes(tensor),))
    hooks = Call("collections", "OrderedDict")
    args = (storage, 0, tuple(tensor.shape), tuple(tensor.contiguous().stride()), False, hooks)
    return Call("torch._utils", "_rebuild_tensor_v2", args)


def parameter_call(tensor: torch.Tensor) -> Call:
    """A parameter as torch pickles it."""
    return Call("torch._utils", "_rebuild_parameter", (tensor_call(tensor), False, Call("collections", "OrderedDict")))


def network(
    class_name: str, parameters: dict[str, Any], buffers: dict[str, Any], children: dict[str, Any], **attributes: Any
) -> Call:
    """A persistent object."""
    state = {
        "training": False,
        "_parameters": Call("collections", "OrderedDict", items=parameters),
        "_buffers": Call("collections", "OrderedDict", items=buffers),
        "_modules": Call("collections", "OrderedDict", items=children),
        **attributes,
    }
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": state}
    meta = Call("dnnlib.util", "EasyDict", items=meta, new=True)
    return Call("torch_utils.persistence", "_reconstruct_persistent_obj", (meta,))


def generator(
    state: dict[str, torch.Tensor],
    clamp: float | None = None,
    *,
    tensor: Callable = tensor_call,
    parameter: Callable = parameter_call,
    **wrong: Any,
) -> Call:
    """The generator of a state; `wrong` overrides attributes of the mapping's layers."""
    filter_ = tensor(torch.tensor([1.0, 3.0, 3.0, 1.0])[:, None] * torch.tensor([1.0, 3.0, 3.0, 1.0]) / 64)

    def module(prefix: str) -> Call:
        own = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        kids = list(dict.fromkeys(name.split(".")[0] for name in own if "." in name))
        leaves = {name: value for name, value in own.items() if "." not in name}
        buffers = {name: tensor(value) for name, value in leaves.items() if name in ("w_avg", "noise_const")}
        parameters = {name: parameter(value) for name, value in leaves.items() if name not in buffers}
        attributes: dict[str, Any] = {}
        last = prefix.rstrip(".").split(".")[-1]
        if last.startswith("conv"):
            attributes = {"activation": "lrelu", "conv_clamp": clamp, "use_noise": True}
            buffers["resample_filter"] = filter_
        elif last == "torgb":
            attributes = {"conv_clamp": clamp}
        elif last.startswith("fc"):
            gain = np.float64(0.01 / math.sqrt(leaves["weight"].shape[1]))
            attributes = {"activation": "lrelu", "weight_gain": number(gain), **wrong}
        elif last.startswith("b"):
            buffers["resample_filter"] = filter_
        return network("Any", parameters, buffers, {kid: module(f"{prefix}{kid}.") for kid in kids}, **attributes)

    children = {"synthesis": module("synthesis."), "mapping": module("mapping.")}
    return network("Generator", {}, {}, children, z_dim=512, img_resolution=64)


class Persistent:
    """A persistent object that Python pickles as NVIDIA's code does, if `persistence` can be imported then."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def __reduce__(self) -> tuple[Callable, tuple]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


@contextmanager
def persistence() -> Iterator[None]:
    """Stand-ins for NVIDIA's modules, of which a pickler wants only the names."""
    package, module = ModuleType("torch_utils"), ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
        raise AssertionError("called")

    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    package.persistence, module._reconstruct_persistent_obj = module, _reconstruct_persistent_obj
    sys.modules |= {package.__name__: package, module.__name__: module}
    try:
        yield
    finally:
        del sys.modules[package.__name__], sys.modules[module.__name__]


def live_generator(state: dict[str, torch.Tensor], clamp: float | None = None) -> Persistent:
    """The generator of a state as an object with real tensors, for `pickle.dumps` and `torch.save`."""

    def live(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: live(item) for key, item in value.items()}
        if not isinstance(value, Call):
            return value
        if value.name == "scalar":
            return np.float64(np.frombuffer(value.args[1])[0])
        return (
            Persistent(live(value.args[0])) if value.name.startswith("_reconstruct") else OrderedDict(live(value.items))
        )

    return live(generator(state, clamp, tensor=lambda value: value, parameter=torch.nn.Parameter))


def write_nvidia_torch(
    path: Path, state: dict[str, torch.Tensor], *, clamp: float | None = None, protocol: int = 3, **wrong: Any
) -> None:
    """Write the file of a training run, with the generator as G_ema beside other values."""
    value = {
        "training_set_kwargs": Call("dnnlib.util", "EasyDict", items={"resolution": 64}, new=True),
        "G": None,
        "D": None,
        "G_ema": generator(state, clamp, **wrong),
        "augment_pipe": None,
    }
    path.write_bytes(dumps(value, protocol))
