"""DCGAN (Radford et al., ICLR 2016), the example of a family without a mapping network.

`digiface-64` is the network shipped in the PyPI package `gan-face-generate` 1.1.1 (MIT), trained by its author on
Microsoft's DigiFace-1M. The weights file is located through the package's metadata and read as data, after its sha256
is checked; none of the package's code is imported.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from linsem.errors import InputError
from linsem.generator import Layer, freeze

DIGIFACE_ID = "digiface-64"
DIGIFACE_PACKAGE = "gan-face-generate"
DIGIFACE_VERSION = "1.1.1"
DIGIFACE_SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
DIGIFACE_INSTALL = f"pip install --no-deps {DIGIFACE_PACKAGE}=={DIGIFACE_VERSION}"
DIGIFACE_AGAIN = DIGIFACE_INSTALL.replace("install", "install --force-reinstall --no-cache-dir")  # a damaged one


@dataclass(frozen=True)
class DCGANConfig:
    """The shapes. Map k has `channels[k]` channels at 4 * 2**k pixels; the image is twice as large as the last map."""

    channels: tuple[int, ...] = (512, 256, 128, 64)
    z_dim: int = 100

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        side = 4 * 2 ** len(self.channels)
        return side, side


class DCGAN(nn.Module):
    """A frozen DCGAN as a `linsem.Generator`; its features are the maps after each ReLU.

    Parameter names are those of the PyTorch tutorial (`main.0.weight`, ...). Batch normalisation uses the running
    statistics, so an image does not depend on its batch.
    """

    def __init__(self, config: DCGANConfig, *, id: str = "", categories: tuple = ()) -> None:
        super().__init__()
        self.config, self.id, self.categories = config, id, categories
        self.size = config.size
        self.z_dim = self.w_dim = config.z_dim
        self.num_ws = 1
        self.layers = tuple(Layer(c, 4 * 2**k, 4 * 2**k, last_w=0) for k, c in enumerate(config.channels))
        self.main = nn.Sequential()
        into = config.z_dim
        for k, out in enumerate(config.channels):
            stride, padding = (1, 0) if k == 0 else (2, 1)
            self.main.append(nn.ConvTranspose2d(into, out, 4, stride, padding, bias=False))
            self.main.append(nn.BatchNorm2d(out))
            self.main.append(nn.ReLU())
            into = out
        self.main.append(nn.ConvTranspose2d(into, 3, 4, 2, 1, bias=False))
        freeze(self)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.main[0].weight.device

    def map(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        """Map z (N, z_dim) to ws (N, 1, z_dim); without a mapping network, `psi` scales z towards its mean, 0."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise InputError(f"z: expected (N, {self.z_dim}), got {tuple(z.shape)}")
        return (psi * z.float())[:, None]

    def synthesize(
        self, ws: torch.Tensor, *, image: bool = True, last_layer: int | None = None
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Turn ws (N, 1, w_dim) into the image (N, 3, H, W) in [-1, 1] and the features; see `linsem.Generator`."""
        if ws.ndim != 3 or ws.shape[1:] != (1, self.w_dim):
            raise InputError(f"ws: expected (N, 1, {self.w_dim}), got {tuple(ws.shape)}")
        last = len(self.layers) - 1 if last_layer is None else last_layer
        if not 0 <= last < len(self.layers):
            raise InputError(f"last_layer: expected 0..{len(self.layers) - 1}, got {last_layer}")
        if image and last < len(self.layers) - 1:
            raise InputError(f"last_layer {last_layer} leaves out layers that the image needs; pass image=False")
        x = ws.float()[:, 0, :, None, None]
        features = []
        for k in range(last + 1):
            x = self.main[3 * k : 3 * k + 3](x)
            features.append(x)
        return (torch.tanh(self.main[-1](x)) if image else None), features


def find_digiface() -> Path | None:
    """The weights file of the installed package, or None if it is not installed.

    Raises InputError for any version but 1.1.1, or if the file is missing.
    """
    try:
        package = metadata.distribution(DIGIFACE_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    if package.version != DIGIFACE_VERSION:
        raise InputError(
            f"{DIGIFACE_ID}: expected {DIGIFACE_PACKAGE} {DIGIFACE_VERSION}, got {package.version}; "
            f"run: {DIGIFACE_INSTALL}"
        )
    path = Path(str(package.locate_file("gan_face_generate/weights.tar")))
    if not path.is_file():
        raise InputError(f"{DIGIFACE_ID}: {DIGIFACE_PACKAGE} is installed without its weights; run: {DIGIFACE_AGAIN}")
    return path


def load_digiface(
    path: str | Path | None = None, *, sha256: str = DIGIFACE_SHA256, config: DCGANConfig | None = None
) -> DCGAN:
    """The frozen `digiface-64`, from its weights file (None: that of the installed package).

    The file is a torch zip with the key `netG_state_dict`. Its sha256 is checked before anything is parsed, on the same
    bytes that are then read with `weights_only=True`. Raises InputError saying what was expected and what was found.
    """
    if path is None:
        path = find_digiface()
        if path is None:
            raise InputError(f"{DIGIFACE_ID}: the package {DIGIFACE_PACKAGE} is not installed; run: {DIGIFACE_INSTALL}")
    state = _read_state(Path(path), sha256)
    network = DCGAN(config or DCGANConfig(), id=DIGIFACE_ID)
    _check_shapes(network, state)
    network.load_state_dict(state, strict=True)
    return network


def check_digiface(path: Path) -> None:
    """Raise InputError unless the file has the expected sha256; an unchanged file is not read again."""
    status = path.stat()
    _check_digest(path.name, _digest(path, status.st_mtime_ns, status.st_size), DIGIFACE_SHA256)


@lru_cache(maxsize=4)
def _digest(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_digest(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(f"{name}: expected sha256 {expected}, got {found}; run: {DIGIFACE_AGAIN}")


def _read_state(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """The generator's state dict from a file, once its sha256 has been checked."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror})") from error
    _check_digest(path.name, hashlib.sha256(data).hexdigest(), sha256)
    try:
        checkpoint = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many types for files that are not its own
        raise InputError(f"{path.name}: expected a torch file of plain tensors ({type(error).__name__})") from error
    state = checkpoint.get("netG_state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path.name}: expected tensors under the key netG_state_dict, found none")
    return state


def _check_shapes(network: DCGAN, state: dict[str, torch.Tensor]) -> None:
    """Check every name and shape before any weight is copied."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise InputError(f"netG_state_dict: {name} is missing")
        if name not in expected:
            raise InputError(f"netG_state_dict: {name} is not a parameter of this DCGAN")
        if tuple(state[name].shape) != expected[name]:
            raise InputError(f"{name}: expected {expected[name]}, got {tuple(state[name].shape)}")
