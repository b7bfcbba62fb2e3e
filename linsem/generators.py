"""The rows of the zoo: the known generators, where their weights are available, and under which terms.

`GENERATORS` is a plain dict of frozen specs, loaded by `linsem.zoo`. The shipped generators come first, then the nine
networks of the paper (Xu & Zheng, CVPR 2021, section 5) with the categories of its teacher networks, then other
networks of the same families on the Hub. Weights are pinned to a commit and, where known, a sha256. A row without a
commit follows the repository's main branch; without a sha256, its file is checked against the hash that the Hub states.
The terms of the original release apply, whatever licence a re-upload claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from linsem.categories import Category, parse_categories
from linsem.dcgan import DIGIFACE_ID, DIGIFACE_INSTALL, DIGIFACE_SHA256


@dataclass(frozen=True)
class GeneratorSpec:
    """One generator; at most one of `asset`, `package`, `repo` and `path` says where its file is.

    `resolution` is the height of the image. `commit` None means the main branch, `sha256` None the Hub's own hash.
    `psi` is the truncation that the authors use, shown on the card of a published extractor; the page and the API
    default to 0.7 for all generators, on all styles.
    `help` is a sentence for users who cannot load it: how to get it, or how to use a file of their own.
    """

    id: str
    family: str
    resolution: int
    categories: tuple[Category, ...]
    source: str
    licence: str
    asset: str | None = None
    package: str | None = None
    path: str | None = None
    repo: str | None = None
    repo_type: str = "model"
    file: str | None = None
    commit: str | None = None
    sha256: str | None = None
    size: int | None = None
    psi: float = 0.7
    c_dim: int = 0
    help: str = ""

    @property
    def has_file(self) -> bool:
        """Whether the row says where the weights are."""
        return any((self.asset, self.package, self.path, self.repo))


NVIDIA_NC = "NVIDIA Source Code License-NC (non-commercial)"
CC_BY_NC = "CC BY-NC 4.0 (non-commercial)"
SHIPPED = (128, 64)  # resolutions of the avatars with weights in assets/, the default first
_AVATARS = "MIT (the artwork it was trained on: Avataaars by Pablo Stanley, free for personal and commercial use)"


def _named(names: str) -> tuple[Category, ...]:
    """The categories of "a, b, c", after a background."""
    return parse_categories(["background", *names.split(", ")])


AVATAR = (  # distinct from each other and, at half opacity, from the pastel drawings; most vivid for small parts
    Category("background", "#8a94a6"), Category("skin", "#ffb870"), Category("hair", "#6a1fb0"),
    Category("hat", "#e0218a"), Category("eyes", "#00a8f0"), Category("brows", "#14532d"),
    Category("nose", "#22c55e"), Category("mouth", "#e02f20"), Category("facial hair", "#8b4a12"),
    Category("glasses", "#ffe600"), Category("clothes", "#2340c8"),
)  # fmt: skip
FACE = _named("skin, nose, eyeglasses, eye, brow, ear, mouth, upper lip, lower lip, hair, hat, earrings, neck, cloth")
_BED = "wall, floor, ceiling, bed, windowpane, table, curtain, "
STYLEGAN2_BEDROOM = _named(_BED + "painting, lamp, cushion, pillow, flower, light, chandelier, fan, clock")
STYLEGAN_BEDROOM = _named(
    _BED + "chair, painting, rug, wardrobe, lamp, cushion, chest, pillow, flower, light, chandelier, fan"
)
PGGAN_BEDROOM = _named(_BED + "painting, lamp, pillow, light, chandelier, fan")
STYLEGAN2_CHURCH = _named("building, sky, tree, road, grass, sidewalk, person, earth, plant, car, stairs")
STYLEGAN_CHURCH = _named("building, sky, tree, road, grass, sidewalk, person, plant, signboard, path")
PGGAN_CHURCH = _named("building, sky, tree, road, grass, signboard")
# Domains for which the paper has no list get a short one, as a starting point.
_ANIMAL_FACE = _named("fur, ear, eye, nose, mouth")
_ANIMAL = _named("head, body, leg, tail")
_CAR = _named("body, window, wheel, light, plate")
_HUMAN = _named("skin, hair, top, trousers, dress, shoe")
_DRAWN_FACE = _named("skin, hair, eye, mouth, clothes")
_BIKE = _named("frame, wheel, saddle, rider")
_LAND = _named("sky, mountain, tree, grass, water, building")
_TISSUE = _named("tissue, nucleus")
_OBJECT = _named("object")

_OWN_FILE = (
    'Then, or with one trained by yourself: load_generator("/path/to/file"), or LINSEM_MODELS="{id}=/path/to/file" for '
    "the categories of this row too."
)


def _shipped() -> Iterator[GeneratorSpec]:
    text = "Trained by this project on avatar drawings, see linsem.lab.train."
    for size in SHIPPED:
        yield GeneratorSpec(
            f"avatars-{size}", "stylegan2", size, AVATAR, text, _AVATARS, asset=f"avatars-{size}.safetensors",
            help="It is part of the repository: get the file again, or set LINSEM_ASSETS.",
        )  # fmt: skip
    yield GeneratorSpec(
        DIGIFACE_ID, "dcgan", 64, _named("skin, hair, eyes, mouth, clothes"),
        "The PyPI package gan-face-generate 1.1.1, trained by its author on Microsoft's DigiFace-1M.",
        "MIT (weights); DigiFace-1M: non-commercial research", package="gan-face-generate",
        file="gan_face_generate/weights.tar", sha256=DIGIFACE_SHA256, size=14_322_251, psi=1.0,
        help=f"Install it ({DIGIFACE_INSTALL})",
    )  # fmt: skip


_PKL = {"repo": "ZeqiangLai/StyleGAN2-pkl", "commit": "422f40439ddaa6d041cf698347f08e9bdf9f6036"}
_PT = {"repo": "ZeqiangLai/StyleGAN2", "commit": "bb4e00dc8ac0afbb9e0a5b6f72754c679673ee2e"}
_PKL_SHA256 = {
    "ffhq": "adf127ea7bb8a7788c8bdeda3c9937f7310b669b09ecf799ca53a631ff46948d",
    "church": "4090c5f83b44b83475c84864188aa39a0fb72694492302b7e6af36aad0d18104",
    "car": "e1618eee2b3ce87c4a3849442f7850ef12a478556bff035c8e09ee7e23b3794c",
    "cat": "08940fd616cfaf6bc7b0286b5d1a0b3f70febb26e136d64716c8d3f5e9bd3883",
    "horse": "cbc73372c7d82d095913ca8b4b9f170560777175bd7c3b8a75dd55d70807f32b",
}
_PKL_SIZE = {
    "ffhq": 381_673_535, "church": 357_418_027, "car": 364_027_523, "cat": 357_418_027, "horse": 357_418_027
}  # fmt: skip
_PT_SHA256 = {
    "ffhq": "646c7e7c5e3fc4cf8e83dcfe5dce505cc74b61d8982c09563932aa15c4baf18c",
    "church": "596f59f0ab72d3d5e821846dbf53fff0406c0103ff4fa46ae0a2508d80b3a2d0",
    "car": "c69f161fd576801027cbaa8b09142b5dd9f508034b2d0f4a2a0cdcbc1d587c9c",
    "cat": "ff1036877c8964ba7c9e84316e67ea26bea64bbfcf6bd6c645f45589d248727f",
    "horse": "894bc6a08a6bbe4c22bf91195dd4fdd4ee7f6859e06ce3517e7b3bfa9a8b2565",
}
_PT_SIZE = {
    "ffhq": 132_717_355, "church": 120_878_283, "car": 123_949_595, "cat": 120_878_283, "horse": 120_878_283
}  # fmt: skip


def _stylegan2(name: str, resolution: int, categories: tuple[Category, ...]) -> GeneratorSpec:
    return GeneratorSpec(
        f"stylegan2-{name}", "stylegan2", resolution, categories, "StyleGAN2 config-f (Karras et al., CVPR 2020).",
        NVIDIA_NC, **_PKL, file=f"stylegan2/stylegan2-{name}-config-f.pkl", sha256=_PKL_SHA256[name],
        size=_PKL_SIZE[name], psi=0.5,
    )  # fmt: skip


def _elsewhere(
    id: str, resolution: int, categories: tuple[Category, ...], source: str, where: str, **more: object
) -> GeneratorSpec:
    """A row whose weights are not on the Hub; `where` says where they may be available."""
    licence = more.pop("licence", CC_BY_NC)
    text = f"{where} {_OWN_FILE.format(id=id)}"
    return GeneratorSpec(id, id.split("-")[0], resolution, categories, source, licence, help=text, **more)


def _paper() -> Iterator[GeneratorSpec]:
    """The nine networks of the paper, with psi as in its experiments (0.5 StyleGAN2, 0.7 StyleGAN, none PGGAN)."""
    yield _stylegan2("ffhq", 1024, FACE)
    gone = (
        "It is no longer published where it was; the pretrained networks that github.com/AtlantixJJ/LinearGAN links to "
        "may still hold it."
    )
    drive = "It is not on the Hub: the Google Drive folder that github.com/{} links to has it as {}."
    yield _elsewhere(
        "stylegan2-bedroom", 256, STYLEGAN2_BEDROOM, "StyleGAN2, trained for the paper (not by NVIDIA).",
        gone + " diffusion-stylegan2-bedroom is another network of the same family and data.", licence=NVIDIA_NC,
        psi=0.5,
    )  # fmt: skip
    yield _stylegan2("church", 256, STYLEGAN2_CHURCH)
    text = "StyleGAN (Karras et al., CVPR 2019)."
    yield _elsewhere(
        "stylegan-celebahq", 1024, FACE, text,
        drive.format("NVlabs/stylegan", "karras2019stylegan-celebahq-1024x1024.pkl"),
    )  # fmt: skip
    yield _elsewhere(
        "stylegan-bedroom", 256, STYLEGAN_BEDROOM, text,
        drive.format("NVlabs/stylegan", "karras2019stylegan-bedrooms-256x256.pkl"),
    )  # fmt: skip
    yield _elsewhere("stylegan-church", 256, STYLEGAN_CHURCH, "StyleGAN, trained by GenForce.", gone)
    text = "Progressive GAN (Karras et al., ICLR 2018)."
    yield GeneratorSpec(
        "pggan-celebahq", "pggan", 1024, FACE, text, CC_BY_NC, repo="huggan/pggan-celebahq-1024",
        file="pytorch_model.bin", commit="278449f8416d38a0233c980774528d32c4eee99c", psi=1.0,
    )  # fmt: skip
    for name, categories, file in (("bedroom", PGGAN_BEDROOM, "bedroom"), ("church", PGGAN_CHURCH, "churchoutdoor")):
        place = drive.format("tkarras/progressive_growing_of_gans", f"karras2018iclr-lsun-{file}-256x256.pkl")
        yield _elsewhere(f"pggan-{name}", 256, categories, text, place, psi=1.0)


# Three sets published both as NVIDIA's pickles and as rosinality's .pt files: (name, height, categories).
_ADA = (
    ("ffhq", 1024, FACE), ("afhqcat", 512, _ANIMAL_FACE), ("afhqdog", 512, _ANIMAL_FACE),
    ("afhqwild", 512, _ANIMAL_FACE), ("brecahad", 512, _TISSUE), ("metfaces", 1024, FACE),
)  # fmt: skip
_DISTILLED = (
    ("bicycles", 256, _BIKE), ("dogs", 1024, _ANIMAL), ("elephants", 512, _ANIMAL), ("giraffes", 512, _ANIMAL),
    ("horses", 256, _ANIMAL), ("lions", 512, _ANIMAL), ("parrots", 512, _ANIMAL),
)  # fmt: skip
_SG2 = (
    ("ffhq", 1024, FACE), ("church", 256, STYLEGAN2_CHURCH), ("car", 512, _CAR), ("cat", 256, _ANIMAL),
    ("horse", 256, _ANIMAL),
)  # fmt: skip
_ADA_TEXT = "StyleGAN2-ADA (Karras et al., NeurIPS 2020)."
_DISTILLED_TEXT = "Self-Distilled StyleGAN (Mokady et al., SIGGRAPH 2022)."
_HUMAN_TEXT = "StyleGAN-Human v2 (Fu et al., ECCV 2022); images twice as high as wide."


def _row(id: str, resolution: int, categories: tuple[Category, ...], text: str, **more: object) -> GeneratorSpec:
    return GeneratorSpec(id, "stylegan2", resolution, categories, text, NVIDIA_NC, **more)


def _pickles() -> Iterator[GeneratorSpec]:
    for name, resolution, categories in _SG2[2:]:
        yield _stylegan2(name, resolution, categories)
    for name, resolution, categories in _ADA:
        yield _row(f"ada-{name}", resolution, categories, _ADA_TEXT, **_PKL, file=f"ada/{name}.pkl")
    yield _row(
        "ada-cifar10", 32, _OBJECT, _ADA_TEXT + " Conditional: 10 labels.", **_PKL, file="ada/cifar10.pkl", c_dim=10
    )
    for name, resolution, categories in _DISTILLED:
        file = f"self_distill/{name}_{resolution}_pytorch.pkl"
        yield _row(f"distilled-{name}", resolution, categories, _DISTILLED_TEXT, **_PKL, file=file)
    for resolution in (512, 1024):
        file = f"human/stylegan_human_v2_{resolution}.pkl"
        yield _row(f"human-{resolution}", resolution, _HUMAN, _HUMAN_TEXT, **_PKL, file=file)


def _rosinality() -> Iterator[GeneratorSpec]:
    note = " As rosinality's .pt, a third of the pickle's size; the mean w may have to be estimated."
    for name, resolution, categories in _SG2:
        yield _row(
            f"stylegan2-{name}-pt", resolution, categories, "StyleGAN2 config-f." + note, **_PT, psi=0.5,
            file=f"stylegan2-{name}-config-f.pt", sha256=_PT_SHA256[name], size=_PT_SIZE[name],
        )  # fmt: skip
    for name, resolution, categories in _ADA:
        yield _row(f"ada-{name}-pt", resolution, categories, _ADA_TEXT + note, **_PT, file=f"ada/{name}.pt")
    for name, resolution, categories in _DISTILLED:
        file = f"self_distill/{name}_{resolution}.pt"
        yield _row(f"distilled-{name}-pt", resolution, categories, _DISTILLED_TEXT + note, **_PT, file=file)
    for resolution in (512, 1024):
        file = f"human/v2_{resolution}.pt"
        yield _row(f"human-{resolution}-pt", resolution, _HUMAN, _HUMAN_TEXT + note, **_PT, file=file)


def _diffusion() -> Iterator[GeneratorSpec]:
    text = "Diffusion-GAN (Wang et al., ICLR 2023)."
    for name, stem, resolution, categories in (
        ("stylegan2-bedroom", "stylegan2-lsun-bedroom", 256, STYLEGAN2_BEDROOM),
        ("stylegan2-church", "stylegan2-lsun-church", 256, STYLEGAN2_CHURCH),
        ("stylegan2-ffhq", "stylegan2-ffhq", 1024, FACE),
        ("stylegan2-celeba", "stylegan2-celeba64", 64, FACE),
        ("stylegan2-cifar10", "stylegan2-cifar10", 32, _OBJECT),
        ("stylegan2-stl10", "stylegan2-stl10", 64, _OBJECT),
        ("insgen-afhqcat", "insgen-afhqcat", 512, _ANIMAL_FACE),
        ("insgen-afhqdog", "insgen-afhqdog", 512, _ANIMAL_FACE),
        ("insgen-afhqwild", "insgen-afhqwild", 512, _ANIMAL_FACE),
    ):
        yield _row(
            f"diffusion-{name}", resolution, categories, text, repo="zhendongw/diffusion-gan",
            file=f"checkpoints/diffusion-{stem}.pkl",
        )  # fmt: skip


def _others() -> Iterator[GeneratorSpec]:
    drag = {"repo": "DragGan/DragGan-Models"}
    text = "Released by NVIDIA with StyleGAN3."
    yield _row(
        "stylegan2-ffhq-512", 512, FACE, text, **drag, file="stylegan2-ffhq-512x512.pkl",
        commit="20dedd0259ff3009fceefa531c3be8ae4f11cd82",
    )  # fmt: skip
    yield _row("stylegan2-ffhq-1024", 1024, FACE, text, **drag, file="stylegan2-ffhq1024x1024.pkl")
    yield _row("stylegan2-afhqcat-512", 512, _ANIMAL_FACE, text, **drag, file="stylegan2-afhqcat-512x512.pkl")
    yield _row("stylegan2-lhq-256", 256, _LAND, "Trained on LHQ landscapes.", **drag, file="stylegan2-lhq-256x256.pkl")
    yield _row(
        "stylegan2-ffhq-genforce", 1024, FACE, "StyleGAN2 config-f in GenForce's format.", repo_type="space",
        repo="james-oldfield/PandA", file="models/stylegan2_ffhq1024.pth", psi=0.5,
    )  # fmt: skip
    for name, resolution, categories in (
        ("animeface512", 512, _DRAWN_FACE), ("car512", 512, _CAR), ("cat256", 256, _ANIMAL)
    ):  # fmt: skip
        commit = "a32c3431e70a95ac172f8081449b5a7d53b19c14" if name == "animeface512" else None
        yield GeneratorSpec(
            f"stylegan-{name}", "stylegan", resolution, categories, "StyleGAN in GenForce's format.", CC_BY_NC,
            repo=f"huggan/stylegan_{name}", file="pytorch_model.bin", commit=commit,
        )  # fmt: skip
    space = {"repo": "ybelkada/interfacegan_pp", "repo_type": "space"}
    yield GeneratorSpec(
        "stylegan-ffhq", "stylegan", 1024, FACE, "StyleGAN (Karras et al., CVPR 2019), InterFaceGAN's format.",
        CC_BY_NC, **space, file="models/pretrain/stylegan_ffhq.pth",
    )  # fmt: skip


PAPER: tuple[str, ...] = tuple(spec.id for spec in _paper())

GENERATORS: dict[str, GeneratorSpec] = {
    spec.id: spec
    for rows in (_shipped(), _paper(), _diffusion(), _pickles(), _rosinality(), _others())
    for spec in rows
}
