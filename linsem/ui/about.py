"""The tab About: the paper, the evidence, the models and their licences."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import gradio as gr
from PIL import Image

from linsem.ui.show import text
from linsem.zoo import GeneratorSpec, assets, is_available, is_here, offered, why_not

WHAT = """
### What this is

A GAN knows where the hair ends. Its feature maps, multiplied by one small matrix, give a segmentation of the image
that it draws: *Linear Semantics in Generative Adversarial Networks* (Jianjin Xu and Changxi Zheng, CVPR 2021,
[arXiv:2104.00487](https://arxiv.org/abs/2104.00487)). So a few scribbles are enough to teach it your categories, an
image can be edited by repainting its labels, and a layout can be turned into images.

- **Label**: every unpainted pixel means *unknown*. A softmax regression on the features under your strokes is solved
  after each stroke, and all images are read with it.
- **Segment**: the same matrix reads images that nobody has labelled.
- **Edit**: the latent is moved until the labels of the image are the ones that you painted, while the rest is held.
- **Sample**: many candidates are matched with your layout; the best, unlike each other, are then moved until they obey.

What you paint stays in memory of this server for your visit only, and no other visitor sees it.
"""
API = """
### From a program

Everything here is a named endpoint too (*Use via API*, below), and a command line: `python -m linsem --help`.
"""


def build() -> None:
    """Lay the tab out."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=330):
            gr.Markdown(WHAT)
            gr.Markdown(API)
        with gr.Column(scale=4, min_width=330):
            gr.HTML(_models())
    _evidence()


def _models() -> str:
    rows = "".join(
        f"<tr><td>{text(spec.id)}</td><td>{text(spec.family)}</td><td>{spec.resolution or ''}</td>"
        f"<td>{state(spec)}</td><td>{text(spec.source)}</td><td>{text(spec.licence)}</td></tr>{_why(spec)}"
        for spec in offered().values()
    )
    return (
        '<div class="ls-table"><h3>Generators and their licences</h3><table><thead><tr><th>name</th><th>family</th>'
        f"<th>px</th><th>state</th><th>source</th><th>licence</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _why(spec: GeneratorSpec) -> str:
    """A row of its own for a sentence, which would push the other columns aside."""
    why = why_not(spec)
    return f'<tr><td></td><td colspan="5">{text(why)}</td></tr>' if why else ""


def state(spec: GeneratorSpec) -> str:
    """Whether a generator can be used at once, after a download, or not at all, in words."""
    if is_here(spec):
        return "ready"
    if not is_available(spec):
        return "not here"
    return "downloads on first use" + (f" ({spec.size / 1e6:.0f} MB)" if spec.size else "")


def _evidence() -> None:
    folder = assets() / "evidence"
    notes, pictures = sorted(folder.glob("*.md")), sorted(folder.glob("*.png"))
    if not notes and not pictures:
        return
    gr.Markdown("### Evidence")
    for path in notes:
        gr.Markdown(path.read_text(encoding="utf-8"))
    for path in pictures:
        gr.HTML(_figure(path))


def _figure(path: Path) -> str:
    """A picture inside the page: shrunk to what a screen shows."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    image.thumbnail((1400, 1400))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=88, method=0)  # at each start: the fastest way, at some bytes more
    data, name = base64.b64encode(buffer.getvalue()).decode("ascii"), text(path.stem.replace("-", " "))
    picture = f'<img alt="{name}" src="data:image/webp;base64,{data}">'
    return f'<figure class="ls-figure">{picture}<figcaption>{name}</figcaption></figure>'
