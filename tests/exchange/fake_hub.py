"""A hub on loopback, as far as huggingface_hub asks one to make repositories, commit files and hand them out."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_0123456789abcdefghij"  # of nobody


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


class FakeHub:
    """repositories: by kind and id, "dataset me/guided"."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self) -> None:
        self.answer("")

    def do_HEAD(self) -> None:
        self.answer("")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def answer(self, body: str) -> None:
        path = unquote(urlparse(self.path).path).strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.say(401, {"error": "Invalid credentials"}, {"X-Error-Code": "RepoNotFound"})
        elif path == ["api", "repos", "create"]:
            self.create(json.loads(body))
        elif path == ["api", "validate-yaml"]:
            self.say(200, {"errors": [], "warnings": []})
        elif path[0] == "api":
            self.repository(path[1].removesuffix("s"), "/".join(path[2:4]), path[4:], body)
        else:
            kind, path = ("dataset", path[1:]) if path[0] == "datasets" else ("model", path)
            self.file(kind, "/".join(path[:2]), "/".join(path[4:]))

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        key = f"{asked.get('type') or 'model'} {name}"
        code = 409 if key in self.hub.repositories else 200
        self.hub.repositories.setdefault(key, Repository(asked.get("visibility") == "private"))
        place = f"datasets/{name}" if key.startswith("dataset") else name
        self.say(code, {"url": f"{self.hub.address}/{place}", "error": "You already created this repo"})

    def repository(self, kind: str, name: str, rest: list[str], body: str) -> None:
        found = self.hub.repositories.get(f"{kind} {name}")
        if found is None:
            self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["preupload"]:
            told = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.say(200, {"files": [{"path": file["path"], **told} for file in json.loads(body)["files"]]})
        elif rest[:1] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    found.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del found.files[line["value"]["path"]]
            place = f"datasets/{name}" if kind == "dataset" else name
            url = f"{self.hub.address}/{place}/commit/{found.sha}"
            self.say(200, {"success": True, "commitOid": found.sha, "commitUrl": url})
        elif rest[:1] == ["tree"]:
            self.say(200, [{"type": "file", "path": p, "size": len(b), "oid": "0"} for p, b in found.files.items()])
        else:
            siblings = [{"rfilename": path} for path in found.files]
            self.say(200, {"id": name, "sha": found.sha, "private": found.private, "siblings": siblings})

    def file(self, kind: str, name: str, path: str) -> None:
        found = self.hub.repositories[f"{kind} {name}"]
        data = found.files[path]
        digest = hashlib.sha256(data).hexdigest()
        self.say(200, data, {"ETag": f'"{digest}"', "X-Repo-Commit": found.sha})

    def say(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...
