"""Who may: gated and private repositories through a shared cache, tokens that stay at home, closed doors."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway, GatewayFailed
from support.raw import RawAnswer, ask, follow
from support.weights import gguf, string

ALICE = "hf_" + "AliceSecret" * 3
BOB = "hf_" + "BobSecret" * 4
SERVICE = "hf_" + "ServiceSecret" * 3
PASTED = "hf_" + "Pasted" * 6  # into a path, by mistake
UNKNOWN = "hf_" + "Unknown0" * 6  # of the length of ours
FILE = b"for members only\n" * 500
WEIGHTS = gguf([("general.name", string("weights for members only" * 9000))])
OID = hashlib.sha256(WEIGHTS).hexdigest()
MOONGATE = Path(sys.executable).parent / "moongate"


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_user("alice", ALICE, grants=["acme/gated", "acme/private"])
    double.add_user("bob", BOB)
    double.add_user("service", SERVICE, grants=["acme/gated", "acme/private"])
    double.add_repo("acme/open").commit({"config.json": b"{}", "m.gguf": LfsFile(gguf())})
    for name, kind in (("gated", {"gated": True}), ("private", {"private": True})):
        files = {"config.json": FILE, "m.gguf": LfsFile(WEIGHTS)}
        double.add_repo(f"acme/{name}", **kind).commit(files)  # type: ignore[arg-type]
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, *arguments: str, **settings: object) -> Gateway:
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    return Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, env=env, arguments=arguments)


FILES = ["/acme/{}/resolve/main/config.json", "/acme/{}/resolve/main/m.gguf"]
ROADS = [
    *FILES,
    "/acme/{}/raw/main/config.json",
    "/api/models/acme/{}",
    "/api/models/acme/{}/revision/main",
    "/api/models/acme/{}/tree/main",
    "/api/models/acme/{}/tree/main?recursive=true&expand=true",
    "/api/models/acme/{}/refs",
    "/api/models/acme/{}/commits/main",
    "/api/models/acme/{}/auth-check",
    "/acme/{}.git/info/refs?service=git-upload-pack",
    "/v2/acme/{}/manifests/latest",
]
OURS = [f"/acme/{{}}.git/info/lfs/objects/{OID}", f"/v2/acme/{{}}/blobs/sha256:{OID}"]


def sees(answer: RawAnswer) -> bool:
    return answer.status < 300


def is_shut(answer: RawAnswer) -> None:
    """A refusal that gives nothing away."""
    assert answer.status in (401, 403, 404), answer
    assert answer.headers.get("x-error-code") or answer.headers.get("x-moongate-cache") == "pass", answer
    for secret in (FILE[:16], WEIGHTS[:40], OID.encode()):
        assert secret not in answer.body


@pytest.mark.parametrize("repo", ["gated", "private"])
def test_1_everybody_gets_what_the_hub_would_give_them(tmp_path: Path, hub: HubDouble, repo: str) -> None:
    """Also when all of it lies in the cache, fetched by somebody who may have it."""
    with gateway(tmp_path, hub) as running:
        for _ in range(2):
            for road in ROADS:
                target = road.format(repo)
                for who in (ALICE, BOB, None, ALICE):
                    there = follow(hub.url, target, "GET", bearer(who))
                    here = follow(running.url, target, "GET", bearer(who))
                    assert sees(here) == sees(there), (target, who, here, there)
                    passed = here.headers.get("x-moongate-cache") == "pass"  # upstream's own Vary stands last
                    assert passed or "Authorization" in here.headers["vary"], target
                    if sees(here):
                        assert not target.endswith("config.json") or here.body == FILE
                    else:
                        is_shut(here)
                        code = there.headers.get("x-error-code")
                        assert code in (None, here.headers.get("x-error-code")), target
                    head = ask(running.url, target, "HEAD", bearer(who))
                    assert sees(head) == sees(here) or "git" in target, (target, who, head)
            for road in OURS:
                target = road.format(repo)
                assert ask(running.url, target, "GET", bearer(ALICE)).body == WEIGHTS
                for who in (BOB, None):
                    is_shut(ask(running.url, target, "GET", bearer(who)))
                    is_shut(ask(running.url, target, "GET", {**bearer(who), "Range": "bytes=0-9"}))
        paths = json.dumps({"paths": ["m.gguf"]}).encode()
        kind = {"Content-Type": "application/json"}
        for who in (ALICE, BOB, None):
            target = f"/api/models/acme/{repo}/paths-info/main"
            here = ask(running.url, target, "POST", {**kind, **bearer(who)}, paths)
            assert sees(here) == sees(ask(hub.url, target, "POST", {**kind, **bearer(who)}, paths))


def test_2_a_bare_hash_opens_nothing(tmp_path: Path, hub: HubDouble) -> None:
    """Content of a repository that is shut, asked for through one that is open."""
    with gateway(tmp_path, hub) as running:
        for road in FILES:
            assert ask(running.url, road.format("gated"), "GET", bearer(ALICE)).status == 200
        for target in (f"/acme/open.git/info/lfs/objects/{OID}", f"/v2/acme/open/blobs/sha256:{OID}",
                       f"/acme/open.git/info/lfs/objects/{OID}?size={len(WEIGHTS)}"):  # fmt: skip
            for who in (BOB, None):
                is_shut(ask(running.url, target, "GET", bearer(who)))


def test_3_access_that_upstream_cannot_confirm_lasts_its_grace(tmp_path: Path, hub: HubDouble) -> None:
    target, private = "/acme/gated/resolve/main/config.json", "/acme/private/resolve/main/config.json"
    fast = {"access_ttl_seconds": 0, "ref_ttl_seconds": 0}
    running = gateway(tmp_path, hub, **fast)
    with running:
        for one in (target, private):
            assert ask(running.url, one, "GET", bearer(ALICE)).body == FILE
            assert not sees(ask(running.url, one, "GET", bearer(BOB)))
        with hub.away():
            for one in (target, private):
                assert ask(running.url, one, "GET", bearer(ALICE)).body == FILE
                for who in (BOB, None, UNKNOWN[:-1]):
                    answer = ask(running.url, one, "GET", bearer(who))
                    assert answer.status in (401, 403, 404, 503), answer
                    assert FILE[:16] not in answer.body
            assert ask(running.url, target, "GET", bearer(BOB)).headers["x-error-code"] == "GatedRepo"
    running = gateway(tmp_path, hub, **fast, access_grace_seconds=0)
    with hub.away(), running:
        assert ask(running.url, target, "GET", bearer(ALICE)).headers["x-error-code"] == "GatedRepo"
        assert not sees(ask(running.url, private, "GET", bearer(ALICE)))
    with gateway(tmp_path, hub, "--offline") as running:
        assert ask(running.url, target, "GET", bearer(ALICE)).body == FILE
        for who in (BOB, None):
            assert not sees(ask(running.url, target, "GET", bearer(who)))
            assert not sees(ask(running.url, private, "GET", bearer(who)))
    hub.world.users.revoke(ALICE)
    with gateway(tmp_path, hub, **fast) as running:
        assert not sees(ask(running.url, target, "GET", bearer(ALICE)))
        assert not sees(ask(running.url, private, "GET", bearer(ALICE)))


def minted(tmp_path: Path, scope: str) -> str:
    """A token of ours, made from the command line."""
    command = [
        str(MOONGATE),
        "token",
        "create",
        "--home",
        str(tmp_path / "home"),
        "--user",
        "carol",
        "--json",
    ]
    made = subprocess.run(
        [*command, "--scope", scope], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    return str(json.loads(made.stdout)["token"])


def test_4_away_from_loopback_the_door_is_closed(tmp_path: Path, hub: HubDouble) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(GatewayFailed, match="token"):
        gateway(tmp_path, hub, "--host", "0.0.0.0").start()
    reader, admin = minted(tmp_path, "read"), minted(tmp_path, "admin")
    with gateway(tmp_path, hub, "--host", "0.0.0.0") as running:
        url = f"http://127.0.0.1:{running.port}"
        for road in (
            *ROADS,
            *OURS,
            "/",
            "/api/models",
            "/api/whoami-v2",
            "/api/moongate/v1/tokens",
            "/nothing",
        ):
            target = road.format("open")
            for who in (None, ALICE, UNKNOWN, "x"):
                answer = ask(url, target, "GET", bearer(who))
                assert answer.status in (401, 403), (target, who, answer)
                assert answer.headers["x-error-code"] in ("AuthRequired", "BadToken", "Forbidden")
            assert ask(url, target, "GET", bearer(UNKNOWN)).status == 401
        assert ask(url, "/healthz").status == ask(url, "/readyz").status == 200
        assert ask(url, "/acme/open/resolve/main/config.json", "GET", bearer(reader)).body == b"{}"
        assert ask(url, "/api/whoami-v2", "GET", bearer(reader)).json()["name"] == "carol"
        for who, status in ((reader, 403), (admin, 200), (None, 401), (ALICE, 403)):
            assert ask(url, "/api/moongate/v1/tokens", "GET", bearer(who)).status == status
        for row in ask(url, "/api/moongate/v1/tokens", "GET", bearer(admin)).json()["tokens"]:
            if row["scope"] == "read":
                revoked = ask(url, f"/api/moongate/v1/tokens/{row['id']}", "DELETE", bearer(admin))
                assert revoked.json() == {"revoked": True}
        assert ask(url, "/acme/open/resolve/main/config.json", "GET", bearer(reader)).status == 401
        assert ask(url, "/metrics", "GET", bearer(reader) | {"X-Forwarded-For": "10.0.0.1"}).status == 401


def test_5_a_token_of_ours_never_writes_and_never_travels(tmp_path: Path, hub: HubDouble) -> None:
    ours = minted(tmp_path, "write")
    with gateway(tmp_path, hub, upstream_token=SERVICE) as running:
        body = b'{"name": "evil", "type": "model"}'
        kind = {"Content-Type": "application/json"}
        answer = ask(running.url, "/api/repos/create", "POST", {**kind, **bearer(ours)}, body)
        assert (answer.status, answer.headers["x-error-code"]) == (403, "Forbidden")
        assert not hub.meters.requests(method="POST")
        # without a grant it is nobody, with one it reads with the gateway's own token
        target = "/acme/gated/resolve/main/config.json"
        assert not sees(ask(running.url, target, "GET", bearer(ours)))
        grant = json.dumps({"user": "carol", "pattern": "acme/gated"}).encode()
        assert ask(running.url, "/api/moongate/v1/grants", "POST", kind, grant).status == 201
        running.restart()
        assert ask(running.url, target, "GET", bearer(ours)).body == FILE
        assert not sees(ask(running.url, "/acme/private/resolve/main/config.json", "GET", bearer(ours)))
        assert not sees(ask(running.url, target))
        answer = ask(running.url, "/api/models/acme/gated/tag/main", "POST", {**kind, **bearer(ours)}, b"{}")
        assert answer.status == 403
        assert not any(ours in str(record) for record in hub.meters.requests())
        assert all(
            record.method in ("GET", "HEAD") for record in hub.meters.requests() if SERVICE in str(record)
        )


def test_6_no_secret_is_left_anywhere(tmp_path: Path, hub: HubDouble) -> None:
    """Every secret that was used, sought in all that the gateway wrote, said, or sent to a CDN."""
    ours = minted(tmp_path, "admin")
    secrets = [ALICE, BOB, SERVICE, ours, UNKNOWN, "signed-secret-in-query"]
    said: list[RawAnswer] = []
    settings = {"upstream_token": SERVICE, "log_level": "debug"}
    with gateway(tmp_path, hub, **settings) as running:
        for road in (*ROADS, *OURS, "/api/whoami-v2", "/api/models", "/nothing/at/all", "/%2e%2e/x"):
            for name in ("open", "gated", "private", "absent"):
                target = road.format(name)
                said += [ask(running.url, target, "GET", bearer(who)) for who in (*secrets[:5], None)]
        said.append(ask(running.url, f"/api/models?token={ALICE}&sig=signed-secret-in-query"))
        said.append(ask(running.url, f"/{PASTED}/{PASTED}"))
        said.append(ask(running.url, "/x", "GET", {"Cookie": f"token={ALICE}", "X-Amzn-Trace-Id": "t"}))
        with hub.away():
            for who in (ALICE, BOB, ours):
                said.append(ask(running.url, "/api/models/acme/new", "GET", bearer(who)))
                said.append(
                    ask(running.url, "/acme/new.git/info/refs?service=git-upload-pack", "GET", bearer(who))
                )
        said.append(ask(running.url, "/metrics"))
        assert b"moongate_requests_total" in said[-1].body
        assert not any(name in said[-1].body for name in (b"acme", b"alice", b"carol"))
        said += [
            ask(running.url, f"/api/moongate/v1/{name}") for name in ("status", "repos", "tokens", "failures")
        ]
        said.append(ask(running.url, "/"))
    for record in hub.meters.requests(origin="cdn"):
        assert record.authorization is None
        assert not any(secret in str(record.headers) for secret in secrets)
    assert hub.meters.requests(origin="cdn")
    for answer in said:
        for secret in secrets:
            assert secret not in str(answer.headers), (answer.url, secret)
            assert secret.encode() not in answer.body
    written = [path for path in (*tmp_path.glob("home*"), *(tmp_path / "home").rglob("*")) if path.is_file()]
    assert any(path.suffix == ".log" for path in written)
    for path in written:
        content = path.read_bytes()
        for secret in (*secrets, PASTED):
            assert secret.encode() not in content, (path, secret)
