"""Every command that changes a home leaves a line; a new command has to say here whether it does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from moongate.app.settings import Settings
from moongate.app.wiring import stock as of_stock
from moongate.app.wiring.governing import open_desk
from moongate.app.wiring.stock import Stock, open_store
from moongate.cli import main
from moongate.core.decisions import Decision
from moongate.double import HubDouble, LfsFile
from moongate.policy.short_facts import facts_from

ISSUER = "https://token.actions.githubusercontent.com"

WRITERS = [
    ("namespace add lab", "namespace.create"),
    ("namespace set lab --max-repos 5", "namespace.change"),
    ("token create --user ada --note ci", "token.create"),
    ("token revoke {subject}", "token.revoke"),
    ("grant add ada acme/tiny", "access.grant"),
    ("grant remove ada acme/tiny", "access.revoke"),
    ("access add lab user:ada --role write", "access.grant"),
    ("access remove lab user:ada", "access.revoke"),
    ("namespace remove lab", "namespace.delete"),
    ("team add research ada", "access.grant"),
    ("team remove research ada", "access.revoke"),
    ("role add approver team:research", "access.grant"),
    ("role remove approver team:research", "access.revoke"),
    ("group map staff research", "access.grant"),
    ("group unmap staff research", "access.revoke"),
    ("service-account create trainer --note nightly", "account.create"),
    ("service-account disable trainer", "account.change"),
    ("service-account enable trainer", "account.change"),
    ("user disable trainer", "account.change"),
    ("user enable trainer", "account.change"),
    (f"trust add {ISSUER} --claim repository=acme/tiny --user ci", "trust.create"),
    ("trust remove {subject}", "trust.delete"),
    ("webhook add http://localhost:9/secret-path", "webhook.create"),
    ("webhook rm {subject}", "webhook.delete"),
    ("feed add ours {folder}/list.csv --kind hashes", "feed.change"),
    ("feed refresh ours", "feed.change"),
    ("feed export {folder}/feeds.zip", None),
    ("!fewer", None),
    ("feed refresh ours", "feed.change"),
    ("feed refuse ours", "feed.change"),
    ("!still fewer", None),
    ("feed refresh ours", "feed.change"),
    ("feed approve ours", "feed.change"),
    ("feed rm ours", "feed.change"),
    ("feed import {folder}/feeds.zip", "feed.change"),
    ("feed rm ours", "feed.change"),
    ("pull acme/tiny --upstream {hub}", "content.pull"),
    ("pull acme/tiny --pin --upstream {hub}", "pin.create"),
    ("unpin acme/tiny@main", "pin.delete"),
    ("pin acme/tiny", "pin.create"),
    ("unpin acme/tiny", "pin.delete"),
    ("sign acme/tiny", "repo.sign"),
    ("provenance acme/tiny", "repo.attest"),
    ("export acme/tiny -o {folder}/tiny.bundle", "bundle.export"),
    ("verify", "content.verify"),
    ("gc", "content.collect"),
    ("recall acme/tiny --yes --reason poisoned", "recall.create"),
    ("recall --undo {subject}", "recall.undo"),
    ("rm acme/tiny --yes", "repo.delete"),
    ("import {folder}/tiny.bundle", "bundle.import"),
    ("waiver add --scope repo --repo acme/tiny -m checked", "waiver.create"),
    ("waiver revoke {subject}", "waiver.revoke"),
    ("!held", None),
    ("approve grant {request} -m read", "approval.grant"),
    ("!held", None),
    ("approve refuse {request} -m no", "approval.refuse"),
    ("audit checkpoint", None),
    ("audit archive {folder}/old.jsonl --older 0s --yes", "audit.archive"),
]
"""In this order: what is run, and the kind of line that it leaves; None: none, it sets the stage."""

READERS = {
    "access list", "approve list", "approve show", "audit export", "audit key", "audit kinds", "audit list",
    "audit verify", "bom", "doctor", "du", "feed check", "feed hunt", "feed list", "grant list", "group list",
    "ls", "namespace list", "policy check", "policy explain", "policy schema", "policy show",
    "policy simulate", "policy test", "role list", "scan", "service-account list", "settings", "show",
    "team list", "token list", "trust list", "user list", "verify-signature", "version", "waiver list",
    "webhook list",
}  # fmt: skip
"""Commands that change nothing."""

REASONS = {
    "serve": "the gateway writes its own lines",
    "demo": "a home of its own, that is thrown away",
    "webhook test": "sends one event of its own, and changes nothing",
    "feed export": "what others told is written to a file; nothing of here is in it",
    "audit checkpoint": "it is part of the log itself",
}


def commands(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_is_known_to_change_something_or_not() -> None:
    known = set(commands(typer.main.get_command(main.table())))
    run = {command for command in known if any(f"{words} ".startswith(f"{command} ") for words, _ in WRITERS)}
    assert known - run - READERS - set(REASONS) == set()
    assert READERS - known == set()
    assert READERS & run == set()


def lines(stock: Stock) -> list[dict[str, Any]]:
    return [json.loads(row.line) for row in stock.index.audit_after(0, 10_000)]


def held(stock: Stock, path: str) -> str:
    """Somebody was held; the request's id."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    facts = facts_from({"repo": "acme/tiny", "path": path, "digest": digest}, 0.0)
    return open_desk(stock).held(facts, Decision("hold", "look", ("wait",)))


@pytest.fixture
def stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stock]:
    """Opened once for all commands: each of them would take its time for that."""
    opened, close = open_store(Settings(home=tmp_path / "home")), Stock.close
    monkeypatch.setattr(of_stock, "open_store", lambda settings: replace(opened, settings=settings))
    monkeypatch.setattr(Stock, "close", lambda _: None)
    yield opened
    close(opened)


def test_every_command_that_changes_something_leaves_a_line(
    tmp_path: Path,
    stock: Stock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOONGATE_WEBHOOK_ALLOWED_HOSTS", "localhost")
    home, listed = tmp_path / "home", tmp_path / "list.csv"
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/tiny").commit({"config.json": "{}", "w.bin": LfsFile(bytes(5000))})
    known = {"folder": str(tmp_path), "request": "", "subject": ""}

    def list_hashes(count: int) -> None:
        listed.write_text("".join(f"{number:064x},bad\n" for number in range(1, count + 1)))

    list_hashes(200)
    count = 0
    with double.running():
        known["hub"] = double.url
        monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", double.cdn_netloc)
        for template, kind in WRITERS:
            match template:
                case "!fewer" | "!still fewer":
                    list_hashes(20 if template == "!fewer" else 21)
                    continue
                case "!held":
                    known["request"] = held(stock, f"f{count}.bin")
                    count = len(lines(stock))
                    continue
            words = template.format(**known).split(" ")
            code = main.run([*words, "--home", str(home)])
            said = capsys.readouterr()
            assert code == 0 or words[:2] == ["feed", "refresh"], (template, said.err)
            told = lines(stock)
            new, count = told[count:] if told[0]["seq"] == 1 else told, len(told)
            if kind is None:
                continue
            assert kind in [line["kind"] for line in new], (template, [line["kind"] for line in new])
            made = next(line for line in new if line["kind"] == kind)
            assert made["actor"]["kind"] == "local"
            assert made["actor"]["name"], "who it was"
            known["subject"] = made.get("subject", "")
            assert "secret-path" not in json.dumps(new)
