"""Settings: immutable, read once from environment variables with the prefix `LINSEM_`; all of them are optional."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from linsem.errors import InputError

PREFIX = "LINSEM_"
ZERO_GPU = {"long_jobs": 4, "short_jobs": 8}  # there each job waits for a GPU of its own


class SettingsError(InputError):
    """An environment variable has an unusable value; the message says what was expected."""


def _setting(
    default: str | int | float, help: str, low: float | None = None, high: float | None = None, init: bool = True
) -> object:
    return field(default=default, init=init, metadata={"help": help, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """Each field corresponds to an environment variable: `max_steps` to `LINSEM_MAX_STEPS`.

    `models` and `assets` are only named here: the library reads these variables itself, whoever uses it.
    """

    models: str = _setting(
        "", "Generators to offer, comma separated: names, files, hub:// addresses, name=file, all", init=False
    )
    model: str = _setting("", "The generator chosen at the start (default: the first one that is available)")
    assets: str = _setting(
        "", "Folder of the shipped weights and extractors (default: those that came along)", init=False
    )
    cache: str = _setting("", "Folder of what is kept between runs (default: linsem in the user's cache folder)")
    device: str = _setting("auto", "Where the networks run: auto, cpu, cuda, cuda:1 ...")
    precision: str = _setting("float32", "Of the synthesis, where a family offers a choice: float32 or bfloat16")
    threads: int = _setting(0, "Threads that torch uses on a CPU; 0 leaves it to torch", 0, 1024)
    spread: int = _setting(1, "1: strokes spread over one colour, on the page, in its API and in a shell", 0, 1)
    host: str = _setting(
        "", "Address to serve on (default: Gradio's GRADIO_SERVER_NAME, as in a Space, else 127.0.0.1)"
    )
    port: int = _setting(7860, "Port to serve on", 0, 65535)
    root_path: str = _setting("", "Path under which a reverse proxy serves the page")
    long_jobs: int = _setting(
        1, "Edits, samplings and the like at once (4 on ZeroGPU); the others wait in the queue", 1, 64
    )
    short_jobs: int = _setting(2, "Fits and previews that run at once, beside the long ones (8 on ZeroGPU)", 1, 64)
    queue: int = _setting(40, "Calls that may wait; beyond, a visitor is told that the queue is full", 1, 10_000)
    cache_mb: int = _setting(256, "Memory for the features of the images seen last, for each generator", 0, 65_536)
    sessions: int = _setting(200, "Visitors whose work is kept in memory at once", 1, 100_000)
    upload_mb: int = _setting(64, "Largest file that may be uploaded", 1, 4096)
    keep_hours: int = _setting(6, "Hours after which files made for visitors are deleted", 1, 720)
    max_seeds: int = _setting(64, "Images that one call may generate or segment", 1, 10_000)
    max_pictures: int = _setting(24, "Images on a visitor's labelling bench", 1, 200)
    max_steps: int = _setting(200, "Steps of one edit or sampling", 1, 10_000)
    max_candidates: int = _setting(1000, "Candidates that one sampling may look at", 1, 100_000)
    max_results: int = _setting(12, "Results of one sampling", 1, 64)
    max_export: int = _setting(2000, "Images of one exported data set (the command line has no limit)", 1, 1_000_000)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables; raises `SettingsError` if a value has the wrong type or is out of range."""
        env = os.environ if env is None else env
        given = dict(ZERO_GPU) if env.get("SPACES_ZERO_GPU") else {}
        for each in fields(cls):
            text = env.get(PREFIX + each.name.upper(), "").strip()
            if text and each.init:
                given[each.name] = _parse(each.name, text, type(each.default), each.metadata)
        return cls(**given)


def _parse(name: str, text: str, kind: type, metadata: Mapping[str, object]) -> str | int:
    if kind is str:
        return text
    low, high = metadata["low"], metadata["high"]
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name.upper()}: expected a whole number in {low}..{high}, got {text[:40]!r}")
    return value


def settings_table() -> str:
    """The table of all settings for the README, in Markdown."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for each in fields(Settings):
        default = f"`{each.default}`" if each.default != "" else ""
        rows.append(f"| `{PREFIX}{each.name.upper()}` | {default} | {each.metadata['help']} |")
    return "\n".join(rows)
