"""The `Generator` protocol: the interface through which the rest of the library uses a GAN.

A generator is frozen when it is loaded: its parameters never change and require no gradient, while its latents may. It
*returns* its features, so no hooks are needed. `map` turns z into ws, one w for each layer that takes a style; a family
without a mapping network repeats z. `synthesize` turns ws into an image and the list of its feature maps.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from linsem.arguments import shown, whole_number
from linsem.errors import InputError
from linsem.seeds import MAX_SEED

PASS_NUMBERS = 1 << 27  # floats in the feature maps of one pass: 512 MB; a backward pass keeps about twice as much
MOST_VALUE = 32.0  # of an image: far beyond what a network in [-1, 1] overshoots, far below what one in 0..255 gives


@dataclass(frozen=True)
class Layer:
    """One feature map: its channels, its size, and the index of the last w that it depends on."""

    channels: int
    height: int
    width: int
    last_w: int


@runtime_checkable
class Generator(Protocol):
    """The protocol. `size` is the image's (H, W); `layers` describes `features` in order, coarse to fine."""

    id: str
    size: tuple[int, int]
    z_dim: int
    w_dim: int
    num_ws: int
    layers: tuple[Layer, ...]
    categories: tuple

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        ...

    def map(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        """Map z (N, z_dim) to ws (N, num_ws, w_dim), truncated towards the mean by `psi` (1: no truncation)."""
        ...

    def synthesize(
        self, ws: torch.Tensor, *, image: bool = True, last_layer: int | None = None
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Turn ws (N, num_ws, w_dim) into the image (N, 3, H, W), nominally in [-1, 1], and its features.

        With `image=False` the image branch is skipped and None is returned in its place. With `last_layer` (an index
        into `layers`) nothing beyond that layer is computed, and `image` must be False unless it is the last one.
        """
        ...


PROTOCOL = (*Generator.__annotations__, *(name for name in vars(Generator) if not name.startswith("_")))


def check_generator(generator: object) -> None:
    """Raise InputError unless everything that the protocol names is there; the message lists what is missing."""
    lacking = [name for name in PROTOCOL if not hasattr(generator, name)]
    if isinstance(generator, type) or len(lacking) == len(PROTOCOL):
        raise InputError(f"generator: expected one (see `linsem.load_generator`), got {shown(generator)}")
    if lacking:
        name = type(generator).__name__
        raise InputError(f"generator: expected all of `linsem.Generator`, but {name} lacks {', '.join(lacking)}")
    if not isinstance(generator.id, str):
        raise InputError(f"generator: expected a text as its id, got {shown(generator.id)}")
    for name in ("z_dim", "w_dim", "num_ws"):
        whole_number(f"{generator.id!r}: {name}", getattr(generator, name), 1)
    if not isinstance(generator.size, (tuple, list)) or len(generator.size) != 2:
        raise InputError(f"{generator.id!r}: expected its size as (H, W), got {shown(generator.size)}")
    for name, side in zip(("height", "width"), generator.size, strict=True):
        whole_number(f"{generator.id!r}: {name}", side, 1)
    layers = generator.layers if isinstance(generator.layers, (tuple, list)) else (generator.layers,)
    wrong = [each for each in layers if not all(hasattr(each, name) for name in Layer.__annotations__)]
    if wrong or not layers:
        got = shown(wrong[0]) if wrong else "none"
        raise InputError(f"{generator.id!r}: expected a `linsem.Layer` for each feature map in `layers`, got {got}")
    for i, layer in enumerate(layers):
        whole_number(f"{generator.id!r}: last_w of layer {i}", layer.last_w, 0, generator.num_ws - 1)
    for name, positional, named in (("map", (1.0,), {}), ("synthesize", (), {"image": True, "last_layer": None})):
        try:
            inspect.signature(getattr(generator, name)).bind(None, *positional, **named)
        except TypeError as error:
            raise InputError(f"{generator.id!r}: `{name}` differs from that of `linsem.Generator`: {error}") from None
        except ValueError:  # nothing says what it takes
            continue


def seed_z(generator: Generator, seeds: Sequence[int]) -> torch.Tensor:
    """Draw one standard normal z per seed, (N, z_dim); it depends neither on the other seeds nor on the device.

    Seeds are limited to 0..2**32 - 1: torch ignores the higher bits, so larger seeds would repeat earlier samples.
    """
    if not hasattr(generator, "z_dim"):
        check_generator(generator)
    seeds = check_seeds(seeds)
    rows = [drawn(seeded(seed), generator.z_dim) for seed in seeds]
    return torch.stack(rows).to(generator.device)


def mapped(generator: Generator, seeds: Sequence[int], psi: float) -> torch.Tensor:
    """The ws of seeds, one of each, as float32; raises InputError if `map` gives another number or shape of them."""
    z = seed_z(generator, seeds)
    ws = generator.map(z, psi)
    if not isinstance(ws, torch.Tensor) or ws.ndim == 0 or len(ws) != len(z):
        raise InputError(f"{generator.id!r}: expected ws of {len(z)} images from `map`, got {_described(ws)}")
    expected = (len(z), generator.num_ws, generator.w_dim)
    if tuple(ws.shape) != expected:
        raise InputError(
            f"{generator.id!r}: expected ws (N, num_ws, w_dim) = {expected} from `map`, got {tuple(ws.shape)}"
        )
    return ws.float()  # as all ws are handed on, so that `synthesize` is never given others


def check_seed(value: object) -> int:
    """The seed as an int, from any integer type (numpy, tensor); InputError for 1.5, "12" and what is out of range."""
    return whole_number("seed", value, 0, MAX_SEED)


def check_seeds(values: Iterable[int]) -> tuple[int, ...]:
    """Seeds as ints, from a list, a range or an array; InputError for none, and for what has no length or no order."""
    try:
        unordered = isinstance(values, (str, bytes, Set, Mapping))
        given = () if unordered or len(values) == 0 else tuple(values)
    except TypeError:
        given = ()
    if not given:
        raise InputError(f"seeds: expected a list of at least one, got {shown(values)}")
    return tuple(check_seed(seed) for seed in given)


def seeded(seed: int) -> torch.Generator:
    """A new CPU random generator for a seed, an integer in 0..2**63 - 1."""
    if not 0 <= int(seed) < 2**63:
        raise InputError(f"seed: expected a whole number in 0..2**63 - 1, got {seed}")
    return torch.Generator().manual_seed(int(seed))


def drawn(source: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers of this shape, on the CPU: other dtypes and devices, also by default, draw others."""
    return torch.randn(shape, generator=source, dtype=torch.float32, device="cpu")


def batches(count: int, size: int) -> Iterator[slice]:
    """Split 0..count-1 into slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def fitting(generator: Generator, count: int, last_layer: int | None = None) -> int:
    """How many of `count` samples one pass may take, so that its maps stay within `PASS_NUMBERS`; at least one."""
    layers = generator.layers[: None if last_layer is None else last_layer + 1]
    each = sum(layer.channels * layer.height * layer.width for layer in layers)
    return max(1, min(count, PASS_NUMBERS // max(each, 1)))


def checked_pass(
    generator: Generator, ws: torch.Tensor, *, image: bool = True, last_layer: int | None = None, **noise: object
) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """Call `synthesize` and check what it gives; raises InputError if that is not as declared, or not of each sample.

    All code that reads features or images goes through here, since generators may be user-defined. The image and the
    features are returned as float32, whatever precision they were computed in.
    """
    drawn = generator.synthesize(ws, image=image, last_layer=last_layer, **noise)
    if not isinstance(drawn, (tuple, list)) or len(drawn) != 2:
        got = _described(drawn)
        raise InputError(f"{generator.id!r}: expected an image and its feature maps from `synthesize`, got {got}")
    picture, features = drawn
    check_features(generator, features, last_layer, len(ws))
    if image:
        expected = (len(ws), 3, *generator.size)
        if not isinstance(picture, torch.Tensor) or tuple(picture.shape) != expected:
            raise InputError(f"{generator.id!r}: expected an image of {expected}, got {_described(picture)}")
        if not picture.is_floating_point():
            raise InputError(f"{generator.id!r}: expected an image of real numbers in [-1, 1], got {picture.dtype}")
        picture = picture.float()
        sampled = picture.detach()[:, :, ::8, ::8].abs().amax()  # some of it: this is on the way of every pass
        if sampled > MOST_VALUE:
            raise InputError(f"{generator.id!r}: expected images in [-1, 1], got values of {float(sampled):.4g}")
    return picture, [x.float() for x in features]


def check_features(
    generator: Generator, features: Sequence[torch.Tensor], last_layer: int | None = None, count: int | None = None
) -> None:
    """Raise InputError unless the features, each (N, C, h, w), match `layers`, up to `last_layer` at least.

    With `count`, also unless each has that many samples.
    """
    layers = generator.layers
    if not isinstance(features, (list, tuple)):
        raise InputError(f"{generator.id!r}: expected a list of feature maps, got {_described(features)}")
    least = len(layers) if last_layer is None else last_layer + 1
    if not least <= len(features) <= len(layers):
        raise InputError(f"{generator.id!r}: expected {least} feature maps, as `layers` says, got {len(features)}")
    for i, (x, layer) in enumerate(zip(features, layers, strict=False)):
        expected = (layer.channels, layer.height, layer.width)
        if not isinstance(x, torch.Tensor):
            raise InputError(f"{generator.id!r}: layer {i}: expected a tensor, got {_described(x)}")
        if tuple(x.shape[1:]) != expected:
            raise InputError(f"{generator.id!r}: layer {i}: expected maps of {expected}, got {tuple(x.shape[1:])}")
        if count is not None and len(x) != count:
            raise InputError(f"{generator.id!r}: layer {i}: expected maps of {count} images, got {len(x)}")


def check_finite(maps: Sequence[torch.Tensor], seeds: Sequence[int], name: str, what: str = "features") -> None:
    """Raise InputError naming the first seed whose maps (N, ...) are not finite; a sum is, unless a number is not."""
    total = sum(x.flatten(1).sum(1, dtype=torch.float64) for x in maps)
    wrong = (~torch.isfinite(total)).nonzero()[:, 0].tolist()
    if wrong:
        raise InputError(
            f"{name!r}: seed {seeds[wrong[0]]}: its {what} hold numbers that are not finite; if the network gives them "
            "rarely, choose seeds without that one (for edits and samples, a bank of one's own)"
        )


def _described(value: object) -> str:
    """A tensor by its shape, a tuple or list by its length, anything else by its type."""
    if isinstance(value, torch.Tensor):
        return str(tuple(value.shape))
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, (tuple, list)) else name


def chosen_layers(generator: Generator, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Indices into `generator.layers` in rising order, each once (None: all); raises InputError."""
    count = len(generator.layers)
    try:
        chosen = tuple(range(count)) if layers is None else tuple(sorted({operator.index(i) for i in layers}))
    except TypeError:
        chosen = ()
    if not chosen or chosen[0] < 0 or chosen[-1] >= count:
        raise InputError(f"layers: expected some of 0..{count - 1}, got {layers!r}")
    return chosen


def check_last_layer(last_layer: int | None, count: int, image: bool) -> int:
    """The index of the last feature map to compute; InputError if it does not exist or the image needs more."""
    last = count - 1 if last_layer is None else last_layer
    if not 0 <= last < count:
        raise InputError(f"last_layer: expected 0..{count - 1}, got {last_layer}")
    if image and last != count - 1:
        raise InputError(f"last_layer: the image needs all {count} layers, got last_layer={last_layer} with image=True")
    return last


def freeze(network: torch.nn.Module) -> torch.nn.Module:
    """Put a network into evaluation mode, turn off its parameters' gradients, and return it."""
    return network.eval().requires_grad_(False)
