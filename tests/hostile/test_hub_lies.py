"""A Hub that lies, in front of a real gateway: coded refusals, nothing wrong kept, and the truth works next.

Every test has a repository of its own, so that nothing is cached beforehand. A lie ends with its block.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from moongate.double import (
    BigHeaders,
    Cut,
    DropHeaders,
    Fault,
    FlipByte,
    HubDouble,
    IgnoreRange,
    LfsFile,
    LieAboutSize,
    MalformedJson,
    Match,
    RedirectLoop,
    RedirectTo,
    Repo,
    SetHeaders,
    Status,
    Truncate,
    WrongContentRange,
    WrongLength,
)
from support.front import until
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.wire_talk import HungUp, WireTalk

MIB = 1 << 20
NOTES = b"notes\n" * 50
WEIGHTS = bytes(range(256)) * 4 * 1024 * 3 + b"odd end"  # 3 MiB and a little
UPSTREAM = (502, 503, 504)


@dataclass
class Liar:
    """A double, the gateway before it, and repositories as they are needed."""

    double: HubDouble
    gateway: Gateway
    right: set[str] = field(default_factory=set)
    """What the large files of its repositories hold, by sha256."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def repo(self) -> Repo:
        repo = self.double.add_repo(f"acme/lie{next(self._numbers)}")
        content = WEIGHTS + repo.id.encode()
        self.right.add(hashlib.sha256(content).hexdigest())
        repo.commit(
            {"notes.txt": NOTES + repo.id.encode(), "dir/a.txt": b"a", "weights.bin": LfsFile(content)}
        )
        return repo

    def ask(self, target: str, **more: str) -> RawAnswer:
        return ask(self.gateway.url, target, **more)  # type: ignore[arg-type]

    @contextmanager
    def lying(self, *faults: Fault) -> Iterator[None]:
        with self.double.failing(*faults):
            yield

    def read(self, target: str, *headers: str) -> bytes | None:
        """A file's bytes when they came whole and without an error; None when broken off or refused."""
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        with WireTalk(self.gateway.port) as talk:
            talk.say(("\r\n".join(lines) + "\r\n\r\n").encode())
            try:
                answer = talk.hear()
            except HungUp:
                return None
        if answer.status >= 300:
            is_refused(answer)
            return None
        return answer.body

    def blobs(self) -> set[str]:
        """The large contents that are kept, by their sha256."""
        return {path.name for path in (self.gateway.home / "store/v1/blobs/sha256").glob("*/*")}


def is_refused(answer: RawAnswer, *statuses: int) -> None:
    assert answer.status in (statuses or UPSTREAM), (answer.status, answer.headers, answer.body[:300])
    assert answer.headers["x-error-code"].startswith(("Upstream", "Verification")), answer.headers
    assert answer.json()["error"]
    assert "x-evil" not in answer.headers


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    folder = tmp_path_factory.mktemp("liar")
    double = HubDouble(folder / "hub")
    env = {
        "MOONGATE_REF_TTL_SECONDS": "0",
        "MOONGATE_ABSENT_TTL_SECONDS": "0",
    }
    with double.running(), Gateway(folder / "home", double.url, cdn=double.cdn_netloc, env=env) as gateway:
        yield Liar(double, gateway)
        assert ask(gateway.url, "/readyz").status == 200
        log = gateway.log_path.read_text(errors="replace")
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
        assert list((folder / "home/store").rglob("quarantine/*")) == []


