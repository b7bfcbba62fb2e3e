"""Semantic extractors: functions from a generator's features to per-pixel class logits.

*LSE* (paper, eq. 1): S = sum_i up(T_i x_i), with one 1x1 convolution T_i per layer. Since a 1x1 convolution commutes
with linear upsampling (eq. 2), logits are computed at each layer's own resolution, maps of equal size are summed, and
only then upsampled: the features of all layers are never concatenated. *NSE-1* applies a per-pixel network to each
layer, *NSE-2* a decoder to all layers. *Centroid* assigns each pixel to the nearest class centre by cosine similarity,
which is an LSE whose rows are the centres (the norm of the pixel's features does not change which centre is nearest).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from linsem.agree import labels_of, margin_of
from linsem.arguments import file_at, height_and_width, shortened, shown
from linsem.device import own_modes
from linsem.generator import Generator, check_generator
from linsem.headers import check_header
from linsem.palette import Category, parse_categories
from linsem.pixels import IGNORE
from linsem.readout import FORWARD, KINDS, READS, ExtractorError, weight_shapes
from linsem.specks import without_specks
from linsem.whole import whole

FORMAT, VERSION = "linsem-extractor", "1"
_MAX_BYTES = 512 << 20
NEVER = -60.0  # the bias of a category without a labelled pixel: it is never predicted


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fitted extractor.

    Attributes:
        layers: indices into `generator.layers`.
        weights: float32 tensors that require no gradient.
        temperature: divides the logits before the softmax, and never changes the predicted category. It is set on
            held-out pixels: of a few-shot fit to 1 or more, mostly 1, so that its probabilities are only ever softened.
        least: (K,) minimum areas as shares of the image. A category that `predict` would find on a smaller area is
            reassigned as a speck (`linsem.specks`). Empty: no cleaning; use `dataclasses.replace(extractor, least=())`
            where objects may be far smaller than the labelled ones.
    """

    kind: str
    categories: tuple[Category, ...]
    layers: tuple[int, ...]
    generator_id: str
    size: tuple[int, int]
    weights: Mapping[str, torch.Tensor]
    temperature: float = 1.0
    notes: Mapping[str, str] = field(default_factory=dict)
    least: tuple[float, ...] = ()

    @property
    def last_layer(self) -> int:
        """The last layer that is read: the generator need not be run beyond it."""
        return max(self.layers)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of the categories without a labelled pixel, which are therefore never predicted."""
        bias = self.weights.get("bias")
        if self.kind != "LSE" or bias is None:
            return ()
        return tuple(c.name for c, value in zip(self.categories, bias.tolist(), strict=True) if value == NEVER)

    @own_modes()
    def logits(self, features: Sequence[torch.Tensor], size: tuple[int, int] | None = None) -> torch.Tensor:
        """Logits (N, K, *size) of features: a list of (N, C, h, w), of all layers up to `last_layer` at least."""
        size = self.size if size is None else height_and_width("size", size, error=ExtractorError)
        if not isinstance(features, (list, tuple)):
            raise ExtractorError(f"features: expected a list of maps (N, C, h, w), got {type(features).__name__}")
        if len(features) <= self.last_layer:
            raise ExtractorError(f"features: expected at least {self.last_layer + 1} layers, got {len(features)}")
        chosen = [self._checked(k, features[i]) for k, i in enumerate(self.layers)]
        device = chosen[0].device
        here = all(w.device == device for w in self.weights.values())
        if len({len(x) for x in chosen}) > 1:
            raise ExtractorError(f"features: expected one number of images, got {[len(x) for x in chosen]}")
        logits = FORWARD[self.kind]((self if here else self.to(device)).weights, chosen, tuple(size))
        return logits.float()

    def _checked(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """The feature map of the k-th layer that is read, as float32."""
        channels = self.weights[f"layer{k}.{READS[self.kind]}"].shape[1]
        if not isinstance(x, torch.Tensor) or x.ndim != 4 or x.shape[1] != channels:
            got = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise ExtractorError(f"features: layer {self.layers[k]}: expected maps (N, {channels}, h, w), got {got}")
        return x.float()

    def probabilities(self, features: Sequence[torch.Tensor], size: tuple[int, int] | None = None) -> torch.Tensor:
        """Calibrated class probabilities, (N, K, *size)."""
        return (self.logits(features, size) / self.temperature).softmax(dim=1)

    @torch.no_grad()
    def predict(self, features: Sequence[torch.Tensor], size: tuple[int, int] | None = None) -> np.ndarray:
        """The most likely category of each pixel, with specks removed: (N, *size) uint8."""
        return self.labels(finite(self.logits(features, size))).cpu().numpy()

    def labels(self, logits: torch.Tensor) -> torch.Tensor:
        """The labels that `predict` gives for the logits (N, K, H, W) of whole images: (N, H, W) uint8."""
        return without_specks(logits, self.least) if self.least else labels_of(logits)

    @torch.no_grad()
    def uncertainty(self, features: Sequence[torch.Tensor], size: tuple[int, int] | None = None) -> np.ndarray:
        """The uncertainty of each pixel, (N, *size) float32 in [0, 1]."""
        return uncertainty_of(finite(self.logits(features, size)), self.temperature).cpu().numpy()

    @torch.no_grad()
    def read(
        self, features: Sequence[torch.Tensor], size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The results of `predict` and of `uncertainty`, from logits computed once."""
        logits = finite(self.logits(features, size))
        return self.labels(logits).cpu().numpy(), uncertainty_of(logits, self.temperature).cpu().numpy()

    def to(self, device: torch.device | str) -> Extractor:
        """A copy on another device."""
        return replace(self, weights={name: w.to(device) for name, w in self.weights.items()})

    def __getstate__(self) -> dict[str, object]:
        """Pickle the weights as numpy arrays.

        A tensor would be sent to another process as shared memory that ends with its owner, or as memory of a GPU that
        the other process does not have.
        """
        return {**self.__dict__, "weights": {name: w.detach().cpu().numpy() for name, w in self.weights.items()}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__dict__["weights"] = {name: torch.from_numpy(w) for name, w in state["weights"].items()}


def finite(logits: torch.Tensor) -> torch.Tensor:
    """Return logits (N, K, H, W); raise `ExtractorError` unless all are finite.

    Otherwise a single class would win every comparison.
    """
    sums = logits.flatten(1).sum(1)
    if not bool(torch.isfinite(sums).all()):
        raise ExtractorError(f"features of image {1 + int((~torch.isfinite(sums)).float().argmax())}: not finite")
    return logits


def uncertainty_of(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """One minus the probability margin between the two most likely classes: (N, K, H, W) to (N, H, W) in [0, 1]."""
    return 1 - margin_of((logits / temperature).softmax(dim=1))


# --- files -----------------------------------------------------------------------------------------------------------


def save_extractor(extractor: Extractor, path: str | Path) -> None:
    """Write an extractor to one safetensors file, described by its metadata.

    Raises InputError if the categories could not be read back, and OSError if the file cannot be written.
    """
    if not isinstance(extractor, Extractor):
        raise ExtractorError(f"extractor: expected one, got {shown(extractor)}")
    if parse_categories(extractor.categories) != tuple(extractor.categories):
        raise ExtractorError("categories: expected names without blanks at the ends, and colours in small letters")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "kind": extractor.kind,
        "categories": json.dumps([{"name": c.name, "color": c.color} for c in extractor.categories]),
        "layers": json.dumps(extractor.layers),
        "generator": extractor.generator_id,
        "size": json.dumps([int(side) for side in extractor.size]),  # of a generator of one's own, maybe numpy's
        "temperature": repr(float(extractor.temperature)),
        "notes": json.dumps(dict(extractor.notes)),
        "least": json.dumps(extractor.least),
    }
    tensors = {name: w.detach().cpu().float().contiguous() for name, w in extractor.weights.items()}
    with whole(path) as partial:
        save_file(tensors, str(partial), metadata)
        check_header(partial, "extractor: the header of the file", ExtractorError)


def load_extractor(source: str | Path, generator: Generator | None = None) -> Extractor:
    """Load an extractor from a file, by the name of a generator that ships with one, or from "hub://owner/repo".

    With a `generator`, also check that the extractor was made for it. Raises `ExtractorError`.
    """
    path = _locate(source)
    if path.stat().st_size > _MAX_BYTES:
        raise ExtractorError(f"{path.name}: larger than {_MAX_BYTES >> 20} MB, so it is no extractor")
    try:
        check_header(path, f"extractor {path.name}: its header", ExtractorError)
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: _numbers(file.get_tensor(name), name) for name in file.keys()}
    except (SafetensorError, OSError, NotImplementedError, RuntimeError, TypeError, AttributeError) as error:
        why = shortened(error)
        raise ExtractorError(f"extractor {path.name}: not a safetensors file of numbers ({why})") from error
    extractor = _parse(metadata, weights, path.name)
    if generator is not None:
        check_fits(extractor, generator)
    return extractor


