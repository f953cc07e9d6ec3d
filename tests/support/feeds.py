"""A loopback server that speaks as threat intelligence does: TAXII 2.1, MISP, VirusTotal v3, files.

with FeedServer() as server:
    server.file("/list.csv", b"…")                  # with an ETag; 304 to who has it
    server.collection("/api/collections/1", [...])  # TAXII 2.1, pages of `page` objects
    server.virustotal({sha256: attributes})         # /api/v3/files/{sha256}
    server.asked                                    # every request: path, headers
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, str], bytes]
TAXII = "application/taxii+json;version=2.1"


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class FeedServer:
    """Answers by path prefix, the longest first; 404 for the rest."""

    url: str = ""
    asked: list[Request] = field(default_factory=list)
    routes: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)

    def __enter__(self) -> FeedServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(parts.path, query, headers)
                server.asked.append(request)
                fitting = [prefix for prefix in server.routes if parts.path.startswith(prefix)]
                answer = server.routes[max(fitting, key=len)](request) if fitting else (404, {}, b"{}")
                status, told, body = answer
                self.send_response(status)
                for name, value in told.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self) -> list[str]:
        return [request.path for request in self.asked]

    def file(self, path: str, body: bytes, kind: str = "text/csv") -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'

        def answer(request: Request) -> Answer:
            if request.path != path:
                return 404, {}, b""
            if request.headers.get("if-none-match") == etag:
                return 304, {"ETag": etag}, b""
            return 200, {"Content-Type": kind, "ETag": etag}, body

        self.routes[path] = answer

    def json(self, path: str, document: object) -> None:
        self.file(path, json.dumps(document).encode(), "application/json")

    def collection(self, path: str, objects: Sequence[Mapping[str, Any]], page: int = 2) -> None:
        """A TAXII collection; `date_added` of an object (not sent) is when it came, else 2026-01-01."""

        def answer(request: Request) -> Answer:
            if request.headers.get("accept") != TAXII:
                return 406, {"Content-Type": TAXII}, b"{}"
            since = request.query.get("added_after", "")
            new = [told for told in objects if told.get("date_added", "2026-01-01T00:00:00Z") > since]
            if kind := request.query.get("match[type]"):
                new = [told for told in new if told["type"] == kind]
            begin = int(request.query.get("next", "0"))
            some = new[begin : begin + page]
            envelope: dict[str, Any] = {"more": begin + page < len(new)}
            if envelope["more"]:
                envelope["next"] = str(begin + page)
            sent = [{name: told[name] for name in told if name != "date_added"} for told in some]
            if sent:
                envelope["objects"] = sent
            headers = {"Content-Type": TAXII}
            if some:
                headers["X-TAXII-Date-Added-Last"] = some[-1].get("date_added", "2026-01-01T00:00:00Z")
            return 200, headers, json.dumps(envelope).encode()

        self.routes[path + "/objects/"] = answer

    def virustotal(self, known: Mapping[str, Mapping[str, Any]], key: str = "k3y") -> None:
        def answer(request: Request) -> Answer:
            if request.headers.get("x-apikey") != key:
                return 401, {}, json.dumps({"error": {"code": "WrongCredentialsError"}}).encode()
            sha256 = request.path.rsplit("/", 1)[1]
            if sha256 not in known:
                return 404, {}, json.dumps({"error": {"code": "NotFoundError"}}).encode()
            data = {"id": sha256, "type": "file", "attributes": {"sha256": sha256, **known[sha256]}}
            return 200, {"Content-Type": "application/json"}, json.dumps({"data": data}).encode()

        self.routes["/api/v3/files/"] = answer


def osv_zip(*advisories: Mapping[str, Any]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for told in advisories:
            archive.writestr(f"{told['id']}.json", json.dumps(told))
    return held.getvalue()


def indicator(sha256: str, **more: Any) -> dict[str, Any]:
    """A STIX indicator about a file."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{sha256[:8]}-0000-4000-8000-000000000000",
        "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "pattern_type": "stix",
        "pattern": f"[file:hashes.'SHA-256' = '{sha256}']",
        **more,
    }