QUESTIONS = {  # what a client asks, and what the gateway asks upstream for it
    "info": ("/api/models/{id}", "/api/models/{id}*"),
    "info at a revision": ("/api/models/{id}/revision/main", "/api/models/{id}*"),
    "info with blobs": ("/api/models/{id}?blobs=true", "/api/models/{id}*"),
    "tree": ("/api/models/{id}/tree/main", "/api/models/{id}/tree/*"),
    "tree below": ("/api/models/{id}/tree/main/dir", "/api/models/{id}/tree/*"),
    "whole tree": ("/api/models/{id}/tree/main?recursive=true", "/api/models/{id}/tree/*"),
    "refs": ("/api/models/{id}/refs", "/api/models/{id}/refs"),
    "commits": ("/api/models/{id}/commits/main", "/api/models/{id}/commits/*"),
    "treesize": ("/api/models/{id}/treesize/main", "/api/models/{id}/treesize/*"),
    "list": ("/api/models?search={id}", "/api/models"),
}
NO_ANSWERS = {
    "half of it": MalformedJson(),
    "a page": Status(200, "<html>Sorry</html>"),
    "a page that says it is JSON": Status(200, "<html>Sorry</html>", content_type="application/json"),
    "nothing": Status(200, " ", content_type="application/json"),
    "NaN": Status(200, '{"sha": NaN}', content_type="application/json"),
    "depth": Status(200, "[" * 200_000, content_type="application/json"),
    "garbage that says it is packed": SetHeaders({"Content-Encoding": "gzip"}),
    "a mountain of headers": BigHeaders(),
    "a circle": RedirectLoop(),
    "a circle by 302": RedirectLoop(302),
    "a redirect to nowhere": RedirectTo(""),
    "this machine": RedirectTo("http://127.0.0.1:9/"),
    "the cloud's metadata": RedirectTo("http://169.254.169.254/latest/meta-data/"),
    "another scheme": RedirectTo("file:///etc/passwd"),
    "500": Status(500, "Traceback (most recent call last): secret"),
    "503": Status(503),
    "418": Status(418),
}


def aimed(fault: Fault, path: str, origin: str = "hub") -> Fault:
    """The same fault, for paths that fit this glob alone."""
    told = {name: getattr(fault, name) for name in fault.__dataclass_fields__}
    return type(fault)(**{**told, "match": Match(path=path, origin=origin)})


