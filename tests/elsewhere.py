"""A second device for machines without one: its tensors keep their data on the CPU, but refuse to meet others.

Inside `second_device()` torch's "meta" has data. As on a GPU, an operation on tensors of both devices is an error (but
for a single number, a copy, or indices from the CPU), numpy sees only tensors of the CPU, and a generator of random
numbers serves its own device alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

SECOND, CPU = torch.device("meta"), torch.device("cpu")
aten = torch.ops.aten
CROSSING = {aten.copy_.default, aten._to_copy.default}
LISTS = (list, range, np.ndarray)
BY_INDEX = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


@contextmanager
def second_device() -> Iterator[torch.device]:
    """The device, while it is there."""
    with _Numbers(), _Operations(), mock.patch("torch.save", _save), mock.patch("torch.load", _load):
        yield SECOND


class There(torch.Tensor):
    """A tensor on the second device; `held` is its data."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> There:
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=SECOND,
        )  # fmt: skip

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"There({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Also what makes tensors from none."""

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """What torch does with Python's numbers and lists below its operations: here they become tensors first."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor:
            kwargs = {"device": args[0].device, "dtype": args[0].dtype} | kwargs
            func, args = torch.tensor, args[1:]
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and not isinstance(args[0], There):
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func is torch.Tensor.tolist and isinstance(args[0], There):
            return args[0].cpu().tolist()
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], There):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(torch.tensor(i) if isinstance(i, LISTS) else i for i in index), *args[2:])
        return func(*args, **kwargs)


_saved, _loaded = torch.save, torch.load


def _save(value: Any, path: Any) -> None:
    _saved(tree_map(lambda x: x.held if isinstance(x, There) else x, value), path)


def _load(path: Any, *, map_location: Any, **options: Any) -> Any:
    found = _loaded(path, map_location="cpu", **options)
    return tree_map(lambda x: x.to(map_location) if isinstance(x, torch.Tensor) else x, found)


def _run(func: Callable, args: tuple, kwargs: dict) -> Any:
    """An operation, with its result on the device that it belongs on."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    if _mixes(func, args, tensors):
        raise RuntimeError(f"{func}: tensors on two devices: {[tuple(x.shape) for x in tensors]}")
    place = kwargs.get("device") or (SECOND if any(isinstance(x, There) for x in tensors) else CPU)
    if place == SECOND and torch.Tag.nondeterministic_seeded in func.tags:
        raise RuntimeError(f"{func}: a generator of the CPU draws nothing elsewhere, and another draws other numbers")
    plain, named = tree_map(lambda x: x.held if isinstance(x, There) else x, (args, kwargs))
    if "device" in named:
        named["device"] = CPU
    found = func(*plain, **named)
    if func._schema.is_mutable and isinstance(found, torch.Tensor):  # in place
        return next((x for x in tensors if x is found or getattr(x, "held", None) is found), found)
    return tree_map(lambda x: There(x) if isinstance(x, torch.Tensor) and place == SECOND else x, found)


def _mixes(func: Callable, args: tuple, tensors: list[torch.Tensor]) -> bool:
    """Whether a second device would refuse an operation for the tensors of the CPU among its own."""
    others = [x for x in tensors if not isinstance(x, There)]
    if func in CROSSING or len(others) in (0, len(tensors)):
        return False
    ours = isinstance(args[0], There)
    if func in BY_INDEX and ours:  # the index may be of the CPU
        others = [x for x in args[2:3] if isinstance(x, torch.Tensor) and not isinstance(x, There) and x.ndim]
    elif torch.Tag.pointwise in func.tags and (ours or not func._schema.is_mutable):  # and so may a single number
        others = [x for x in others if x.ndim]
    return bool(others)
