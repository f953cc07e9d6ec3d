"""The same requests to the Hub and to the gateway: the same statuses, codes, metadata and bodies.

Redirects are followed on both sides (the Hub sends clients elsewhere for bytes, the gateway does not), Xet
and what scans found are left out. Every request goes to the gateway twice: its first answer comes from
upstream, its second from what it keeps.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from support import raw
from support.gateway import Gateway
from support.hub import ADA, BOB, ODD_NAMES, FurnishedHub

pytestmark = pytest.mark.clients

TINY = "/api/models/acme/tiny"
ODD_LFS = "sub dir/größe + 100%.bin"


@dataclass(frozen=True)
class Wish:
    """One request; `{v1}` in a target is the commit of acme/tiny's tag v1.0."""

    target: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    token: str | None = None

    def __str__(self) -> str:
        extra = [f"{name}={value}" for name, value in self.headers.items()]
        return " ".join([self.method, self.target[:80], *extra, *([self.token[3:6]] if self.token else [])])


def infos() -> Iterator[Wish]:
    for target in (
        TINY,
        f"{TINY}?blobs=true",
        f"{TINY}?blobs=True",
        f"{TINY}?securityStatus=true",
        f"{TINY}?expand=sha&expand=tags",
        f"{TINY}?expand[]=likes&expand[]=siblings",
        f"{TINY}/revision/v1.0",
        f"{TINY}/revision/v1.0?blobs=true",
        f"{TINY}/revision/{{v1}}",
        f"{TINY}/revision/{{v1}}?expand=sha",
        f"{TINY}/revision/feat%2Fnew-head",
        f"{TINY}/revision/feat%2fnew-head",
        f"{TINY}/revision/release%2F2.0",
        f"{TINY}/revision/refs%2Fpr%2F1",
        f"{TINY}/revision/refs/pr/1",
        f"{TINY}/revision/refs%2Fheads%2Fmain",
        f"{TINY}/revision/{'0' * 40}",
        f"{TINY}/revision/absent",
        "/api/models/oldie",
        "/api/models/gpt0",
        "/api/models/gpt0/revision/main",
        "/api/models/acme/before",
        "/api/models/acme/before/revision/main",
        "/api/models/ACME/Tiny",
        "/api/datasets/rows1",
        "/api/datasets/acme/rows?blobs=true",
        "/api/datasets/acme/rows/revision/refs%2Fconvert%2Fparquet",
        "/api/datasets/acme/rows/revision/refs/convert/parquet",
        "/api/spaces/acme/demo",
        "/api/spaces/acme/demo/revision/main",
        "/api/models/acme/absent",
        "/api/models/absent",
        "/api/datasets/acme/tiny",
        "/api/models/acme/private",
        "/api/models/acme%2Ftiny",
        "/api/models/acme/gated-auto",
        "/api/models/acme/Odd_Names.v1-2/revision/fix%2Fa%2Bb%2Cc",
    ):
        yield Wish(target)
    yield Wish(TINY, "HEAD")
    for token in (ADA, BOB):
        for name in ("private", "gated-auto", "gated-manual", "absent"):
            yield Wish(f"/api/models/acme/{name}", token=token)


