"""However an address is spelled, what answers it asks the same of everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.front import Front
from support.gateway import Gateway
from support.raw import ask
from support.wire_talk import WireTalk

BASE = "/api/moongate/v1"
JSON = {"Content-Type": "application/json"}
FAR = "X-Forwarded-For: 10.0.0.1\r\n"
SECRET = b"nobody but alice"


class House:
    """A gateway that hosts a private repository of alice's, and the tokens of some who are not alice."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.alice = self.token("alice", "write")
        self.tokens = {
            "reader": self.token("bob", "read"),
            "writer": self.token("carol", "write"),
            "bound": self.token("dave", "write", ["elsewhere"]),
            "nobody": "",
        }
        body = json.dumps({"name": "secret", "organization": "acme", "private": True}).encode()
        header = {"Authorization": f"Bearer {self.alice}", **JSON}
        assert ask(gateway.url, "/api/repos/create", "POST", header, body).status == 200
        lines = [
            {"key": "header", "value": {"summary": "x"}},
            {"key": "file", "value": {"path": "s.txt", "content": SECRET.decode(), "encoding": "utf-8"}},
        ]
        commit = "\n".join(json.dumps(line) for line in lines).encode()
        ndjson = {"Authorization": f"Bearer {self.alice}", "Content-Type": "application/x-ndjson"}
        assert ask(gateway.url, f"{REPO}/commit/main", "POST", ndjson, commit).status == 200

    def token(self, user: str, scope: str, places: list[str] | None = None) -> str:
        wanted = {"user": user, "scope": scope, "places": places or []}
        made = ask(self.gateway.url, f"{BASE}/tokens", "POST", JSON, json.dumps(wanted).encode())
        return str(made.json()["token"])

    def say(self, method: str, target: str, who: str) -> tuple[int, bytes]:
        """One request as it is spelled, from elsewhere than this machine."""
        token = self.tokens[who]
        said = f"Authorization: Bearer {token}\r\n" if token else ""
        length = "Content-Length: 0\r\n" if method != "GET" else ""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{FAR}{said}{length}Connection: close\r\n\r\n"
        )
        with WireTalk(self.gateway.port) as talk:
            answer = talk.say(head.encode("latin-1", "replace")).hear()
        return answer.status, answer.body


REPO = "/api/models/acme/secret"


@pytest.fixture(scope="module")
def house(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home: Path = tmp_path_factory.mktemp("spellings") / "home"
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
    with Gateway(home, front.double.url, cdn=front.double.cdn_netloc, env=env) as gateway:
        yield House(gateway)
        assert "request failed" not in gateway.log_path.read_text(errors="replace")


# method, address, and what an answer that got through would hold
TARGETS = [
    ("GET", f"{BASE}/tokens", b'"tokens"'), ("GET", f"{BASE}/accounts", b'"accounts"'),
    ("GET", f"{BASE}/trusts", b'"trusts"'), ("GET", f"{BASE}/roles", b'"roles"'),
    ("GET", f"{BASE}/openapi.json", b'"openapi"'), ("POST", f"{BASE}/gc", b"freed_bytes"),
    ("GET", REPO, b'"private"'), ("GET", f"{REPO}/tree/main", b"s.txt"),
    ("GET", f"{REPO}/refs", b"refs/heads"),
    ("GET", "/acme/secret/resolve/main/s.txt", SECRET), ("GET", "/acme/secret/raw/main/s.txt", SECRET),
    ("GET", "/acme/secret/info/refs?service=git-upload-pack", b"refs/heads/main"),
    ("GET", "/v2/acme/secret/manifests/latest", b"layers"),
    ("POST", f"{REPO}/branch/evil", b"\0"), ("DELETE", f"{REPO}/branch/main", b"\0"),
]  # fmt: skip

SPELL = {
    "a slash after": lambda path: f"{path}/",
    "two slashes before": lambda path: f"/{path}",
    "two slashes within": lambda path: path.replace("/", "//", 2),
    "a dot within": lambda path: path.replace("/", "/./", 1),
    "there and back": lambda path: f"/x/..{path}",
    "there and back, encoded": lambda path: f"/x/%2e%2e{path}",
    "a parameter": lambda path: f"{path};x=1",
    "a parameter within": lambda path: path.replace("/", ";x/", 2).replace(";x/", "/", 1),
    "capitals": lambda path: path.upper(),
    "one capital": lambda path: path[:1] + path[1:2].upper() + path[2:],
    "a letter encoded": lambda path: path[:1] + "%" + f"{ord(path[1]):02x}" + path[2:],
    "all encoded": lambda path: "".join(f"%{ord(char):02x}" if char.isalnum() else char for char in path),
    "slashes encoded": lambda path: path[:1] + path[1:].replace("/", "%2f"),
    "encoded twice": lambda path: path[:1] + quote(quote(path[1:], safe=""), safe="/%"),
    "a backslash": lambda path: path[:1] + path[1:].replace("/", "\\"),
    "a zero after": lambda path: f"{path}%00",
    "a blank after": lambda path: f"{path}%20",
    "a suffix of a stylesheet": lambda path: f"{path}.css",
    "a suffix of JSON": lambda path: f"{path}.json",
    "a fragment": lambda path: f"{path}#x",
    "absolute": lambda path: f"http://localhost{path}",
    "absolute, elsewhere": lambda path: f"http://evil.example{path}",
    "a login before": lambda path: f"/login/..{path}",
    "below an open page": lambda path: f"/healthz{path}",
    "a query that names another": lambda path: f"/healthz?path={path}",
}


@pytest.mark.parametrize("spelling", sorted(SPELL))
def test_no_spelling_gets_around_the_door(house: House, spelling: str) -> None:
    for method, target, proof in TARGETS:
        path, query_mark, query = target.partition("?")
        spelled = SPELL[spelling](path) + query_mark + query
        for who in house.tokens:
            status, body = house.say(method, spelled, who)
            assert status < 500, (method, spelled, who)
            assert proof not in body or status >= 400, (method, spelled, who, body[:200])
            if proof == b"\0":
                assert status >= 400 or b"healthz" in body or b"ok" in body, (method, spelled, who)
            assert SECRET not in body, (method, spelled, who)


pieces = st.sampled_from(
    ["/", "//", "/./", "/../", "%2f", "%2F", "%252f", ";", ";x", "\\", "%5c", ".", "..", "%2e", "%00",
     "%20", "?", "#", "api", "API", "moongate", "v1", "tokens", "models", "acme", "secret", "resolve",
     "main", "s.txt", "raw", "healthz", "login", "cas", "~x", "data", "uploads", "info", "lfs", "objects",
     "é"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(pieces, max_size=14).map(lambda words: "/" + "".join(words)), who=st.integers(0, 3))
def test_addresses_made_of_pieces_lead_to_nothing_of_anothers(house: House, path: str, who: int) -> None:
    name = sorted(house.tokens)[who]
    status, body = house.say("GET", path, name)
    assert status < 500
    assert SECRET not in body
    assert b'"sha256"' not in body
    assert not (b'"tokens"' in body and status < 400)


def test_the_tokens_owner_is_let_in(house: House) -> None:
    """So that the refusals above mean something."""
    header = {"Authorization": f"Bearer {house.alice}"}
    assert ask(house.gateway.url, "/acme/secret/resolve/main/s.txt", "GET", header).body == SECRET
    assert ask(house.gateway.url, f"{BASE}/tokens").status == 200
