"""Request paths that lead outside the server's own or nowhere, and connections that are interrupted."""

from __future__ import annotations

import json
import random
from urllib.parse import quote

from tests.door import multipart

Route = tuple[str, str, bytes, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def routes(outside: str, folder: str, listener: str, root: str) -> list[Route]:
    """Requests that the page never makes: (method, path, body, headers); `outside` is a file that must not be read."""
    up, dots, coded = "../" * 12, "..%2f" * 12, "%2e%2e/" * 12
    targets = (
        outside, quote(outside), "/etc/passwd", f"{up}etc/passwd", f"{dots}etc/passwd", f"{coded}etc/passwd",
        "//etc/passwd", "/%65tc/passwd", f"{folder}/{up}etc/passwd", f"{folder}", f"{folder}/made", f"{folder}/made/",
        f"{root}/app.py", f"{root}/assets/avatars-64.safetensors", "app.py", "assets/README.md", "/proc/self/environ",
        "/dev/zero", "%00", "a%00.png", "x" * 4_000, "~/.ssh/id_rsa", listener, quote(listener, safe=""),
        "file:///etc/passwd", "%ff%fe", "%F0%9F%92%A3", f"{folder}/../{outside.rpartition('/')[2]}",
    )  # fmt: skip
    found: list[Route] = []
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/static/", "/assets/", "/svelte/"):
        found += [("GET", prefix + _safe(target), b"", {}) for target in targets]
    found += [
        ("GET", "/gradio_api/custom_component/1/client/component/..%2f..%2fetc%2fpasswd", b"", {}),
        ("GET", "/gradio_api/custom_component/x/y/z/style.css", b"", {}),
        ("GET", "/gradio_api/stream/a/b/c/playlist.m3u8", b"", {}), ("GET", "/gradio_api/stream/a/b/c/d.ts", b"", {}),
        ("GET", "/gradio_api/deep_link?session_hash=..%2f..%2fx", b"", {}), ("GET", "/?deep_link=..%2f..%2fx", b"", {}),
        ("GET", "/?view=api&__theme=%3Cscript%3E", b"", {}), ("GET", "/%2e%2e/%2e%2e/etc/passwd", b"", {}),
        ("GET", "/gradio_api/call/generate/no-such-event", b"", {}), ("GET", "/gradio_api/queue/data", b"", {}),
        ("GET", "/gradio_api/queue/data?session_hash=nobody", b"", {}), ("GET", "/gradio_api/queue/status", b"", {}),
        ("GET", "/monitoring", b"", {}), ("GET", "/monitoring/summary", b"", {}), ("GET", "/monitoring/x", b"", {}),
        ("GET", "/gradio_api/runs", b"", {}), ("GET", "/gradio_api/dev/reload", b"", {}), ("GET", "/docs", b"", {}),
        ("GET", "/gradio_api/token", b"", {}), ("GET", "/gradio_api/info", b"", {}), ("GET", "/manifest.json", b"", {}),
        ("GET", "/gradio_api/vibe-code", b"", {}), ("POST", "/gradio_api/vibe-edit", b'{"prompt": "x"}', JSON),
        ("POST", "/gradio_api/vibe-code", b'{"code": "import os"}', JSON),
        ("DELETE", "/gradio_api/call/generate", b"", {}),
        ("PUT", "/gradio_api/upload", b"x", {}),
        ("OPTIONS", "/gradio_api/upload", b"", {"Origin": "http://evil.example"}),
        ("POST", "/login", b"username=a&password=b", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/gradio_api/cancel", b'{"session_hash": "x", "fn_index": 5, "event_id": "y"}', JSON),
        ("POST", "/gradio_api/cancel", b'{"session_hash": null}', JSON),
        ("POST", "/gradio_api/reset", b'{"event_id": 5}', JSON),
        ("POST", "/gradio_api/reset", b'{"event_id": "nothing"}', JSON),
        ("POST", "/gradio_api/stream/nothing", b"{}", JSON),
        ("POST", "/gradio_api/process_recording", *multipart("x.webm", b"\x1aE\xdf\xa3" * 9)),
        ("POST", "/gradio_api/queue/join", b'{"data": [], "fn_index": 99999, "session_hash": "x"}', JSON),
        ("POST", "/gradio_api/queue/join", b'{"data": [], "fn_index": "x", "session_hash": "x"}', JSON),
        ("POST", "/gradio_api/queue/join", b'{"data": [], "fn_index": -1, "session_hash": ""}', JSON),
        ("POST", "/gradio_api/call/v2/generate", b'{"model": 1, "nothing": 2}', JSON),
        ("POST", "/gradio_api/call/v2/nothing", b"{}", JSON), ("POST", "/gradio_api/call/generate", b"data=1", {}),
        ("GET", "/" + "a/" * 2_000, b"", {}),
        ("GET", "/", b"", {"X-Forwarded-Host": "evil.example", "Host": "evil.example"}),
        ("GET", "/", b"", {"Cookie": "a=" + "b" * 9_000}), ("GET", "/", b"", {"Range": "bytes=0-,5-1,-9"}),
        ("GET", "/gradio_api/file=" + quote(folder) + "/x", b"", {"Range": "bytes=9-1"}),
    ]  # fmt: skip
    return [*found, *_component_server(), *_uploads()]


def _safe(target: str) -> str:
    """A target that http.client accepts: without blanks and control characters."""
    return quote(target, safe="/%:=?&~")


def _component_server() -> list[Route]:
    bodies = (
        {"data": "/etc", "component_id": 1, "session_hash": "x", "fn_name": "ls"},
        {"data": [], "component_id": 10**9, "session_hash": "x", "fn_name": "__init__"},
        {"data": None, "component_id": 5, "session_hash": None, "fn_name": "preprocess"},
        {"data": None, "component_id": "x", "session_hash": "x", "fn_name": "__class__"}, {}, [], 5,
    )  # fmt: skip
    return [("POST", "/gradio_api/component_server", json.dumps(body).encode(), JSON) for body in bodies]


def _uploads() -> list[Route]:
    """Malformed uploads."""
    body, headers = multipart("x.png", b"x" * 100)
    form = "multipart/form-data"
    many = b"".join(
        b'--m\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n' for _ in range(1_100)
    )
    nameless = b'--m\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n--m--\r\n'
    long_head = b"--m\r\nContent-Disposition: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--m--\r\n"
    plain = b'--m\r\nContent-Disposition: form-data; name="files"\r\n\r\n/etc/passwd\r\n--m--\r\n'
    mine = {"Content-Type": f"{form}; boundary=m"}
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (body, {}), (body, {"Content-Type": form}), (body, {"Content-Type": "text/plain"}), (b"", headers),
        (body[:60], headers), (body, {"Content-Type": f"{form}; boundary=other"}), (b"\0" * 999, headers),
        (body, {"Content-Type": f"{form}; boundary={'x' * 500}"}), (many + b"--m--\r\n", mine), (nameless, mine),
        (long_head, mine), (plain, mine), (body, {"Content-Type": f"{form}; charset=nothing; boundary=m"}),
        (body, {**headers, "Content-Length": str(1 << 40)}),
    ]  # fmt: skip
    found = [("POST", "/gradio_api/upload", data, head) for data, head in bodies]
    return [*found, ("POST", "/gradio_api/upload?upload_id=x", *multipart("x.png", b"x"))]


def cut(rng: random.Random, edit: list) -> tuple[bytes, bool]:
    """The bytes of an interrupted request, and whether its sender waits for the beginning of an answer."""
    body = json.dumps({"data": edit}).encode()
    upload, headers = multipart("cut.png", rng.randbytes(20_000))
    kind = headers["Content-Type"].encode()

    def head(path: bytes, length: int, what: bytes = b"application/json") -> bytes:
        return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (path, what, length)

    call, put = head(b"/gradio_api/call/edit", len(body)), head(b"/gradio_api/upload", len(upload), kind)
    requests = (
        b"", b"GET", call[: rng.randrange(len(call))], call + body[: rng.randrange(len(body))], call + body,
        put + upload[: rng.randrange(len(upload))], head(b"/gradio_api/call/edit", 10**12) + body,
        head(b"/gradio_api/upload", 10**12, kind) + upload,
        b"GET /gradio_api/heartbeat/cut HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /gradio_api/queue/data?session_hash=cut HTTP/1.1\r\nHost: x\r\n\r\n", rng.randbytes(300) + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: " + b"x" * 70_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 9,
        b"POST /gradio_api/call/edit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n{",
        b"POST /gradio_api/call/edit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    )  # fmt: skip
    return rng.choice(requests), rng.random() < 0.5
