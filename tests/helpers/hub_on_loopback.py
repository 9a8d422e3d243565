"""A Hugging Face Hub on loopback: accounts, model and dataset repositories, commits, pull requests, downloads.

As much of the Hub's HTTP interface as pushing and loading a model needs, in memory, for tests without a network.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from huggingface_hub import constants

WRITER, READER = "hf_writer", "hf_reader"  # tokens of the account "me"


@dataclass
class Repository:
    """Files by path, on the main branch; and what pull requests propose."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    pull_requests: list[dict[str, bytes]] = field(default_factory=list)
    commits: int = 0

    @property
    def sha(self) -> str:
        content = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(self.files.items())]
        return hashlib.sha1(repr(content).encode()).hexdigest()


class LoopbackHub:
    """The Hub, as a context manager: it listens on a free port of 127.0.0.1 inside the block, and nowhere after it.

    `break_commits` makes it drop the connection instead of answering a commit, `break_uploads` refuse large files.
    Weights go beside the commit, as on the Hub, but by git-lfs' plain protocol, not by Xet's.
    """

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.unknown: list[str] = []  # requests that it couldn't understand: tests want none
        self.large_files: dict[str, bytes] = {}  # by SHA-256
        self.break_commits = self.break_uploads = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, token: str | None = WRITER) -> dict[str, str]:
        """Variables for a process that is to use this Hub."""
        here = {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        return {**here, **({"HF_TOKEN": token} if token else {})}


@contextmanager
def hub_of_this_process(monkeypatch, token: str | None = None):
    """A running Hub, which huggingface_hub in this process takes for the real one (tests are offline otherwise)."""
    with LoopbackHub() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        address = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        if token is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        else:
            monkeypatch.setenv("HF_TOKEN", token)
        yield hub
        assert hub.unknown == []


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    ROUTES = (
        ("GET", r"/api/agent-harnesses", "agent_harnesses"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_card"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/(?:models|datasets)/([^/]+/[^/]+)/preupload/[^/]+", "preupload"),
        ("POST", r"/api/(?:models|datasets)/([^/]+/[^/]+)/commit/[^/]+", "commit"),
        ("POST", r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "large_files"),
        ("PUT", r"/large_files/([0-9a-f]{64})", "large_file"),
        ("GET", r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/[^/]+(?:/(.*))?", "tree"),
        ("GET", r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/[^/]+)?", "info"),
        ("GET", r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", "resolve"),
    )

    def log_message(self, *_):
        pass

    def _dispatch(self):
        self.hub: LoopbackHub = self.server.hub
        self.content = self._read()
        path = unquote(urlsplit(self.path).path)
        for method, pattern, name in self.ROUTES:
            same_method = self.command == method or (self.command, name) == ("HEAD", "resolve")
            if same_method and (match := re.fullmatch(pattern, path)):
                try:
                    getattr(self, name)(*match.groups())
                except _Refused as refused:
                    headers = {"X-Error-Message": str(refused)} | (
                        {"X-Error-Code": refused.code} if refused.code else {}
                    )
                    self._answer({"error": str(refused)}, refused.status, headers)
                return
        self.hub.unknown.append(f"{self.command} {path}")
        self._answer({"error": "no such page"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _dispatch

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = b""
        while size := int(self.rfile.readline(), 16):
            chunks += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return chunks

    def _answer(self, content: bytes | dict | list, status: int = 200, headers: dict | None = None):
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _token(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if token not in (None, WRITER, READER):
            raise _Refused(401, "Invalid credentials in Authorization header")
        return token

    def _repository(self, repo_id: str, write: bool = False) -> Repository:
        token, repository = self._token(), self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and token is None):
            raise _Refused(404, "Repository not found", "RepoNotFound")
        if write and token != WRITER:
            raise _Refused(403, "Forbidden: pass a token with write access")
        return repository

    def agent_harnesses(self):
        """A list that huggingface_hub asks for once a process, and does without."""
        self._answer({"error": "not kept here"}, 404)

    def whoami(self):
        if self._token() is None:
            raise _Refused(401, "Invalid username or password.")
        self._answer({"type": "user", "name": "me", "orgs": []})

    def validate_card(self):
        card = json.loads(self.content)["content"]
        metadata = yaml.safe_load(card.split("---")[1])
        errors = [] if isinstance(metadata, dict) else [{"message": "no metadata"}]
        self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self):
        wanted = json.loads(self.content)
        owner = wanted.get("organization") or "me"
        repo_id = f"{owner}/{wanted['name']}"
        if self._token() != WRITER or owner != "me":
            raise _Refused(403, f"You don't have the rights to create a model under the namespace {owner}")
        if repo_id in self.hub.repositories:
            answer = {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo_id}"}
            return self._answer(answer, 409)
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.hub.repositories[repo_id] = Repository(private, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return self._answer({"url": f"{self.hub.url}/{repo_id}", "id": repo_id, "name": repo_id})

    def preupload(self, repo_id: str):
        self._repository(repo_id, write=True)
        files = json.loads(self.content)["files"]
        modes = {x["path"]: "lfs" if x["path"].endswith((".safetensors", ".parquet")) else "regular" for x in files}
        self._answer({"files": [{"path": x, "uploadMode": mode, "shouldIgnore": False} for x, mode in modes.items()]})

    def large_files(self, repo_id: str):
        """Where to put the files that go beside the commit (git-lfs' batch interface)."""
        self._repository(repo_id, write=True)
        objects = [
            {**x, "actions": {"upload": {"href": f"{self.hub.url}/large_files/{x['oid']}"}}}
            for x in json.loads(self.content)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def large_file(self, oid: str):
        if self.hub.break_uploads:
            raise _Refused(400, "the storage has no room")
        assert hashlib.sha256(self.content).hexdigest() == oid
        self.hub.large_files[oid] = self.content
        self._answer({})

    def commit(self, repo_id: str):
        repository = self._repository(repo_id, write=True)
        if self.hub.break_commits:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        entries = [json.loads(line) for line in self.content.splitlines()]
        files = {x["value"]["path"]: base64.b64decode(x["value"]["content"]) for x in entries if x["key"] == "file"}
        large = {x["value"]["path"]: x["value"]["oid"] for x in entries if x["key"] == "lfsFile"}
        files |= {path: self.hub.large_files[oid] for path, oid in large.items()}
        answer = {"success": True}
        if parse_qs(urlsplit(self.path).query).get("create_pr"):
            repository.pull_requests.append(files)
            answer["pullRequestUrl"] = f"{self.hub.url}/{repo_id}/discussions/{len(repository.pull_requests)}"
        else:
            gone = {x["value"]["path"] for x in entries if x["key"] == "deletedFile"}
            repository.files = {path: x for path, x in repository.files.items() if path not in gone} | files
            repository.commits += 1
        self._answer(
            {**answer, "commitUrl": f"{self.hub.url}/{repo_id}/commit/{repository.sha}", "commitOid": repository.sha}
        )

    def tree(self, repo_id: str, folder: str | None):
        files = self._repository(repo_id).files.items()
        prefix = f"{folder}/" if folder else ""
        self._answer(
            [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files
                if path.startswith(prefix)
            ]
        )

    def info(self, repo_id: str):
        repository = self._repository(repo_id)
        self._answer(
            {
                "id": repo_id,
                "modelId": repo_id,
                "sha": repository.sha,
                "private": repository.private,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in repository.files],
            }
        )

    def resolve(self, repo_id: str, path: str):
        repository = self._repository(repo_id)
        headers = {"X-Repo-Commit": repository.sha}
        if path not in repository.files:
            self._answer({"error": "Entry not found"}, 404, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        data = repository.files[path]
        self._answer(data, headers={**headers, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
