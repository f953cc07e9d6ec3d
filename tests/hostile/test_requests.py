"""Requests that are no proper HTTP, or far too much of it: refused with a code, and the next one is answered.

After each of them the same connection either still works or is closed; it is never out of step, so that no
byte of one request is read as another.
"""

from __future__ import annotations

import pytest

from support.front import CONFIG, Front, is_coded
from support.wire_talk import HungUp, WireTalk

pytestmark = pytest.mark.usefixtures("left_well")

FILE = b"/acme/tiny/resolve/main/config.json"
PATHS_INFO = b"/api/models/acme/tiny/paths-info/main"
NEXT = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % FILE


def request(target: bytes, *headers: bytes, method: bytes = b"GET", host: bytes = b"localhost") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def is_in_step(talk: WireTalk) -> None:
    """The connection is closed, or answers the next request with that one's answer."""
    talk.say(NEXT)
    try:
        answer = talk.hear()
    except HungUp:
        return
    assert (answer.status, answer.body) == (200, CONFIG)
    assert talk.is_over()


MALFORMED = {
    "both lengths": request(FILE, b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "both lengths, hidden": request(FILE, b"Transfer-Encoding: chunked", b"content-length: 0") + b"0\r\n\r\n",
    "two lengths": request(PATHS_INFO, b"Content-Length: 5", b"Content-Length: 6", method=b"POST") + b"paths",
    "a list of lengths": request(PATHS_INFO, b"Content-Length: 5, 5", method=b"POST") + b"paths",
    "a negative length": request(PATHS_INFO, b"Content-Length: -1", method=b"POST"),
    "a signed length": request(PATHS_INFO, b"Content-Length: +5", method=b"POST") + b"paths",
    "a hexadecimal length": request(PATHS_INFO, b"Content-Length: 0x5", method=b"POST") + b"paths",
    "an endless length": request(PATHS_INFO, b"Content-Length: " + b"9" * 40, method=b"POST"),
    "chunked, then not": request(PATHS_INFO, b"Transfer-Encoding: chunked, identity", method=b"POST"),
    "chunked twice": request(PATHS_INFO, b"Transfer-Encoding: chunked, chunked", method=b"POST"),
    "nearly chunked": request(PATHS_INFO, b"Transfer-Encoding: xchunked", method=b"POST"),
    "a space before the colon": request(PATHS_INFO, b"Transfer-Encoding : chunked", method=b"POST"),
    "a vertical tab": request(PATHS_INFO, b"Transfer-Encoding: \x0bchunked", method=b"POST"),
    "a folded header": request(FILE, b"X-A: b", b" Content-Length: 5"),
    "a bare line feed": b"GET %b HTTP/1.1\nHost: localhost\n\n" % FILE,
    "a bare carriage return": request(FILE, b"X-A: b\rX-Evil: 1"),
    "a NUL in a header": request(FILE, b"X-A: b\x00c"),
    "a header without a name": request(FILE, b": b"),
    "two hosts": request(FILE, b"Host: evil.example"),
    "no host": b"GET %b HTTP/1.1\r\n\r\n" % FILE,
    "a later HTTP": b"GET %b HTTP/2.0\r\nHost: localhost\r\n\r\n" % FILE,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no such HTTP": b"GET %b HTTP/1.11\r\nHost: localhost\r\n\r\n" % FILE,
    "a made-up method": request(FILE, method=b"G\x00T"),
    "a method in lower case": request(FILE, method=b"get"),
    "the opening of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "zeros": bytes(4096) + b"\r\n\r\n",
    "a space in the path": request(b"/acme/tiny/resolve/main/a b.json"),
    "raw UTF-8 in the path": request("/acme/tiny/resolve/main/ü.json".encode()),
    "no path": request(b"evil"),
    "no path but a star": request(b"*"),
}  # fmt: skip


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_http_is_refused_and_the_connection_closed(front: Front, raw: bytes) -> None:
    with WireTalk(front.port) as talk:
        answer = talk.say(raw + NEXT).hear()
        is_coded(answer, 400, 414, 431)
        assert talk.is_over(), "what followed was taken for a request"


CHUNKS = {
    "a length that is no number": b"ZZ\r\nhello\r\n0\r\n\r\n",
    "a signed length": b"+5\r\nhello\r\n0\r\n\r\n",
    "an endless length": b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": b"5\r\nhelloXX0\r\n\r\n",
    "a bare line feed": b"5\nhello\n0\n\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_bad_chunks_are_refused_and_the_connection_closed(front: Front, chunks: bytes) -> None:
    head = request(PATHS_INFO, b"Transfer-Encoding: chunked", method=b"POST")
    with WireTalk(front.port) as talk:
        answer = talk.say(head + chunks + NEXT).hear()
        is_coded(answer, 400)
        assert talk.is_over()


FAR_TOO_MUCH = {
    "the URL": (request(b"/" + b"a" * 9000), 414),
    "the query": (request(FILE + b"?" + b"a" * 9000), 414),
    "the URL, by megabytes": (request(b"/" + b"a" * 3_000_000), 414),
    "a header": (request(FILE, b"X-A: " + b"a" * 20_000), 431),
    "a header, by megabytes": (request(FILE, b"X-A: " + b"a" * 3_000_000), 431),
    "a header's name": (request(FILE, b"X" * 20_000 + b": a"), 431),
    "the number of headers": (request(FILE, *(b"X-%d: a" % n for n in range(5_000))), 431),
}


@pytest.mark.parametrize(("raw", "status"), FAR_TOO_MUCH.values(), ids=FAR_TOO_MUCH)
def test_too_much_is_refused_and_the_connection_closed(front: Front, raw: bytes, status: int) -> None:
    with WireTalk(front.port) as talk:
        answer = talk.say(raw).hear()
        is_coded(answer, status)
        assert talk.is_over()


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PUT", b"DELETE", b"PATCH", b"POST", b"PROPFIND"])
@pytest.mark.parametrize(
    "target",
    [FILE, b"/acme/tiny/raw/main/config.json", PATHS_INFO, b"/v2/", b"/healthz", b"/", b"/metrics",
     b"/acme/tiny.git/info/refs", b"/api/moongate/v1/status"],
)  # fmt: skip
def test_a_method_that_a_route_has_not_is_refused(front: Front, method: bytes, target: bytes) -> None:
    if (target, method) == (PATHS_INFO, b"POST"):
        method = b"GET"
    length = [] if method in (b"CONNECT", b"TRACE") else [b"Content-Length: 0"]
    with WireTalk(front.port) as talk:
        answer = talk.say(request(target, *length, method=method)).hear()
        is_coded(answer, 405)
        assert answer.headers["allow"]
        is_in_step(talk)


@pytest.mark.parametrize(
    "upgrade",
    [
        (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x"),
        (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    ],
)
def test_an_offer_of_another_protocol_is_ignored(front: Front, upgrade: tuple[bytes, ...]) -> None:
    with WireTalk(front.port) as talk:
        assert talk.say(request(FILE, *upgrade)).hear().status == 200
        is_in_step(talk)


def test_what_waits_behind_a_connect_is_a_request_of_its_own(front: Front) -> None:
    with WireTalk(front.port) as talk:
        talk.say(request(b"169.254.169.254:80", method=b"CONNECT") + NEXT)
        is_coded(talk.hear(), 400, 405)
        try:
            assert talk.hear().body == CONFIG
        except HungUp:
            return


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
def test_a_body_where_none_is_due_is_not_the_next_request(front: Front, method: bytes) -> None:
    inner = b"GET /api/moongate/v1/tokens HTTP/1.1\r\nHost: localhost\r\n\r\n"
    raw = request(FILE, b"Content-Length: %d" % len(inner), method=method) + inner
    with WireTalk(front.port) as talk:
        answer = talk.say(raw).hear(method.decode())
        assert answer.status in (200, 204, 405)
        is_in_step(talk)


def test_many_requests_in_one_go_are_answered_in_order(front: Front) -> None:
    targets = [FILE, b"/nobody/here/resolve/main/x", b"/%2e%2e/x", FILE, b"/healthz"] * 20
    with WireTalk(front.port) as talk:
        talk.say(b"".join(request(target) for target in targets))
        statuses = [talk.hear().status for _ in targets]
    assert statuses == [200, 404, 400, 200, 200] * 20


@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        (b"bytes=" + b"9" * 39 + b"-", (416,)),
        (b"bytes=" + b"9" * 3000 + b"-", (200,)),
        (b"bytes=5-2", (200,)),
        (b"bytes=-0", (416,)),
        (b"bytes=--1", (200,)),
        (b"bytes=0x0-0x5", (200,)),
        (b"bytes=\xd9\xa0-\xd9\xa5", (200,)),
        (b"bytes=" + b"0-0," * 500, (200,)),
        (b"bytes=" + b"0-,"[:3] * 16 + b"0-", (200,)),
        (b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(0, 22, 2)), (206,)),
        (b"lines=1-2", (200,)),
        (b"bytes=0-18446744073709551616", (206,)),
    ],
)
def test_absurd_ranges_cost_at_most_the_file(front: Front, value: bytes, statuses: tuple[int, ...]) -> None:
    with WireTalk(front.port) as talk:
        answer = talk.say(request(FILE, b"Range: " + value)).hear()
        assert answer.status in statuses
        if answer.status == 416:
            is_coded(answer, 416)
            assert answer.headers["content-range"] == f"bytes */{len(CONFIG)}"
        else:
            assert len(answer.body) < 4096
        is_in_step(talk)


@pytest.mark.parametrize(
    "authorization",
    [
        b"Bearer \xff\xfe", b"Bearer", b"Bearer  ", b"Basic !!!", b"Basic " + b"A" * 9000, b"Digest x",
        b"Bearer " + b"b" * 9000, b"Bearer hf_" + b"a" * 48, b"Bearer a b c", b"\x80", b"Bearer \xc2\xa0x",
    ],
)  # fmt: skip
def test_absurd_credentials_are_refused(front: Front, authorization: bytes) -> None:
    with WireTalk(front.port) as talk:
        answer = talk.say(request(FILE, b"Authorization: " + authorization)).hear()
        is_coded(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        is_in_step(talk)


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example", b"[::ffff:8.8.8.8]",
     b"169.254.169.254", b"localhost@evil.example", b"evil.example:80", b"a" * 300, b"localhost:port", b"",
     b"[::1", b"local host", b"localhost:1:2", b"localhost, evil.example", b"0x7f000001"],
)  # fmt: skip
@pytest.mark.parametrize("target", [FILE, b"/", b"/api/moongate/v1/tokens", b"/api/models/acme/tiny"])
def test_a_foreign_name_is_not_answered_to(front: Front, host: bytes, target: bytes) -> None:
    """What a web page would send whose own name was pointed at this machine."""
    with WireTalk(front.port) as talk:
        answer = talk.say(request(target, host=host)).hear()
        is_coded(answer, 400)
        is_in_step(talk)


def test_a_header_goes_no_further_than_its_line(front: Front) -> None:
    """What a client sends comes back in no header: not its path, its revision, its trace or its origin."""
    evil = b"%0d%0aX-Evil:%201"
    targets = [
        b"/acme/tiny/resolve/main/" + evil, b"/acme/tiny/resolve/" + evil + b"/config.json",
        b"/acme/" + evil + b"/resolve/main/config.json", b"/api/models/acme/tiny/tree/main/" + evil,
        b"/api/models?search=" + evil, b"/api/" + evil, b"/" + evil, FILE + b"?download=" + evil,
        b"/v2/acme/tiny/manifests/" + evil, b"/acme/tiny.git/info/lfs/objects/" + evil,
        b"/api/moongate/v1/jobs/" + evil, b"/api/moongate/v1/repos?repo=" + evil,
    ]  # fmt: skip
    with WireTalk(front.port) as talk:
        for target in targets:
            answer = talk.say(request(target, b"X-Amzn-Trace-Id: a\tb", b"Origin: http://localhost:1")).hear()
            assert "x-evil" not in answer.headers
            assert answer.status < 500
        is_in_step(talk)
