"""The teacher: a segmentation network that replaces a human annotator and evaluates all results.

A U-Net (Ronneberger et al., 2015) for drawings, in the role of the off-the-shelf networks in Xu & Zheng (CVPR 2021,
section 5.1). It first unshuffles 2 x 2 pixels into channels, so nothing is lost and the widest maps have half the
image's size. Trained by `linsem.lab.train_teacher`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from linsem.agree import labels_of
from linsem.arguments import file_at, shortened, shown
from linsem.device import device_of, own_modes
from linsem.errors import InputError
from linsem.generator import freeze
from linsem.headers import check_header
from linsem.palette import Category, parse_categories
from linsem.whole import whole
from linsem.zoo import assets

FORMAT, VERSION = "linsem-teacher", "1"
MULTIPLE = 16  # image sides must be multiples of it
_SUFFIX = ".teacher.safetensors"
Self = TypeVar("Self", bound="FrozenTeacher")


class TeacherError(InputError):
    """A missing teacher, or a file that is not a valid teacher."""


@dataclass(frozen=True)
class TeacherConfig:
    """The shapes: widths of the four levels, at 1/2, 1/4, 1/8 and 1/16 of the image, and the number of categories."""

    categories: int
    widths: tuple[int, int, int, int] = (48, 80, 128, 192)

    def __post_init__(self) -> None:
        numbers = (self.categories, *self.widths)
        if len(self.widths) != 4 or not all(type(n) is int and 1 <= n <= 1024 for n in numbers):
            raise TeacherError(f"teacher config: expected whole numbers in 1..1024 and 4 widths, got {self}")


class _Conv(nn.Module):
    """3 x 3 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; the network must be in evaluation mode."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class UNet(nn.Module):
    """A U-Net from images (N, 3, H, W) in [-1, 1] to logits (N, K, H, W); H and W are multiples of 16."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (12, *config.widths[:-1])
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip(inputs, config.widths, strict=True))
        joined = zip(config.widths[1:], config.widths[:-1], strict=True)
        self.up = nn.ModuleList(_pair(deep + skip, skip) for deep, skip in joined)
        self.head = nn.Conv2d(config.widths[0], 4 * config.categories, 3, padding=1)

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps of the four levels, fine to coarse; the last is (N, widths[3], H / 16, W / 16)."""
        x = F.pixel_unshuffle(image.contiguous(memory_format=torch.channels_last), 2)
        maps = [self.down[0](x)]
        for block in self.down[1:]:
            maps.append(block(F.max_pool2d(maps[-1], 2)))
        return maps

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W)."""
        *skips, x = self.encode(image)
        for skip, block in zip(reversed(skips), reversed(self.up), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        return F.pixel_shuffle(self.head(x), 2)


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_Conv(in_channels, out_channels), _Conv(out_channels, out_channels))


class FrozenTeacher:
    """The base class of teachers: a frozen network with its categories; `teacher(image)` gives labels.

    Subclasses define `logits` and `features`; gradients flow through the logits to the image.
    """

    def __init__(self, network: nn.Module, categories: Sequence[Category]) -> None:
        self.network, self.categories = freeze(network), tuple(categories)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.network.parameters()).device

    def to(self: Self, device: torch.device | str) -> Self:
        """Move the network; returns the teacher."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Labels (N, H, W) uint8 of images (N, 3, H, W) in [-1, 1]."""
        return labels_of(self.logits(image))


