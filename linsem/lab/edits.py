"""Scripted edits, derived from label maps alone, as by a user who knows what the generator can draw.

Each script names the categories that it repaints and when another image can be a *donor*: to add a hat, an image with a
hat for one without. The target is the donor's label map where either image has those categories; of all donors the one
most similar to the image elsewhere is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from linsem.lab.drawings import BACKGROUND, BROWS, CLOTHES, EYES, FACIAL_HAIR, GLASSES, HAIR, HAT, MOUTH, SKIN
from linsem.pixels import IGNORE

LEAST = 0.002  # the least share of all pixels that an edit must change


@dataclass(frozen=True)
class Facts:
    """The properties of a label map that scripts test.

    The share of the image of each category, and some heights (relative to the image's; 1 is the bottom).
    """

    hair: float
    hair_below: float  # hair below the eyes
    hair_top: float
    hat: float
    glasses: float
    beard: float
    mouth: float
    brow: float  # the height of the brows
    clothes: float
    eyes: float


def facts(labels: np.ndarray) -> Facts | None:
    """The facts of labels (H, W) uint8, or None if there is no face: eyes (or glasses) above a mouth."""
    height = labels.shape[0]
    rows = np.arange(height)[:, None] / height
    share = np.bincount(labels.ravel(), minlength=11) / labels.size
    eyes, mouth = (labels == EYES) | (labels == GLASSES), labels == MOUTH
    if eyes.sum() < 4 or mouth.sum() < 4:
        return None
    level = _mean_row(eyes)
    if _mean_row(mouth) - level < 0.06:
        return None
    hair, brows = labels == HAIR, labels == BROWS
    return Facts(
        hair=share[HAIR],
        hair_below=float((hair & (rows > level)).mean()),
        hair_top=float(np.flatnonzero(hair.any(1))[0] / height) if hair.any() else 1.0,
        hat=share[HAT],
        glasses=share[GLASSES],
        beard=share[FACIAL_HAIR],
        mouth=share[MOUTH],
        brow=_mean_row(brows) if share[BROWS] > 0.002 else float("nan"),
        clothes=share[CLOTHES],
        eyes=level,
    )


def _mean_row(mask: np.ndarray) -> float:
    return float(np.argwhere(mask)[:, 0].mean() / mask.shape[0])


@dataclass(frozen=True)
class Script:
    """The categories that are repainted, and whether a donor (second argument) suits an image (first)."""

    categories: tuple[int, ...]
    serves: Callable[[Facts, Facts], bool]


def _hatless(own: Facts, donor: Facts) -> bool:
    return own.hat == donor.hat == 0


def _shaven(own: Facts, donor: Facts) -> bool:
    return own.beard == donor.beard == 0


_TOP = (HAIR, HAT)  # in the drawings a head has either
SCRIPTS: dict[str, Script] = {
    "longer hair": Script((HAIR,), lambda a, b: _hatless(a, b) and b.hair_below > a.hair_below + 0.03),
    "shorter hair": Script((HAIR,), lambda a, b: _hatless(a, b) and a.hair_below > b.hair_below + 0.03),
    "hat on": Script(_TOP, lambda a, b: a.hat == 0 and b.hat > 0.03),
    "hat off": Script(_TOP, lambda a, b: b.hat == 0 and a.hat > 0.03),
    "glasses on": Script((GLASSES,), lambda a, b: a.glasses == 0 and b.glasses > 0.005),
    "glasses off": Script((GLASSES,), lambda a, b: b.glasses == 0 and a.glasses > 0.005),
    "open mouth": Script((MOUTH,), lambda a, b: _shaven(a, b) and b.mouth > 1.5 * a.mouth),
    "close mouth": Script((MOUTH,), lambda a, b: _shaven(a, b) and a.mouth > 1.5 * b.mouth),
    "raise brows": Script((BROWS,), lambda a, b: b.brow - b.eyes < a.brow - a.eyes - 0.012),
    "more clothing": Script((CLOTHES,), lambda a, b: b.clothes > a.clothes + 0.015),
    "less clothing": Script((CLOTHES,), lambda a, b: a.clothes > b.clothes + 0.015),
    "beard on": Script((FACIAL_HAIR,), lambda a, b: a.beard == 0 and b.beard > 0.005),
    "beard off": Script((FACIAL_HAIR,), lambda a, b: b.beard == 0 and a.beard > 0.005),
    "less hair on top": Script((HAIR,), lambda a, b: _hatless(a, b) and b.hair_top > a.hair_top + 0.04),
}
_SURE = (BACKGROUND, SKIN, CLOTHES, HAIR)  # what a user would paint where a category is removed


Known = tuple[np.ndarray, "Facts | None"]


def known(labels: np.ndarray) -> Known:
    """A label map with its facts."""
    return labels, facts(labels)


def wish(script: Script, image: Known, donors: Sequence[Known]) -> np.ndarray | None:
    """The target (H, W) uint8, 255 = no wish, or None if the script does not fit the image or has no donor."""
    labels, own = image
    if own is None:
        return None
    best, most = None, -1.0
    for donor, theirs in donors:
        if theirs is None or not script.serves(own, theirs):
            continue
        painted = np.isin(donor, script.categories)
        zone = painted | np.isin(labels, script.categories)
        alike = float((labels == donor)[~zone].mean())
        asked = zone & (painted | np.isin(donor, _SURE))
        if alike > most and (asked & (labels != donor)).mean() >= LEAST:
            best, most = np.where(asked, donor, IGNORE).astype(np.uint8), alike
    return best


def scripted(label_maps: Sequence[tuple[int, np.ndarray]], count: int) -> list[tuple[int, str, np.ndarray]]:
    """`count` edits as (image seed, name, target); the scripts alternate, each on the next image that it fits.

    The donors are all the other images.
    """
    edits: list[tuple[int, str, np.ndarray]] = []
    images = [known(labels) for _, labels in label_maps]
    waiting = list(SCRIPTS)
    for position, (image_seed, _) in enumerate(label_maps):
        donors = images[:position] + images[position + 1 :]
        for name in waiting:
            target = wish(SCRIPTS[name], images[position], donors)
            if target is not None:
                edits.append((image_seed, name, target))
                waiting.remove(name)
                break
        waiting = waiting or list(SCRIPTS)
        if len(edits) == count:
            return edits
    raise ValueError(f"scripted: only {len(edits)} of {count} edits fit the images given")
