"""The app as a process of its own, as a visitor meets it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def served(timeout: float = 180, **settings: object):
    """Start `python app.py` on a free port, yield its address, and stop it. Settings are without their prefix."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "GRADIO_TEMP_DIR": folder, "LINSEM_PORT": str(port), "LINSEM_HOST": "127.0.0.1"}
        env |= {f"LINSEM_{name.upper()}": str(value) for name, value in settings.items()}
        log = Path(folder) / "server.log"
        with open(log, "wb") as out:
            process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=out)
        try:
            address = f"http://127.0.0.1:{port}/"
            _wait(address, process, log, timeout)
            yield address
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen, log: Path, timeout: float) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text(errors='replace')[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer: {log.read_text(errors='replace')[-4000:]}")