def _numbers(tensor: torch.Tensor, name: str) -> torch.Tensor:
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        raise TypeError(f"weight {shown(name)} of {tensor.dtype}, expected floats of 16, 32 or 64 bits")
    return tensor.float()


def check_fits(extractor: Extractor, generator: Generator) -> None:
    """Raise `ExtractorError` unless the extractor was made for this generator, and InputError if that is none."""
    check_generator(generator)
    if not isinstance(extractor, Extractor):
        raise ExtractorError(f"extractor: expected one (see `linsem.load_extractor`), got {shown(extractor)}")
    if extractor.generator_id != generator.id:
        raise ExtractorError(
            f"this extractor was made for the generator {shown(extractor.generator_id)}, "
            f"and the chosen one is {generator.id!r}: choose that generator, or fit a new extractor"
        )
    if tuple(extractor.size) != tuple(generator.size):
        height, width = extractor.size
        raise ExtractorError(
            f"the extractor gives labels of {height} x {width}, {generator.id!r} draws "
            f"{generator.size[0]} x {generator.size[1]}"
        )
    if extractor.last_layer >= len(generator.layers):
        raise ExtractorError(
            f"the extractor reads layer {extractor.last_layer}, {generator.id!r} has {len(generator.layers)}"
        )
    channels = [generator.layers[i].channels for i in extractor.layers]
    _check_shapes(extractor.kind, channels, len(extractor.categories), extractor.weights, "extractor")


