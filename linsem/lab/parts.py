"""Part sanity: whether the parts in a label map are arranged as in a face, by one rule per part.

The rules use only the positions of the categories of `linsem.lab.drawings`, not the image. A pass rate means little by
itself (drawings wink, wear shades or hide an eye under the hair, and the teacher errs): compare it with the pass rate
of drawings under the same teacher.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from linsem.lab import drawings

_FACE = (drawings.SKIN, drawings.EYES, drawings.BROWS, drawings.NOSE, drawings.MOUTH, drawings.FACIAL_HAIR,
         drawings.GLASSES)  # fmt: skip
_INNER = (drawings.EYES, drawings.NOSE, drawings.MOUTH)
_SPECK = 3 / 128**2  # share of the image; smaller pieces are noise


@dataclass(frozen=True)
class Parts:
    """Which images pass each rule, (N,) bool each."""

    face: torch.Tensor
    eyes: torch.Tensor
    mouth: torch.Tensor
    hair: torch.Tensor
    clothes: torch.Tensor

    @property
    def sane(self) -> torch.Tensor:
        """(N,) bool: all rules are passed."""
        return torch.stack([getattr(self, field.name) for field in fields(self)]).all(dim=0)


def parts(labels: torch.Tensor) -> Parts:
    """Evaluate the rules on label maps (N, H, W) of the drawings' categories.

    - *face*: one piece of skin and what lies on it has nearly all of the eyes, nose and mouth, and 3 % of the image.
    - *eyes*: two pieces of like height; or glasses or shades on the face above the mouth, which may hide one or both.
    - *mouth*: one piece, lower than eyes and nose.
    - *hair*: hair or hat, 0.3 % of the image, reaching higher than the eyes, its middle not far below the mouth.
    - *clothes*: 1 % of the image (long hair may hide them), their middle below the mouth's.
    """
    skin_and_on_it = _mask(labels, _FACE)
    mouth = _mask(labels, (drawings.MOUTH,))
    hair = _mask(labels, (drawings.HAIR, drawings.HAT))
    clothes = _mask(labels, (drawings.CLOTHES,))
    inner = _mask(labels, _INNER)
    mouth_row = _middle(mouth)
    face, whole = _one_holds(skin_and_on_it, inner)
    return Parts(
        face=whole & (_share(inner) > _SPECK),
        eyes=_two_eyes(labels) | _glasses_on(labels, face, mouth_row),
        mouth=(_count(_thick(mouth)) == 1) & (_share(mouth) > _SPECK) & (mouth_row > _middle(inner & ~mouth)),
        hair=(_share(hair) > 0.003) & (_top(hair) < _top(inner)) & (_middle(hair) < mouth_row + 0.1),
        clothes=(_share(clothes) > 0.01) & (_middle(clothes) > mouth_row + 0.05),
    )


def pieces(mask: torch.Tensor) -> torch.Tensor:
    """Label 8-connected components: (N, H, W) bool to int64, 0 outside and one positive number per piece.

    The largest number of a piece spreads along whole runs of a row, then of a column, then to diagonal neighbours.
    """
    _, height, width = mask.shape
    own = torch.arange(1, height * width + 1, device=mask.device, dtype=torch.float32).reshape(1, height, width)
    current, rows, columns = own * mask, _runs(mask), _runs(mask.mT)
    while True:
        grown = _spread_in_runs(current, rows)
        grown = _spread_in_runs(grown.mT, columns).mT
        grown = F.max_pool2d(grown[:, None], 3, 1, 1)[:, 0] * mask
        if torch.equal(grown, current):
            return current.long()
        current = grown


def _runs(mask: torch.Tensor) -> torch.Tensor:
    """(N, H, W) int64 identifiers of runs: they change wherever a row of the mask does, and between rows."""
    start = torch.ones_like(mask)
    start[..., 1:] = mask[..., 1:] != mask[..., :-1]
    return (start.flatten().cumsum(0) - 1).reshape(mask.shape)


def _spread_in_runs(values: torch.Tensor, runs: torch.Tensor) -> torch.Tensor:
    """Replace every value by the largest of its run."""
    best = values.new_zeros(int(runs.flatten()[-1]) + 1)
    best.scatter_reduce_(0, runs.flatten(), values.flatten(), "amax")
    return best[runs]


def _mask(labels: torch.Tensor, categories: tuple[int, ...]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(categories, dtype=labels.dtype, device=labels.device))


def _share(mask: torch.Tensor) -> torch.Tensor:
    return mask.double().mean(dim=(1, 2))


def _thick(mask: torch.Tensor) -> torch.Tensor:
    """Dilate by one pixel at 128 px, so that gaps of a pixel or two do not divide a piece."""
    reach = max(1, mask.shape[-1] // 128)
    return F.max_pool2d(mask.float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0


def _areas(mask: torch.Tensor) -> torch.Tensor:
    """(N, H W + 1): the share of the image that each piece covers, indexed by its number."""
    numbers = pieces(mask).flatten(1)
    counts = numbers.new_zeros(len(mask), mask[0].numel() + 1).scatter_add_(1, numbers, torch.ones_like(numbers))
    counts[:, 0] = 0
    return counts.double() / mask[0].numel()


def _count(mask: torch.Tensor) -> torch.Tensor:
    """(N,): the number of pieces larger than a speck (after `_thick`, a speck is at least 3 x 3)."""
    return (_areas(mask) > 4 * _SPECK).sum(dim=1)


def _one_holds(mask: torch.Tensor, inner: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The piece of `mask` with most of `inner`; and whether it has 90 % of it and covers 3 % of the image."""
    numbers = pieces(mask).flatten(1)
    inside = numbers.new_zeros(len(mask), mask[0].numel() + 1).scatter_add_(1, numbers, inner.flatten(1).long())
    most, where = inside.max(dim=1)
    area = _areas(mask).gather(1, where[:, None])[:, 0]
    piece = (numbers == where[:, None]).view_as(mask) & mask
    return piece, (most >= 0.9 * inner.flatten(1).sum(dim=1)) & (area > 0.03)


