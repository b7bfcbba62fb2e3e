"""Runs the app in a separate process, as visitors use it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Server:
    """A running `python app.py`: its address, its upload folder, and how long it took to serve the page."""

    address: str
    folder: Path
    process: subprocess.Popen
    log: Path
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def memory(self) -> float:
        """Resident memory in MB (0 if the system does not report it)."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def used_cpu(self) -> float:
        """CPU seconds that the process has used (0 if the system does not report them)."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def kill(self) -> None:
        """Kill it without any clean-up, as the kernel does when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")


def start(folder: Path, *, port: int = 0, timeout: float = 180, **settings: object) -> Server:
    """Start `python app.py` with its uploads in `folder` and wait for the page; settings are named without prefix."""
    port = port or free_port()
    env = {**os.environ, "GRADIO_TEMP_DIR": str(folder), "LINSEM_PORT": str(port), "LINSEM_HOST": "127.0.0.1"}
    env |= {f"LINSEM_{name.upper()}": str(value) for name, value in settings.items()}
    log = folder.parent / f"{folder.name}.{port}.log"
    clock = time.monotonic()
    with open(log, "ab") as out:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=out)
    server = Server(f"http://127.0.0.1:{port}/", folder, process, log)
    try:
        _wait(server, timeout)
    except BaseException:
        server.stop()
        raise
    server.seconds, server.cpu_seconds = time.monotonic() - clock, server.used_cpu()
    return server


@contextlib.contextmanager
def server(timeout: float = 180, **settings: object):
    """A `Server` with its own folder, stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        running = start(uploads, timeout=timeout, **settings)
        try:
            yield running
        finally:
            running.stop()


@contextlib.contextmanager
def served(timeout: float = 180, **settings: object):
    """The address of a new server, stopped at the end."""
    with server(timeout, **settings) as running:
        yield running.address


def _wait(server: Server, timeout: float) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if not server.alive:
            raise RuntimeError(f"the server ended: {server.said()[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(server.address, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not answer: {server.said()[-4000:]}")
