"""The same layout with another look: the colours of another seed's categories, and then its later styles.

The latent loop is given the colours as a further wish: each category of the layout shall have the colour that it has in
the seed's image. What follows is style mixing (Karras et al., CVPR 2019): a generator determines layout in its coarse
layers, then colours and textures. The layer from which another seed's styles leave the layout unchanged differs from
image to image, so it is searched for each image, by the extractor's labels; some generators allow hardly any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from linsem.arguments import whole_number
from linsem.extractor import Extractor
from linsem.generator import Generator, batches, checked_pass, fitting, mapped
from linsem.pixels import IGNORE, to_rgb
from linsem.seeds import MAX_SEED
from linsem.wish import SteerError, category_weight

GIVEN_UP = 0.03  # of the score: the most that may be lost for another look
COLOR = 1.5  # the weight of the colours in the loop, where agreement weighs 1
SEEN = 0.002  # of the seed's image: a category that covers less of it has no colour to take

Score = Callable[[np.ndarray], float]
Drawn = tuple[torch.Tensor, torch.Tensor, np.ndarray]


def check_look(look: int | None) -> None:
    """Raise `SteerError` if a look is given that is no seed."""
    if look is not None:
        if isinstance(look, bool):
            raise SteerError(f"look: expected a whole number in 0..{MAX_SEED}, got {look}")
        whole_number("look", look, 0, MAX_SEED, error=SteerError)


@torch.no_grad()
def color_wish(
    generator: Generator, extractor: Extractor, look: int, psi: float, layout: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The colours that a layout (H, W) takes from a seed: (H, W, 3) uint8, and how much each pixel counts (H, W).

    Medians, since a mean of a part and its shade is a colour that neither has. A category that the seed does not show
    is free.
    """
    _, image, labels = _labelled(generator, extractor, mapped(generator, [look], psi))
    rgb, shown = to_rgb(image)[0], np.bincount(labels[0].ravel(), minlength=256) >= SEEN * labels[0].size
    colors = np.zeros((256, 3), np.uint8)
    for k in np.flatnonzero(shown):
        colors[k] = np.median(rgb[labels[0] == k], axis=0).round()
    return colors[layout], category_weight(np.where(shown[layout], layout, IGNORE).astype(np.uint8))


@torch.no_grad()
def with_look(
    generator: Generator, extractor: Extractor, ws: torch.Tensor, look: int, psi: float, score: Score,
    least: Sequence[float],
) -> Iterator[Drawn]:  # fmt: skip
    """Replace as many of the later styles of ws (N, num_ws, w_dim) by the seed's as each image allows.

    Yields ws, images, and labels (N, H, W): as they are, and after each style. Styles are replaced from the last one
    down until the score of an image would fall below its `least`; an image that allows none is unchanged.
    """
    other = mapped(generator, [look], psi)[0].to(ws)
    now, images, labels = _labelled(generator, extractor, ws)
    yield now, images, labels
    going = list(range(len(ws)))
    for first in range(generator.num_ws - 1, 0, -1):
        mixed = now[going].clone()
        mixed[:, first] = other[first]
        found = _labelled(generator, extractor, mixed)
        bears = [k for k, i in enumerate(going) if score(found[2][k]) >= least[i]]
        going = [going[k] for k in bears]
        if not going:
            return
        now, images, labels = now.clone(), images.clone(), labels.copy()  # what was yielded stays as it is
        now[going], images[going], labels[going] = found[0][bears], found[1][bears], found[2][bears]
        yield now, images, labels


def _labelled(generator: Generator, extractor: Extractor, ws: torch.Tensor) -> Drawn:
    """A copy of ws with its images and labels, in as many passes as memory requires."""
    rows = []
    for part in batches(len(ws), fitting(generator, len(ws))):
        image, features = checked_pass(generator, ws[part])
        rows.append((image, extractor.predict(features, tuple(generator.size))))
    images, labels = zip(*rows, strict=True)
    return ws.clone(), torch.cat(images), np.concatenate(labels)
