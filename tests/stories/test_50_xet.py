"""Xet through the gateway, asked by plain HTTP: tokens, terms, chunks, and who may have them."""

from __future__ import annotations

import http.client
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import Cut, FlipByte, HubDouble, LfsFile, Match, Status
from support.front import until
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.xet_talk import XetTalk, first_address, links

MIB = 1 << 20
ALICE = "hf_" + "AliceSecret" * 3
BOB = "hf_" + "BobSecret" * 4
BASE = random.Random(1).randbytes(6 * MIB + 5)
TUNED = BASE[: 2 * MIB] + random.Random(2).randbytes(300_000) + BASE[2 * MIB + 300_000 :]
PATCHED = b"".join(BASE[n * MIB : n * MIB + 700_000] + b"%d" % n * 200_000 for n in range(6))
SECRET = random.Random(3).randbytes(MIB)
MOONGATE = Path(sys.executable).parent / "moongate"
NAME = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_user("alice", ALICE, grants=["acme/gated", "acme/private"])
    double.add_user("bob", BOB)
    for name, content in (("base", BASE), ("tuned", TUNED), ("patched", PATCHED)):
        double.add_repo(f"acme/{name}", xet=True).commit({NAME: LfsFile(content), "config.json": "{}"})
    double.add_repo("acme/gated", xet=True, gated="auto").commit({NAME: LfsFile(SECRET)})
    double.add_repo("acme/private", xet=True, private=True).commit({NAME: LfsFile(SECRET[::-1])})
    double.add_repo("acme/plain").commit({NAME: LfsFile(b"no xet upstream" * 1000)})
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, *arguments: str, **settings: object) -> Gateway:
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    workers = int(str(settings.pop("workers", 1)))
    env.pop("MOONGATE_WORKERS", None)
    env = {"MOONGATE_XET": "true", **env}
    return Gateway(tmp_path / "home", hub.url, cdn=hosts, env=env, arguments=arguments, workers=workers)


