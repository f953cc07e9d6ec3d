"""Signed tokens that are not what they should be, at a whole gateway: none is worth anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk

from support.front import Front, is_coded
from support.gateway import Gateway
from support.issuer import Issuer, part
from support.raw import RawAnswer, ask

BASE = "/api/moongate/v1"
JSON = {"Content-Type": "application/json"}
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(front: Front, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home: Path = tmp_path_factory.mktemp("id-tokens") / "home"
    with Gateway(home, front.double.url, cdn=front.double.cdn_netloc) as running:
        trust(running, issuer, user="ci", scope="write", places=["acme"], direct=True)
        yield running
        assert "eyJ" not in running.log_path.read_text(errors="replace"), "a token in the log"


def trust(gateway: Gateway, issuer: Issuer, **more: Any) -> str:
    wanted = {"issuer": issuer.url, "claims": {"repository": "acme/*"}, **more}
    answer = ask(gateway.url, f"{BASE}/trusts", "POST", JSON, json.dumps(wanted).encode())
    assert answer.status == 201, answer.body
    return str(answer.json()["id"])


def exchange(gateway: Gateway, token: str, **more: Any) -> RawAnswer:
    body = {
        "grant_type": GRANT,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": token,
        **more,
    }
    return ask(gateway.url, "/oauth/token", "POST", JSON, json.dumps(body).encode())


def test_a_right_one_is_exchanged_and_comes_in_as_it_is(gateway: Gateway, issuer: Issuer) -> None:
    answer = exchange(gateway, issuer.token(aud=gateway.url), resource="acme/tiny")
    assert answer.status == 200, answer.body
    told = answer.json()
    assert told["token_type"] == "bearer"
    assert 0 < told["expires_in"] <= 3600
    for credential in (told["access_token"], issuer.token(aud=gateway.url)):
        who = ask(gateway.url, "/api/whoami-v2", "GET", {"Authorization": f"Bearer {credential}"})
        assert who.json()["name"] == "ci"
    assert answer.headers["cache-control"] == "no-store"


def hs256_with_the_public_key(issuer: Issuer, claims: dict[str, Any]) -> str:
    """The oldest confusion: the public key taken for a shared secret."""
    signed = f"{part({'alg': 'HS256', 'kid': issuer.key.kid})}.{part(claims)}"
    pem = issuer.key.as_pem(private=False)
    return f"{signed}.{part(hmac.digest(pem, signed.encode(), hashlib.sha256))}"


def flipped(token: str) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def other_claims(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part(claims)}.{signature}"


def now() -> int:
    return int(time.time())


EVIL: dict[str, Callable[[Issuer, str], str]] = {
    "alg none": lambda i, a: f"{part({'alg': 'none'})}.{part(i.claims(aud=a))}.",
    "alg none, with something for a signature": lambda i, a: (
        f"{part({'alg': 'none'})}.{part(i.claims(aud=a))}.AAAA"
    ),
    "alg NoNe": lambda i, a: f"{part({'alg': 'NoNe', 'kid': i.key.kid})}.{part(i.claims(aud=a))}.AAAA",
    "the public key as a shared secret": lambda i, a: hs256_with_the_public_key(i, i.claims(aud=a)),
    "another algorithm of the same key": lambda i, a: i.token({"alg": "PS256"}, aud=a),
    "another key under the same name": lambda i, a: i.token(
        key=jwk.RSAKey.generate_key(2048, {"kid": i.key.kid}), aud=a
    ),
    "a key that it brings along": lambda i, a: i.token(
        {"jwk": (own := jwk.RSAKey.generate_key(2048)).as_dict(private=False)}, key=own, aud=a
    ),
    "an unknown key": lambda i, a: i.token({"kid": "of mine"}, key=jwk.RSAKey.generate_key(2048), aud=a),
    "a key's name that is a path": lambda i, a: i.token({"kid": "../../etc/passwd"}, aud=a),
    "an unknown crit": lambda i, a: (
        f"{part({'alg': 'RS256', 'kid': i.key.kid, 'crit': ['bork'], 'bork': 1})}."
        f"{i.token(aud=a).partition('.')[2]}"
    ),
    "a changed signature": lambda i, a: flipped(i.token(aud=a)),
    "changed claims": lambda i, a: other_claims(i.token(aud=a), i.claims(aud=a, repository="acme/other")),
    "another audience": lambda i, a: i.token(aud="https://huggingface.co"),
    "an audience that only begins like ours": lambda i, a: i.token(aud=f"{a}.evil.example"),
    "no audience": lambda i, a: i.token(),
    "an audience that is an object": lambda i, a: i.token(aud={a: 1}),
    "expired": lambda i, a: i.token(aud=a, exp=now() - 120),
    "no end": lambda i, a: i.token(aud=a, exp=None),
    "an end that is a text": lambda i, a: i.token(aud=a, exp="9999999999"),
    "an end that is true": lambda i, a: i.token(aud=a, exp=True),
    "an endless end": lambda i, a: i.token(aud=a, exp=float("inf")),
    "issued tomorrow": lambda i, a: i.token(aud=a, iat=now() + 86400),
    "not issued at all": lambda i, a: i.token(aud=a, iat=None),
    "not yet": lambda i, a: i.token(aud=a, nbf=now() + 86400),
    "of another issuer": lambda i, a: i.token(aud=a, iss="https://accounts.google.com"),
    "of our issuer with a slash": lambda i, a: i.token(aud=a, iss=f"{i.url}/"),
    "about nobody": lambda i, a: i.token(aud=a, sub=None),
    "about a number": lambda i, a: i.token(aud=a, sub=7),
    "another repository": lambda i, a: i.token(aud=a, repository="evil/tiny"),
    "a repository that ends like ours": lambda i, a: i.token(aud=a, repository="evil/acme/tiny"),
    "no repository": lambda i, a: i.token(aud=a, repository=None),
    "encrypted": lambda i, a: ".".join([part({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}), *["AAAA"] * 4]),
    "a huge header": lambda i, a: i.token({"pad": "x" * 20_000}, aud=a),
    "huge": lambda i, a: "eyJ" + "A" * 60_000 + ".e30.AAAA",
    "a header that nests": lambda i, a: f"{part(b'[' * 5000)}.{part(i.claims(aud=a))}.AAAA",
    "a header that is a list": lambda i, a: f"{part([])}.{part(i.claims(aud=a))}.AAAA",
    "claims twice": lambda i, a: ".".join([part({"alg": "RS256"}), part(b'{"iss": 1, "iss": 2}'), "AAAA"]),
    "no token at all": lambda i, a: "hello",
    "empty parts": lambda i, a: "..",
    "nothing": lambda i, a: " ",
    "not ASCII": lambda i, a: "eyJ\u00e9.e30.AAAA",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EVIL))
def test_evil_ones_are_worth_nothing(gateway: Gateway, issuer: Issuer, name: str) -> None:
    token = EVIL[name](issuer, gateway.url)
    answer = exchange(gateway, token)
    assert answer.status == 400, (name, answer.body)
    assert answer.json()["error"] in ("invalid_grant", "invalid_request")
    assert answer.headers["x-error-code"]
    assert token.strip() not in answer.body.decode() or len(token) < 8
    if token.isascii() and len(token) < 4000 and token.startswith("eyJ"):
        header = {"Authorization": f"Bearer {token}"}
        is_coded(ask(gateway.url, "/api/whoami-v2", "GET", header), 401)
        is_coded(ask(gateway.url, f"{BASE}/tokens", "GET", header), 401)


def test_no_signed_token_ever_goes_upstream(gateway: Gateway, front: Front) -> None:
    """Whoever sends one has it meant for us; a Hub would learn something that opens our door."""
    stranger = f"{part({'alg': 'RS256'})}.{part({'iss': 'https://stranger.example', 'sub': 'x'})}.AAAA"
    before = len(front.double.meters.requests("*"))
    header = {"Authorization": f"Bearer {stranger}"}
    is_coded(ask(gateway.url, "/api/models/acme/never-asked", "GET", header), 401)
    assert len(front.double.meters.requests("*")) == before


BODIES: list[tuple[dict[str, str], bytes]] = [
    (JSON, b""), (JSON, b"[]"), (JSON, b"{"), (JSON, b'{"grant_type": 1}'), (JSON, b'{"grant_type": null}'),
    (JSON, b'{"grant_type": "password", "username": "root"}'), (JSON, b'"x"' + b" " * 70_000),
    ({"Content-Type": "application/x-www-form-urlencoded"}, b"grant_type=client_credentials"),
    ({"Content-Type": "application/x-www-form-urlencoded"}, b"\xff\xfe"),
    ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b&" * 500),
    ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_other_bodies_get_an_error_of_oauth(gateway: Gateway, number: int) -> None:
    headers, body = BODIES[number]
    answer = ask(gateway.url, "/oauth/token", "POST", headers, body)
    assert answer.status == 400
    assert answer.json()["error"] in ("invalid_request", "unsupported_grant_type")


@pytest.mark.parametrize(
    "resource",
    ["evil/tiny", "acme", "root", "acme/../evil/tiny", "kernels/acme/tiny", "a/b/c/d", "acme/tiny\0"],
)
def test_a_token_is_for_nothing_that_its_trust_does_not_give(
    gateway: Gateway, issuer: Issuer, resource: str
) -> None:
    answer = exchange(gateway, issuer.token(aud=gateway.url), resource=resource)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_target")


def test_a_flood_of_unknown_keys_has_the_issuer_asked_seldom(gateway: Gateway, issuer: Issuer) -> None:
    asked, stranger = len(issuer.asked), jwk.RSAKey.generate_key(2048)
    for _ in range(20):
        wrong = issuer.token({"kid": "flood"}, key=stranger, aud=gateway.url)
        assert exchange(gateway, wrong).status == 400
    assert len(issuer.asked) - asked <= 2, "every wrong token had the issuer asked"


def test_an_issuer_that_leads_elsewhere_is_not_followed(gateway: Gateway) -> None:
    """Its keys may be anywhere on public addresses; in our own network it can make us ask nobody."""
    with Issuer() as liar, Issuer() as inside:
        liar.metadata = {"jwks_uri": f"{inside.url}/keys"}
        trust(gateway, liar, user="liar")
        assert exchange(gateway, liar.token(aud=gateway.url)).status == 503
        assert inside.asked == []
    with Issuer() as another:
        another.metadata = {"issuer": "https://accounts.google.com"}
        trust(gateway, another, user="another")
        assert exchange(gateway, another.token(aud=gateway.url)).status == 503


def test_a_silent_issuer_lets_nobody_in(gateway: Gateway) -> None:
    with Issuer() as silent:
        silent.silent = True
        trust(gateway, silent, user="silent", direct=True)
        token = silent.token(aud=gateway.url)
        assert exchange(gateway, token).status == 503
        header = {"Authorization": f"Bearer {token}"}
        is_coded(ask(gateway.url, "/api/whoami-v2", "GET", header), 503)


TRUSTS = [
    {"claims": {}}, {"claims": {"repository": "*"}}, {"issuer": "http://evil.example"},
    {"issuer": "file:///etc"}, {"issuer": "https://user:pass@idp.example"}, {"user": "../root"},
    {"issuer": "https://idp.example?x"}, {"user": ""}, {"algorithm": "HS256"}, {"algorithm": "none"},
    {"places": ["../.."]}, {"places": ["a/b/c/d"]},
    {"scope": "admin", "places": ["acme"]}, {"ttl_seconds": 10**9}, {"ttl_seconds": -1}, {"unknown": 1},
]  # fmt: skip


@pytest.mark.parametrize("wrong", TRUSTS, ids=json.dumps)
def test_trusts_that_make_no_sense_are_refused(
    gateway: Gateway, issuer: Issuer, wrong: dict[str, Any]
) -> None:
    wanted = {"issuer": issuer.url, "claims": {"repository": "acme/x"}, "user": "ci", **wrong}
    is_coded(ask(gateway.url, f"{BASE}/trusts", "POST", JSON, json.dumps(wanted).encode()), 400)
