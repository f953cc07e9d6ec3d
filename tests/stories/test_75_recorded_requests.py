"""Every operation, page and route that changes something leaves a line; new ones have to say so here."""

from __future__ import annotations

import hashlib
import json
import re
import typing
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from moongate.app.permissions import CAS_ROUTES, ROUTES
from moongate.app.settings import Settings
from moongate.app.wiring.front import front_door
from moongate.app.wiring.gateway import build
from moongate.app.wiring.governing import open_desk
from moongate.app.wiring.stock import open_store
from moongate.cli import main
from moongate.core.decisions import Decision
from moongate.core.feeds import FeedRow
from moongate.double import HubDouble, LfsFile
from moongate.policy.short_facts import facts_from
from moongate.wire import routes
from moongate.wire.hosted_paths import PlainKind
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.xet_writing import make_token

ADMIN = "/api/moongate/v1"
JSON = {"Content-Type": "application/json"}
ISSUER = "https://token.actions.githubusercontent.com"
TERMS = {"scope": "repo", "subject": "all", "expires_seconds": 3600, "comment": "checked"}
TRUST = {"issuer": ISSUER, "claims": {"repository": "acme/tiny"}, "user": "ci"}
ROLE = {"subject": "team:research", "role": "approver"}

OPERATIONS: list[tuple[str, str, Mapping[str, object] | None, str]] = [
    ("POST", "/pins", {"repo": "acme/tiny"}, "pin.create"),
    ("DELETE", "/pins?repo=acme/tiny", None, "pin.delete"),
    ("POST", "/tokens", {"user": "ada", "scope": "read"}, "token.create"),
    ("DELETE", "/tokens/{subject}", None, "token.revoke"),
    ("POST", "/grants", {"user": "ada", "pattern": "acme/tiny"}, "access.grant"),
    ("DELETE", "/grants?user=ada&pattern=acme/tiny", None, "access.revoke"),
    ("POST", "/namespaces", {"name": "shop"}, "namespace.create"),
    ("POST", "/limits", {"name": "shop", "quota_repos": 5}, "namespace.change"),
    ("DELETE", "/namespaces?name=shop", None, "namespace.delete"),
    ("POST", "/teams", {"team": "research", "user": "ada"}, "access.grant"),
    ("DELETE", "/teams?team=research&user=ada", None, "access.revoke"),
    ("POST", "/access", {"place": "lab", "subject": "user:ada", "role": "write"}, "access.grant"),
    ("DELETE", "/access?place=lab&subject=user:ada", None, "access.revoke"),
    ("POST", "/roles", ROLE, "access.grant"),
    ("DELETE", "/roles?subject=team:research&role=approver", None, "access.revoke"),
    ("POST", "/groups", {"group": "staff", "team": "research"}, "access.grant"),
    ("DELETE", "/groups?group=staff&team=research", None, "access.revoke"),
    ("POST", "/accounts", {"name": "trainer", "note": ""}, "account.create"),
    ("POST", "/accounts/state", {"name": "trainer", "disabled": True}, "account.change"),
    ("POST", "/trusts", TRUST, "trust.create"),
    ("DELETE", "/trusts/{subject}", None, "trust.delete"),
    ("POST", "/webhooks", {"url": "http://localhost:9/secret-path"}, "webhook.create"),
    ("DELETE", "/webhooks/{subject}", None, "webhook.delete"),
    ("POST", "/feeds/refresh", {"name": "ours"}, "feed.change"),
    ("POST", "/feeds/refuse", {"name": "ours"}, "feed.change"),
    ("POST", "/feeds/refresh", {"name": "ours"}, "feed.change"),
    ("POST", "/feeds/approve", {"name": "ours"}, "feed.change"),
    ("POST", "/pulls", {"repo": "acme/tiny", "revision": "main"}, "content.pull"),
    ("POST", "/verifications", {}, "content.verify"),
    ("POST", "/gc", None, "content.collect"),
    ("POST", "/evict", None, "content.evict"),
    ("POST", "/recalls", {"target": "acme/tiny", "reason": "poisoned"}, "recall.create"),
    ("DELETE", "/recalls/{subject}", None, "recall.undo"),
    ("DELETE", "/repos?repo=acme/tiny", None, "repo.delete"),
    ("POST", "/waivers", {"terms": TERMS, "repo": "acme/tiny"}, "waiver.create"),
    ("DELETE", "/waivers/{subject}", None, "waiver.revoke"),
    ("POST", "/approvals/{request}", {"decision": "grant", "terms": TERMS}, "approval.grant"),
    ("POST", "/policy/reload", None, "policy.change"),
]
"""In this order: what is asked of the admin API, and the kind of line that it leaves."""

