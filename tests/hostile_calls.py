"""Sends malformed calls to every endpoint of a running server and checks that none does harm.

    python -m tests.hostile_calls --count 3000 --seed 0 --json

Each call is determined by the seed and its number. Every answer must be a refusal in a sentence or a correct result; no
traceback reaches the caller; no file outside the upload folder is opened; the process survives, its memory is stable,
and throughout it draws the same image from the same seed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import io
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from linsem.palette import TEXT_KEY, parse_categories, read_label_map
from linsem.project import Project, ProjectImage, save_project
from linsem.ui.errors import OURS
from tests.door import Answer, Door
from tests.hostile_files import MAPS, PROJECTS, REGIONS, TENSORS, Good, HostileFile, hostile_files
from tests.hostile_routes import cut, routes
from tests.hostile_values import BAD, META, ODD, bad_paths
from tests.served import ROOT, Server, server
from tests.watched import Watched

LISTEN = 15.0  # seconds for a route that may stream for ever
SECRET = "canary-7f3a9c"  # content of a file that must not be read
LEAKS = ("Traceback (most recent call last)", "site-packages", 'File "', "root:x:0:0", SECRET, "The composition root")
PARAMETERS = {
    "models": (),
    "generate": ("model", "seeds", "psi"),
    "fit": ("model", "seeds", "maps", "categories", "psi"),
    "segment": ("model", "seeds", "psi", "extractor?"),
    "edit": ("model", "whole", "latent?", "psi", "map", "region?", "extractor?", "whole"),
    "add": ("model", "name", "whole", "latent?", "psi", "region?", "extractor?", "whole"),
    "remove": ("model", "name", "whole", "latent?", "psi", "region?", "extractor?", "whole"),
    "sample": ("model", "map", "whole", "whole", "whole", "whole", "extractor?", "whole?"),
    "export": ("model", "extractor?", "whole", "whole", "psi"),
}
READERS = {"maps": MAPS, "map": MAPS, "region?": REGIONS, "extractor?": TENSORS, "latent?": TENSORS}
GROWTH, SLACK = 1.10, 32.0  # limit of the memory at the end: a factor of the level, plus MB


@dataclass(frozen=True)
class Problem:
    """A call with a wrong answer."""

    number: int
    call: str
    what: str


@dataclass
class Outcome:
    """The result of a run."""

    calls: int = 0
    kinds: Counter = field(default_factory=Counter)
    answers: Counter = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def level(self) -> float:
        """Memory in MB after the warm-up: the median of the samples from a third to a half of the run."""
        n = len(self.memory)
        return statistics.median(self.memory[n // 3 : max(n // 2, n // 3 + 1)])

    @property
    def end(self) -> float:
        """Memory in MB at the end: the median of the last tenth of the samples."""
        return statistics.median(self.memory[-max(1, len(self.memory) // 10) :])


class Attack:
    """Sends the malformed calls and judges their answers."""

    def __init__(self, target: Server, seed: int, outside: Path, listener: str, variants: int = 3) -> None:
        self.target, self.seed, self.door = target, seed, Door(target.address)
        self.outcome = Outcome()
        self.model = self._model()
        self.good = self._good()
        self.here = {kind: self._upload(f"good.{kind}", data) for kind, data in self._inputs().items()}
        self.paths = {}
        for kind, data in self._inputs().items():
            path = outside / f"outside.{kind}"
            path.write_bytes(data)
            self.paths[kind] = bad_paths(str(path), str(target.folder), listener)
        self.files = [
            self._uploaded(each) for variant in range(variants) for each in hostile_files(self.good, seed + variant)
        ]
        self.first = self._picture()
        self.events = self._events()
        (outside / "secret.txt").write_text(SECRET)
        self.routes = routes(str(outside / "secret.txt"), str(target.folder), listener, str(ROOT))

    # --- valid inputs ------------------------------------------------------------------------------------------------

    def _model(self) -> str:
        """The first generator that is ready and comes with an extractor."""
        ready = [row["id"] for row in self.door.call("models", []).value[0] if row["available"]]
        return next(name for name in ready if self.door.call("segment", [name, "0", 0.7, None]).kind == "done")

    def _good(self) -> Good:
        """A label map, an extractor and latents made by the server itself, and a project with them."""
        labels = self._fetch(self._done("segment", [self.model, "0", 0.7, None])[0][0])
        path = self._upload("labels.png", labels)
        extractor = self._fetch(self._done("fit", [self.model, "0", [path], None, 0.7])[0])
        latents = self._fetch(self._done("edit", [self.model, 0, None, 0.7, path, None, None, 1])[2])
        return Good(labels, extractor, latents, _project(self.model, labels))

    def _inputs(self) -> dict[str, bytes]:
        return {"map": self.good.label_map, "tensor": self.good.extractor, "project": self.good.project}

    def _done(self, endpoint: str, data: list) -> list:
        answer = self.door.call(endpoint, data)
        if answer.kind != "done":
            raise RuntimeError(f"/{endpoint} did not work before the attack: {answer.text[:400]}")
        return answer.value

    def _fetch(self, file: dict) -> bytes:
        return self.door.send("GET", "/gradio_api/file=" + urllib.parse.quote(file["path"]))[1]

    def _upload(self, name: str, data: bytes) -> dict:
        answer = self.door.upload(name, data)
        if answer.kind != "done":
            raise RuntimeError(f"an upload did not work before the attack: {answer.text[:400]}")
        return {"path": answer.value, "meta": META}

    def _uploaded(self, file: HostileFile) -> tuple[HostileFile, dict | None]:
        """Upload a hostile file; None in place of its value if the upload itself was refused."""
        answer = self.door.upload(file.name, file.data)
        self._judge(f"upload of {file.kind}", answer, must_refuse=False)
        return file, {"path": answer.value, "meta": META} if isinstance(answer.value, str) else None

    def _picture(self) -> bytes:
        return self._fetch(self._done("generate", [self.model, "7", 0.7])[0][0]["image"])

    def _events(self) -> list[dict]:
        """The page's own events: number, count of inputs, and whether it takes a project."""
        config = json.loads(self.door.send("GET", "/config")[1])
        kinds = {each["id"]: each["type"] for each in config["components"]}
        return [
            {"number": each["id"], "inputs": [kinds.get(i, "") for i in each["inputs"]], "name": each["api_name"]}
            for each in config["dependencies"] if each["backend_fn"]
        ]  # fmt: skip

    # --- one call ----------------------------------------------------------------------------------------------------

    def fire(self, number: int) -> None:
        """Send call `number` and judge the answer."""
        rng = random.Random(f"{self.seed}/{number}")
        clock = time.monotonic()
        kind = rng.choices(("endpoint", "form", "event", "route", "cut"), (60, 12, 10, 12, 6))[0]
        getattr(self, f"_{kind}")(rng)
        self.outcome.kinds[kind] += 1
        self.outcome.calls += 1
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - clock)
        if not self.target.alive:
            raise RuntimeError(f"the server died of call {number}: {self.target.said()[-2000:]}")

    def _baseline(self, endpoint: str) -> list:
        label = self.here["map"]
        return {
            "models": [], "generate": [self.model, "1", 0.7], "fit": [self.model, "0", [label], None, 0.7],
            "segment": [self.model, "1", 0.7, None], "edit": [self.model, 0, None, 0.7, label, None, None, 1],
            "add": [self.model, "skin", 0, None, 0.7, None, None, 1],
            "remove": [self.model, "background", 0, None, 0.7, None, None, 1],
            "sample": [self.model, label, 1, 2, 0, 0, None, 5], "export": [self.model, None, 1, 0, 0.7],
        }[endpoint]  # fmt: skip

    def _endpoint(self, rng: random.Random) -> None:
        """Call a named endpoint with one or two wrong values."""
        endpoint = rng.choice([name for name in PARAMETERS if name != "models"])
        data, must_refuse, told = self._baseline(endpoint), False, []
        for index in rng.sample(range(len(data)), rng.choice((1, 1, 1, 2))):
            value, refused, what = self._wrong(PARAMETERS[endpoint][index], rng)
            data[index], must_refuse = value, must_refuse or refused
            told.append(f"{PARAMETERS[endpoint][index]}={what}")
        session = rng.choice((None, f"hostile-{rng.randrange(20)}"))
        self._judge(f"/{endpoint} {', '.join(told)}", self.door.call(endpoint, data, session), must_refuse)

    def _wrong(self, kind: str, rng: random.Random) -> tuple[object, bool, str]:
        """A wrong value for a parameter, whether it must be refused, and a description."""
        if kind not in READERS:
            pool, refused = (ODD[kind], False) if rng.random() < 0.15 else (BAD[kind], True)
            value = rng.choice(pool)
            return value, refused, repr(value)[:60]
        if rng.random() < 0.35:
            value = rng.choice(self.paths["tensor" if READERS[kind] == TENSORS else "map"])
            return [value] if kind == "maps" else value, True, str(value)[:80]
        file, path = rng.choice([each for each in self.files if each[1] is not None])
        if kind == "maps":
            return rng.choice(([path], [path] * 3, [[path]])), READERS[kind] in file.refused_by, file.kind
        return path, READERS[kind] in file.refused_by, file.kind

    def _form(self, rng: random.Random) -> None:
        """Send a call whose body does not have the form of one."""
        endpoint = rng.choice(tuple(PARAMETERS))
        data = self._baseline(endpoint)
        bodies: tuple[object, ...] = (
            [*data, 1], data[:-1] if data else [1], [None] * 40, {}, None, 5, "data", [data], b"", b"{", b"null",
            b"[]", b'{"data": [', b'{"data": ' + b"[" * 9_000, b'{"data": ["' + b"A" * 9_000_000 + b'"]}', b"\xff\xfe",
            b"\0" * 99, b'{"data": [' + b"9" * 6_000 + b"]}", b'{"data": [1e99999]}', b'{"data": [NaN, Infinity]}',
            b'{"data": {}}',
        )  # fmt: skip
        body = rng.choice(bodies)
        where = rng.choice((f"call/{endpoint}", f"call/v2/{endpoint}", f"run/{endpoint}", "queue/join", "call/nothing"))
        if where == f"call/{endpoint}":
            answer = self.door.call(endpoint, body)
        else:
            answer = self.door.post(f"/gradio_api/{where}", body if isinstance(body, bytes) else {"data": body})
        shown = body[:30] if isinstance(body, bytes) else str(body)[:60]
        self._judge(f"{where} with the body {shown!r}", answer, must_refuse=False, page=True)

    def _event(self, rng: random.Random) -> None:
        """Trigger one of the page's own events in a way that only a program would."""
        event, session = rng.choice(self.events), f"page-{rng.randrange(10)}"
        pool = (*BAD["whole"], *BAD["categories"][:20], *BAD["model"][:12], self.here["map"], "0-3", 1, {"key": "x"})
        data = [rng.choice(pool) for _ in event["inputs"]]
        must_refuse = False
        if "uploadbutton" in event["inputs"] and rng.random() < 0.9:
            file, path = rng.choice([each for each in self.files if each[1] is not None])
            data, must_refuse = [path], PROJECTS in file.refused_by
        data = data[:-1] if rng.random() < 0.05 else data
        event_data = rng.choice((None, {}, [], 5, {"index": "x"}, {"index": 10**9}, {"index": [1]}, {"value": None}))
        answer = self.door.event(event["number"], data, session, event_data)
        self._judge(f"event {event['number']} ({event['name']})", answer, must_refuse, page=True)

    def _route(self, rng: random.Random) -> None:
        """Request a path that leads outside the server's own, or nowhere."""
        method, path, body, headers = rng.choice(self.routes)
        answer = self.door.request(method, path, body, headers, listen=LISTEN)
        self._judge(f"{method} {path[:300]!r}", answer, must_refuse=False, page=True)

    def _cut(self, rng: random.Random) -> None:
        """Interrupt a connection."""
        data, listen = cut(rng, self._baseline("edit"))
        self.door.garbage(data, listen)

    # --- the judgement -----------------------------------------------------------------------------------------------

    def _judge(self, call: str, answer: Answer, must_refuse: bool, page: bool = False) -> None:
        """Judge an answer; with `page` (not a call of an endpoint), the framework's own message is accepted."""
        self.outcome.answers[answer.kind] += 1
        for leak in LEAKS:
            if leak in answer.text:
                self._wrong_answer(call, f"leaks {leak!r}: {answer.text[:300]}")
        if answer.kind == "broken":
            self._wrong_answer(call, f"no answer: {answer.text[:300]}")
        elif answer.kind == "done" and must_refuse:
            self._wrong_answer(call, f"was taken: {answer.text[:300]}")
        elif answer.kind == "refused":
            self._judge_words(call, answer, page)

    def _judge_words(self, call: str, answer: Answer, page: bool) -> None:
        told = answer.sentence
        if page and not isinstance(told, str):
            told = json.dumps(told)  # the framework describes errors in a body as a list
        if not isinstance(told, str) or len(told) < (8 if page else 15) or (" " not in told and not page):
            self._wrong_answer(call, f"no sentence: {answer.text[:300]}")
        elif told == OURS and not call.startswith("event"):
            self._wrong_answer(call, "an error of ours that nobody foresaw")
        elif any(folder in told and folder not in call for folder in (str(ROOT), str(self.target.folder))):
            self._wrong_answer(call, f"names a folder of the server: {told[:300]}")

    def _wrong_answer(self, call: str, what: str) -> None:
        self.outcome.problems.append(Problem(self.outcome.calls, call, what))

    def check(self) -> None:
        """Check that the server still draws the same image, and record its memory."""
        if self._picture() != self.first:
            self._wrong_answer("/generate", "the same seed gives another image")
        self.outcome.memory.append(self.target.memory)