@pytest.mark.parametrize("fault", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_no_metadata_answer_that_makes_no_sense_is_believed(liar: Liar, fault: Fault) -> None:
    for name, (question, asked) in QUESTIONS.items():
        repo = liar.repo()
        target = question.format(id=repo.id)
        with liar.lying(aimed(fault, asked.format(id=repo.id))):
            answer = liar.ask(target)
            assert answer.status != 200, (name, answer.body[:100])
            if answer.status not in UPSTREAM:
                assert fault == Status(418), (name, answer)
                assert answer.status < 500
                assert answer.headers["x-error-code"], name
                assert "secret" not in answer.body.decode()
                assert "Traceback" not in answer.body.decode()
        answer = liar.ask(target)
        assert answer.status == 200, (name, answer, answer.body)
        told = answer.json()
        assert told or name == "list", name
        if name.startswith("info"):
            assert told["id"] == repo.id


SHAPES = ["null", "{}", "1", '"a"', "[[]]", "[null]", '[{"path": null}]', '{"siblings": 1}']


@pytest.mark.parametrize("shape", SHAPES)
def test_json_of_another_shape_is_not_believed(liar: Liar, shape: str) -> None:
    for name in ("info", "whole tree", "refs"):
        repo = liar.repo()
        target, asked = (text.format(id=repo.id) for text in QUESTIONS[name])
        with liar.lying(aimed(Status(200, shape, content_type="application/json"), asked)):
            assert liar.ask(target).status in (200, *UPSTREAM)
        answer = liar.ask(f"/{repo.id}/resolve/main/notes.txt")
        assert answer.body == NOTES + repo.id.encode()
        assert liar.ask(f"/api/models/{repo.id}/revision/{repo.resolve('main').hash}").json()["id"] == repo.id


FILE_LIES = {
    "a circle": RedirectLoop(),
    "a redirect to nowhere": RedirectTo(""),
    "this machine": RedirectTo("http://127.0.0.1:9/x"),
    "this machine, by name": RedirectTo("http://localhost:9/x"),
    "this machine, in IPv6": RedirectTo("http://[::ffff:127.0.0.1]:9/x"),
    "the cloud's metadata": RedirectTo("http://169.254.169.254/latest/meta-data/"),
    "a private network": RedirectTo("http://10.0.0.1/x"),
    "another Hub": RedirectTo("http://127.0.0.2:9/x"),
    "with a user": RedirectTo("http://user:pass@127.0.0.1/x"),
    "another scheme": RedirectTo("gopher://127.0.0.1:9/x"),
    "no commit": DropHeaders(("X-Repo-Commit",)),
    "a commit that climbs": SetHeaders({"X-Repo-Commit": "../../../etc"}),
    "another commit": SetHeaders({"X-Repo-Commit": "f" * 40}),
    "no hash": DropHeaders(("X-Linked-ETag", "ETag")),
    "a hash that climbs": SetHeaders({"X-Linked-ETag": '"../../../etc/passwd"'}),
    "an empty hash": SetHeaders({"X-Linked-ETag": '""'}),
    "no size": DropHeaders(("X-Linked-Size", "Content-Length")),
    "a negative size": SetHeaders({"X-Linked-Size": "-1"}),
    "a size in words": SetHeaders({"X-Linked-Size": "many"}),
    "a size beyond all disks": SetHeaders({"X-Linked-Size": str(1 << 59)}),
    "a size beyond this disk": SetHeaders({"X-Linked-Size": str(1 << 50)}),
    "more than there is": LieAboutSize(1),
    "less than there is": LieAboutSize(-1),
    "far less than there is": LieAboutSize(-2 * MIB),
    "another's hash": SetHeaders({"X-Linked-ETag": f'"{hashlib.sha256(b"x").hexdigest()}"'}),
    "a mountain of headers": BigHeaders(),
    "503": Status(503),
    "a page": Status(200, "<html>Sorry</html>"),
}


@pytest.mark.parametrize("lie", FILE_LIES.values(), ids=FILE_LIES)
def test_no_lie_about_a_file_is_kept(liar: Liar, lie: Fault) -> None:
    repo = liar.repo()
    content = WEIGHTS + repo.id.encode()
    target = f"/{repo.id}/resolve/main/weights.bin"
    digest = hashlib.sha256(content).hexdigest()
    with liar.lying(aimed(lie, f"/{repo.id}/resolve/*")):
        for _ in range(2):
            assert liar.read(target) in (None, content)
        liar.read(target, "Range: bytes=0-9")
        if liar.ask(target, method="HEAD").status == 200:
            assert isinstance(lie, SetHeaders | LieAboutSize)
    assert digest not in liar.blobs()
    assert liar.read(target) in (
        None,
        content,
    )  # the lie may be all that is known, until its bytes contradict it
    assert liar.read(target) == content
    until(lambda: digest in liar.blobs())
    assert liar.blobs() <= liar.right


BYTE_LIES = {
    "one wrong bit": FlipByte(12_345),
    "one wrong bit at the end": FlipByte(len(WEIGHTS) - 1),
    "another range": WrongContentRange(1),
    "another total": WrongContentRange(0, 1),
    "too short, and says so": Truncate(MIB),
    "too short, against its word": Cut(MIB),
    "a length that is too long": WrongLength(5),
    "a length that is too short": WrongLength(-5),
    "a page": Status(200, "<html>Sorry</html>"),
    "a redirect inside": RedirectTo("http://127.0.0.1:9/x"),
    "a circle": RedirectLoop(302),
    "an expired signature, always": Status(403, "<Error>AccessDenied</Error>"),
    "418": Status(418),
    "a mountain of headers": BigHeaders(),
}


@pytest.mark.parametrize("lie", BYTE_LIES.values(), ids=BYTE_LIES)
def test_no_lie_of_the_storage_completes_a_file(liar: Liar, lie: Fault) -> None:
    repo = liar.repo()
    content = WEIGHTS + repo.id.encode()
    target = f"/{repo.id}/resolve/main/weights.bin"
    harmless = isinstance(lie, Cut | WrongContentRange)  # a cut one is resumed; no range was asked for
    with liar.lying(aimed(lie, "*", "cdn")):
        assert liar.read(target) == (content if harmless else None)
        if isinstance(lie, WrongContentRange):
            assert liar.read(target, "Range: bytes=5-9") in (None, content[5:10])
    if not harmless:
        assert hashlib.sha256(content).hexdigest() not in liar.blobs()
    assert liar.blobs() <= liar.right
    assert liar.read(target) == content
    assert liar.read(target, "Range: bytes=5-9") == content[5:10]


def test_a_storage_that_ignores_ranges_is_put_up_with(liar: Liar) -> None:
    repo = liar.repo()
    content = WEIGHTS + repo.id.encode()
    with liar.lying(IgnoreRange(match=Match(origin="cdn"))):
        target = f"/{repo.id}/resolve/main/weights.bin"
        assert liar.read(target, f"Range: bytes={2 * MIB}-{2 * MIB + 9}") == content[2 * MIB : 2 * MIB + 10]
        assert liar.read(target) == content


@pytest.mark.parametrize("delta", [1, -1, 3 * MIB, -3 * MIB])
@pytest.mark.parametrize("path", ["notes.txt", "weights.bin"])
def test_a_listing_that_lies_about_sizes_spoils_nothing_for_long(liar: Liar, path: str, delta: int) -> None:
    """The listing is kept, as it is all there is; a file that contradicts it is asked about anew."""
    repo = liar.repo()
    right = {"notes.txt": NOTES + repo.id.encode(), "weights.bin": WEIGHTS + repo.id.encode()}[path]
    target = f"/{repo.id}/resolve/main/{path}"
    with liar.lying(LieAboutSize(delta, match=Match(path=f"/api/models/{repo.id}*"))):
        liar.ask(f"/api/models/{repo.id}/tree/main?recursive=true")
        liar.ask(f"/api/models/{repo.id}?blobs=true")
        got = liar.read(target)
        assert got in (None, right)
    liar.read(target)
    assert liar.read(target) == right
    assert liar.read(target, "Range: bytes=0-5") == right[:6]


def entry(path: str, content: bytes = b"evil") -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


CLIMBING = [
    "../../../../tmp/evil", "/etc/cron.d/evil", "a/../../b", "..", ".", "", "a\0b", "a\\..\\b",
    "\\\\host\\share", "a//b", "a/./b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", CLIMBING)
def test_a_listing_with_names_that_climb_is_refused(liar: Liar, name: str) -> None:
    repo = liar.repo()
    body = json.dumps([entry("good.txt"), entry(name)])
    target = f"/api/models/{repo.id}/tree/main?recursive=true"
    with liar.lying(
        aimed(Status(200, body, content_type="application/json"), f"/api/models/{repo.id}/tree/*")
    ):
        is_refused(liar.ask(target))
    answer = liar.ask(target)
    assert answer.status == 200
    assert "dir/a.txt" in [item["path"] for item in answer.json()]


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "\x1b[2J", "x" * 5000, "a\tb"])
def test_a_name_that_nobody_can_ask_for_spoils_no_listing(liar: Liar, name: str) -> None:
    """git allows it, so it is told; it cannot be asked for, and gets into no header."""
    repo = liar.repo()
    told = Status(200, json.dumps([entry("good.txt"), entry(name)]), content_type="application/json")
    with liar.lying(aimed(told, f"/api/models/{repo.id}/tree/*")):
        answer = liar.ask(f"/api/models/{repo.id}/tree/main?recursive=true")
    assert [item["path"] for item in answer.json()] == ["good.txt", name]
    assert "x-evil" not in answer.headers
    refused = liar.ask(f"/{repo.id}/resolve/main/{quote(name)}")
    assert (refused.status, refused.headers["x-error-code"]) == (400, "BadName")
    assert "x-evil" not in refused.headers


