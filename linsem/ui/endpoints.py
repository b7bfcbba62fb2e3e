"""The endpoints of the API on the page: events of a hidden button, with hidden inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from gradio.layouts import Form

from linsem.conditional import STEPS
from linsem.seeds import format_seeds
from linsem.ui.api import Api
from linsem.ui.errors import in_words
from linsem.ui.first import default_model
from linsem.ui.services import Services


def _text(value: str, label: str) -> gr.Textbox:
    return gr.Textbox(value, label=label, visible=False)


def _number(value: float | None, label: str) -> gr.Number:
    return gr.Number(value, label=label, visible=False)


def _file(label: str, count: str = "single") -> gr.File:
    return gr.File(label=label, visible=False, file_count=count, type="filepath")


def _files(label: str) -> gr.File:
    return _file(label, "multiple")


def _image(label: str) -> gr.Image:
    return gr.Image(label=label, visible=False, format="png")


def _gallery(label: str) -> gr.Gallery:
    return gr.Gallery(label=label, visible=False, format="png")


def _json(label: str) -> gr.JSON:
    return gr.JSON(None, label=label, visible=False)


def build(services: Services) -> gr.Column:
    """Add the endpoints to the current Blocks; returns what holds them.

    They share their inputs and outputs, which only describe the values: the more components a page has, the longer it
    takes to open.
    """
    api, limits = Api(services), services.settings
    bulk, long = services.bulk, services.long
    with gr.Column(visible=False) as hidden, Form():  # else each input gets a form of its own
        button = gr.Button(visible=False)  # which nobody presses: an endpoint is an event of some component

        def endpoint(function: Callable, inputs: list, outputs: list, queue: dict[str, object]) -> None:
            button.click(in_words(function), inputs, outputs, api_name=function.__name__, **queue)

        model = _text(default_model(services), "model")
        seeds = _text(format_seeds(range(min(8, limits.max_seeds))), "seeds, like 0-7,12")
        psi = _number(0.7, "psi (0 to 2; 1: no truncation)")
        own = _file("extractor: of /fit or of the page, or nothing: the one that ships")
        latent, region = _file("latent, or nothing"), _file("region: white may change, or nothing")
        seed, first = _number(0, "seed"), _number(0, "first seed")
        moves = _number(min(50, limits.max_steps), "most steps")
        image, images, file, files = _image("image"), _gallery("images"), _file("label map"), _files("label maps")
        report = _json("report")
        edited = [image, file, _file("latent"), report]

        endpoint(api.models, [], [_json("models")], services.short)
        endpoint(api.generate, [model, seeds, psi], [images], bulk)
        asked = [model, _text("0", "seeds, like 0-7,12"), _files("label maps: one a seed")]
        endpoint(api.fit, [*asked, _json("categories, or nothing"), psi], [_file("extractor"), report], bulk)
        endpoint(api.segment, [model, seeds, psi, own], [files, _gallery("overlays"), report], bulk)
        target = _file("target: a label map, 255 for no wish")
        endpoint(api.edit, [model, seed, latent, psi, target, region, own, moves], edited, long)
        category = _text("", "category, by its name")
        for change in (api.add, api.remove):
            endpoint(change, [model, category, seed, latent, psi, region, own, moves], edited, long)
        asked = [
            model, _file("layout: a label map, 255 for free"), _number(min(4, limits.max_results), "results"),
            _number(min(200, limits.max_candidates), "candidates"), _number(min(STEPS, limits.max_steps), "steps"),
            first, own, _number(None, "look: a seed, or nothing"),
        ]  # fmt: skip
        endpoint(api.sample, asked, [images, files, _file("latents"), report], long)
        asked = [model, own, _number(min(100, limits.max_export), "images"), first, psi]
        endpoint(api.export, asked, [_file("data set"), report], long)
    return hidden
