"""Evil input to what changes hosted repositories: refused with a code, and nothing happened."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.front import is_coded
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.upload_talk import Refused, UploadTalk, file_line, lfs_line

REPO = "acme/tiny"
COMMIT = f"/api/models/{REPO}/commit/main"
HEADER = b'{"key":"header","value":{"summary":"x"}}\n'
CONTENT = b"large" * 1000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme", "MOONGATE_UPLOAD_PART_BYTES": str(64 << 10)}
    home = tmp_path_factory.mktemp("hosting") / "home"
    with Gateway(home, "http://127.0.0.1:9", env=env) as running:
        UploadTalk(running.url).create(REPO)
        yield running


@pytest.fixture
def unchanged(gateway: Gateway) -> Iterator[UploadTalk]:
    """What the repository has is the same afterwards, and no file is left over."""
    talk = UploadTalk(gateway.url)
    before = talk.history(REPO)
    yield talk
    assert talk.history(REPO) == before
    assert not list((gateway.home / "store" / "v1" / "uploads").glob("*.tmp"))


def post(gateway: Gateway, target: str, body: bytes, **headers: str) -> RawAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(gateway.url, target, "POST", {"Content-Type": "application/json", **named}, body)


def file_named(path: object) -> bytes:
    line = {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}}
    return HEADER + json.dumps(line).encode()


PATHS = [
    "../up", "a/../b", "/abs", "a//b", "a/./b", "", ".", "..", ".git/config", "a/.GIT/hooks/x", "a\\b",
    "a\0b", "a\nb", "\ud800", "x" * 5000, "/".join(["d"] * 500), 5, None, ["a"], {"a": 1},
]  # fmt: skip

API = f"/api/models/{REPO}"
LFS = f"/{REPO}.git/info/lfs/objects"

BODIES = {
    "nothing": b"",
    "no header": file_named("a")[len(HEADER) :],
    "two headers": HEADER + HEADER,
    "no JSON": HEADER + b"{",
    "no object": HEADER + b"[1,2]",
    "deep lists": HEADER + b"[" * 200_000,
    "deep objects": HEADER + b'{"key":' * 100_000,
    "another key": HEADER + b'{"key":"evil","value":{}}',
    "no value": HEADER + b'{"key":"file"}',
    "no content": HEADER + b'{"key":"file","value":{"path":"a"}}',
    "no base64": HEADER + b'{"key":"file","value":{"path":"a","content":"?","encoding":"base64"}}',
    "another encoding": HEADER + b'{"key":"file","value":{"path":"a","content":"","encoding":"rot13"}}',
    "no hash": HEADER + b'{"key":"lfsFile","value":{"path":"a","algo":"sha256","oid":"zz","size":1}}',
    "another hash": HEADER + b'{"key":"lfsFile","value":{"path":"a","algo":"md5","oid":"' + b"a" * 32
    + b'"}}',
    "git's hash": HEADER + b'{"key":"lfsFile","value":{"path":"a","oid":"' + b"a" * 40 + b'","size":1}}',
    "not uploaded": HEADER + b'{"key":"lfsFile","value":{"path":"a","oid":"' + b"a" * 64 + b'","size":1}}',
    "a size below nothing": HEADER + b'{"key":"lfsFile","value":{"path":"a","oid":"'
    + b"a" * 64 + b'","size":-1}}',
    "an absurd size": HEADER + b'{"key":"lfsFile","value":{"path":"a","oid":"'
    + b"a" * 64 + b'","size":99999999999999999999}}',
    "no summary": b'{"key":"header","value":{"summary":""}}\n' + file_named("a")[len(HEADER) :],
    "a summary as long as a book": b'{"key":"header","value":{"summary":"' + b"x" * 10_000 + b'"}}',
    "an odd parent": b'{"key":"header","value":{"summary":"x","parentCommit":"main"}}',
    "a move of nothing": HEADER + b'{"key":"file","value":{"path":"a","oldPath":"none"}}',
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=[repr(path)[:20] for path in PATHS])
def test_paths_that_cannot_be(gateway: Gateway, unchanged: UploadTalk, path: object) -> None:
    is_coded(post(gateway, COMMIT, file_named(path)), 400, 422)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_commits_that_cannot_be(gateway: Gateway, unchanged: UploadTalk, body: bytes) -> None:
    answer = post(gateway, COMMIT, body)
    is_coded(answer, answer.status)
    assert answer.status in (400, 404)


@pytest.mark.parametrize("revision", ["none", "refs%2Ftags%2Fx", "..", "%2e%2e", "a" * 400, "main%00", "%ff"])
def test_revisions_that_cannot_be(gateway: Gateway, unchanged: UploadTalk, revision: str) -> None:
    answer = post(gateway, f"{API}/commit/{revision}", file_named("a"))
    is_coded(answer, answer.status)
    assert answer.status in (400, 404)


def test_a_line_that_never_ends(gateway: Gateway, unchanged: UploadTalk) -> None:
    is_coded(post(gateway, COMMIT, HEADER + b'{"key":"file","value":"' + b"x" * (65 << 20)), 400)


def test_a_body_that_breaks_off(gateway: Gateway, unchanged: UploadTalk) -> None:
    place = urlsplit(gateway.url)
    with socket.create_connection((place.hostname, place.port)) as wire:
        wire.sendall(
            f"POST {COMMIT} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 500\r\n\r\n".encode()
        )
        wire.sendall(file_named("half"))
    with socket.create_connection((place.hostname, place.port)) as wire:
        chunked = "Transfer-Encoding: chunked"
        wire.sendall(f"POST {COMMIT} HTTP/1.1\r\nHost: {place.netloc}\r\n{chunked}\r\n\r\n".encode())
        body = file_named("half")
        wire.sendall(b"%x\r\n%b\r\n" % (len(body), body))


ODD = {
    "create": ("/api/repos/create", [b"{", b"[]", b'{"name":5}', b'{"name":"a/b/c"}', b'{"name":"acme/.."}',
        b'{"name":"acme/x","type":"evil"}', b'{"name":"acme/x","private":"yes"}',
        b'{"name":"acme/x","visibility":"odd"}', b'{"name":"acme/x","type":"space"}',
        b'{"name":"acme/x","type":"space","sdk":"evil"}', b'{"name":"acme/\\u0000"}']),
    "move": ("/api/repos/move", [b'{"fromRepo":"acme/tiny"}', b'{"fromRepo":"acme/tiny","toRepo":"tiny"}',
        b'{"fromRepo":"acme/tiny","toRepo":"acme/../x"}', b'{"fromRepo":"acme/tiny","toRepo":"other/x"}',
        b'{"fromRepo":"acme/none","toRepo":"acme/y"}']),
    "preupload": (f"{API}/preupload/main", [b"{", b"{}", b'{"files":5}', b'{"files":[5]}',
        b'{"files":[{"path":"../x"}]}', b'{"files":[{"path":"a","size":-1}]}',
        b'{"files":[{"path":"a","sample":"?"}]}', b'{"files":[],"gitIgnore":5}', b"[" * 100_000,
        json.dumps({"files": [{"path": f"{n}", "size": 1} for n in range(2000)]}).encode()]),
    "branch": (f"{API}/branch/%20x", [b"{}"]),
    "branch on nothing": (f"{API}/branch/x", [b'{"startingPoint":"none"}', b'{"startingPoint":5}',
        b'{"startingPoint":"..\\u0000"}']),
    "tag": (f"{API}/tag/main", [b"{}", b'{"tag":"a..b"}', b'{"tag":5}', b'{"tag":"HEAD"}']),
    "squash": (f"{API}/super-squash/none", [b"{}", b'{"message":5}']),
    "duplicate": (f"{API}/duplicate", [b"{}", b'{"repository":"x"}', b'{"repository":"other/x"}']),
    "discussion": (f"{API}/discussions", [b"{}", b'{"title":""}', b'{"title":5}',
        b'{"title":"x","description":"' + b"y" * 100_000 + b'"}']),
    "comment": (f"{API}/discussions/99/comment", [b'{"comment":"x"}']),
    "merge": (f"{API}/discussions/99/merge", [b"{}"]),
    "batch": (f"{LFS}/batch", [b"{", b'{"operation":"upload","objects":[{"oid":"x"}]}',
        b'{"operation":"upload","objects":[{"oid":"' + b"a" * 64 + b'","size":-5}]}',
        b'{"operation":"evil","objects":[]}']),
    "verify": (f"{LFS}/verify", [b"{", b"{}", b'{"oid":"' + b"a" * 64 + b'","size":1}']),
    "lfs-files": (f"{API}/lfs-files/batch", [b"{}", b'{"deletions":5}',
        b'{"deletions":{"sha":["zz"]}}']),
    "lfs duplicate": (f"{API}/lfs-files/duplicate", [b"{}", b'{"target":5,"files":[]}',
        b'{"target":{"type":"model","name":"x"},"files":[]}']),
    "nothing": (f"{API}/evil", [b"{}"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "body"),
    [(target, body) for target, bodies in ODD.values() for body in bodies],
    ids=[f"{name}-{place}" for name, (_, bodies) in ODD.items() for place in range(len(bodies))],
)
def test_questions_that_cannot_be(gateway: Gateway, unchanged: UploadTalk, target: str, body: bytes) -> None:
    answer = post(gateway, target, body)
    is_coded(answer, answer.status)
    assert answer.status in (400, 403, 404, 422)


def test_nothing_of_a_hosted_repository_is_passed_on(gateway: Gateway) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for target in (f"/api/models/{REPO}", f"{API}/refs", f"/{REPO}/resolve/main/x"):
            answer = ask(gateway.url, target, method, {}, b"{}")
            assert answer.status in (404, 405), (method, target)  # upstream would be out of reach: 503
    for target in ("/api/organizations/acme/members", "/api/users/ACME/overview", "/api/models?author=acme"):
        assert ask(gateway.url, target).status in (200, 404)


class TestUploadAddresses:
    def href(self, talk: UploadTalk, content: bytes = CONTENT) -> str:
        return str(urlsplit(talk.batch(REPO, content)["actions"]["upload"]["href"]).path)

    def test_one_that_was_changed(self, gateway: Gateway, unchanged: UploadTalk) -> None:
        good = self.href(unchanged)
        prefix, _, token = good.rpartition("/")
        raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        for place in (0, 5, len(raw) // 2, len(raw) - 1):
            bad = bytearray(raw)
            bad[place] ^= 1
            text = base64.urlsafe_b64encode(bytes(bad)).rstrip(b"=").decode()
            is_coded(ask(gateway.url, f"{prefix}/{text}", "PUT", {}, CONTENT), 403)
        for odd in ("", "x", "a" * 5000, "%00", f"{token}=", "../" * 5):
            answer = ask(gateway.url, f"{prefix}/{odd}", "PUT", {}, b"x")
            is_coded(answer, answer.status)
            assert answer.status in (400, 403)

    @pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", b"?" * len(CONTENT)])
    def test_other_bytes(self, gateway: Gateway, unchanged: UploadTalk, content: bytes) -> None:
        is_coded(ask(gateway.url, self.href(unchanged), "PUT", {}, content), 400)
        assert "actions" in unchanged.batch(REPO, CONTENT)

    def test_parts_that_cannot_be(self, gateway: Gateway, unchanged: UploadTalk) -> None:
        content = b"part" * 50_000
        href = self.href(unchanged, content)
        for part, size in (("1", 5), ("99", 5), ("0", 5), ("-1", 5), ("x", 5), ("1/2", 5)):
            answer = ask(gateway.url, f"{href}/{part}", "PUT", {}, b"x" * size)
            is_coded(answer, answer.status)
            assert answer.status in (400, 404)
        is_coded(ask(gateway.url, href, "POST", {}, b"{}"), 400)  # parts are missing
        assert ask(gateway.url, href, "PUT", {}, content).status == 405

    def test_an_address_is_no_way_around_the_commit(self, gateway: Gateway, unchanged: UploadTalk) -> None:
        unchanged.put(self.href(unchanged), CONTENT)
        with pytest.raises(Refused):
            UploadTalk(gateway.url, "hf_" + "x" * 48).commit(REPO, lfs_line("w.bin", CONTENT))


class TestPagesOfOtherSites:
    """The door is open on loopback: what a visitor's browser sends for another site must not count."""

    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
    )
    def test_they_change_nothing(
        self, gateway: Gateway, unchanged: UploadTalk, headers: dict[str, str]
    ) -> None:
        for method, target, body in (
            ("POST", COMMIT, file_named("evil")),
            ("POST", "/api/repos/create", b'{"name":"acme/evil"}'),
            ("DELETE", "/api/repos/delete", b'{"name":"acme/tiny"}'),
        ):
            answer = ask(gateway.url, target, method, headers, body)
            is_coded(answer, 401)

    def test_they_do_not_read_what_is_private(self, gateway: Gateway) -> None:
        talk = UploadTalk(gateway.url)
        talk.create("acme/hidden", private=True)
        for name in ("/api/models/acme/hidden", "/acme/hidden/resolve/main/.gitattributes"):
            assert ask(gateway.url, name).status == 200
            is_coded(ask(gateway.url, name, "GET", {"Origin": "https://evil.example"}), 404)


def test_sizes_are_what_they_are(gateway: Gateway) -> None:
    talk = UploadTalk(gateway.url)
    talk.upload(REPO, CONTENT)
    line = lfs_line("sized.bin", CONTENT)
    line["value"]["size"] = 5  # type: ignore[index]
    with pytest.raises(Refused):
        talk.commit(REPO, line)
    talk.commit(REPO, lfs_line("sized.bin", CONTENT))
    assert hashlib.sha256(talk.read(REPO, "sized.bin")).digest() == hashlib.sha256(CONTENT).digest()


def test_a_name_that_looks_like_markup_stays_a_name(gateway: Gateway, tmp_path: Path) -> None:
    talk = UploadTalk(gateway.url)
    name = "<img src=x onerror=alert(1)>.txt"
    talk.commit(REPO, file_line(name, b"x"))
    answer = talk.say("GET", f"{API}/tree/main?recursive=true")
    assert answer.headers["content-type"].startswith("application/json")
    assert name in [one["path"] for one in answer.json()]
