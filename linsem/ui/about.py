"""The About tab: the paper, the findings, the models and their licences."""

from __future__ import annotations

import os

import gradio as gr

from linsem.headlines import headlines
from linsem.settings import Settings
from linsem.ui import evidence
from linsem.ui.show import text
from linsem.zoo import GeneratorSpec, is_available, is_here, offered, why_not

WHAT = """
### What this is

A GAN knows where the hair ends. Its feature maps, multiplied by one small matrix, give a segmentation of the image
that it draws: *Linear Semantics in Generative Adversarial Networks* (Jianjin Xu and Changxi Zheng, CVPR 2021,
[arXiv:2104.00487](https://arxiv.org/abs/2104.00487)). So a few scribbles are enough to teach it your categories, an
image can be edited by repainting its labels, and a layout can be turned into images.
"""
HOW = """
- **Label**: every unpainted pixel means *unknown*. A softmax regression on the features under your strokes is solved
  after each stroke, and all images are read with it.
- **Segment**: the same matrix reads images that nobody has labelled.
- **Edit**: the latent is moved until the labels of the image are the ones that you painted, while the rest is held.
- **Sample**: many candidates are matched with your layout; the best, in various colours, are moved until they obey.
"""
PRIVACY = """
### What happens to your work

Your strokes stay on this server during your visit and up to an hour after it; your own browser keeps a copy so that you
can continue later. No other visitor sees them. Files that you have made here, such as a project or a zip, are deleted
{hours} later. What is computed from your work, such as what a stroke spread to or what an extractor of yours finds in
images that it samples from, may stay in caches that nobody can see, until newer work takes its place.
"""
API = """
### From a program

Generate, fit, segment, edit, add, remove, sample and export can also be called from a program (*Use via API*, at the
foot of the page on a wide screen) and from a shell (`python -m linsem --help`).
"""
JUDGED = (
    "On avatars-128, judged by a network that was trained apart, on drawings with exact labels; what is judged learnt "
    "from its labels of other images."
)
OWN = """
Checkpoints of StyleGAN2, StyleGAN and Progressive GAN are read in the formats that they are published in. Start
the program with `LINSEM_MODELS="/path/to/file"` (several with commas between; `all` offers everything that is known),
or call `linsem.load_generator("/path/to/file")`.
"""
MISSING = "These are known, but their weights are not here:"
FRONT = {
    "one-image.png": (
        0.497,
        "Strokes on one image, in the first column, and how six others are read after that.",
    ),
    "layouts.png": (0.249, "A layout, and four images that obey it."),
}  # file: (share of its height to show, caption)


def build(settings: Settings) -> None:
    """Lay out the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=330):
            gr.Markdown(WHAT)
            gr.Markdown(privacy(settings.keep_hours))
            gr.Markdown(API)
        with gr.Column(scale=1, min_width=330):
            gr.HTML(_facts())
    root = settings.root_path or os.environ.get("GRADIO_ROOT_PATH", "")
    gr.HTML(_front(root))
    gr.HTML(f"<h3>Generators and their licences</h3>{_models(True)}")
    gr.HTML('<h3 class="ls-more">In detail</h3>')
    with gr.Accordion("How it works", open=False):
        gr.Markdown(HOW)
    for title, html in evidence.chapters(root):
        with gr.Accordion(title, open=False):
            gr.HTML(html)
    with gr.Accordion("Bring your own generator", open=False):
        gr.Markdown(OWN)
        gr.HTML(_missing())


def privacy(hours: int) -> str:
    """What happens to a visitor's work, in words."""
    return PRIVACY.format(hours="an hour or two" if hours == 1 else f"about {hours} hours")


def state(spec: GeneratorSpec) -> str:
    """Whether a generator is usable at once, after a download, or not at all, in words."""
    if is_here(spec):
        return "ready"
    if not is_available(spec):
        return "not here"
    return "downloads on first use" + (f" ({spec.size / 1e6:.0f} MB)" if spec.size else "")


def _facts() -> str:
    """The findings, each as a number and a sentence."""
    items = "".join(f"<li><b>{text(number)}</b><span>{text(says)}</span></li>" for number, says in headlines())
    return f'<h3>What was found</h3><ul class="ls-facts">{items}</ul><p class="ls-says">{JUDGED}</p>' if items else ""


def _front(root: str) -> str:
    figures = "".join(
        evidence.figure(name, caption, root, share)
        for name, (share, caption) in FRONT.items()
        if (evidence.folder() / name).is_file()
    )
    return f'<div class="ls-front">{figures}</div>'


def _missing() -> str:
    table = _models(False)
    return f'<p class="ls-says">{MISSING}</p>{table}' if table else ""


def _models(available: bool) -> str:
    """A table of the generators that are available here, or of the others with the reasons; "" if there are none."""
    specs = [spec for spec in offered().values() if is_available(spec) == available]
    heads = "<th>name</th><th>state</th><th>source</th><th>licence</th>"
    rows = "".join(_row(spec) for spec in specs)
    return (
        f'<div class="ls-table ls-models"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        if specs
        else ""
    )


def _row(spec: GeneratorSpec) -> str:
    kind = " ".join(word for word in (spec.family, f"{spec.resolution} px" if spec.resolution else "") if word)
    why = why_not(spec)
    more = f"<small>{text(why)}</small>" if why else ""
    return (
        f"<tr><td><b>{text(spec.id)}</b><small>{text(kind)}</small></td><td>{text(state(spec))}</td>"
        f"<td>{text(spec.source)}{more}</td><td>{text(spec.licence)}</td></tr>"
    )
