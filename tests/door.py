"""Raw HTTP requests with arbitrary bodies to a running server, and the classification of its answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import socket
import time
import urllib.parse
import uuid
from dataclasses import dataclass
from typing import Any

TIMEOUT = 120.0


@dataclass(frozen=True)
class Answer:
    """`kind` is "done" (a result), "refused" (with or without a message), or "broken" (no answer or a server error)."""

    kind: str
    text: str
    """Everything that came back, as text."""
    sentence: object = None
    """What a refused caller is told."""
    value: Any = None
    """The results of a call that was done."""


def _heard(answer: http.client.HTTPResponse, until: float) -> bytes:
    heard = b""
    while time.monotonic() < until and (more := answer.read1(1 << 16)):
        heard += more
    return heard


class Door:
    """Calls to one server."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self.host, self.port = parts.hostname, parts.port

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT, listen: float = math.inf,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Send a request; returns its status and the body received within `listen` seconds, as some streams never end.

        Raises OSError or HTTPException if there is no answer.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server may answer before all is sent
                connection.putrequest(method, path, skip_host=False, skip_accept_encoding=True)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    connection.putheader(name, value)
                connection.endheaders(body or None)
            answer = connection.getresponse()
            try:
                return answer.status, _heard(answer, time.monotonic() + listen)
            except http.client.IncompleteRead as error:  # an interrupted stream: use what was received
                return answer.status, error.partial
        finally:
            connection.close()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None,
        listen: float = math.inf,
    ) -> Answer:  # fmt: skip
        """Send a request; returns an `Answer`."""
        try:
            status, data = self.send(method, path, body, headers, listen=listen)
        except (OSError, http.client.HTTPException) as error:
            return Answer("broken", f"{type(error).__name__}: {error}")
        return _of_status(status, data)

    def post(self, path: str, value: object) -> Answer:
        """Post a JSON body."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", path, body, {"Content-Type": "application/json"})

    def upload(self, name: str, data: bytes) -> Answer:
        """Upload a file; the value of the answer is its path on the server."""
        answer = self.request("POST", "/gradio_api/upload", *multipart(name, data))
        if answer.kind == "done" and isinstance(answer.value, list) and len(answer.value) == 1:
            return Answer("done", answer.text, None, answer.value[0])
        return answer

    def call(self, endpoint: str, data: object, session: str | None = None) -> Answer:
        """Call a named endpoint and wait for the end."""
        body = data if isinstance(data, bytes) else {"data": data, "session_hash": session}
        begun = self.post(f"/gradio_api/call/{endpoint}", body)
        if begun.kind != "done" or not isinstance(begun.value, dict) or "event_id" not in begun.value:
            return begun
        return self.events(f"/gradio_api/call/{endpoint}/{begun.value['event_id']}")

    def event(self, number: int, data: object, session: str, event_data: object = None) -> Answer:
        """Trigger one of the page's own events, as the browser does."""
        body = {"data": data, "fn_index": number, "session_hash": session, "event_data": event_data, "trigger_id": 1}
        begun = self.post("/gradio_api/queue/join", body)
        if begun.kind != "done":
            return begun
        return self.events(f"/gradio_api/queue/data?session_hash={urllib.parse.quote(session)}")

    def events(self, path: str) -> Answer:
        """Read a stream of server-sent events, in either format, up to the last one."""
        try:
            status, data = self.send("GET", path)
        except (OSError, http.client.HTTPException) as error:
            return Answer("broken", f"{type(error).__name__}: {error}")
        if status != 200:
            return _of_status(status, data)
        text = data.decode(errors="replace")
        kind = ""
        for line in text.splitlines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                last = _last(kind, line[6:], text)
                if last is not None:
                    return last
        return Answer("broken", text or "the stream had no events")

    def garbage(self, data: bytes, listen: bool = False) -> None:
        """Send bytes, optionally wait for the first ones of an answer, and reset the connection."""
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=10) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            line.sendall(data)
            if listen:
                line.recv(64)


def multipart(name: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an upload."""
    mark = uuid.UUID(int=0x5EED).hex
    quoted = name.encode("utf-8", "surrogatepass").replace(b'"', b"%22").replace(b"\n", b"%0A").replace(b"\r", b"%0D")
    head = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % (mark.encode(), quoted)
    body = head + data + b"\r\n--" + mark.encode() + b"--\r\n"
    return body, {"Content-Type": f"multipart/form-data; boundary={mark}"}


def _last(kind: str, line: str, text: str) -> Answer | None:
    """The answer that an event stands for, or None for an intermediate event."""
    try:
        value = json.loads(line)
    except ValueError:
        return Answer("broken", text)
    if kind:
        if kind == "complete":
            return Answer("done", text, None, value)
        if kind == "error":
            return Answer("refused", text, value.get("error") if isinstance(value, dict) else value)
        return None
    if not isinstance(value, dict):
        return Answer("broken", text)
    if value.get("msg") == "process_completed":
        output = value.get("output") or {}
        if value.get("success"):
            return Answer("done", text, None, output.get("data"))
        return Answer("refused", text, output.get("error"))
    if value.get("msg") == "unexpected_error":
        return Answer("refused", text, value.get("message"))
    return None


def _of_status(status: int, data: bytes) -> Answer:
    text = data.decode(errors="replace")
    value: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
    if status < 400:
        return Answer("done", text, None, value)
    in_words = isinstance(value, dict) and "error" in value  # how the direct route reports a refusal
    if status >= 500 and status != 503 and not in_words:
        return Answer("broken", f"{status}: {text}")
    told = value.get("detail", value.get("error")) if isinstance(value, dict) else text
    return Answer("refused", text, told)
