from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from moongate.core.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from moongate.upstream.guard import AddressGuard

Conversation = Callable[[socket.socket], None]


@contextmanager
def listening(conversation: Conversation | None = None) -> Iterator[int]:
    """A port on loopback; its first connection has the conversation."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            if conversation is not None:
                connection, _ = server.accept()
                # The other side may hang up whenever it likes.
                with connection, suppress(ConnectionError):
                    conversation(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def guard(origin: str = "https://huggingface.co", *allowed: str, **environment: str) -> AddressGuard:
    return AddressGuard(origin, allowed, environment)


@pytest.mark.parametrize(
    ("origin", "spelt"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("https://HuggingFace.co:443/", "https://huggingface.co"),
        ("http://127.0.0.1:9000/hub", "http://127.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_the_origin(origin: str, spelt: str) -> None:
    assert guard(origin).origin == spelt


@pytest.mark.parametrize(
    "origin", ["huggingface.co", "ftp://x", "https://", "https://u:p@x", "https://0x7f.1", ""]
)
def test_origins_that_cannot_be(origin: str) -> None:
    with pytest.raises(UpstreamRefused):
        guard(origin)


@pytest.mark.parametrize("host", ["http://x", "x/y", "u@x", "x:99999", "*", "*.", "a b", "0x7f.1"])
def test_allowed_hosts_that_cannot_be(host: str) -> None:
    with pytest.raises(UpstreamRefused):
        guard("https://huggingface.co", host)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/a/b?c=%2F",
        "https://us.aws.cdn.hf.co/x?Signature=a~b%2F",
        "https://cas-server.xethub.hf.co/v1",
        "https://cdn-lfs.huggingface.co/x",
        "https://hf.co/x",
    ],
)
def test_the_public_hub_and_its_own_hosts(url: str) -> None:
    assert str(guard().check_url(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://huggingface.co/",
        "https://huggingface.co:8443/",
        "http://us.aws.cdn.hf.co/",
        "https://evilhf.co/",
        "https://hf.co.evil.example/",
        "https://huggingface.co@evil.example/",
        "https://evil.example/",
        "file:///etc/passwd",
        "ftp://huggingface.co/",
        "https://127.0.0.1/",
        "https://[::1]/",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(UpstreamRefused):
        guard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//huggingface.co/",
        "https:///x",
        "https://huggingface.co:0/",
        "https://a:b:c/",
        "https://x\r\n.y/",
        "https://huggingface.co\\@evil.example/",
        "https://huggingface%2eco/",
        "https://huggingface.co/" + "x" * 20_000,
    ],
)
def test_what_is_no_url_is_broken(url: str) -> None:
    with pytest.raises((UpstreamBroken, UpstreamRefused)):
        guard().check_url(url)


def test_the_cdn_is_not_the_origin() -> None:
    ours = guard()
    assert ours.is_origin(ours.check_url("https://HUGGINGFACE.co:443/x"))
    assert not ours.is_origin(ours.check_url("https://us.aws.cdn.hf.co/x"))
    assert not ours.is_origin(ours.check_url("https://cdn-lfs.huggingface.co/x"))


def test_the_built_in_hosts_belong_to_the_public_hub_alone() -> None:
    with pytest.raises(UpstreamRefused):
        guard("https://hub.example").check_url("https://us.aws.cdn.hf.co/x")


@pytest.mark.parametrize(
    ("allowed", "url", "passes"),
    [
        ("cdn.example", "http://cdn.example:81/", True),
        ("CDN.example", "https://cdn.EXAMPLE/", True),
        ("cdn.example:81", "http://cdn.example:81/", True),
        ("cdn.example:81", "http://cdn.example/", False),
        ("*.example", "https://a.b.example/", True),
        ("*.example", "https://example/", False),
        ("127.0.0.1:81", "http://127.0.0.1:81/", True),
        ("127.0.0.1:81", "http://127.0.0.1:82/", False),
        ("[::1]:81", "http://[::1]:81/", True),
        (" ", "https://cdn.example/", False),
    ],
)
def test_hosts_that_the_operator_named(allowed: str, url: str, passes: bool) -> None:
    ours = guard("https://hub.example", allowed)
    if passes:
        assert str(ours.check_url(url)) == url
    else:
        with pytest.raises(UpstreamRefused):
            ours.check_url(url)


def test_a_path_outside_ascii_is_quoted_and_the_rest_is_left_alone() -> None:
    assert (
        str(guard().check_url("https://huggingface.co/é?a=%zz+~'"))
        == "https://huggingface.co/%C3%A9?a=%zz+~'"
    )


def test_a_name_that_leads_home_is_refused_unless_named() -> None:
    with pytest.raises(UpstreamRefused, match="private"):
        guard("https://hub.example", "localhost:81").resolve("localhost", 82)
    assert guard("https://hub.example", "localhost:81").resolve("localhost", 81)
    assert guard("http://localhost:83").resolve("localhost", 83)


def test_private_answers_are_dropped_and_public_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        v4 = [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in ("10.0.0.1", "8.8.8.8", "169.254.169.254")]
        return [*v4, (socket.AF_INET6, 1, 6, "", ("::ffff:127.0.0.1", port, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert [address.ip for address in guard().resolve("cdn.hf.co", 443)] == ["8.8.8.8"]


def test_a_wildcard_opens_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    home = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: home)
    ours = guard("https://hub.example", "*.cdn.example", "exact.example")
    with pytest.raises(UpstreamRefused, match="private"):
        ours.resolve("x.cdn.example", 443)
    assert [address.ip for address in ours.resolve("exact.example", 443)] == ["127.0.0.1"]


def test_an_unknown_name_is_unreachable() -> None:
    with pytest.raises(UpstreamUnreachable, match="looked up"):
        guard("https://nowhere.invalid").resolve("nowhere.invalid", 443)


def test_a_connection_reaches_an_allowed_host() -> None:
    with listening(lambda connection: connection.sendall(b"hello")) as port:
        ours = guard(f"http://127.0.0.1:{port}")
        with ours.create_connection("127.0.0.1", port, 5, scheme="http") as connection:
            assert connection.recv(5) == b"hello"
            assert connection.gettimeout() == 5


def test_no_connection_to_another_host() -> None:
    with listening() as port, pytest.raises(UpstreamRefused):
        guard("https://hub.example").create_connection("127.0.0.1", port, 5)


def test_nobody_listens() -> None:
    with listening() as port:
        pass
    with pytest.raises(UpstreamUnreachable, match="cannot connect"):
        guard(f"http://127.0.0.1:{port}").create_connection("127.0.0.1", port, 5, scheme="http")


def test_a_tunnel_through_a_proxy() -> None:
    heard = bytearray()

    def proxy(connection: socket.socket) -> None:
        while not heard.endswith(b"\r\n\r\n"):
            heard.extend(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello")

    with listening(proxy) as port:
        ours = guard(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{port}")
        with ours.create_connection("huggingface.co", 443, 5) as connection:
            assert connection.recv(5) == b"hello"
    assert bytes(heard).startswith(b"CONNECT huggingface.co:443 HTTP/1.1\r\nHost: huggingface.co:443\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in heard


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 No\r\n\r\n",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000,
    ],
)
def test_a_proxy_that_declines(answer: bytes) -> None:
    def proxy(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    with listening(proxy) as port, pytest.raises(UpstreamUnreachable, match="proxy"):
        guard(HTTPS_PROXY=f"http://127.0.0.1:{port}").create_connection("huggingface.co", 443, 5)


def test_a_silent_proxy() -> None:
    with listening(lambda connection: connection.recv(65536) and connection.recv(1)) as port:
        ours = guard(HTTPS_PROXY=f"http://127.0.0.1:{port}")
        with pytest.raises(UpstreamTimeout):
            ours.create_connection("huggingface.co", 443, 0.05)


def test_the_proxy_may_be_private_but_is_no_target() -> None:
    ours = guard(HTTPS_PROXY="http://127.0.0.1:3128")
    assert [address.ip for address in ours.resolve("127.0.0.1", 3128)] == ["127.0.0.1"]
    with pytest.raises(UpstreamRefused):
        ours.check_url("http://127.0.0.1:3128/")