SILENT_OPERATIONS = {
    "DELETE /jobs/{id}": "ends work early; what was done stays",
    "POST /policy/explain": "answers a question",
    "POST /webhooks/{id}": "sends one event of its own",
    "POST /audit-checkpoints": "is part of the log itself",
}

PAGES = {
    "/-/sign-in": "session.start", "/-/tokens": "token.create", "/-/tokens/revoke": "token.revoke",
    "/-/approvals/decide": "approval.grant", "/-/approvals/revoke": "waiver.revoke",
    "/-/feeds/refresh": "feed.change", "/-/feeds/decide": "feed.change",
    "/-/webhooks": "webhook.create", "/-/webhooks/remove": "webhook.delete",
    "/-/provenance/sign": "repo.sign", "/-/provenance/state": "repo.attest",
    "/-/recalls": "recall.create", "/-/recalls/undo": "recall.undo", "/-/sign-out": "session.end",
}  # fmt: skip
"""Pages that take forms, in the order in which they are sent here, and the kind of line that each leaves."""

SILENT_PAGES = {
    "/-/theme": "is kept by the browser alone",
    "/-/policy": "tries a draft, which binds nobody",
    "/-/policy/discard": "forgets one's own draft",
    "/-/webhooks/test": "sends one event of its own",
    "/oauth/device": "has a device wait; what it gets is recorded when it gets it",
    "/api/moongate/": "is the admin API",
}

ELSEWHERE = {
    "/logout": "session.end: clients/test_sign_in",
    "/device": "session.lend: clients/test_sign_in",
    "/oauth/token": "token.exchange, token.create, token.refuse: clients/test_token_exchange",
}
"""What needs an issuer is looked at where there is one."""

HOSTED: list[tuple[PlainKind | str, str, str, Mapping[str, object] | None, str]] = [
    ("branch", "POST", "/branch/dev", {}, "ref.create"),
    ("branch", "DELETE", "/branch/dev", None, "ref.delete"),
    ("tag", "POST", "/tag/main", {"tag": "v1"}, "ref.create"),
    ("tag", "DELETE", "/tag/v1", None, "ref.delete"),
    ("settings", "PUT", "/settings", {"private": True}, "repo.change"),
    ("settings", "PUT", "/settings", {"private": False}, "repo.change"),
    ("duplicate", "POST", "/duplicate", {"repository": "lab/twin"}, "repo.create"),
    ("lfs-duplicate", "POST", "/lfs-files/duplicate", None, "repo.change"),
    ("discussions", "POST", "/discussions", {"title": "a", "pullRequest": True}, "repo.discuss"),
    ("comment", "POST", "/discussions/1/comment", {"comment": "c"}, "repo.discuss"),
    ("title", "POST", "/discussions/1/title", {"title": "d"}, "repo.discuss"),
    ("status", "POST", "/discussions/1/status", {"status": "closed"}, "repo.discuss"),
    ("super-squash", "POST", "/super-squash/main", {"message": "one"}, "repo.commit"),
    ("lfs-batch", "POST", "/lfs-files/batch", None, "repo.change"),
]
"""What is asked below a hosted repository."""

SILENT_HOSTED = {
    "preupload": "says how files are to be sent",
    "commit": "is how the stage of this test is set",
    "lfs-file": "as lfs-batch: clients/test_hosting",
}

SILENT_ROUTES = {
    routes.XetWriteToken: "gives a token for bytes; they are nobody's until a commit names them",
    routes.GitReceivePack: "repo.commit, ref.create, ref.delete: clients/test_hosted_git",
    routes.ApiOther: "repositories made, moved and dropped: below; the rest is upstream's",
    routes.RepoOther: "below",
}
"""Routes of the Hub that write by a permission of their own. The others are upstream's, or reads."""

WEIGHTS = bytes(range(256)) * 40
SHA = hashlib.sha256(WEIGHTS).hexdigest()


