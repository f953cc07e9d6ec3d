"""A small HTTP server that says what it is told to say, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Speaker:
    """Answers by path, without its query; 404 for what it was not told."""

    url: str = ""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def say(self, path: str, document: object, status: int = 200, **headers: str) -> None:
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, spelled, json.dumps(document).encode())


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    told = Speaker()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            told.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            status, headers, answer = told.answers.get(self.path.partition("?")[0], (404, {}, b"{}"))
            dated = {name.lower() for name in headers}
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "date" not in dated:
                self.send_header("Date", self.date_time_string())
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port on which nobody listens at the moment."""
    import socket

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
