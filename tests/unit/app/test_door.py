"""Who comes in: open on loopback, closed elsewhere, our tokens, Hub tokens of members."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from moongate.app.door import Door, DoorRules
from moongate.app.tokens import mint
from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import (
    AuthRequired,
    BadRequest,
    BadToken,
    MoongateError,
    NotAllowed,
    ScopeMissing,
    UpstreamUnreachable,
)
from moongate.wire.bearer import looks_like_ours
from support.house import FakeTokens

HUB_TOKEN = "hf_" + "Ada" * 12
CLOSED = DoorRules(loopback=False)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Identity:
    """Upstream's whoami: an answer, or an error."""

    def __init__(self, *orgs: str) -> None:
        self.answer: bytes | MoongateError = orjson.dumps({"orgs": [{"name": org} for org in orgs]})
        self.asked = 0

    async def __call__(self, credential: Secret) -> bytes:
        self.asked += 1
        if isinstance(self.answer, MoongateError):
            raise self.answer
        return self.answer


async def caller(door: Door, authorization: str | None = None) -> Caller:
    headers: Mapping[str, str] = {"Authorization": authorization} if authorization else {}
    return await door.caller_of(make_mocked_request("GET", "/", headers=headers))


async def test_open_on_loopback() -> None:
    door = Door(FakeTokens(), DoorRules())
    assert await caller(door) == ANONYMOUS
    known = await caller(door, f"Bearer {HUB_TOKEN}")
    assert known.kind == "upstream"
    assert known.credential == Secret(HUB_TOKEN)
    assert HUB_TOKEN not in repr(known)


async def test_closed_elsewhere() -> None:
    door = Door(FakeTokens(), CLOSED)
    with pytest.raises(AuthRequired):
        await caller(door)
    with pytest.raises(NotAllowed):
        await caller(door, f"Bearer {HUB_TOKEN}")
    assert (
        await caller(Door(FakeTokens(), DoorRules(loopback=False, allow_anonymous=True)))
    ).kind == "anonymous"


async def test_our_tokens_are_known_by_their_hash_alone() -> None:
    tokens, clock = FakeTokens(), Clock()
    secret, row = mint(tokens, "ada", "write", 60.0, "laptop", clock.now)
    assert looks_like_ours(secret.reveal())
    assert secret.reveal() not in repr(tokens)
    assert row.sha256 == hashlib.sha256(secret.reveal().encode()).hexdigest()
    for rules in (CLOSED, DoorRules()):
        door = Door(tokens, rules, now=clock)
        clock.now = 1000.0
        assert await caller(door, f"Bearer {secret.reveal()}") == Caller("token", "ada", "write")
        clock.now = 1060.0
        with pytest.raises(BadToken):
            await caller(door, f"Bearer {secret.reveal()}")
        with pytest.raises(BadToken):
            await caller(door, "Bearer hf_" + "x" * 48)


@pytest.mark.parametrize("header", ["Bearer", "Digest abc", "Bearer a b", "Basic ???", "Bearer \u00e9"])
async def test_malformed_credentials_are_refused(header: str) -> None:
    with pytest.raises(BadToken):
        await caller(Door(FakeTokens(), DoorRules()), header)


async def test_members_of_a_named_organisation_come_in() -> None:
    identity, clock = Identity("acme", "other"), Clock()
    rules = DoorRules(
        loopback=False, upstream_orgs=("Acme",), access_ttl_seconds=300, access_grace_seconds=3600
    )
    door = Door(FakeTokens(), rules, identity, clock)
    for _ in range(3):
        assert (await caller(door, f"Bearer {HUB_TOKEN}")).kind == "upstream"
    assert identity.asked == 1
    clock.now += 400
    identity.answer = UpstreamUnreachable("silent")
    assert (await caller(door, f"Bearer {HUB_TOKEN}")).kind == "upstream"
    clock.now += 3600
    with pytest.raises(UpstreamUnreachable):
        await caller(door, f"Bearer {HUB_TOKEN}")
    identity.answer = BadToken("revoked")
    with pytest.raises(BadToken):
        await caller(door, f"Bearer {HUB_TOKEN}")


async def test_strangers_stay_outside() -> None:
    rules = DoorRules(loopback=False, upstream_orgs=("acme",))
    door = Door(FakeTokens(), rules, Identity("strangers"))
    with pytest.raises(NotAllowed):
        await caller(door, f"Bearer {HUB_TOKEN}")


def test_what_is_at_hand_agrees_with_what_is_asked() -> None:
    tokens = FakeTokens()
    secret, _ = mint(tokens, "ada", "read", None, "", 0.0)
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {secret.reveal()}"})
    assert Door(tokens, CLOSED).caller_at_hand(request.headers) == Caller("token", "ada", "read")
    assert Door(FakeTokens(), CLOSED).caller_at_hand(request.headers) is None
    anonymous = make_mocked_request("GET", "/")
    assert Door(tokens, CLOSED).caller_at_hand(anonymous.headers) is None
    assert Door(tokens, DoorRules()).caller_at_hand(anonymous.headers) == ANONYMOUS


def test_administrators() -> None:
    door = Door(FakeTokens(), DoorRules())
    door.require_admin(ANONYMOUS, local=True)
    door.require_admin(Caller("token", "ada", "admin"), local=False)
    with pytest.raises(AuthRequired):
        door.require_admin(ANONYMOUS, local=False)
    with pytest.raises(ScopeMissing):
        door.require_admin(Caller("token", "ada", "write"), local=True)
    with pytest.raises(AuthRequired):
        door.require_admin(Caller("upstream", "x", credential=Secret(HUB_TOKEN)), local=True)
    with pytest.raises(AuthRequired):
        Door(FakeTokens(), DoorRules(loopback=False, allow_anonymous=True)).require_admin(
            ANONYMOUS, local=True
        )


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "a b", "", "host:99999999"]
)
def test_foreign_hosts(host: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Host": host})
    with pytest.raises(BadRequest):
        Door(FakeTokens(), DoorRules()).check_host(request)


def test_hosts_that_are_ours() -> None:
    rules = DoorRules(server_names=("gate.lan",), public_url="https://hub.example/x")
    door = Door(FakeTokens(), rules)
    for host in ("localhost:8080", "127.0.0.1", "[::1]:80", "gate.lan", "HUB.example:443"):
        assert door.check_host(make_mocked_request("GET", "/", headers={"Host": host})) == host
    everywhere = Door(FakeTokens(), CLOSED)
    assert everywhere.check_host(make_mocked_request("GET", "/", headers={"Host": "any.name"})) == "any.name"
