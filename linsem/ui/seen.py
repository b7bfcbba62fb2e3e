"""What the accelerator has shown, kept on the server: on ZeroGPU each job requests a GPU and costs a visitor's seconds.

A worker's own caches (`linsem.looks`) are out of the server's sight there, and end with the worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from linsem.bank import add_tensors
from linsem.extractor import Extractor
from linsem.frames import Reading
from linsem.recent import Recent

CHOICE_BYTES = 64  # what a choice counts as


class Seen:
    """Images by latent, readings by latent and extractor, and choices among images; each within `bytes_limit`."""

    def __init__(self, bytes_limit: int) -> None:
        self._images: Recent[np.ndarray] = Recent(bytes_limit)
        self._readings: Recent[Reading] = Recent(bytes_limit)
        self._choices: Recent[tuple[int | None]] = Recent(min(bytes_limit, 1 << 20))

    def keep_images(self, model: str, ws: Sequence[np.ndarray], rgb: np.ndarray) -> None:
        """Keep the images rgb (N, H, W, 3) of ws (N, num_ws, w_dim)."""
        for one, image in zip(ws, rgb, strict=True):
            self._images.keep(_key(model, one), image.copy(), image.nbytes)

    def images(self, model: str, ws: Sequence[np.ndarray]) -> np.ndarray | None:
        """The images (N, H, W, 3) of ws, if all are here."""
        found = [self._images.find(_key(model, one)) for one in ws]
        return np.stack(found) if found and all(each is not None for each in found) else None

    def keep_reading(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray], reading: Reading) -> None:
        """Keep what the extractor finds in the images of ws, and the images."""
        self.keep_images(model, ws, reading.rgb)
        reader = _digest(extractor)
        for i, one in enumerate(ws):
            each = Reading(reading.rgb[i].copy(), reading.labels[i].copy(), reading.uncertainty[i].copy())
            size = each.rgb.nbytes + each.labels.nbytes + each.uncertainty.nbytes
            self._readings.keep(_key(model, one, reader), each, size)

    def reading(self, model: str, extractor: Extractor, ws: Sequence[np.ndarray]) -> Reading | None:
        """What the extractor finds in the images of ws, if all are here."""
        reader = _digest(extractor)
        found = [self._readings.find(_key(model, one, reader)) for one in ws]
        if not found or any(each is None for each in found):
            return None
        columns = zip(*((each.rgb, each.labels, each.uncertainty) for each in found), strict=True)
        return Reading(*map(np.stack, columns))

    def keep_choice(self, model: str, ws: Sequence[np.ndarray], labelled: Sequence[int], choice: int | None) -> None:
        """Keep which of the images is to be labelled next, which no extractor has a say in."""
        self._choices.keep(_choice_key(model, ws, labelled), (choice,), CHOICE_BYTES)

    def choice(self, model: str, ws: Sequence[np.ndarray], labelled: Sequence[int]) -> tuple[int | None] | None:
        """Which of the images is to be labelled next, as a tuple of one, if that is here."""
        return self._choices.find(_choice_key(model, ws, labelled))


def _key(model: str, ws: np.ndarray, reader: bytes = b"") -> bytes:
    ws = np.ascontiguousarray(ws, np.float32)
    return hashlib.sha256(f"{model} {ws.shape} ".encode() + reader + ws.tobytes()).digest()


def _choice_key(model: str, ws: Sequence[np.ndarray], labelled: Sequence[int]) -> bytes:
    images = b"".join(_key(model, one) for one in ws)
    return hashlib.sha256(images + repr(sorted(map(int, labelled))).encode()).digest()


def _digest(extractor: Extractor) -> bytes:
    """A digest of all that determines what an extractor finds."""
    plain = (extractor.kind, extractor.layers, extractor.least, extractor.temperature, extractor.size)
    digest = hashlib.sha256(repr(plain).encode())
    add_tensors(digest, extractor.weights)
    return digest.digest()
