"""The entry point: reads the settings, builds the page and serves it, from a shell (`python app.py`) or on a Space."""

from __future__ import annotations

import os

if "OMP_WAIT_POLICY" not in os.environ:  # as in `linsem.threads`, which comes too late: `spaces` imports torch
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

try:
    import spaces  # on ZeroGPU this must precede anything that may use CUDA
except ImportError:
    spaces = None

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads this when it is imported

from linsem.errors import InputError
from linsem.settings import Settings
from linsem.ui.page import build, launch

try:
    settings = Settings.from_env()
    demo = build(settings)
    if __name__ == "__main__":
        launch(demo, settings)
except InputError as error:  # a setting that cannot be used: its message says which, and a traceback would bury it
    raise SystemExit(f"linsem: {error}") from None
