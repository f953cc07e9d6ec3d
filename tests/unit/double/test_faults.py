"""Every fault does what it says, for whom it says, as often as it says; the meters tell the truth."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moongate.double import (
    BigHeaders,
    Cut,
    DropHeaders,
    Fault,
    FlipByte,
    HangUp,
    HubDouble,
    IgnoreRange,
    Latency,
    LieAboutSize,
    MalformedJson,
    Match,
    MoveRef,
    RedirectLoop,
    RedirectTo,
    Repo,
    SetHeaders,
    Stall,
    Status,
    Throttle,
    TooMany,
    Truncate,
    WrongContentRange,
    WrongLength,
    big_file,
)
from moongate.double.faults import KINDS, fault_from_json
from unit.double.plain import ALICE, WEIGHTS, call

CDN = Match(origin="cdn")
HUB = Match(origin="hub", path="/api/*")


def location(double: HubDouble) -> str:
    return call(f"{double.url}/acme/tiny/resolve/main/model.safetensors").headers["Location"]


def broken(url: str) -> bytes:
    """What arrives of an answer that is broken off."""
    with pytest.raises(http.client.IncompleteRead) as caught:
        call(url)
    return caught.value.partial


def test_cut_once_then_well(double: HubDouble) -> None:
    double.fault(Cut(1234, match=CDN, times=1))
    assert broken(location(double)) == WEIGHTS[:1234]
    assert call(location(double)).body == WEIGHTS
    first, second = double.meters.requests(origin="cdn")
    assert (first.sent_bytes, first.complete, first.faults) == (1234, False, ["Cut"])
    assert (second.sent_bytes, second.complete, second.faults) == (len(WEIGHTS), True, [])


def test_every_second_after_the_first(double: HubDouble) -> None:
    double.fault(Status(503, match=HUB, skip=1, every=2, times=2))
    seen = [call(f"{double.url}/api/models/acme/tiny").status for _ in range(8)]
    assert seen == [200, 200, 503, 200, 503, 200, 200, 200]


def test_reset_and_hang_up(double: HubDouble) -> None:
    with double.failing(HangUp(match=HUB)), pytest.raises(http.client.RemoteDisconnected):
        call(f"{double.url}/api/models/acme/tiny")
    where, gone = location(double), (ConnectionResetError, http.client.IncompleteRead)
    with double.failing(Cut(100, reset=True, match=CDN)), pytest.raises(gone):
        call(where)


def test_bytes_that_lie(double: HubDouble) -> None:
    with double.failing(FlipByte(1000, match=CDN)):
        got = call(location(double)).body
        assert [at for at in range(len(WEIGHTS)) if got[at] != WEIGHTS[at]] == [1000]
        ranged = {"Range": "bytes=990-1009"}
        assert call(location(double), headers=ranged).body[10] == WEIGHTS[1000] ^ 0xFF
        assert call(location(double), headers={"Range": "bytes=0-999"}).body == WEIGHTS[:1000]
    with double.failing(Truncate(500, match=CDN)):
        got = call(location(double))
        assert (got.headers["Content-Length"], got.body) == ("500", WEIGHTS[:500])
    with double.failing(WrongLength(10, match=CDN)):
        assert broken(location(double)) == WEIGHTS
    with double.failing(WrongContentRange(5, 1, match=CDN)):
        got = call(location(double), headers={"Range": "bytes=0-9"})
        assert (got.headers["Content-Range"], got.body) == (f"bytes 5-14/{len(WEIGHTS) + 1}", WEIGHTS[:10])
    with double.failing(IgnoreRange(match=CDN)):
        got = call(location(double), headers={"Range": "bytes=0-9"})
        assert (got.status, got.body) == (200, WEIGHTS)


def test_answers_instead(double: HubDouble) -> None:
    url = f"{double.url}/api/models/acme/tiny"
    cases: list[tuple[Fault, int, str, str]] = [
        (TooMany(retry_after_seconds=7, match=HUB), 429, "Retry-After", "7"),
        (TooMany(reset_seconds=9, match=HUB), 429, "RateLimit", '"resolvers";r=0;t=9'),
        (Status(404, code="EntryNotFound", match=HUB), 404, "X-Error-Code", "EntryNotFound"),
        (
            RedirectTo("http://169.254.169.254/latest", match=HUB),
            302,
            "Location",
            "http://169.254.169.254/latest",
        ),
        (RedirectLoop(match=HUB), 307, "Location", "/api/models/acme/tiny"),
        (SetHeaders({"etag": "odd"}, match=HUB), 200, "ETag", "odd"),
    ]
    for fault, status, name, value in cases:
        with double.failing(fault):
            got = call(url)
            assert (got.status, got.headers[name]) == (status, value)
    with double.failing(DropHeaders(("x-repo-commit", "etag"))):
        assert not {"X-Repo-Commit", "ETag"} & set(
            call(f"{double.url}/acme/tiny/resolve/main/config.json").headers
        )
    with double.failing(MalformedJson(match=HUB)), pytest.raises(json.JSONDecodeError):
        _ = call(url).json
    with double.failing(LieAboutSize(-1)):
        tree = call(f"{url}/tree/main").json
        assert [e["lfs"]["size"] for e in tree if "lfs" in e] == [len(WEIGHTS) - 1]
        head = call(f"{double.url}/acme/tiny/resolve/main/model.safetensors", "HEAD")
        assert head.headers["X-Linked-Size"] == str(len(WEIGHTS) - 1)
    with double.failing(BigHeaders()), pytest.raises(http.client.HTTPException):
        call(url)
    assert call(url).status == 200


def test_moving_a_branch_when_the_download_starts(double: HubDouble, tiny: Repo) -> None:
    second, first = tiny.refs["refs/heads/main"], tiny.refs["refs/tags/v1"]
    url = f"{double.url}/acme/tiny/resolve/main/README.md"
    with double.failing(MoveRef("acme/tiny", first, match=CDN)):
        where = location(double)
        assert call(url, "HEAD").headers["X-Repo-Commit"] == second
        assert call(where).body == WEIGHTS
        assert call(url, "HEAD").headers["X-Repo-Commit"] == first


def test_a_throttle_holds_per_connection_and_smoothly(double: HubDouble) -> None:
    with double.failing(Throttle(2_000_000, match=CDN)):
        where, started = location(double), time.monotonic()
        assert call(where).body == WEIGHTS
    assert time.monotonic() - started >= len(WEIGHTS) / 2_000_000 * 0.9


def test_a_throttle_may_hold_for_all_connections_together(double: HubDouble) -> None:
    with double.failing(Throttle(4_000_000, together=True, match=CDN)), ThreadPoolExecutor(3) as pool:
        where, started = location(double), time.monotonic()
        for answer in pool.map(call, [where] * 3):
            assert answer.body == WEIGHTS
    assert time.monotonic() - started >= 3 * len(WEIGHTS) / 4_000_000 * 0.85


def test_a_stall_ends_when_it_is_lifted(double: HubDouble) -> None:
    number = double.fault(Stall(after_bytes=1000, match=CDN))
    where, got = location(double), []
    reader = threading.Thread(target=lambda: got.append(call(where).body))
    reader.start()
    double.meters.wait_for(lambda meters: meters.bytes_sent(origin="cdn") == 1000)
    assert not got
    double.faults.remove(number)
    reader.join(60)
    assert got == [WEIGHTS]


def test_a_silent_hub_does_not_keep_the_double_from_stopping(double: HubDouble) -> None:
    double.fault(Stall(match=HUB))
    host, port = double.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"GET /api/models/acme/tiny HTTP/1.1\r\nHost: x\r\n\r\n")
        double.meters.wait_for(lambda meters: len(meters.requests("/api/models/*")) == 1)
        double.stop()
        silent.settimeout(60)
        assert silent.recv(1) == b""
    double.start()


def test_an_outage_breaks_off_a_reader_that_does_not_read(double: HubDouble, tmp_path: Path) -> None:
    large = big_file(tmp_path / "large.bin", 64 << 20)
    double.add_repo("acme/large").commit({"large.bin": large})
    target = call(f"{double.url}/acme/large/resolve/main/large.bin").headers["Location"]
    host, port = double.cdn_netloc.split(":")
    with socket.create_connection((host, int(port))) as slow:
        path = target.removeprefix(double.cdn_url)
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        double.meters.wait_for(lambda meters: meters.bytes_sent(etag=large.sha256) > 0)
        double.down("cdn")
        double.meters.wait_for(lambda meters: meters.requests(origin="cdn")[0].finished_at is not None)
    record = double.meters.requests(origin="cdn")[0]
    assert not record.complete
    assert 0 < record.sent_bytes < 64 << 20


def test_down_and_up_on_the_same_port(double: HubDouble) -> None:
    url = double.url
    with double.away("hub"), pytest.raises(ConnectionRefusedError):
        call(f"{url}/api/models/acme/tiny")
    assert call(f"{url}/api/models/acme/tiny").status == 200


def test_a_port_is_given_to_nobody_else_while_it_is_down(double: HubDouble) -> None:
    host, port = double.url.removeprefix("http://").split(":")
    with double.away("hub"), socket.socket() as other, pytest.raises(OSError):
        other.bind((host, int(port)))


def test_latency_comes_before_the_first_byte(double: HubDouble) -> None:
    with double.failing(Latency(0.05, match=HUB)):
        call(f"{double.url}/api/models/acme/tiny")
    record = double.meters.requests("/api/models/acme/tiny")[0]
    assert record.first_byte_at is not None
    assert record.first_byte_at - record.started >= 0.05


def test_the_log_says_who_asked_what_where(double: HubDouble) -> None:
    url = f"{double.url}/api/models/acme/tiny?blobs=true"
    call(url, headers={"Range": "bytes=0-1"}, token=ALICE)
    record = double.meters.requests()[-1]
    assert (record.origin, record.method, record.path, record.query) == (
        "hub", "GET", "/api/models/acme/tiny", "blobs=true",
    )  # fmt: skip
    assert (record.user, record.authorization, record.range) == ("alice", f"Bearer {ALICE}", "bytes=0-1")
    with pytest.raises(TimeoutError):
        double.meters.wait_for(lambda meters: False, 0.01)


def test_the_control_door(double: HubDouble, tiny: Repo) -> None:
    base = f"{double.control_url}/_double"

    def ask(method: str, path: str, value: object = None) -> object:
        got = call(base + path, method, body=json.dumps(value).encode() if value is not None else None)
        assert got.status == 200, got.body
        return got.json

    made = ask("POST", "/faults", {"kind": "Status", "status": 500, "match": {"path": "/api/*"}, "times": 1})
    assert call(f"{double.url}/api/models/acme/tiny").status == 500
    assert ask("GET", "/faults") == [{"id": made["id"], "kind": "Status", "met": 1, "used": 1}]
    ask("DELETE", f"/faults/{made['id']}")
    assert ask("GET", "/faults") == []
    assert [record["status"] for record in ask("GET", "/requests")] == [500]
    assert ask("GET", "/meters")["bytes_by_origin"]["hub"] > 0
    ask("DELETE", "/meters")
    assert ask("GET", "/meters")["bytes_by_origin"] == {}
    assert ask("PATCH", "/settings", {"tree_page_size": 2})["tree_page_size"] == 2
    assert len(call(f"{double.url}/api/models/acme/tiny/tree/main").json) == 2
    ask("POST", "/refs", {"repo": "acme/tiny", "at": "v1"})
    assert tiny.refs["refs/heads/main"] == tiny.refs["refs/tags/v1"]
    ask("POST", "/down", {"origin": "hub"})
    with pytest.raises(ConnectionRefusedError):
        call(f"{double.url}/api/models/acme/tiny")
    ask("POST", "/up", {})
    assert call(f"{double.url}/api/models/acme/tiny").status == 200
    wrong = [{"kind": "None"}, {"kind": "Cut"}, {"kind": "Cut", "after": 1}, {"kind": "Cut", "match": 1}]
    assert [call(f"{base}/faults", "POST", body=json.dumps(one).encode()).status for one in wrong] == [
        400
    ] * 4


def test_every_kind_has_a_wire_form() -> None:
    assert isinstance(
        fault_from_json({"kind": "DropHeaders", "names": ["a"], "every": 2}), KINDS["DropHeaders"]
    )
    assert set(KINDS) == {
        kind.__name__ for kind in [*Fault.__subclasses__()] if kind.__module__ == Fault.__module__
    }
