from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bench import heads, probe, reader
from bench.reader import Answered, Connection

BODY = bytes(range(256)) * 4096


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/file":
            self._file()
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"abc")
            self.close_connection = True
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/file" else 404)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()

    def _file(self) -> None:
        asked = self.headers.get("Range")
        first, last = (int(part) for part in asked[6:].split("-")) if asked else (0, len(BODY) - 1)
        body = BODY[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def job(port: int, path: str = "/file", **more: object) -> reader.Job:
    return {"host": "127.0.0.1", "port": port, "path": path, **more}  # type: ignore[typeddict-item]


def test_whole_counts_every_reading(port: int) -> None:
    assert reader.whole(job(port, times=3))["bytes"] == 3 * len(BODY)


def test_spans_count_what_they_asked_for(port: int) -> None:
    assert reader.spans(job(port, spans=[[0, 0], [5, 104], [len(BODY) - 7, len(BODY) - 1]]))["bytes"] == 108


def test_pieces_of_several_paths_on_one_connection(port: int) -> None:
    asked = [("/file", 0, 9), ("/file", 100, 100), ("/file", len(BODY) - 3, len(BODY) - 1)]
    assert reader.pieces(job(port, pieces=asked))["bytes"] == 14


def test_a_download_follows_redirects(port: int) -> None:
    found = reader.download({"url": f"http://127.0.0.1:{port}/moved"})
    assert found["bytes"] == len(BODY)
    assert 0 < found["first_byte"] <= found["seconds"]


def test_a_download_may_stop_at_its_first_byte(port: int) -> None:
    found = reader.download({"url": f"http://127.0.0.1:{port}/file", "stop_early": True})
    assert 1 <= found["bytes"] <= len(BODY)


def test_each_of_a_crowd_reads_all(port: int) -> None:
    assert reader.crowd(job(port, connections=7))["bytes"] == 7 * len(BODY)


def test_a_crowd_notices_a_body_cut_short(port: int) -> None:
    with pytest.raises(Answered, match="ended early"):
        reader.crowd(job(port, "/short", connections=2))


def test_a_body_cut_short_is_no_measurement(port: int) -> None:
    with pytest.raises(Answered, match="ended early"):
        Connection("127.0.0.1", port).fetch("/short")


def test_another_status_is_no_measurement(port: int) -> None:
    for attempt in (reader.whole, lambda asked: reader.crowd({**asked, "connections": 1})):
        with pytest.raises(Answered, match="404"):
            attempt(job(port, "/nothing"))


def test_a_probe_times_each_of_its_requests(port: int) -> None:
    taken = probe.latencies("127.0.0.1", port, "/file", 0.05)
    assert len(taken) == 10
    assert all(seconds > 0 for seconds in taken)


def test_heads_are_counted_on_every_connection(port: int) -> None:
    found = heads.load("127.0.0.1", port, "/file", 4, 0.05)
    assert found["requests"] >= 4
    assert 0 < found["p50"] <= found["p95"] <= found["p99"]


def test_a_head_with_another_status_is_no_measurement(port: int) -> None:
    with pytest.raises(Answered, match="404"):
        heads.load("127.0.0.1", port, "/nothing", 1, 0.05)
