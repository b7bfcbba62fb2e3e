"""Teachers from the Hub: SegFormer networks that label images of real generators, as the paper's teachers did.

Xu & Zheng (CVPR 2021, section 5.1) merge CelebAMask-HQ's 19 labels into 15 for faces. For scenes they take, from
ADE20K's 150, the categories that a generator was found to draw; everything else is background: a pixel is background if
and only if the logits of all chosen categories are below 0. Here both are SegFormer (Xie et al., NeurIPS 2021) through
`transformers`, an optional extra. Weights are safetensors obtained through `linsem.hub`, so they are verified,
resumable and usable offline; a repository's code is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from linsem.categories import Category, parse_categories
from linsem.device import device_of
from linsem.errors import InputError
from linsem.generators import FACE, GENERATORS
from linsem.teacher import FrozenTeacher, check_floats
from linsem.transfer import Progress

INSTALL = "pip install transformers"
BACKGROUND = "background"
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as in SegFormer's training
_STD = (0.229, 0.224, 0.225)
# The labels of CelebAMask-HQ merged into each of the 15 face categories.
FACE_LABELS: dict[str, tuple[str, ...]] = {
    "background": ("background",), "skin": ("skin",), "nose": ("nose",), "eyeglasses": ("eye_g",),
    "eye": ("l_eye", "r_eye"), "brow": ("l_brow", "r_brow"), "ear": ("l_ear", "r_ear"), "mouth": ("mouth",),
    "upper lip": ("u_lip",), "lower lip": ("l_lip",), "hair": ("hair",), "hat": ("hat",), "earrings": ("ear_r",),
    "neck": ("neck", "neck_l"), "cloth": ("cloth",),
}  # fmt: skip
_SCENE_NAMES = {"chest": "chest of drawers"}  # the paper's short names for ADE20K's labels


class HubTeacherError(InputError):
    """A teacher that is not available or does not fit; the message says what to do."""


@dataclass(frozen=True)
class TeacherSpec:
    """A segmentation network on the Hub. `size` is the longer side, in pixels, of the images it is given."""

    repo: str
    revision: str
    size: int
    licence: str


TEACHERS: dict[str, TeacherSpec] = {
    "faces": TeacherSpec(
        "jonathandinu/face-parsing", "main", 512, "backbone: NVIDIA SegFormer (non-commercial); CelebAMask-HQ: research"
    ),
    # Its weights exist as safetensors only in a pull request.
    "scenes": TeacherSpec(
        "nvidia/segformer-b5-finetuned-ade-640-640", "refs/pr/3", 640, "NVIDIA SegFormer (non-commercial)"
    ),
    "scenes-small": TeacherSpec(
        "nvidia/segformer-b0-finetuned-ade-512-512", "main", 512, "NVIDIA SegFormer (non-commercial)"
    ),
}


class HubTeacher(FrozenTeacher):
    """A frozen SegFormer with merged categories; the same interface as `linsem.teacher.Teacher`.

    `groups[k]` are the network's labels that make up category k. The logit of a category is the maximum over its group,
    so that the argmax of the merged logits is the merged label. A background (category 0) without a group has logit 0.
    """

    def __init__(
        self, network: Any, categories: Sequence[Category], groups: Sequence[Sequence[int]], size: int = 512
    ) -> None:
        if len(groups) != len(categories) or not all(groups[1:]):
            raise HubTeacherError(f"groups: expected labels for each of {len(categories)} categories, got {groups}")
        super().__init__(network, categories)
        self.groups = tuple(tuple(group) for group in groups)
        self.size = size

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) float32 of images (N, 3, H, W), clamped to [-1, 1]; differentiable in the image."""
        own = self.network(pixel_values=self._shown(image)).logits
        own = F.interpolate(own.float(), size=image.shape[2:], mode="bilinear", align_corners=False)
        merged = [own[:, list(group)].amax(dim=1) if group else torch.zeros_like(own[:, 0]) for group in self.groups]
        return torch.stack(merged, dim=1)

    @torch.no_grad()
    def features(self, image: torch.Tensor) -> torch.Tensor:
        """The deepest feature map averaged over its positions, (N, D) float32."""
        return self.network.segformer(pixel_values=self._shown(image)).last_hidden_state.float().mean(dim=(2, 3))

    def _shown(self, image: torch.Tensor) -> torch.Tensor:
        """Preprocess as in training: the longer side `size`, ImageNet's mean and standard deviation."""
        check_floats(image)
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < 1:
            raise InputError(f"image: expected (N, 3, H, W), got {tuple(image.shape)}")
        image = image.to(self.device).float().clamp(-1, 1)
        scale = self.size / max(image.shape[2:])
        if scale != 1:
            size = [max(32, round(side * scale)) for side in image.shape[2:]]
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=scale < 1)
        mean, std = (image.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        return ((image + 1) / 2 - mean) / std


def load_hub_teacher(
    categories: str | Sequence[Category],
    *,
    name: str | None = None,
    device: torch.device | str = "cpu",
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> HubTeacher:
    """The teacher of a generator of the zoo (by its id), or of a list of categories.

    The 15 face categories get the face parser; names known to ADE20K, after a background, the scene parser. `name` (a
    key of `TEACHERS`) overrides the choice. Raises `HubTeacherError`.
    """
    wanted, place = _wanted(categories), device_of(str(device))
    name = name or ("faces" if [c.name for c in wanted] == [c.name for c in FACE] else "scenes")
    if name not in TEACHERS:
        raise HubTeacherError(f"name: expected one of {', '.join(TEACHERS)}, got {name!r}")
    network = load_segformer(TEACHERS[name], endpoint=endpoint, progress=progress)
    labels = [str(network.config.id2label[i]) for i in range(network.config.num_labels)]
    groups = face_groups(wanted, labels) if name == "faces" else scene_groups(wanted, labels)
    return HubTeacher(network, wanted, groups, TEACHERS[name].size).to(place)


def load_segformer(spec: TeacherSpec, *, endpoint: str | None = None, progress: Progress | None = None) -> Any:
    """Load the network of a spec, complete and from safetensors only; raises `HubTeacherError`."""
    try:
        from transformers import SegformerForSemanticSegmentation
    except ImportError as error:
        raise HubTeacherError(f"teachers from the Hub need the optional package transformers: {INSTALL}") from error
    from linsem import hub  # imported here: a local teacher needs no Hub client

    try:
        files = [
            hub.download(hub.HubFile(spec.repo, file, spec.revision), endpoint=endpoint, progress=progress)
            for file in ("config.json", "model.safetensors")
        ]
    except hub.HubError as error:
        raise HubTeacherError(str(error)) from error
    _check_config(files[0], spec)
    if files[0].parent != files[1].parent:
        raise HubTeacherError(f"{spec.repo} changed during the download: try again")
    try:
        network, report = SegformerForSemanticSegmentation.from_pretrained(
            files[0].parent, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises many exceptions
        raise HubTeacherError(f"{spec.repo} is no SegFormer: {' '.join(str(error).split())[:200]}") from error
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:
        raise HubTeacherError(f"{spec.repo}: weights are missing or of another shape: {str(wrong[:3])[:200]}")
    return network


def face_groups(categories: Sequence[Category], labels: Sequence[str]) -> list[tuple[int, ...]]:
    """For each of the paper's face categories, the labels of CelebAMask-HQ merged into it, found by name."""
    index = {label: i for i, label in enumerate(labels)}
    known = {label for group in FACE_LABELS.values() for label in group}
    if set(index) != known:
        raise HubTeacherError(f"expected the labels {sorted(known)}, got {sorted(index)[:25]}")
    unknown = [c.name for c in categories if c.name not in FACE_LABELS]
    if unknown:
        raise HubTeacherError(f"categories: no face label for {unknown[:5]}, expected some of {list(FACE_LABELS)}")
    return [tuple(index[label] for label in FACE_LABELS[c.name]) for c in categories]


def scene_groups(categories: Sequence[Category], labels: Sequence[str]) -> list[tuple[int, ...]]:
    """For each category its label in ADE20K, matched by the first synonym; () for the leading background."""
    if not categories or categories[0].name != BACKGROUND:
        raise HubTeacherError(f"categories: expected {BACKGROUND!r} first, got {[c.name for c in categories][:3]}")
    first = [re.split("[,;]", label)[0].strip().lower() for label in labels]
    groups: list[tuple[int, ...]] = [()]
    for category in categories[1:]:
        name = _SCENE_NAMES.get(category.name, category.name).lower()
        found = tuple(i for i, label in enumerate(first) if label == name)
        if len(found) != 1:
            raise HubTeacherError(f"categories: {category.name!r} is {len(found)} labels of ADE20K, expected one")
        groups.append(found)
    return groups


def _wanted(categories: str | Sequence[Category]) -> tuple[Category, ...]:
    if isinstance(categories, str):
        if categories not in GENERATORS:
            raise HubTeacherError(f"expected a generator of the zoo or a list of categories, got {categories[:80]!r}")
        return GENERATORS[categories].categories
    return parse_categories(list(categories))


def _check_config(path: Path, spec: TeacherSpec) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise HubTeacherError(f"{spec.repo}: its config.json does not describe a network") from error
    if kind != "segformer":
        raise HubTeacherError(f"{spec.repo}: expected a SegFormer, got {str(kind)[:60]!r}")
