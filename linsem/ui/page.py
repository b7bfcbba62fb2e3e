"""The page: header, tabs and API in one Blocks, and its launch."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import gradio as gr
import torch
from PIL import Image
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from linsem.errors import InputError
from linsem.heap import keep_freed, share_arenas
from linsem.settings import Settings
from linsem.start import preload, warm
from linsem.track import Track
from linsem.ui import about, edit, endpoints, evidence, label, sample, segment
from linsem.ui.events import ALWAYS, on
from linsem.ui.files import own_folder
from linsem.ui.guard import Gate, GuardedBlocks
from linsem.ui.opened import Opened
from linsem.ui.packed import LEVEL, Packed
from linsem.ui.services import Services
from linsem.zoo import is_here, offered

HERE = Path(__file__).parent
TITLE = "linsem: label a few images, and the GAN does the rest"
MAX_IMAGE_PIXELS = 16_000_000  # Pillow refuses images above twice this
STYLES = ("page.css", "tabs.css")
CALLS = 64  # calls that may run at once
IDLE = 0.005  # seconds between two looks at the queue; at Gradio's 0.001 a server without visitors is never at rest
WARM_AFTER = 1.5  # seconds, by which time the page is being served


def build(settings: Settings) -> gr.Blocks:
    """The page as Gradio Blocks, with the default generator loaded."""
    own_folder()
    Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS
    if settings.threads:
        torch.set_num_threads(settings.threads)
    services = Services.make(settings)
    default = preload(services.studio)
    keep = settings.keep_hours * 3600
    with GuardedBlocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, keep), fill_width=True) as demo:
        model = _header(services, default)
        hidden = endpoints.build(services)  # first, so that no other event takes its names
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Label", id="label"):
                bench = label.build(services, model, demo)
            with gr.Tab("Segment", id="segment") as segment_tab:
                segment.build(services, bench, segment_tab)
            with gr.Tab("Edit", id="edit") as edit_tab:
                editing = edit.build(services, bench, edit_tab)
            with gr.Tab("Sample", id="sample") as sample_tab:
                sample.build(services, bench, editing, sample_tab, tabs)
            with gr.Tab("About", id="about"):
                about.build(settings)
        _return_on_change(default, bench, editing, tabs)
        named = (HERE / "tabs.js").read_text(encoding="utf-8")
        bench.begun.then(None, None, None, js=named, api_visibility="private")  # other tabs need a bench
    demo.children.remove(hidden)
    demo.children.append(hidden)  # last on the page, so that the browser's searches for a component rarely come to it
    demo.queue(max_size=settings.queue, default_concurrency_limit=4)
    demo._queue.sleep_when_free = IDLE
    return demo


def _return_on_change(default: str | None, bench: label.LabelTab, editing: edit.EditTab, tabs: gr.Tabs) -> None:
    """When another bench has arrived, end a run of the former one, and then take over its edits.

    That of another generator is also gone back to.
    """
    model = gr.State(default)  # not the list's own event, which comes too when the list merely loses focus
    on(bench.arrived.change, lambda session: session.model, [bench.session], [model], **ALWAYS)
    on(model.change, lambda: gr.Tabs(selected="label"), [], [tabs], **ALWAYS)
    ended = bench.arrived.change(None, None, None, cancels=editing.going, api_visibility="private")

    def edits(now: Opened | None) -> tuple[Track | None, tuple[Track, ...]]:
        return (None, ()) if now is None else (now.track, now.kept)

    taken = on(ended.then, edits, [bench.coming], [bench.track, bench.kept], **ALWAYS)
    bench.store(taken.then)


def launch(demo: gr.Blocks, settings: Settings) -> None:
    """Serve the page until it is stopped."""
    share_arenas()
    keep_freed()
    if os.environ.get("SPACES_ZERO_GPU"):
        warm()  # now, because workers are forked from this process, which must not happen during an import
    else:
        later = threading.Timer(WARM_AFTER, warm)
        later.daemon = True
        later.start()
    try:
        _serve(demo, settings)
    except OSError as error:
        where = f"{settings.host or '127.0.0.1'}:{settings.port or 7860}"
        why = _not_served(settings) if "empty port" in str(error) else str(error)
        raise InputError(f"LINSEM_HOST, LINSEM_PORT: cannot serve on {where}: {why}") from error


def _not_served(settings: Settings) -> str:
    """Why no port was found, of which Gradio says only that: it is in use, unless the host is none of this machine."""
    host = (settings.host or "127.0.0.1").strip("[]")
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return "the port is in use"
    except OSError as error:
        return f"this machine has no such address ({error.strerror or error})"


def _serve(demo: gr.Blocks, settings: Settings) -> None:
    demo.launch(
        server_name=settings.host or None,  # None: as GRADIO_SERVER_NAME says, which a Space sets
        server_port=settings.port or None,
        root_path=settings.root_path or None,
        max_file_size=f"{settings.upload_mb}mb",
        app_kwargs={
            "middleware": [
                Middleware(Gate, upload_bytes=(settings.upload_mb + 1) << 20),
                Middleware(Packed, compresslevel=LEVEL),
            ],
            "routes": pictures(),
        },
        state_session_capacity=settings.sessions + settings.queue + CALLS,  # API calls remove their session
        theme=theme(),
        css="".join((HERE / name).read_text(encoding="utf-8") for name in STYLES),
        show_error=False,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=["api"],
    )


def pictures() -> list[Mount]:
    """A route to the folder of the evidence, so that its images are loaded only when they come into view."""
    folder = evidence.folder()
    return [Mount(evidence.WHERE, StaticFiles(directory=folder))] if folder.is_dir() else []


def theme() -> gr.themes.Base:
    """A plain theme with system fonts, so that the page makes no external requests.

    Hints and captions are paler than the text, but have a contrast of at least 4.5 on every background.
    """
    font = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    plain = gr.themes.Default(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=font, font_mono=("ui-monospace", "monospace")
    )
    return plain.set(
        body_text_color_subdued="#56657a", body_text_color_subdued_dark="#a3b1c6",
        checkbox_border_color_dark="*neutral_500", checkbox_border_width_dark="1px",
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
    )  # fmt: skip


def _header(services: Services, default: str | None) -> gr.Dropdown:
    rows = services.studio.models()
    ready = [(generator_title(row), row["id"]) for row in rows if row["available"]]
    with gr.Row(elem_id="header", equal_height=True):
        gr.HTML("<h1>linsem</h1><p>Label a few generated images. The GAN does the rest.</p>", elem_id="brand")
        return gr.Dropdown(ready, value=default, label="Generator", elem_id="model", scale=0, min_width=460)


def generator_title(row: dict[str, object]) -> str:
    """A generator in the list: its resolution and, if it must be downloaded, the size and any non-commercial terms."""
    parts, spec = [str(row["id"]), f"{row['resolution']} px"], offered().get(str(row["id"]))
    if spec is not None and not is_here(spec):
        parts.append(f"{spec.size / 1e6:.0f} MB download" if spec.size else "download")
        if "non-commercial" in spec.licence:
            parts.append("non-commercial")
    return " · ".join(part for part in parts if part != "0 px")  # the size of a file is unknown until it is read