class Teacher(FrozenTeacher):
    """A U-Net as teacher."""

    def __init__(self, network: UNet, categories: tuple[Category, ...]) -> None:
        if network.config.categories != len(categories):
            raise TeacherError(f"categories: expected {network.config.categories}, got {len(categories)}")
        super().__init__(network, categories)
        self.network.to(memory_format=torch.channels_last)
        for module in self.network.modules():
            if isinstance(module, _Conv) and not isinstance(module.norm, nn.Identity):
                module.fuse()

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) float32 of images (N, 3, H, W), clamped to [-1, 1]; differentiable in the image.

        They are on this teacher's device, wherever the image is.
        """
        return self.network(_checked(image).to(self.device))

    @torch.no_grad()
    def features(self, image: torch.Tensor) -> torch.Tensor:
        """The deepest map averaged over its positions, (N, D) float32, in which the Fréchet distance is measured."""
        return self.network.encode(_checked(image).to(self.device))[-1].mean(dim=(2, 3))


def check_floats(image: torch.Tensor) -> None:
    """Raise InputError unless an image is a tensor of floats: rgb in 0..255 would pass for white."""
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        got = str(image.dtype) if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(
            f"image: expected a tensor of floats in [-1, 1], got {got} (`linsem.to_image` makes one of rgb)"
        )


def _checked(image: torch.Tensor) -> torch.Tensor:
    check_floats(image)
    sides = image.shape[2:]
    if image.ndim != 4 or image.shape[1] != 3 or not len(image) or any(n < MULTIPLE or n % MULTIPLE for n in sides):
        raise InputError(f"image: expected (N, 3, H, W) with H and W multiples of {MULTIPLE}, got {tuple(image.shape)}")
    if not torch.isfinite(image).all():
        raise InputError("image: holds numbers that are not finite")
    return image.float().clamp(-1, 1)


# --- files -----------------------------------------------------------------------------------------------------------


def save_teacher(network: UNet, categories: tuple[Category, ...], path: Path | str) -> None:
    """Write an unfused network as safetensors: convolutions in half precision, the rest unchanged."""
    state = {}
    for name, value in network.state_dict().items():
        state[name] = (value.half() if value.ndim == 4 else value).contiguous().cpu()
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(asdict(network.config)),
        "categories": json.dumps([asdict(category) for category in categories]),
    }
    with whole(path) as partial:
        save_file(state, str(partial), metadata=metadata)


@own_modes()
def load_teacher(name_or_path: str | Path, *, device: torch.device | str = "cpu") -> Teacher:
    """Load a shipped teacher by its generator's name ("avatars-128"), or a file; raises `TeacherError`.

    Generators of the same drawings at other sizes share a teacher: it takes images of any size that is a multiple of
    16. `device` is as for `load_generator`.
    """
    place, path = device_of(str(device)), _find(name_or_path)
    try:
        check_header(path, f"{path.name}: its header", TeacherError)
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
                found = shown((metadata.get("format"), metadata.get("version")))
                raise TeacherError(f"{path.name}: expected format {FORMAT!r} version {VERSION!r}, got {found}")
            state = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise TeacherError(f"{path.name}: not a readable safetensors file ({shortened(error)})") from error
    config, categories = _described(metadata, path.name)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, which shall not change the caller's numbers
        network = UNet(config).float()
    _fill(network, state, path.name)
    return Teacher(network, categories).to(place)


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    places = [name, assets() / f"{name}{_SUFFIX}"]
    stem, _, side = name.rpartition("-")
    if stem and side.isdecimal() and Path(name).name == name:  # "avatars-64" uses the teacher of "avatars-128"
        places += sorted(path for path in assets().glob(f"*{_SUFFIX}") if path.name.rpartition("-")[0] == stem)
    for path in map(file_at, places):
        if path is not None:
            return path
    shipped = sorted(path.name.removesuffix(_SUFFIX) for path in assets().glob(f"*{_SUFFIX}"))
    raise TeacherError(f"teacher: expected a file or one of {shipped}, got {name!r}")


def _described(metadata: dict[str, str], name: str) -> tuple[TeacherConfig, tuple[Category, ...]]:
    try:
        config = json.loads(metadata["config"])
        described = TeacherConfig(categories=config["categories"], widths=tuple(config["widths"]))
        categories = parse_categories(json.loads(metadata["categories"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise TeacherError(f"{name}: bad metadata ({shortened(error)})") from error
    if len(categories) != described.categories:
        raise TeacherError(f"{name}: expected {described.categories} categories, got {len(categories)}")
    return described, categories


def _fill(network: UNet, state: dict[str, torch.Tensor], name: str) -> None:
    """Copy the tensors into the network, checking each by name, shape and finiteness."""
    expected = network.state_dict()
    if expected.keys() != state.keys():
        raise TeacherError(f"{name}: missing or unknown tensors {sorted(expected.keys() ^ state.keys())[:5]}")
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise TeacherError(f"{name}: {key}: expected {tuple(expected[key].shape)}, got {tuple(value.shape)}")
        if not torch.isfinite(value.float()).all():
            raise TeacherError(f"{name}: {key}: expected finite numbers")
    network.load_state_dict(state)