class House:
    """A gateway, the lines of its home, and what they newly told."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.stock = open_store(Settings(home=gateway.home))
        self.seen = 0
        self.known = {"subject": "", "request": ""}
        self.new()

    def new(self) -> list[dict[str, Any]]:
        """The lines since the last time."""
        rows = self.stock.index.audit_after(self.seen, 10_000)
        self.seen = rows[-1].seq if rows else self.seen
        return [json.loads(row.line) for row in rows]

    def left(self, kind: str, what: object) -> dict[str, Any]:
        """The line of a kind that something left."""
        told = self.new()
        assert kind in [line["kind"] for line in told], (what, [line["kind"] for line in told])
        made = next(line for line in told if line["kind"] == kind)
        self.known["subject"] = made.get("subject", "")
        assert "secret-path" not in json.dumps(told)
        return made

    def hold(self, path: str) -> None:
        """Somebody is held."""
        digest = hashlib.sha256(path.encode()).hexdigest()
        facts = facts_from({"repo": "acme/tiny", "path": path, "digest": digest}, 0.0)
        decision = Decision("hold", "look", ("wait",))
        self.known["request"] = open_desk(self.stock).held(facts, decision)
        self.new()

    def ask(self, method: str, target: str, body: object, token: str = "") -> RawAnswer:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        sent = b"" if body is None else json.dumps(body).encode()
        return ask(self.gateway.url, target, method, {**JSON, **bearer}, sent)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("recorded")
    home = folder / "home"
    home.mkdir()
    (home / "rules.yaml").write_text(RULES)
    double = HubDouble(folder / "hub")
    double.add_repo("acme/tiny").commit({"config.json": "{}", "w.bin": LfsFile(bytes(5000))})
    env = {
        "MOONGATE_WEBHOOK_ALLOWED_HOSTS": "localhost",
        "MOONGATE_HOSTED_NAMESPACES": "lab",
        "MOONGATE_POLICY": str(home / "rules.yaml"),
    }
    with double.running(), Gateway(home, double.url, cdn=double.cdn_netloc, env=env) as gateway:
        house = House(gateway)
        yield house
        house.stock.close()


RULES = """\
moongate_policy: 1
rules:
  - {id: old, effect: warn, reason: It is so.}
  - {id: fixed, effect: deny, actions: [admin], when: {repo: acme/fixed}, reason: It stays as it is.}
