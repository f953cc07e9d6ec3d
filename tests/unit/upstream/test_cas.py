"""The CAS client against a Hub double: tokens, versions of the reconstruction, and what may go wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moongate.core.callers import Secret
from moongate.core.errors import (
    GatedRepo,
    NotAllowed,
    RepoAbsent,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.core.names import CommitHash, parse_repo
from moongate.core.spans import ByteSpan
from moongate.double import (
    HubDouble,
    IgnoreRange,
    LfsFile,
    LieAboutTerms,
    MalformedJson,
    Match,
    RedirectTo,
    Stall,
    Status,
    Truncate,
    WrongContentRange,
)
from moongate.upstream.cas import CasClient, CasRoad
from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard
from moongate.upstream.xorbs import AddressExpired

MIB = 1 << 20
CONTENT = random.Random(5).randbytes(3 * MIB)
CAS = Match(origin="cas")
CDN = Match(origin="cdn", path="/xorbs/*")
TOKENS = "/api/models/acme/base/xet-read-token/*"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_user("alice", "hf_alice")
    double.add_repo("acme/base", xet=True).commit({"model.bin": LfsFile(CONTENT)})
    double.add_repo("acme/gated", gated=True, xet=True).commit({"model.bin": LfsFile(CONTENT)})
    with double.running():
        double.xet_file("acme/base", "model.bin")
        yield double


@pytest.fixture
async def cas(double: HubDouble) -> AsyncIterator[CasClient]:
    async for client in client_of(double, [double.cdn_netloc, double.cas_netloc]):
        yield client


async def client_of(
    double: HubDouble, allowed: list[str], timeout_seconds: float = 30.0
) -> AsyncIterator[CasClient]:
    guard = AddressGuard(double.url, allowed, {})
    upstream = UpstreamClient(double.url, guard, timeout_seconds=30.0, user_agent="tests")
    client = CasClient(upstream, guard, timeout_seconds=timeout_seconds, user_agent="tests")
    yield client
    await client.close()
    await upstream.close()


def road(double: HubDouble, repo: str = "acme/base", credential: Secret | None = None) -> CasRoad:
    commit = double.repo(repo).resolve("main")
    assert commit is not None
    return CasRoad(parse_repo(repo), CommitHash(commit.hash), credential)


def file_id(double: HubDouble) -> str:
    return double.xet_file("acme/base", "model.bin").id


def tokens_asked(double: HubDouble) -> int:
    return len(double.meters.requests(path=TOKENS))


async def test_a_token_is_asked_once_for_many(double: HubDouble, cas: CasClient) -> None:
    tokens = await asyncio.gather(*(cas.token(road(double)) for _ in range(5)))
    assert len(set(tokens)) == 1
    assert tokens[0].url == double.cas_url
    assert tokens[0].secret.reveal() not in repr(tokens[0])
    assert tokens_asked(double) == 1


async def test_a_token_is_asked_again_before_it_ends(double: HubDouble, cas: CasClient) -> None:
    double.settings.xet_token_seconds = 59
    first = await cas.token(road(double))
    assert first.expires_at < time.time() + 60
    assert await cas.token(road(double)) != first
    assert tokens_asked(double) == 2


async def test_the_whole_file_is_told(double: HubDouble, cas: CasClient) -> None:
    answer = await cas.reconstruction(road(double), file_id(double), len(CONTENT))
    assert answer.terms == double.xet_file("acme/base", "model.bin").terms
    (request,) = double.meters.requests(path="/v2/*", origin="cas")
    assert request.status == 200


async def test_version_1_is_asked_where_version_2_is_not_known(double: HubDouble, cas: CasClient) -> None:
    with double.failing(Status(404, match=Match(origin="cas", path="/v2/*"))):
        for _ in range(2):
            answer = await cas.reconstruction(road(double), file_id(double), len(CONTENT))
            assert answer.unpacked_bytes == len(CONTENT)
    assert len(double.meters.requests(path="/v2/*", origin="cas")) == 1
    assert len(double.meters.requests(path="/v1/*", origin="cas")) == 2


async def test_a_token_that_ended_early_is_replaced(double: HubDouble, cas: CasClient) -> None:
    with double.failing(Status(401, match=CAS, times=1)):
        await cas.reconstruction(road(double), file_id(double), len(CONTENT))
    assert tokens_asked(double) == 2


async def test_passing_trouble_is_waited_out(double: HubDouble, cas: CasClient) -> None:
    with double.failing(Status(503, match=CAS, times=2)):
        await cas.reconstruction(road(double), file_id(double), len(CONTENT))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(401, match=CAS), UpstreamBroken),
        (Status(403, match=CAS), UpstreamBroken),
        (Status(404, match=CAS), UpstreamBroken),
        (Status(500, match=CAS), UpstreamUnreachable),
        (MalformedJson(match=CAS), UpstreamBroken),
        (LieAboutTerms("drop", match=CAS), UpstreamBroken),
        (LieAboutTerms("length", match=CAS), UpstreamBroken),
        (RedirectTo("http://169.254.169.254/", match=CAS), UpstreamBroken),
        (MalformedJson(match=Match(path=TOKENS)), UpstreamBroken),
    ],
)
async def test_what_the_cas_gets_wrong_is_upstreams_trouble(
    double: HubDouble, cas: CasClient, fault: object, error: type[Exception]
) -> None:
    with double.failing(fault), pytest.raises(error):  # type: ignore[arg-type]
        await cas.reconstruction(road(double), file_id(double), len(CONTENT))
    assert (await cas.reconstruction(road(double), file_id(double), len(CONTENT))).terms


async def test_a_silent_cas_is_upstreams_trouble(double: HubDouble) -> None:
    async for client in client_of(double, [double.cdn_netloc, double.cas_netloc], timeout_seconds=0.5):
        with double.failing(Stall(match=CAS)), pytest.raises(UpstreamTimeout):
            await client.reconstruction(road(double), file_id(double), len(CONTENT))


async def test_another_size_is_not_believed(double: HubDouble, cas: CasClient) -> None:
    with pytest.raises(UpstreamBroken):
        await cas.reconstruction(road(double), file_id(double), len(CONTENT) - 1)


async def test_a_cas_where_we_must_not_go_is_refused(double: HubDouble) -> None:
    async for client in client_of(double, [double.cdn_netloc]):
        with pytest.raises(UpstreamRefused):
            await client.token(road(double))
    assert double.meters.bytes_sent(origin="cas") == 0


async def test_the_hub_decides_who_gets_a_token(double: HubDouble, cas: CasClient) -> None:
    with pytest.raises((GatedRepo, NotAllowed)):
        await cas.token(road(double, "acme/gated"))
    with pytest.raises((RepoAbsent, NotAllowed)):
        await cas.token(CasRoad(parse_repo("acme/none"), CommitHash("0" * 40)))


async def test_the_callers_credential_goes_to_the_hub_alone(double: HubDouble, cas: CasClient) -> None:
    way = road(double, credential=Secret("hf_alice"))
    await cas.reconstruction(way, file_id(double), len(CONTENT))
    (asked,) = double.meters.requests(path=TOKENS)
    (told,) = double.meters.requests(origin="cas")
    assert asked.user == "alice"
    assert told.user is None


# -- ranges of xorbs ----------------------------------------------------------------------------------------


async def test_a_range_is_read_and_checked(double: HubDouble, cas: CasClient) -> None:
    answer = await cas.reconstruction(road(double), file_id(double), len(CONTENT))
    ((xorb, (fetch, *_)),) = answer.fetches.items()
    expected = Path(double.world.xet.xorbs.get(xorb).content.path).read_bytes()  # type: ignore[union-attr]

    def read(span: ByteSpan) -> bytes:
        connection = cas.connect()
        body = connection.open(fetch.url, span)
        data = bytearray(body.position + body.remaining)
        while body.remaining:
            body.readinto(memoryview(data)[body.position :])
        body.finish()
        connection.close()
        return bytes(data[span.start : span.end])

    span = ByteSpan(1000, fetch.span.end)
    assert await asyncio.to_thread(read, span) == expected[1000 : fetch.span.end]
    with double.failing(IgnoreRange(match=CDN)):
        assert await asyncio.to_thread(read, span) == expected[1000 : fetch.span.end]
    for fault, error in (
        (WrongContentRange(5, match=CDN), UpstreamBroken),
        (Truncate(500, match=CDN), UpstreamBroken),
        (Status(403, match=CDN), AddressExpired),
        (Status(416, match=CDN), UpstreamBroken),
        (Status(500, match=CDN), UpstreamUnreachable),
        (RedirectTo("http://169.254.169.254/", match=CDN), UpstreamRefused),
    ):
        with double.failing(fault), pytest.raises(error):
            await asyncio.to_thread(read, span)