def listings() -> Iterator[Wish]:
    for target in (
        f"{TINY}/tree/main",
        f"{TINY}/tree/main?recursive=true",
        f"{TINY}/tree/main?recursive=True&expand=False",
        f"{TINY}/tree/{{v1}}?recursive=true&expand=true",
        f"{TINY}/tree/main/onnx",
        f"{TINY}/tree/main/onnx/",
        f"{TINY}/tree/main?recursive=true&limit=3",
        f"{TINY}/tree/refs/pr/1",
        f"{TINY}/tree/refs%2Fpr%2F1/onnx",
        f"{TINY}/tree/feat%2Fnew-head/head",
        f"{TINY}/tree/main/absent",
        f"{TINY}/tree/absent",
        f"{TINY}/tree/main/config.json",
        f"{TINY}/tree/v1.0/additional_chat_templates?recursive=false",
        f"/api/models/acme/Odd_Names.v1-2/tree/main/{quote('sub dir', safe='')}",
        f"/api/models/acme/Odd_Names.v1-2/tree/main/{quote('deep/er/and', safe='')}",
        "/api/models/acme/Odd_Names.v1-2/tree/main/deep/er/and?recursive=true",
        f"/api/models/acme/Odd_Names.v1-2/tree/main/{quote('ünï cödé', safe='')}",
        "/api/models/oldie/tree/main",
        "/api/models/acme/before/tree/main?recursive=true",
        "/api/datasets/acme/many/tree/main?recursive=true",
        "/api/datasets/acme/many/tree/main/part07",
        "/api/spaces/acme/demo/tree/main",
        "/api/models/acme/gated-auto/tree/main?recursive=true",
        "/api/models/acme/private/tree/main",
        f"{TINY}/treesize/main",
        f"{TINY}/treesize/main/onnx",
        f"{TINY}/treesize/main/absent",
        f"{TINY}/refs",
        f"{TINY}/refs?include_prs=1",
        "/api/datasets/acme/rows/refs",
        f"{TINY}/commits/main",
        f"{TINY}/commits/main?p=1",
        f"{TINY}/commits/v1.0?limit=1",
        f"{TINY}/commits/refs%2Fpr%2F1?expand[]=formatted&limit=100",
        f"{TINY}/commits/absent",
        f"{TINY}/compare/v1.0..main",
        f"{TINY}/discussions",
        f"{TINY}/scan",
        f"{TINY}/likers",
        f"{TINY}/auth-check",
        f"{TINY}/nonsense",
        "/api/models/acme/gated-auto/auth-check",
    ):
        yield Wish(target)
    for token in (ADA, BOB):
        yield Wish("/api/models/acme/private/tree/main", token=token)
        yield Wish("/api/models/acme/gated-manual/auth-check", token=token)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    paths = ["config.json", "onnx", "model.safetensors", "absent"]
    for expand in ("False", "true"):
        fields = urlencode([("paths", path) for path in paths] + [("expand", expand)]).encode()
        yield Wish(f"{TINY}/paths-info/main", "POST", form, fields)
    for asked in (
        {"paths": paths, "expand": False},
        {"paths": [], "expand": True},
        {"paths": ["onnx/model.onnx"]},
    ):
        body = json.dumps(asked).encode()
        yield Wish(f"{TINY}/paths-info/refs%2Fpr%2F1", "POST", {"Content-Type": "application/json"}, body)
    odd = json.dumps({"paths": [*ODD_NAMES, ODD_LFS]}).encode()
    yield Wish(
        "/api/models/acme/Odd_Names.v1-2/paths-info/main", "POST", {"Content-Type": "application/json"}, odd
    )
    yield Wish(f"{TINY}/paths-info/absent", "POST", form, b"paths=config.json")


def others() -> Iterator[Wish]:
    for target in (
        "/api/models-tags-by-type",
        "/api/datasets-tags-by-type",
        "/api/daily_papers",
        "/api/trending",
        "/api/quicksearch?q=tiny",
        "/api/users/ada/overview",
        "/api/users/ada/likes",
        "/api/users/nobody/overview",
        "/api/organizations/none/overview",
        "/api/nonsense",
        "/api/whoami-v2",
        "/api/models?search=gguf&full=true",
        "/api/models?filter=tiny&sort=downloads&direction=-1&limit=2",
        "/api/models?author=acme&expand=sha&limit=2",
        "/api/datasets?full=True",
        "/api/spaces?limit=1",
    ):
        yield Wish(target)
    yield Wish("/api/whoami-v2", token=ADA)
    yield Wish("/api/whoami-v2", token="hf_" + "x" * 34)
    yield Wish("/api/models", token=ADA)