def test_odd_but_possible_names_cannot_leave_their_header(liar: Liar) -> None:
    names = ['a"; filename="evil.exe', "a;b=c.txt", "a\u202etxt.exe", "<script>alert(1)<", "a'b.svg",
             "ü\u2028.html", "%0d%0aX-Evil: 1", "a" * 200 + ".txt", "\u00a0", "=?utf-8?q?evil?="]  # fmt: skip
    repo = liar.double.add_repo("acme/odd-names")
    repo.commit({name: name.encode() for name in names})
    for name in names:
        answer = liar.ask(f"/{repo.id}/resolve/main/{quote(name, safe='')}")
        assert answer.status == 200, name
        assert answer.body == name.encode()
        assert "x-evil" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] in ("text/plain; charset=utf-8", "application/octet-stream")
        disposition = answer.headers["content-disposition"]
        assert disposition.isascii()
        assert disposition.count('"') == 2


def test_a_listing_that_names_other_content_delivers_nothing(liar: Liar) -> None:
    """The listing says that this file is that content; what the storage sends for it is not."""
    repo = liar.repo()
    claimed = hashlib.sha256(b"claimed").hexdigest()
    size = len(WEIGHTS + repo.id.encode())
    lie = [{"type": "file", "path": "weights.bin", "size": size, "oid": "a" * 40,
            "lfs": {"oid": claimed, "size": size, "pointerSize": 130}}]  # fmt: skip
    target = f"/api/models/{repo.id}/tree/main?recursive=true"
    told = Status(200, json.dumps(lie), content_type="application/json")
    with liar.lying(aimed(told, f"/api/models/{repo.id}/tree/*")):
        assert liar.ask(target).status == 200
    assert liar.read(f"/{repo.id}/resolve/main/weights.bin") is None
    assert liar.blobs() <= liar.right

    def is_told() -> bool:
        failures = liar.ask("/api/moongate/v1/failures").json()["failures"]
        return any(row["etag"] == claimed and "not that content" in row["why"] for row in failures)

    until(is_told)