def attack(target: Server, count: int, seed: int = 0, tell: Callable[[str], None] = print) -> Outcome:
    """Send `count` malformed calls, one after the other."""
    with tempfile.TemporaryDirectory() as folder, _listener() as (address, heard):
        outside = Path(folder)
        assault = Attack(target, seed, outside, address, variants=3 if count > 500 else 1)
        every = max(1, count // 60)
        with Watched(outside) as watched:
            for number in range(count):
                assault.fire(number)
                if number % every == 0 or number == count - 1:
                    assault.check()
                if number % 250 == 249:
                    tell(f"{number + 1} calls, {target.memory:.0f} MB, {len(assault.outcome.problems)} problems")
            for name in sorted(set(watched.opened)):
                assault._wrong_answer("(any)", f"the server opened {name}, which is outside the upload folder")
        for path in heard:
            assault._wrong_answer("(any)", f"the server asked another one: {path}")
    outcome = assault.outcome
    if outcome.end > outcome.level * GROWTH + SLACK:
        assault._wrong_answer("(all)", f"memory grew from {outcome.level:.0f} MB to {outcome.end:.0f} MB")
    return outcome


def _project(model: str, labels: bytes) -> bytes:
    """A project with one image, as the page would save it."""
    with Image.open(io.BytesIO(labels)) as image:
        image.load()
        categories = parse_categories(image.text[TEXT_KEY])
    buffer = io.BytesIO()
    image = ProjectImage(0, None, read_label_map(labels, categories).labels, 0.7)
    save_project(Project(model, 0.7, categories, (image,)), buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _listener() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that must get no request, and the list of those it got."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}/map.png", heard
    finally:
        listener.shutdown()
        listener.server_close()


def main() -> int:
    """Print the result; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    clock = time.monotonic()
    with server() as target:
        outcome = attack(target, args.count, args.seed, lambda line: print(line, flush=True))
    for problem in outcome.problems[:60]:
        print(f"PROBLEM at call {problem.number}, {problem.call}: {problem.what}")
    print(f"kinds of calls: {dict(outcome.kinds)}; answers: {dict(outcome.answers)}; slowest {outcome.slowest:.1f} s")
    print(f"memory: {outcome.level:.0f} MB in the middle, {outcome.end:.0f} MB at the end")
    if args.json:
        print(json.dumps({
            "calls": outcome.calls, "problems": len(outcome.problems), "seconds": round(time.monotonic() - clock, 1),
            "memory_mb": [round(outcome.level), round(outcome.end)], "slowest": round(outcome.slowest, 2),
        }))  # fmt: skip
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
