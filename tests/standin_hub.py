"""A stand-in for the parts of the Hub's HTTP interface that `linsem.hub` uses, on loopback.

It behaves like the real one: HEAD and GET of `resolve` with ETag and X-Repo-Commit, large files behind a redirect to
another host with X-Linked-Etag and ranges, refusals with X-Error-Code, and the calls of a commit (create, preupload,
LFS batch, commit). Tests set its failures: `cut` (for each answer, the bytes after which it breaks off), `tamper` (send
other content than announced), `no_ranges`, `status` (the answer to every request).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 4096  # bytes from which files are stored in LFS
TOKEN = "hf_standin"
ERRORS = {"RepoNotFound": 401, "GatedRepo": 403, "RevisionNotFound": 404, "EntryNotFound": 404}
RESOLVE = re.compile(r"/((?:spaces|datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """The commits of a repository, each a dict of files, and its branches."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        before = self.commits.get(self.refs.get(branch, ""), {})
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = {**before, **files}
        self.refs[branch] = sha
        return sha


class StandInHub:
    """The server's repositories, its failures, and the requests it got."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.cut: list[int] = []
        self.tamper = self.no_ranges = False
        self.status: int | None = None
        self.sent = 0

    def add(self, repo: str, files: dict[str, bytes], branch: str = "main", **flags: bool) -> str:
        """Commit files to a repository ("owner/name" or "spaces/owner/name"); returns the commit."""
        return self.repos.setdefault(repo, Repo(**flags)).commit(files, branch)

    def gets(self) -> list[dict[str, str]]:
        """The headers of each request for a file's bytes."""
        return [headers for method, path, headers in self.asked if method == "GET" and "/cdn/" in path]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port; yields the endpoint."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.serve()

        def do_GET(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def do_PUT(self) -> None:
            self.serve()

        def serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append((self.command, path, {k.title(): v for k, v in self.headers.items()}))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if hub.status:
                return self.answer(hub.status)
            if path.startswith("/cdn/"):
                return self.blob(path.rsplit("/", 1)[-1])
            if match := RESOLVE.fullmatch(urlsplit(self.path).path):  # a revision may hold a quoted slash
                return self.resolve((match[1] or "") + match[2], unquote(match[3]), unquote(match[4]))
            if self.command == "PUT" and path.startswith("/upload/"):
                hub.uploads[path.rsplit("/", 1)[-1]] = body
                return self.answer(200)
            if self.command == "POST":
                return self.write(path, body)
            return self.refuse("RepoNotFound")

        def allowed(self, repo: Repo | None) -> str | None:
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if repo is None or (repo.private and not known):
                return "RepoNotFound"
            return "GatedRepo" if repo.gated and not known else None

        def resolve(self, name: str, revision: str, file: str) -> None:
            repo = hub.repos.get(name)
            if error := self.allowed(repo):
                return self.refuse(error)
            commit = repo.refs.get(revision, revision)
            if commit not in repo.commits:
                return self.refuse("RevisionNotFound")
            if file not in repo.commits[commit]:
                return self.refuse("EntryNotFound")
            data = repo.commits[commit][file]
            if len(data) < LARGE:
                etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                return self.answer(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})
            sha256 = hashlib.sha256(data).hexdigest()
            host = self.headers["Host"].replace("127.0.0.1", "localhost")  # another host, as on the real Hub
            return self.answer(302, b"", {
                "Location": f"http://{host}/cdn/{sha256}", "X-Linked-Etag": f'"{sha256}"',
                "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit,
            })  # fmt: skip

        def blob(self, sha256: str) -> None:
            everything = (data for r in hub.repos.values() for files in r.commits.values() for data in files.values())
            data = next(data for data in everything if hashlib.sha256(data).hexdigest() == sha256)
            if hub.tamper:
                data = data[:-1] + bytes([data[-1] ^ 1])
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if wanted is None or hub.no_ranges:
                return self.answer(200, data)
            start = int(wanted[1])
            if start >= len(data):
                return self.answer(416)
            return self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

        def write(self, path: str, body: bytes) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(401, b'{"error": "Invalid username or password."}')
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                if name.startswith("locked/"):
                    return self.answer(403, b'{"error": "You don\'t have the rights to create a model"}')
                status = 409 if name in hub.repos else 200
                hub.repos.setdefault(name, Repo(private=bool(asked.get("private"))))
                return self.json({"url": f"http://{self.headers['Host']}/{name}"}, status)
            if path == "/api/validate-yaml":
                return self.json({"errors": [], "warnings": []})
            if match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
                files = json.loads(body)["files"]
                modes = [
                    {
                        "path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False, "oid": None,
                    }
                    for f in files
                ]  # fmt: skip
                return self.json({"files": modes})
            if path.endswith("/info/lfs/objects/batch"):
                objects = [
                    {**o, "actions": {"upload": {"href": f"http://{self.headers['Host']}/upload/{o['oid']}"}}}
                    for o in json.loads(body)["objects"]
                ]
                return self.json({"transfer": "basic", "objects": objects})
            if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
                return self.commit(match[1], [json.loads(line) for line in body.splitlines()])
            return self.answer(404)

        def commit(self, name: str, lines: list[dict]) -> None:
            files = {}
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
            sha = hub.repos[name].commit(files)
            url = f"http://{self.headers['Host']}/{name}/commit/{sha}"
            self.json({"success": True, "commitUrl": url, "commitOid": sha, "pullRequestUrl": None})

        def refuse(self, code: str) -> None:
            self.answer(ERRORS[code], b"", {"X-Error-Code": code, "X-Error-Message": code})

        def json(self, data: object, status: int = 200) -> None:
            self.answer(status, json.dumps(data).encode(), {"Content-Type": "application/json"})

        def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if data and hub.cut and self.path.startswith("/cdn/"):
                data = data[: hub.cut.pop(0)]
                self.close_connection = True
            hub.sent += len(data)
            self.wfile.write(data)

    return Handler
