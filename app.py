"""The composition root: settings, the page, a guarded launch. `python app.py` serves it; a Space runs it as it is."""

from __future__ import annotations

try:
    import spaces  # first: on ZeroGPU it must come before anything that may touch CUDA
except ImportError:
    spaces = None

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

from linsem.settings import Settings
from linsem.ui.page import build, launch

settings = Settings.from_env()
demo = build(settings)

if __name__ == "__main__":
    launch(demo, settings)
