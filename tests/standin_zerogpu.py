"""A stand-in for the environment of the package `spaces` on ZeroGPU; `spaces` itself is the real one.

`Scheduler` answers like the device API and records its requests. `Space` is the server's process, in which `spaces`
finds a GPU, forks its workers, and pickles what passes between them. There is no real GPU: tensors that claim to be on
one are on the CPU in a worker. One rule is stricter than on ZeroGPU: no tensor may pass between the processes, since
one on a real GPU could not.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from pickle import PicklingError
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).parents[1]
ANSWER_SECONDS = 300


class Scheduler:
    """The device API on a free port.

    `asked` holds the seconds requested for each job, `pids` the worker of each job that started a new one, `released`
    whether each job failed. While `refusal` is set, it is the answer: (status, headers, JSON)."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.pids: list[int] = []
        self.released: list[bool] = []
        self.refusal: tuple[int, dict[str, str], object] | None = None
        self.idle = True  # whether a worker may be reused
        self._last: tuple[str, int] | None = None  # task and index of the last job that ended
        self._running: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], object]:
        """Status, headers and JSON for a request."""
        with self._lock:
            if path == "/schedule":
                return self.refusal or self._schedule(query)
            if path == "/allow":
                self.pids.append(int(query["pid"]))
            if path == "/release":
                self.released.append(query["fail"].lower() == "true")
                self._last = self._running.pop(query["allowToken"], None)
            return 200, {}, {}

    def _schedule(self, query: dict[str, str]) -> tuple[int, dict[str, str], object]:
        self.asked.append(int(query["durationSeconds"]))
        taken = {index for _, index in self._running.values()}
        index = next(i for i in range(99) if i not in taken)
        token, job = secrets.token_hex(8), (query["taskId"], index)
        self._running[token] = job
        idle = self.idle and self._last == job
        answer = {"idle": idle, "nvidiaIndex": index, "nvidiaUUID": f"GPU-{index}", "allowToken": token}
        return 200, {}, answer

    @contextlib.contextmanager
    def served(self):
        """Serve the API; yields the address."""
        scheduler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                url = urlsplit(self.path)
                status, headers, body = scheduler.answer(url.path, dict(parse_qsl(url.query)))
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()


class Space:
    """The server's process, which calls functions of a test module; their exceptions are raised here.

    `space(function, *args)` calls in a thread, like a handler; `space.main(function, *args)` in the main thread, like
    app.py."""

    def __init__(self, scheduler: Scheduler, connection: Connection, log: Path) -> None:
        self.scheduler, self._connection, self._log = scheduler, connection, log

    def __call__(self, function: Callable, *args: object) -> object:
        return self._ask(False, function, args)

    def main(self, function: Callable, *args: object) -> object:
        """Call a function in the main thread."""
        return self._ask(True, function, args)

    def _ask(self, main: bool, function: Callable, args: tuple) -> object:
        self._connection.send((main, function, args))
        if not self._connection.poll(ANSWER_SECONDS):
            raise TimeoutError(f"{function.__name__}: no answer; {self.said()}")
        try:
            fine, result = self._connection.recv()
        except EOFError:
            raise RuntimeError(f"the server ended: {self.said()}") from None
        if not fine:
            raise result
        return result

    def said(self) -> str:
        """The end of the process's output."""
        return self._log.read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def running_space(folder: Path, **env: str):
    """Start a `Space` with its files in the folder; ends it with all its workers on exit."""
    scheduler, log, cgroup = Scheduler(), folder / "space.log", folder / "cgroup"
    cgroup.write_text("0::/space\n")
    with scheduler.served() as address, Listener(family="AF_UNIX") as listener, open(log, "wb") as out:
        env = {
            **os.environ, "SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": address,
            "ZEROGPU_PROC_SELF_CGROUP_PATH": str(cgroup), "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
            "GRADIO_TEMP_DIR": str(folder / "files"), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            **env,
        }  # fmt: skip
        command = [sys.executable, __file__, str(listener.address)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
        try:
            with _accepted(listener, process, log) as connection:
                yield Space(scheduler, connection, log)
        finally:
            _end(process)


def _accepted(listener: Listener, process: subprocess.Popen, log: Path) -> Connection:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listener.accept)
        while not waiting.done():
            if process.poll() is not None:
                Client(listener.address).close()  # ends the wait of the listener
                raise RuntimeError(f"the server ended: {log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        return waiting.result()


def _end(process: subprocess.Popen) -> None:
    """End the process's whole session, since killing the server alone would leave its workers running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- in the server's process -----------------------------------------------------------------------------------------


def pretend() -> None:
    """Make `spaces` find a GPU; must be called before it is imported."""
    import torch

    torch.version.cuda = torch.version.cuda or "12.8"
    torch.cuda._is_in_bad_fork = bool
    if not hasattr(torch._C, "_cuda_init"):  # a CPU build
        torch._C._cuda_init = lambda: None
    import spaces.zero.torch as zero

    zero.init = lambda uuid: None
    zero.pack = lambda: 0
    zero.move = _move
    from multiprocessing.reduction import ForkingPickler

    for kind in (torch.Tensor, torch.nn.Parameter):
        ForkingPickler.register(kind, _refuse)


def _refuse(tensor: object) -> None:
    raise PicklingError("cannot pickle a tensor: it may be on a GPU that the other process does not have")


def _move(callback: Callable[[int], None] | None = None) -> None:
    """Give data, in a new worker, to the tensors that claim to be on the GPU."""
    from spaces.zero.torch.patching import cuda_aliases

    def fill() -> None:
        for claimed, original in list(cuda_aliases.items()):
            claimed.data = original

    with ThreadPoolExecutor(1) as pool:  # torch modes are per thread, and a new thread has none
        pool.submit(fill).result()


def _serve(address: str) -> None:
    pretend()
    with Client(address, family="AF_UNIX") as connection, ThreadPoolExecutor(1) as thread:
        while True:
            try:
                main, function, args = connection.recv()
            except EOFError:
                return
            try:
                answer = True, function(*args) if main else thread.submit(function, *args).result()
            except Exception as error:
                traceback.print_exc()
                answer = False, error
            connection.send(answer)


if __name__ == "__main__":
    _serve(sys.argv[1])
