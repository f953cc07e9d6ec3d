"""An issuer's keys: asked for seldom, rotated, and believed no longer than is safe."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from joserfc import jwk

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamError, UpstreamUnreachable
from moongate.hub.issuers import AGAIN_SECONDS, FRESH_SECONDS, GOOD_SECONDS, Issuers
from moongate.wire.id_tokens import BadIdToken, Claims, Expected
from support.issuer import Issuer

US = "https://gate.example"


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Client:
    """An issuer's answers without a network."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.asked = 0

    async def ask(
        self,
        issuer: str,
        url: str,
        form: Mapping[str, str] | None = None,
        authorization: Secret | None = None,
    ) -> tuple[int, object]:
        if self.issuer.silent:
            raise UpstreamUnreachable("nobody answers")
        if url.endswith("/keys"):
            self.asked += 1
            return 200, {"keys": self.issuer.public_keys()}
        return 200, {"issuer": self.issuer.url, "jwks_uri": f"{self.issuer.url}/keys"}


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def client(issuer: Issuer) -> Client:
    return Client(issuer)


@pytest.fixture
def clock(issuer: Issuer) -> Clock:
    return Clock(issuer.claims()["iat"])


@pytest.fixture
def issuers(client: Client, clock: Clock) -> Issuers:
    return Issuers(client, clock)


async def read(issuers: Issuers, issuer: Issuer, token: str) -> Claims:
    return await issuers.claims(token, Expected(issuer.url, US, issuer.algorithm))


def token(issuer: Issuer, clock: Clock, **more: object) -> str:
    return issuer.token(aud=US, iat=clock.now, nbf=clock.now, exp=clock.now + 300, **more)


async def test_keys_are_asked_for_once(
    issuers: Issuers, issuer: Issuer, client: Client, clock: Clock
) -> None:
    for _ in range(5):
        assert (await read(issuers, issuer, token(issuer, clock)))["repository"] == "acme/tiny"
    assert client.asked == 1


async def test_a_new_key_is_learned_at_once_and_the_old_one_is_worthless(
    issuers: Issuers, issuer: Issuer, client: Client, clock: Clock
) -> None:
    await read(issuers, issuer, token(issuer, clock))
    old = issuer.key
    clock.now += AGAIN_SECONDS + 1
    issuer.rotate()
    await read(issuers, issuer, token(issuer, clock))
    assert client.asked == 2
    with pytest.raises(BadIdToken):
        await read(issuers, issuer, token(issuer, clock, header={"kid": old.kid}, key=old))


async def test_unknown_keys_have_it_asked_seldom(
    issuers: Issuers, issuer: Issuer, client: Client, clock: Clock
) -> None:
    stranger = jwk.RSAKey.generate_key(2048)
    for _ in range(10):
        with pytest.raises(BadIdToken):
            await read(issuers, issuer, token(issuer, clock, header={"kid": "x"}, key=stranger))
        clock.now += 1
    assert client.asked <= 2


async def test_keys_outlive_a_short_silence_and_no_long_one(
    issuers: Issuers, issuer: Issuer, client: Client, clock: Clock
) -> None:
    await read(issuers, issuer, token(issuer, clock))
    issuer.silent = True
    clock.now += FRESH_SECONDS + 1
    await read(issuers, issuer, token(issuer, clock))
    clock.now += GOOD_SECONDS
    with pytest.raises(UpstreamError):
        await read(issuers, issuer, token(issuer, clock))
    issuer.silent = False
    await read(issuers, issuer, token(issuer, clock))


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_the_algorithm_is_the_one_that_is_expected(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    clock = Clock(issuer.claims()["iat"])
    issuers = Issuers(Client(issuer), clock)
    assert await read(issuers, issuer, token(issuer, clock))
    other = {"ES256": "RS256", "RS256": "ES256"}[algorithm]
    with pytest.raises(BadIdToken):
        await issuers.claims(token(issuer, clock), Expected(issuer.url, US, other))