"""


def list_hashes(path: Path, count: int) -> None:
    path.write_text("".join(f"{number:064x},bad\n" for number in range(1, count + 1)))


def test_1_every_operation_is_known_to_change_something_or_not(house: House) -> None:
    told = ask(house.gateway.url, f"{ADMIN}/openapi.json").json()["paths"]
    writing = {
        f"{method.upper()} {path.removeprefix(ADMIN)}"
        for path, methods in told.items()
        for method in methods
        if method != "get"
    }
    asked = {f"{method} {_plain(path)}" for method, path, _, _ in OPERATIONS}
    assert writing == asked | set(SILENT_OPERATIONS)


def _plain(path: str) -> str:
    return re.sub(r"\{\w+\}", "{id}", path.partition("?")[0])


def test_2_every_operation_leaves_a_line(house: House) -> None:
    gateway, listed = house.gateway, house.gateway.home / "list.csv"
    list_hashes(listed, 200)
    house.stock.index.put_feed(FeedRow("ours", "hashes", str(listed), 0.0))
    house.hold("a.bin")
    assert ask(gateway.url, f"{ADMIN}/feeds/refresh", "POST", JSON, b'{"name":"ours"}').status == 200
    house.new()
    fewer = iter((20, 21))
    for method, path, body, kind in OPERATIONS:
        if path == "/feeds/refresh":
            list_hashes(listed, next(fewer))  # so few that it is held
        if path == "/policy/reload":
            (gateway.home / "rules.yaml").write_text(RULES.replace("old", "new"))
        answer = house.ask(method, ADMIN + path.format(**house.known), body)
        assert answer.status < 300, (method, path, answer.body)
        made = house.left(kind, (method, path))
        if kind != "policy.change":
            assert made["actor"]["kind"] == "local", (path, made["actor"])
            assert made["actor"]["address"] == "127.0.0.1", (path, made["actor"])


async def test_3_every_page_that_takes_forms_is_known_to_change_something_or_not(tmp_path: Path) -> None:
    gateway = build(Settings(home=tmp_path, upstream="http://127.0.0.1:9", offline=True))
    front = front_door(gateway)
    try:
        pages = {**front.dispatch.pages, **front.dispatch.below}
        taking = {address for address, page in pages.items() if page.write is not None}
        assert taking == set(PAGES) | set(SILENT_PAGES) | set(ELSEWHERE)
    finally:
        front.close()
        await gateway.close()


def test_4_every_page_that_takes_forms_leaves_a_line(house: House) -> None:
    gateway = house.gateway
    root = make_token(gateway.home, "root", "admin")
    shown = ask(gateway.url, "/-/tokens", headers={"Accept": "text/html"})
    cookie = shown.headers["set-cookie"].partition(";")[0]
    word = re.search(rb'name="csrf" value="([0-9a-f]+)"', shown.body)
    assert word is not None
    house.hold("b.bin")
    tiny = "/acme/tiny/resolve/main"
    for path in ("/api/models/acme/tiny/tree/main?recursive=true", f"{tiny}/config.json", f"{tiny}/w.bin"):
        assert ask(gateway.url, path).status == 200
    list_hashes(gateway.home / "list.csv", 200)
    assert house.ask("POST", f"{ADMIN}/feeds/refresh", {"name": "ours"}).status == 200
    list_hashes(gateway.home / "list.csv", 20)  # so few that they are held
    house.new()
    for path, kind in PAGES.items():
        fields = {
            "/-/sign-in": {"token": root},
            "/-/tokens": {"user": "root", "scope": "read", "days": "7", "note": "laptop"},
            "/-/approvals/decide": {"id": house.known["request"], "decision": "grant", "scope": "repo",
                                    "days": "1", "comment": "read it"},
            "/-/feeds/refresh": {"name": "ours"},
            "/-/feeds/decide": {"name": "ours", "decision": "refuse"},
            "/-/webhooks": {"url": "http://localhost:9/secret-path"},
            "/-/provenance/sign": {"repo": "acme/tiny"},
            "/-/provenance/state": {"repo": "acme/tiny"},
            "/-/recalls": {"target": "acme/tiny", "reason": "poisoned"},
        }.get(path, {"id": house.known["subject"]})  # fmt: skip
        body = urlencode({"csrf": word[1].decode(), **fields}).encode()
        headers = {
            "Cookie": cookie,
            "Origin": gateway.url,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "text/html",
        }
        answer = ask(gateway.url, path, "POST", headers, body)
        assert answer.status < 400, (path, answer.body[-2000:])
        made = house.left(kind, path)
        house.known["subject"] = str(made.get("details", {}).get("waiver") or house.known["subject"])
        if "session" in answer.headers.get("set-cookie", ""):
            cookie += f"; {answer.headers['set-cookie'].partition(';')[0]}"


def test_5_every_route_that_writes_is_known(house: House) -> None:
    usual = ROUTES[routes.Info]
    own = {
        kind
        for kind, needs in ROUTES.items()
        if needs.read == "write" or (needs == usual and kind in (routes.ApiOther, routes.RepoOther))
    }
    assert own == set(SILENT_ROUTES)
    assert {needs.write for needs in CAS_ROUTES.values()} == {"sealed"}, "bytes; a commit names them"
    named = {kind for kind, *_ in HOSTED} | set(SILENT_HOSTED)
    assert set(typing.get_args(PlainKind)) <= named


def test_6_whatever_changes_a_hosted_repository_leaves_a_line(house: House) -> None:
    url, ada = house.gateway.url, make_token(house.gateway.home, "ada", "write")
    bearer = {"Authorization": f"Bearer {ada}"}
    house.new()
    for name in ("one", "two"):
        made = {"organization": "lab", "name": name}
        assert house.ask("POST", "/api/repos/create", made, ada).status == 200
        assert house.left("repo.create", name)["actor"]["name"] == "ada"
    push(house, ada)
    house.left("repo.commit", "commit")
    base = "/api/models/lab/one"
    for kind, method, rest, body, left in HOSTED:
        sent: object = body
        if kind == "lfs-duplicate":
            sent = {"target": {"type": "model", "name": "lab/two"}, "files": [{"sha256": SHA}]}
        elif kind == "lfs-batch":
            sent = {"deletions": {"sha": [SHA]}}
        answer = house.ask(method, base + rest, sent, ada)
        assert answer.status < 300, (kind, answer.body)
        house.left(left, kind)
    moved = {"fromRepo": "lab/two", "toRepo": "lab/three", "type": "model"}
    assert house.ask("POST", "/api/repos/move", moved, ada).status == 200
    house.left("repo.move", "move")
    assert (
        house.ask("DELETE", "/api/repos/delete", {"organization": "lab", "name": "three"}, ada).status == 200
    )
    house.left("repo.delete", "delete")
    assert ask(url, "/api/models/lab/one", headers=bearer).status == 200


def push(house: House, token: str) -> None:
    """A commit with a large file, sent as git-lfs would."""
    url, bearer = house.gateway.url, {"Authorization": f"Bearer {token}"}
    wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": SHA, "size": len(WEIGHTS)}]}
    batch = house.ask("POST", "/lab/one.git/info/lfs/objects/batch", wanted, token).json()
    action = batch["objects"][0]["actions"]["upload"]
    target = action["href"].removeprefix(url)
    assert ask(url, target, "PUT", {**bearer, **action.get("header", {})}, WEIGHTS).status in (200, 201)
    lines: list[dict[str, object]] = [
        {"key": "header", "value": {"summary": "Add files"}},
        {
            "key": "file",
            "value": {"path": "a.txt", "content": b64encode(b"a").decode(), "encoding": "base64"},
        },
        {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": SHA, "size": len(WEIGHTS)}},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    kind = {"Content-Type": "application/x-ndjson"}
    answer = ask(url, "/api/models/lab/one/commit/main", "POST", {**bearer, **kind}, body)
    assert answer.status == 200, answer.body


def test_7_rules_that_were_edited_while_nothing_ran_are_told_at_the_next_start(house: House) -> None:
    told = [line for line in lines_of(house) if line["kind"] == "policy.change"]
    assert told[0]["details"]["before"] == "", "the first rules, too"
    house.gateway.stop()
    (house.gateway.home / "rules.yaml").write_text(RULES.replace("old", "newest"))
    house.gateway.start()
    assert ask(house.gateway.url, "/").status == 200, "who is answered was told of first"
    last = [line for line in lines_of(house) if line["kind"] == "policy.change"][-1]["details"]
    assert (last["found"], last["before"]) == ("at start", told[-1]["details"]["after"])
    house.gateway.restart()
    assert ask(house.gateway.url, "/").status == 200
    again = [line for line in lines_of(house) if line["kind"] == "policy.change"][-1]["details"]
    assert again == last, "nothing changed"


def test_8_rules_about_administration_bind_the_admin_api_and_commands_through_it(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.new()
    role = {"place": "acme/fixed", "subject": "user:ada", "role": "write"}
    for method, target, body in (
        ("POST", "/pins", {"repo": "acme/fixed"}),
        ("DELETE", "/pins?repo=acme/fixed", None),
        ("DELETE", "/repos?repo=acme/fixed", None),
        ("POST", "/access", role),
        ("DELETE", "/access?place=acme/fixed&subject=user:ada", None),
    ):
        answer = house.ask(method, ADMIN + target, body)
        assert (answer.status, answer.headers["x-error-code"]) == (403, "RefusedByPolicy"), (method, target)
        assert "It stays as it is." in answer.headers["x-error-message"]
        made = house.left("repo.deny", (method, target))
        assert (made["rule"], made["repo"], made["details"]["action"]) == (
            "fixed", "models/acme/fixed", "admin",
        )  # fmt: skip
    assert house.ask("DELETE", f"{ADMIN}/repos", None).status == 400
    monkeypatch.setenv("MOONGATE_URL", house.gateway.url)
    assert main.run(["pin", "acme/fixed"]) == 3
    assert "It stays as it is." in capsys.readouterr().err
    assert main.run(["pin", "acme/tiny"]) == 0
    assert house.left("pin.create", "another")["repo"] == "models/acme/tiny"


def lines_of(house: House) -> list[dict[str, Any]]:
    return [json.loads(row.line) for row in house.stock.index.audit_after(0, 10_000)]