def test_1_every_answer_about_a_file_points_at_us(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base")
        commit = hub.repo("acme/base").refs["refs/heads/main"]
        file_id = hub.xet_file("acme/base", NAME).id
        etag = f'"{hub.xet_file("acme/base", NAME).sha256}"'
        for method, headers, status in (
            ("HEAD", {}, 200),
            ("GET", {}, 200),
            ("GET", {"Range": "bytes=5-9"}, 206),
            ("GET", {"Range": "bytes=5-9"}, 206),
            ("HEAD", {}, 200),
            ("HEAD", {"If-None-Match": etag}, 304),
        ):
            answer = talk.head(NAME, headers, method)
            assert answer.status == status
            assert answer.headers["x-xet-hash"] == file_id
            assert links(answer) == {
                "xet-auth": f"{running.url}/api/models/acme/base/xet-read-token/{commit}",
                "xet-reconstruction-info": f"{running.url}/cas/v1/reconstructions/{file_id}",
            }
            assert "Accept" in answer.headers["vary"].split(", ")
        for _ in range(2):
            tree = ask(running.url, "/api/models/acme/base/tree/main?recursive=true").json()
            assert {entry["path"]: entry.get("xetHash") for entry in tree} == {
                ".gitattributes": None,
                "config.json": None,
                NAME: file_id,
            }
            body = json.dumps({"paths": [NAME, "config.json"]}).encode()
            kind = {"Content-Type": "application/json"}
            info = ask(running.url, "/api/models/acme/base/paths-info/main", "POST", kind, body).json()
            assert {entry["path"]: entry.get("xetHash") for entry in info} == {
                "config.json": None,
                NAME: file_id,
            }
        assert "x-xet-hash" not in talk.head("config.json").headers
        plain = XetTalk(running.url, "acme/plain").head(NAME)
        assert not any("xet" in name for name in plain.headers)


def test_2_who_asks_for_facts_gets_no_bytes(tmp_path: Path, hub: HubDouble) -> None:
    wanted = {"Accept": "application/vnd.xet-fileinfo+json, */*", "Range": "bytes=0-0"}
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base")
        talk.head(NAME)  # what is kept in the fast lane from here on is the plain answer
        for method in ("GET", "HEAD", "GET"):
            answer = talk.head(NAME, wanted, method)
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/vnd.xet-fileinfo+json"
            assert answer.headers["x-linked-size"] == str(len(BASE))
            assert answer.headers["x-xet-hash"]
            if method == "GET":
                told = answer.json()
                assert told == {
                    "hash": answer.headers["x-xet-hash"],
                    "refreshUrl": links(answer)["xet-auth"],
                    "reconstructionUrl": links(answer)["xet-reconstruction-info"],
                    "etag": answer.headers["etag"],
                    "size": len(BASE),
                }
        assert talk.head("config.json", wanted, "GET").body == b"{"
        assert talk.head("config.json", {"Accept": wanted["Accept"]}, "GET").body == b"{}"


def test_3_a_file_is_put_together_from_our_chunks(tmp_path: Path, hub: HubDouble) -> None:
    """Cold, warm, in both versions, whole and in part, and after upstream is gone."""
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base")
        assert talk.read(NAME) == BASE
        sent = hub.meters.bytes_sent(origin="cdn")
        assert talk.read(NAME, version=1) == BASE
        assert talk.read(NAME, span=(3_000_000, 3_000_100)) == BASE[3_000_000:3_000_100]
        assert XetTalk(running.url, "acme/tuned").read(NAME) == TUNED
        new = hub.meters.bytes_sent(origin="cdn") - sent
        assert 300_000 < new < 1.1 * 300_000 + 4 * 128 * 1024, "more than what changed, at chunk borders"
        with hub.away():
            for repo, content in (("acme/base", BASE), ("acme/tuned", TUNED)):
                offline = XetTalk(running.url, repo)
                assert offline.read(NAME) == content
                assert ask(running.url, f"/{repo}/resolve/main/{NAME}").body == content
        assert all(url.startswith(f"{running.url}/cas/data/") for url in talk.data_urls)


def test_4_every_spelling_of_a_reconstruction(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        file_id = talk.file_id(NAME)
        for spelling in (
            "/v1/reconstructions/",
            "/reconstructions/",
            "/reconstruction/",
            "/v2/reconstructions/",
        ):
            told = talk.cas(spelling + file_id).json()
            assert ("xorbs" in told) == ("v2" in spelling)
            assert talk.put_together(told) == BASE, spelling
        size = len(BASE)
        for asked, status in (
            (f"bytes=0-{size - 1}", 200),
            ("bytes=0-1073741823", 200),
            (f"bytes={size}-2000000000", 416),
            (f"bytes={size - 1}-2000000000", 200),
        ):
            answer = talk.cas(f"/v1/reconstructions/{file_id}", {"Range": asked})
            assert answer.status == status, asked
            if status == 416:
                assert answer.headers["content-range"] == f"bytes */{size}"
        tuned_id = hub.xet_file("acme/tuned", NAME).id
        asked = json.dumps([{"prefix": "default", "hash": file_id}]).encode()
        batch = talk.cas("/v1/reconstructions", method="POST", body=asked).json()
        assert batch == {
            **batch,
            "files": {file_id: talk.cas(f"/v1/reconstructions/{file_id}").json()["terms"]},
        }
        assert batch["fetch_info"]
        assert talk.cas(f"/reconstructions?file_id={file_id}").json()["files"].keys() == {file_id}
        assert talk.cas(f"/reconstructions?file_id={tuned_id}").status == 404
        for nonsense in ("/reconstructions", "/v1/reconstructions?file_id=x"):
            assert talk.cas(nonsense).status == 400


def test_5_the_small_questions(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        file_id = talk.file_id(NAME)
        told = talk.cas(f"/v1/reconstructions/{file_id}").json()
        xorb, ranges = next(iter(told["fetch_info"].items()))
        assert talk.cas(f"/v1/files/{file_id}", method="HEAD").headers["content-length"] == str(len(BASE))
        length = talk.cas(f"/v1/xorbs/default/{xorb}", method="HEAD").headers["content-length"]
        assert int(length) == max(one["url_range"]["end"] for one in ranges) + 1
        absent = {
            ("HEAD", f"/v1/xorbs/default/{'a' * 64}"),
            ("HEAD", f"/v1/files/{'a' * 64}"),
            ("GET", f"/v1/chunks/default/{'a' * 64}"),
            ("GET", f"/chunk/default-merkledb/{'a' * 64}"),
            ("GET", f"/v2/file-chunk-hashes/{file_id}"),
            ("GET", "/v1/nothing/of/ours"),
        }
        for method, path in absent:
            answer = talk.cas(path, method=method)
            assert answer.status == 404, (method, path)
            assert answer.headers["x-error-code"]
        for path in (f"xorbs/default/{'a' * 64}", f"xorb-grants/default/{'a' * 64}", "shards"):
            answer = talk.cas(f"/v1/{path}", method="POST")
            assert (answer.status, answer.headers["x-error-code"]) == (403, "ScopeMissing"), path
        assert talk.cas("/v1/telemetry", method="POST", body=b"{}" * 1000).status == 200
        assert talk.cas("/v1/telemetry", method="POST", body=b"x" * (MIB + 1)).status == 400
        assert talk.cas("/v1/telemetry", method="DELETE").status == 405
        assert talk.cas(f"/v1/reconstructions/{file_id}", method="DELETE").status == 405
        for length in ("A" * 64, "z" * 64):
            assert talk.cas(f"/v1/reconstructions/{length}").status == 400


def test_6_data_addresses_hold_for_what_they_were_signed_for(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/patched").log_in()
        XetTalk(running.url, "acme/base").read(NAME)
        answer = talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}")
        assert talk.put_together(answer.json()) == PATCHED
        old = talk.cas(f"/v1/reconstructions/{talk.file_id(NAME)}").json()["fetch_info"]
        urls = [one["url"] for ranges in old.values() for one in ranges]
        assert len(set(urls)) == len(urls) > 2, "old clients take ranges with one address for one range"
        entries = [entry for entries in answer.json()["xorbs"].values() for entry in entries]
        url, spans = max(
            (
                (entry["url"], [(one["bytes"]["start"], one["bytes"]["end"]) for one in entry["ranges"]])
                for entry in entries
            ),
            key=lambda one: len(one[1]),
        )
        assert len(spans) > 2, "this file needs many pieces of one xorb"
        start, last = spans[0]
        one = talk.data(url, f"bytes={start}-{last}")
        assert (one.status, len(one.body)) == (206, last + 1 - start)
        assert one.headers["content-range"].startswith(f"bytes {start}-{last}/")
        head = talk.data(url, f"bytes={start}-{last}", "HEAD")
        assert (head.status, head.headers["content-length"]) == (206, str(last + 1 - start))
        part = talk.data(url, f"bytes={start + 10}-{start + 19}")
        assert part.body == one.body[10:20]
        several = talk.data(url, "bytes=" + ", ".join(f"{a}-{b}" for a, b in spans))
        assert several.status == 206
        boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", several.headers["content-type"])
        assert boundary is not None
        parts = several.body.split(f"\r\n--{boundary[1]}".encode())[1:-1]
        bodies = [part.partition(b"\r\n\r\n")[2] for part in parts]
        assert bodies == [talk.data(url, f"bytes={a}-{b}").body for a, b in spans]

        for wrong in (None, f"bytes={start}-{last + 1}", "bytes=0-", "bytes=-5", "lines=0-1", "bytes=9-3",
                      f"bytes={start}-{last}, {10**11}-{10**11 + 5}"):  # fmt: skip
            assert talk.data(url, wrong).status == 403, wrong
        signature = url[-1]
        for tampered in (
            url[:-1] + ("A" if signature != "A" else "B"),
            re.sub(r"&x=\d+", "&x=99999999999", url),
            re.sub(r"r=\d+", "r=0", url) if start else re.sub(r"r=0-\d+", "r=0-99999999", url),
            url.replace("/data/" + url.split("/data/")[1][:64], "/data/" + "a" * 64),
            url.partition("?")[0],
            url.partition("&s=")[0],
        ):
            refused = talk.data(tampered, f"bytes={start}-{last}")
            assert refused.status == 403, tampered
            assert refused.headers["x-error-code"] == "Forbidden"
        assert talk.data(url, f"bytes={start}-{last}", "POST").status == 405


def test_6_data_is_the_same_on_a_kept_connection(tmp_path: Path, hub: HubDouble) -> None:
    """There it is answered past the ordinary way, which a connection that closes always goes."""
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/patched")
        assert talk.read(NAME) == PATCHED
        told = talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}").json()
        entry = max(
            (one for some in told["xorbs"].values() for one in some), key=lambda one: len(one["ranges"])
        )
        spans = [(one["bytes"]["start"], one["bytes"]["end"]) for one in entry["ranges"]]
        (start, last), target = spans[0], entry["url"].removeprefix(running.url)
        several = "bytes=" + ",".join(f"{a}-{b}" for a, b in spans)
        while talk.data(entry["url"], f"bytes={start}-{last}").headers["x-moongate-cache"] != "hit":
            assert ask(running.url, "/healthz").status == 200, "the file is being proven"
        kept = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        for path, asked, status in (
            (target, f"bytes={start}-{last}", 206),
            (target, f"bytes={start + 7}-{start + 9}", 206),
            (target, several, 206),
            (target, f"bytes={start}-{spans[-1][1] + 1}", 403),
            (target[:-1] + ("A" if target[-1] != "A" else "B"), several, 403),
        ):
            closing = ask(running.url, path, "GET", {"Range": asked, "Connection": "close"})
            assert closing.status == status
            for _ in range(2):
                kept.request("GET", path, headers={"Range": asked})
                answer = kept.getresponse()
                names = {name.lower(): value for name, value in answer.getheaders()}
                assert _lasting(RawAnswer(answer.status, names, answer.read())) == _lasting(closing), asked
        kept.close()


def _lasting(answer: RawAnswer) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs from one to the next."""
    boundary = answer.headers.get("content-type", "").partition("boundary=")[2]
    changing = {"date", "x-request-id", "connection"}
    headers = {name: text for name, text in answer.headers.items() if name not in changing}
    if boundary:
        headers["content-type"] = headers["content-type"].replace(boundary, "edge")
    return (
        answer.status,
        headers,
        answer.body.replace(boundary.encode(), b"edge") if boundary else answer.body,
    )


@pytest.mark.parametrize("repo", ["gated", "private"])
def test_7_tokens_are_for_those_who_may_read(tmp_path: Path, hub: HubDouble, repo: str) -> None:
    content = SECRET if repo == "gated" else SECRET[::-1]
    with gateway(tmp_path, hub) as running:
        alice = XetTalk(running.url, f"acme/{repo}", ALICE)
        for _ in range(2):
            for who in (BOB, None):
                answer = XetTalk(running.url, f"acme/{repo}", who).ask_token()
                assert answer.status in (401, 403, 404), (who, answer.status)
                assert answer.headers["x-error-code"]
                assert "x-xet-access-token" not in answer.headers
            assert alice.read(NAME) == content
        token = alice.ask_token()
        assert token.json() == {
            "casUrl": token.headers["x-xet-cas-url"],
            "accessToken": token.headers["x-xet-access-token"],
            "exp": int(token.headers["x-xet-token-expiration"]),
        }
        assert token.headers["x-xet-cas-url"] == f"{running.url}/cas"
        assert ALICE not in token.body.decode()
        head = alice.ask_token("HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["x-xet-access-token"].startswith("xet_")

        # what opens one repository opens no file of another
        file_id = hub.xet_file(f"acme/{repo}", NAME).id
        stranger = XetTalk(running.url, "acme/base", BOB).log_in()
        for spelling in ("/v2/reconstructions/", "/v1/reconstructions/"):
            assert stranger.cas(spelling + file_id).status == 404
        assert stranger.cas(f"/v1/files/{file_id}", method="HEAD").status == 404


def test_8_only_our_tokens_open_the_cas(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        path = f"/v2/reconstructions/{talk.file_id(NAME)}"
        good = talk.xet_token
        middle = len(good) // 2
        for wrong in ("", "xet_", "xet_" + "A" * 200, good[:middle] + ("A" if good[middle] != "A" else "B")
                      + good[middle + 1 :], ALICE, good[:-8]):  # fmt: skip
            answer = talk.cas(path, {"Authorization": f"Bearer {wrong}"})
            assert (answer.status, answer.headers["x-error-code"]) == (401, "BadToken"), wrong
        assert talk.cas(path).status == 200
        other = tmp_path / "other"
        other.mkdir()
        with gateway(other, hub) as stranger:
            theirs = XetTalk(stranger.url, "acme/base").log_in()
            assert theirs.cas(path, {"Authorization": f"Bearer {good}"}).status == 401
        secret = running.home / "xet.secret"
        assert secret.stat().st_mode & 0o077 == 0
        running.restart()
        assert talk.cas(path).status == 200, "a restart takes nothing back"


def test_9_a_revoked_token_takes_its_xet_tokens_along(tmp_path: Path, hub: HubDouble) -> None:
    running = gateway(tmp_path, hub)
    with running:
        command = [str(MOONGATE), "token", "create", "--user", "carol", "--home", str(running.home)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=running._environment())
        token = re.search(r"hf_[A-Za-z0-9]{48}", done.stdout + done.stderr)
        assert token is not None
        talk = XetTalk(running.url, "acme/base", token[0]).log_in()
        path = f"/v2/reconstructions/{hub.xet_file('acme/base', NAME).id}"
        assert talk.cas(path).status == 200
        listed = ask(running.url, "/api/moongate/v1/tokens").json()["tokens"]
        assert ask(running.url, f"/api/moongate/v1/tokens/{listed[0]['id']}", "DELETE").json()["revoked"]
        assert talk.cas(path).status == 401


def test_10_several_workers_share_tokens_and_addresses(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub, workers=3) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        for _ in range(12):  # each request opens a connection, which any worker may get
            assert talk.read(NAME) == BASE
        gated = XetTalk(running.url, "acme/gated", ALICE)
        assert gated.read(NAME) == SECRET


def test_11_offline_only_what_is_proven_is_offered(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        assert XetTalk(running.url, "acme/base").read(NAME) == BASE
        ask(running.url, "/api/models/acme/tuned/tree/main?recursive=true")
    with gateway(tmp_path, hub, "--offline") as offline:
        assert XetTalk(offline.url, "acme/base").read(NAME) == BASE
        tree = ask(offline.url, "/api/models/acme/tuned/tree/main?recursive=true").json()
        assert [entry["path"] for entry in tree if entry.get("lfs")] == [NAME]
        assert "xetHash" not in json.dumps(tree)
        assert "x-xet-hash" not in XetTalk(offline.url, "acme/tuned").head(NAME).headers


def test_12_when_the_cas_is_down_files_are_offered_plainly(tmp_path: Path, hub: HubDouble) -> None:
    """Who came for chunks nevertheless gets chunks made of the file, in every version."""
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        file_id = talk.file_id(NAME)
        tree = "/api/models/acme/base/tree/main?recursive=true"
        assert b"xetHash" in ask(running.url, tree).body
        with hub.away("cas"):
            for version in (2, 1, 2):
                answer = talk.cas(f"/v{version}/reconstructions/{file_id}")
                assert answer.status == 200
                assert talk.put_together(answer.json()) == BASE
            assert "x-xet-hash" not in talk.head(NAME).headers
            assert b"xetHash" not in ask(running.url, tree).body
            assert talk.head(NAME, method="GET").body == BASE
        metrics = ask(running.url, "/metrics").body.decode()
        assert 'moongate_xet_withdrawn_total{error="Upstream' in metrics
        assert 'moongate_xet_made_total{error="Upstream' in metrics


def test_13_wrong_bytes_never_become_a_file(tmp_path: Path, hub: HubDouble) -> None:
    fault = FlipByte(5000, match=Match(origin="cdn", path="/xorbs/*"))
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        with hub.failing(fault):
            path = f"/v2/reconstructions/{talk.file_id(NAME)}"
            url, spans = first_address(talk.cas(path))
            try:
                answer = talk.data(url, f"bytes={spans[-1][0]}-{spans[-1][1]}")
                whole = answer.status == 206 and len(answer.body) == spans[-1][1] + 1 - spans[-1][0]
            except (OSError, http.client.HTTPException):
                whole = False
            assert not whole, "the last range of a file must not arrive before its proof"
        # While the wrong bytes are thrown away, clients are told to try again.
        until(lambda: talk.data(*last_of(talk.cas(path))).status < 500)
        assert talk.read(NAME) == BASE, "it heals when the bytes are right"
        metrics = ask(running.url, "/metrics").body.decode()
        assert "moongate_xet_fills_failed_total{" in metrics


def last_of(answer: RawAnswer) -> tuple[str, str]:
    """Address and range of the last bytes that a reconstruction names."""
    url, spans = first_address(answer)
    return url, f"bytes={spans[-1][0]}-{spans[-1][1]}"


def test_14_behind_a_public_address(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        port = running.port
    running = gateway(tmp_path, hub, public_url="https://hub.example/prefix")
    running.url = f"http://127.0.0.1:{port}"  # the port to listen on; it announces the public address
    with running:
        running.url = f"http://127.0.0.1:{port}"
        talk = XetTalk(running.url, "acme/base")
        answer = talk.head(NAME)
        assert all(url.startswith("https://hub.example/prefix/") for url in links(answer).values())
        told = talk.ask_token().json()
        assert told["casUrl"] == "https://hub.example/prefix/cas"
        talk.xet_token = told["accessToken"]
        url, spans = first_address(talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}"))
        assert url.startswith("https://hub.example/prefix/cas/data/")
        here = url.replace("https://hub.example/prefix", running.url)
        assert talk.data(here, f"bytes={spans[0][0]}-{spans[0][0] + 9}").status == 206


def test_15_a_namespace_called_cas_is_still_a_namespace(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("cas/data").commit({"config.json": '{"cas": 1}'})
    with gateway(tmp_path, hub) as running:
        assert ask(running.url, "/cas/data/resolve/main/config.json").body == b'{"cas": 1}'


def test_16_a_file_is_told_of_in_one_way_while_addresses_hold(tmp_path: Path, hub: HubDouble) -> None:
    """A client that renews its addresses would put terms of one telling and chunks of another together."""
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        path = f"/v2/reconstructions/{talk.file_id(NAME)}"
        with hub.away("cas"):
            made = talk.cas(path).json()
            assert talk.put_together(made) == BASE
        assert talk.cas(path).json()["terms"] == made["terms"]
        store, pattern = running.home / "store", f"v*/blobs/*/*/{hub.xet_file('acme/base', NAME).sha256}"
        until(lambda: any(store.glob(pattern)))  # put in place a moment after its last reader has it all
        (blob,) = store.glob(pattern)
        blob.unlink()
        running.restart()  # nothing of it is remembered but by the index
        answer = talk.cas(path)
        assert answer.status == 200
        assert answer.json()["terms"] == made["terms"]
        assert talk.put_together(answer.json()) == BASE


@pytest.mark.parametrize("offset", [5000, 2_000_000])
def test_17_wrong_bytes_before_the_loss_of_the_cas_complete_nothing(
    tmp_path: Path, hub: HubDouble, offset: int
) -> None:
    """What was given out of a xorb counts, too, when the rest is made of the file."""
    xorbs = Match(origin="cdn", path="/xorbs/*")
    faults = (
        FlipByte(offset, match=xorbs),
        Cut(3 * MIB, match=xorbs, times=1),
        Status(500, match=xorbs, skip=1),
    )
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/base").log_in()
        path = f"/v2/reconstructions/{talk.file_id(NAME)}"
        with hub.failing(*faults):
            url, spans = first_address(talk.cas(path))
            first, last = spans[0]
            talk.data(url, f"bytes={first}-{first + 2 * MIB + 500_000}")
            assert talk.data(url, f"bytes={last - 9}-{last}").status == 403
            told = talk.cas(path).json()
            with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
                talk.put_together(told)
        assert ask(running.url, f"/acme/base/resolve/main/{NAME}").body == BASE


def test_18_plain_reads_of_chunks_need_no_copy_until_they_are_many(tmp_path: Path, hub: HubDouble) -> None:
    sha256 = hub.xet_file("acme/patched", NAME).sha256
    with gateway(tmp_path, hub, xet_hot_reads=3.5) as running:
        XetTalk(running.url, "acme/base").read(NAME)
        assert XetTalk(running.url, "acme/patched").read(NAME) == PATCHED
        until(lambda: "moongate_xet_proof_seconds_count 2" in ask(running.url, "/metrics").body.decode())
        address, blobs = f"/acme/patched/resolve/main/{NAME}", running.home / "store"
        sent = hub.meters.bytes_sent()
        size, chance = len(PATCHED), random.Random(5)
        assert ask(running.url, address).body == PATCHED
        spans = [(0, 0), (size - 1, size - 1), (0, size - 1), (size // 2, size // 2 + 3 * MIB)]
        spans += [
            (at, min(size - 1, at + chance.choice((1, 5000, 70_000))))
            for at in chance.sample(range(size), 30)
        ]
        for first, last in spans:
            part = ask(running.url, address, headers={"Range": f"bytes={first}-{last}"})
            assert (part.status, part.body) == (206, PATCHED[first : last + 1])
            assert part.headers["x-moongate-cache"] == "hit"
        several = ask(running.url, address, headers={"Range": "bytes=5-9, 3000000-3000999, 700000-2000000"})
        assert several.status == 206
        assert PATCHED[700_000:2_000_001] in several.body
        copies = f"v*/blobs/*/*/{sha256}"
        assert not list(blobs.glob(copies))
        assert "moongate_xet_hot_files_total 0" in ask(running.url, "/metrics").body.decode()
        assert ask(running.url, address).body == PATCHED
        with hub.away():

            def is_copied() -> bool:
                assert ask(running.url, address).body == PATCHED
                return any(blobs.glob(copies))

            until(is_copied)
            assert "moongate_xet_hot_files_total 1" in ask(running.url, "/metrics").body.decode()
            assert ask(running.url, address).body == PATCHED
        assert hub.meters.bytes_sent() - sent < MIB, "what is here was fetched again"


def test_19_chunks_that_are_lost_under_a_plain_reader_come_from_upstream(
    tmp_path: Path, hub: HubDouble
) -> None:
    with gateway(tmp_path, hub, xet_hot_reads=0) as running:
        assert XetTalk(running.url, "acme/base").read(NAME) == BASE
        segments = [
            path for path in (running.home / "store").glob("v*/xorbs/*/*/*") if path.stat().st_size > MIB
        ]
        assert segments
        for harm in ("cut", "gone"):
            for path in (path for path in segments if path.exists()):
                if harm == "gone":
                    path.unlink()
                else:
                    with path.open("r+b") as file:
                        file.truncate(path.stat().st_size // 2)
            assert ask(running.url, f"/acme/base/resolve/main/{NAME}").body == BASE


def test_20_five_fine_tunes_take_little_more_than_their_base(tmp_path: Path, hub: HubDouble) -> None:
    """A twentieth changed in each, in one piece: 1.35 of the base at rest, chunks at both ends included."""
    base = random.Random(20).randbytes(20 * MIB)
    changed, family = len(base) // 20, {"family/base": base}
    for number in range(5):
        start, new = 3 * MIB * number + 12_345, random.Random(number).randbytes(changed)
        family[f"family/tuned-{number}"] = base[:start] + new + base[start + changed :]
    for repo, content in family.items():
        hub.add_repo(repo, xet=True).commit({NAME: LfsFile(content)})
    with gateway(tmp_path, hub) as running:
        for repo, content in family.items():
            assert XetTalk(running.url, repo).read(NAME) == content
        until(lambda: "moongate_xet_proof_seconds_count 6" in ask(running.url, "/metrics").body.decode())
        kept = sum(
            path.stat().st_size for path in (running.home / "store").glob("v*/xorbs/*/*/*") if path.is_file()
        )
        assert kept < 1.35 * len(base)
        rows = ask(running.url, "/api/moongate/v1/repos").json()["repos"]
        told = {row["repo"]: row for row in rows if row["repo"] in family}
        assert {row["logical_bytes"] for row in told.values()} == {len(base)}
        for repo in family.keys() - {"family/base"}:
            assert changed <= told[repo]["own_bytes"] < 1.1 * changed + 2 * 128 * 1024