def files() -> Iterator[Wish]:
    large, small = "/acme/tiny/resolve/main/model.safetensors", "/acme/tiny/resolve/main/config.json"
    odd = "/acme/Odd_Names.v1-2/resolve/main/"
    targets = [
        large,
        small,
        "/acme/tiny/resolve/v1.0/config.json",
        "/acme/tiny/resolve/{v1}/model.safetensors",
        "/acme/tiny/resolve/feat%2Fnew-head/head/extra.txt",
        "/acme/tiny/resolve/refs%2Fpr%2F1/config.json",
        "/acme/tiny/resolve/refs/pr/1/config.json",
        "/acme/tiny/resolve/release%2F2.0/onnx/model.onnx",
        "/acme/tiny/resolve/main/empty.txt",
        "/acme/tiny/resolve/main/README.md?download=true",
        "/acme/tiny/resolve/main/absent",
        "/acme/tiny/resolve/main/onnx",
        "/acme/tiny/resolve/absent/config.json",
        "/acme/absent/resolve/main/config.json",
        "/absent/resolve/main/config.json",
        "/acme%2Ftiny/resolve/main/config.json",
        "/oldie/resolve/main/w.bin",
        "/oldie/resolve/main/config.json",
        "/gpt0/resolve/main/config.json",
        "/acme/before/resolve/main/w.safetensors",
        "/acme/before/resolve/main/config.json",
        "/datasets/acme/rows/resolve/main/train.jsonl",
        "/datasets/acme/rows/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet",
        "/datasets/rows1/resolve/main/a.jsonl",
        "/spaces/acme/demo/resolve/main/assets/picture.png",
        "/spaces/acme/demo/resolve/main/app.py",
        "/acme/gated-auto/resolve/main/config.json",
        "/acme/private/resolve/main/config.json",
        "/acme/tiny/raw/main/config.json",
        "/acme/tiny/raw/main/model.safetensors",
        "/acme/tiny/raw/v1.0/absent",
        "/acme/tiny/raw/{v1}/README.md",
        "/api/resolve-cache/models/acme/tiny/{v1}/config.json",
        "/api/resolve-cache/models/acme/tiny/{v1}/config.json?%2Facme%2Ftiny=&etag=%22x%22",
        "/api/resolve-cache/models/acme/tiny/{v1}/onnx/model.onnx",
        "/api/resolve-cache/models/oldie/{v1}/config.json",
        "/api/resolve-cache/models/acme/tiny/{v1}/absent",
        *(odd + quote(name) for name in (*ODD_NAMES, ODD_LFS)),
    ]
    for target in targets:
        yield Wish(target)
        yield Wish(target, "HEAD")
    for token in (ADA, BOB):
        for name in ("gated-auto", "gated-manual", "private"):
            yield Wish(f"/acme/{name}/resolve/main/model.safetensors", token=token)
            yield Wish(f"/acme/{name}/raw/main/config.json", token=token)
    spans = (
        "0-0",
        "0-99",
        "100-",
        "-10",
        "1500000-1500999",
        "3145744-",
        "3145745-",
        "9999999-",
        "5-1",
        "x",
        "-0",
    )
    for span in spans:
        for target in (large, small):
            yield Wish(target, headers={"Range": f"bytes={span}"})
    yield Wish(large, headers={"Range": "lines=0-5"})
    yield Wish(large, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    yield Wish("/acme/tiny/resolve/main/empty.txt", headers={"Range": "bytes=0-0"})
    yield Wish("/acme/tiny/resolve/main/README.md", headers={"Accept-Encoding": "gzip", "Range": "bytes=2-8"})


def registries() -> Iterator[Wish]:
    manifest = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    for tag in ("Q4_K_M", "Q8_0", "latest", "q4_k_m", "Q2_K", "tiny-Q8_0.gguf"):
        yield Wish(f"/v2/acme/tiny-GGUF/manifests/{tag}", headers=manifest)
    yield Wish("/v2/acme/tiny-GGUF/manifests/Q8_0", headers={"User-Agent": "llama-cpp"})
    yield Wish("/v2/acme/tiny-GGUF/manifests/Q8_0", "HEAD", manifest)
    yield Wish("/v2/acme/sharded-GGUF/manifests/latest")
    yield Wish("/v2/acme/tiny/manifests/latest")
    yield Wish("/v2/acme/absent/manifests/latest")
    yield Wish(f"/v2/acme/tiny-GGUF/blobs/sha256:{'0' * 64}")


WISHES = [*infos(), *listings(), *others(), *files(), *registries()]


def answers(wish: Wish, url: str, commit: str) -> dict[str, Any]:
    headers = dict(wish.headers)
    if wish.token:
        headers["Authorization"] = f"Bearer {wish.token}"
    answer = raw.follow(url, wish.target.replace("{v1}", commit), wish.method, headers, wish.body)
    return raw.told(answer, url)


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_same_answer(wish: Wish, hub: FurnishedHub, gateway: Gateway) -> None:
    commit = hub["acme/tiny"].refs["refs/tags/v1.0"]
    if "models/oldie/{v1}" in wish.target:
        commit = hub["oldie"].refs["refs/heads/main"]
    expected = as_coded(answers(wish, hub.url, commit), wish)
    for turn in ("first", "second"):
        found = answers(wish, gateway.url, commit)
        # a code or a commit where the Hub names none is more than it asks for, and no difference to a client
        unsaid = [name for name in ("code", "commit") if expected.get(name, "") is None]
        if "/raw/" in wish.target:
            unsaid += [
                name for name in ("etag", "name", "ranges") if name in found
            ]  # of a pointer, nobody asks
        assert found == expected | {name: found[name] for name in unsaid}, f"the {turn} answer"


def as_coded(told: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The Hub's refusals as the gateway gives them: over plain http only a code says what is meant."""
    if told["status"] == 401 and told["code"] is None and not wish.target.startswith("/api/whoami"):
        return told | {"status": 404, "code": "RepoNotFound"}
    return told


@pytest.mark.parametrize(
    ("target", "token"),
    [
        ("/api/models", None),
        ("/api/models?full=true&limit=3", ADA),
        ("/api/datasets?limit=1", None),
        (f"{TINY}/commits/main?limit=1", None),
        (f"{TINY}/tree/main?recursive=true&limit=2", None),
        (f"{TINY}/tree/main?recursive=true&expand=true&limit=2", None),
        ("/api/datasets/acme/many/tree/main?recursive=true", None),
    ],
)
def test_every_page(target: str, token: str | None, hub: FurnishedHub, gateway: Gateway) -> None:
    pages = [walk(url, target, token) for url in (hub.url, gateway.url, gateway.url)]
    assert len(pages[0]) > 1
    assert pages[0] == pages[1] == pages[2]


def walk(url: str, target: str, token: str | None) -> list[object]:
    pages = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    while target:
        answer = raw.ask(url, target, headers=headers)
        assert answer.status == 200, answer
        pages.append(raw.told(answer, url)["json"])
        link = answer.headers.get("link", "")
        target = link.removeprefix(f"<{url}").partition(">")[0] if link else ""
    return pages


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_conditional_requests(path: str, hub: FurnishedHub, gateway: Gateway) -> None:
    target = f"/acme/tiny/resolve/main/{path}"
    head = hub["acme/tiny"].head
    assert head is not None
    etag = head.files[path].etag
    for method in ("GET", "HEAD"):
        for condition in (f'"{etag}"', f'W/"{etag}"', f'"other", "{etag}"'):
            answer = raw.follow(gateway.url, target, method, {"If-None-Match": condition})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["etag"].strip('"') == etag
            assert answer.headers["x-repo-commit"] == head.hash
        assert raw.follow(gateway.url, target, method, {"If-None-Match": '"other"'}).status == 200
    part = raw.follow(gateway.url, target, "GET", {"Range": "bytes=0-3", "If-Range": f'"{etag}"'})
    assert (part.status, len(part.body)) == (206, 4)


def test_head_says_what_get_says(hub: FurnishedHub, gateway: Gateway) -> None:
    changing = {"date", "x-request-id", "x-moongate-cache", "age", "server-timing"}
    for target in ("/acme/tiny/resolve/main/model.safetensors", "/acme/tiny/resolve/main/config.json", TINY):
        for headers in ({}, {"Accept-Encoding": "gzip, deflate"}):
            said = [raw.ask(gateway.url, target, method, headers) for method in ("GET", "HEAD")]
            assert said[1].body == b""
            assert said[0].status == said[1].status
            get, head = ({k: v for k, v in one.headers.items() if k not in changing} for one in said)
            assert get == head


def test_metadata_is_on_every_answer_about_a_file(hub: FurnishedHub, gateway: Gateway) -> None:
    """No hop of ours may lack it: clients keep the headers of the last one."""
    needed = {"x-repo-commit", "etag", "x-linked-etag", "x-linked-size", "accept-ranges"}
    for path in ("model.safetensors", "config.json"):
        for headers in ({}, {"Range": "bytes=0-0"}, {"Accept-Encoding": "gzip"}):
            for method in ("GET", "HEAD"):
                answer = raw.ask(gateway.url, f"/acme/tiny/resolve/main/{path}", method, headers)
                assert answer.status in (200, 206)
                assert needed <= answer.headers.keys()
                assert answer.headers["etag"].startswith('"')
                assert "content-encoding" not in answer.headers
                assert ("x-xet-hash" in answer.headers) == (path == "model.safetensors")


def test_xet_is_hidden_when_it_is_off(hub: FurnishedHub, tmp_path: Path) -> None:
    with Gateway(tmp_path / "home", hub.url, cdn=hub.hosts, env={"MOONGATE_XET": "false"}) as gateway:
        no_word_of_xet(hub, gateway)


def no_word_of_xet(hub: FurnishedHub, gateway: Gateway) -> None:
    for target in (
        f"{TINY}/tree/main?recursive=true",
        f"{TINY}/tree/main?recursive=true&expand=true",
        f"{TINY}?blobs=true",
    ):
        assert b"xet" not in raw.ask(gateway.url, target).body.lower()
    asked = {"Accept": "application/vnd.xet-fileinfo+json, */*", "Range": "bytes=0-0"}
    answer = raw.ask(gateway.url, "/acme/tiny/resolve/main/model.safetensors", headers=asked)
    assert (answer.status, answer.headers["content-range"]) == (206, "bytes 0-0/3145745")
    commit = hub["acme/tiny"].refs["refs/heads/main"]
    token = raw.ask(gateway.url, f"{TINY}/xet-read-token/{commit}")
    assert token.status == 404
    assert "x-xet-cas-url" not in token.headers
    assert not any("xet" in name + value for name, value in answer.headers.items() if "expose" not in name)
    # The CAS is there for hosted repositories, and for whoever has a token of theirs.
    assert raw.ask(gateway.url, f"/cas/v2/reconstructions/{'0' * 64}").status == 401


def test_basic_credentials(hub: FurnishedHub, gateway: Gateway) -> None:
    """git sends a token as the password of Basic; it opens the same doors."""
    basic = base64.b64encode(f"ada:{ADA}".encode()).decode()
    answer = raw.ask(gateway.url, "/api/models/acme/private", headers={"Authorization": f"Basic {basic}"})
    assert answer.json()["id"] == "acme/private"
