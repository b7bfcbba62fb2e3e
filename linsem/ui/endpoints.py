"""The endpoints of the API on the page: each is a hidden button with hidden inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

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


def _image(label: str) -> gr.Image:
    return gr.Image(label=label, visible=False, format="png")


def _gallery(label: str) -> gr.Gallery:
    return gr.Gallery(label=label, visible=False, format="png")


def _json(label: str) -> gr.JSON:
    return gr.JSON(None, label=label, visible=False)


def _endpoint(function: Callable, inputs: list, outputs: list, queue: dict[str, object]) -> None:
    gr.Button(visible=False).click(in_words(function), inputs, outputs, api_name=function.__name__, **queue)


def build(services: Services) -> gr.Column:
    """Add the endpoints to the current Blocks; returns the column that holds them."""
    api, default, limits = Api(services), default_model(services), services.settings
    bulk, long = services.bulk, services.long
    some = format_seeds(range(min(8, limits.max_seeds)))

    def model() -> gr.Textbox:
        return _text(default, "model")

    def psi() -> gr.Number:
        return _number(0.7, "psi (0 to 2; 1: no truncation)")

    def own() -> gr.File:
        return _file("extractor: of /fit or of the page, or nothing: the one that ships")

    with gr.Column(visible=False) as hidden:
        _endpoint(api.models, [], [_json("models")], services.short)
        _endpoint(api.generate, [model(), _text(some, "seeds, like 0-7,12"), psi()], [_gallery("images")], bulk)
        maps = _file("label maps: one a seed", "multiple")
        asked = [model(), _text("0", "seeds, like 0-7,12"), maps, _json("categories, or nothing"), psi()]
        _endpoint(api.fit, asked, [_file("extractor"), _json("report")], bulk)
        asked = [model(), _text(some, "seeds, like 0-7,12"), psi(), own()]
        _endpoint(api.segment, asked, [_file("label maps", "multiple"), _gallery("overlays"), _json("report")], bulk)
        files = [_file("target: a label map, 255 for no wish"), _file("region: white may change, or nothing"), own()]
        steps = _number(min(50, limits.max_steps), "most steps")
        asked = [model(), _number(0, "seed"), _file("latent, or nothing"), psi(), *files, steps]
        _endpoint(api.edit, asked, [_image("image"), _file("label map"), _file("latent"), _json("report")], long)
        for endpoint in (api.add, api.remove):
            asked = [model(), _text("", "category, by its name"), _number(0, "seed"), _file("latent, or nothing")]
            asked += [
                psi(),
                _file("region: white may change, or nothing"),
                own(),
                _number(min(50, limits.max_steps), "most steps"),
            ]
            _endpoint(endpoint, asked, [_image("image"), _file("label map"), _file("latent"), _json("report")], long)
        count = _number(min(4, limits.max_results), "results")
        asked = [model(), _file("layout: a label map, 255 for free"), count]
        asked += [
            _number(min(200, limits.max_candidates), "candidates"),
            _number(min(STEPS, limits.max_steps), "steps"),
        ]
        asked += [_number(0, "first seed"), own(), _number(None, "look: a seed, or nothing")]
        results = [_gallery("images"), _file("label maps", "multiple"), _file("latents"), _json("report")]
        _endpoint(api.sample, asked, results, long)
        count = _number(min(100, limits.max_export), "images")
        asked = [model(), own(), count, _number(0, "first seed"), psi()]
        _endpoint(api.export, asked, [_file("data set"), _json("report")], long)
    return hidden