def _locate(source: str | Path) -> Path:
    text = str(source)
    if text.startswith("hub://"):
        from linsem import hub  # the only module that uses the network, imported when needed

        return Path(hub.fetch_extractor(text))
    path = file_at(text)
    if path is not None:
        return path
    from linsem import zoo

    shipped = file_at(zoo.assets() / f"{text}.extractor.safetensors")
    if shipped is not None and Path(text).name == text:
        return shipped
    raise ExtractorError(f"no extractor: {text!r} is neither a file, nor a generator that ships with one, nor hub://")


def _parse(metadata: Mapping[str, str], weights: dict[str, torch.Tensor], name: str) -> Extractor:
    if metadata.get("format") != FORMAT:
        raise ExtractorError(f"{name}: not an extractor (format {shown(metadata.get('format'))}, expected {FORMAT!r})")
    if metadata.get("version") != VERSION:
        raise ExtractorError(f"{name}: version {shown(metadata.get('version'))}, this program reads {VERSION!r}")
    try:
        categories = parse_categories(metadata["categories"])
        layers = tuple(int(i) for i in json.loads(metadata["layers"]))
        height, width = (int(v) for v in json.loads(metadata["size"]))
        temperature = float(metadata["temperature"])
        notes = {str(k): str(v) for k, v in json.loads(metadata.get("notes", "{}")).items()}
        least = tuple(float(v) for v in json.loads(metadata.get("least", "[]")))
        kind, generator_id = metadata["kind"], metadata["generator"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        why = shortened(f"{type(error).__name__}: {error}")
        raise ExtractorError(f"{name}: its description is damaged ({why})") from error
    if not layers or sorted(set(layers)) != list(layers) or layers[0] < 0 or len(layers) > 256:
        raise ExtractorError(f"{name}: layers are expected in rising order, got {shown(list(layers))}")
    if not (1 <= height <= 8192 and 1 <= width <= 8192 and 1e-6 <= temperature <= 1e6):
        raise ExtractorError(f"{name}: size {height} x {width}, temperature {temperature} are out of range")
    if len(least) not in (0, len(categories)) or not all(0 <= share <= 1 for share in least):
        raise ExtractorError(f"{name}: least: expected {len(categories)} shares in 0..1 or none, got {least[:20]}")
    _check_shapes(kind, _channels_of(kind, weights, len(layers), name), len(categories), weights, name)
    return Extractor(kind, categories, layers, generator_id, (height, width), weights, temperature, notes, least)


def _channels_of(kind: str, weights: Mapping[str, torch.Tensor], count: int, name: str) -> list[int]:
    suffix = {"LSE": "weight", "centroid": "weight", "NSE-1": "conv0.weight", "NSE-2": "ext.weight"}.get(kind)
    if suffix is None:
        raise ExtractorError(f"{name}: kind: expected one of {', '.join(KINDS)}, got {shown(kind)}")
    try:
        return [weights[f"layer{i}.{suffix}"].shape[1] for i in range(count)]
    except (KeyError, IndexError) as error:
        raise ExtractorError(f"{name}: a weight is missing or has a wrong shape ({error})") from error


def _check_shapes(
    kind: str, channels: Sequence[int], classes: int, weights: Mapping[str, torch.Tensor], name: str
) -> None:
    expected = weight_shapes(kind, channels, classes)
    for key in sorted(expected.keys() | weights.keys()):
        want, got = expected.get(key), tuple(weights[key].shape) if key in weights else None
        if want != got:
            raise ExtractorError(f"{name}: weight {shown(key)}: expected shape {want}, got {shown(got)}")
        if not torch.isfinite(weights[key]).all():
            raise ExtractorError(f"{name}: weight {shown(key)} holds numbers that are not finite")


def findable(extractor: Extractor, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """Labels (H, W) with categories that are never predicted set to 255, and a sentence naming them, or ""."""
    unknown = [k for k, category in enumerate(extractor.categories) if category.name in extractor.unknown]
    lost = np.isin(labels, unknown)
    if not lost.any():
        return labels, ""
    names = ", ".join(repr(extractor.categories[k].name) for k in np.unique(labels[lost]))
    return np.where(lost, IGNORE, labels).astype(labels.dtype), f"not asked for, as no labelled pixel had it: {names}"