def _two_eyes(labels: torch.Tensor) -> torch.Tensor:
    """Whether there are two pieces side by side."""
    eyes = _mask(labels, (drawings.EYES,))
    return (_count(_thick(eyes)) == 2) & (_spread(eyes, dim=1) < 0.5 * _spread(eyes, dim=2))


def _glasses_on(labels: torch.Tensor, face: torch.Tensor, mouth_row: torch.Tensor) -> torch.Tensor:
    """Whether glasses are worn: above the mouth, on the face's piece, covering 2 % of the image."""
    glasses = _mask(labels, (drawings.GLASSES,))
    worn = (glasses & face).flatten(1).sum(dim=1) >= 0.8 * glasses.flatten(1).sum(dim=1)
    return worn & (_share(glasses) > 0.02) & (_middle(glasses) < mouth_row)


def _positions(mask: torch.Tensor, dim: int) -> torch.Tensor:
    """Rows (dim 1) or columns (dim 2) as a share of the image, in the mask's shape."""
    length = mask.shape[dim]
    shape = [1, 1, 1]
    shape[dim] = length
    return ((torch.arange(length, device=mask.device) + 0.5) / length).double().reshape(shape).expand_as(mask)


def _middle(mask: torch.Tensor) -> torch.Tensor:
    """(N,): the mean row as a share of the height, 0 at the top; nan for an empty mask."""
    return (_positions(mask, 1) * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))


def _top(mask: torch.Tensor) -> torch.Tensor:
    """(N,): the highest row as a share of the height; 1 for an empty mask."""
    return torch.where(mask, _positions(mask, 1), 1.0).amin(dim=(1, 2))


def _spread(mask: torch.Tensor, dim: int) -> torch.Tensor:
    """(N,): the standard deviation of rows (dim 1) or columns (dim 2); nan for an empty mask."""
    x, weight = _positions(mask, dim), mask.sum(dim=(1, 2))
    mean = (x * mask).sum(dim=(1, 2)) / weight
    return (((x - mean[:, None, None]) ** 2 * mask).sum(dim=(1, 2)) / weight).sqrt()