@pytest.mark.parametrize(
    "link", ["<http://evil.example/api/models?cursor=x>", "<//evil.example/x>", "<javascript:alert(1)>",
             "<{cdn}/x>", "<\\\\evil.example\\x>", "evil"],
)  # fmt: skip
@pytest.mark.parametrize(
    "target", ["/api/models?limit=1", "/api/models/{id}/tree/main", "/api/models/{id}/commits/main"]
)
def test_a_next_page_elsewhere_is_left_out(liar: Liar, target: str, link: str) -> None:
    repo = liar.repo()
    target = target.format(id=repo.id)
    asked = target.partition("?")[0].removesuffix("main") + "*"
    said = f'{link.format(cdn=liar.double.cdn_url)}; rel="next"'
    with liar.lying(aimed(SetHeaders({"Link": said, "Set-Cookie": "evil=1", "X-Evil": "1"}), asked)):
        answer = liar.ask(target)
    assert answer.status == 200
    assert "link" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert "x-evil" not in answer.headers


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """Something on this machine that nobody outside should reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def was_reached(trap: socket.socket) -> bool:
    try:
        trap.accept()
    except BlockingIOError:
        return False
    return True


LYING_RESOLVER = """
import socket
real = socket.getaddrinfo
def lying(host, port, *more, **named):
    name = host.decode() if isinstance(host, bytes) else str(host)
    return real("127.0.0.1" if name.endswith(".cdn.example") else host, port, *more, **named)
socket.getaddrinfo = lying
"""


def test_no_redirect_reaches_an_address_inside_whatever_its_name(
    liar: Liar, trap: socket.socket, tmp_path: Path
) -> None:
    """By number, by name, and by a name that is allowed and whose owner points it at this machine."""
    (tmp_path / "sitecustomize.py").write_text(LYING_RESOLVER)
    port = trap.getsockname()[1]
    allowed = {
        "PYTHONPATH": str(tmp_path),
        "MOONGATE_UPSTREAM_ALLOWED_HOSTS": f"{liar.double.cdn_netloc},*.cdn.example",
    }
    with Gateway(tmp_path / "home", liar.double.url, env=allowed) as gateway:
        here = Liar(liar.double, gateway)
        for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "evil.cdn.example", "2130706433", "127.1"):
            repo = liar.repo()
            url = f"http://{host}:{port}/secrets"
            for aim in ("/api/models/{id}*", "/{id}/resolve/*"):
                repo = liar.repo()
                with liar.lying(aimed(RedirectTo(url), aim.format(id=repo.id))):
                    assert here.read(f"/{repo.id}/resolve/main/weights.bin") is None
                    assert here.read(f"/{repo.id}/resolve/main/notes.txt") is None
            with liar.lying(RedirectTo(url, match=Match(origin="cdn"))):
                assert here.read(f"/{repo.id}/resolve/main/weights.bin") is None
            with liar.lying(RedirectTo(url, match=Match(path="*.git/*"))):
                answer = here.ask(f"/{repo.id}.git/info/refs?service=git-upload-pack")
                is_refused(answer)
        assert not was_reached(trap)
        assert here.read(f"/{repo.id}/resolve/main/weights.bin") == WEIGHTS + repo.id.encode()
