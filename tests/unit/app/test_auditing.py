"""What the front door tells the audit log: deliveries, refusals before the answer, and happenings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from moongate.app.auditing import Auditing
from moongate.app.deliveries import recover
from moongate.app.door import Door, DoorRules
from moongate.app.exchange import Exchange, Happening, Record
from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import AuthRequired, BadToken, EntryAbsent, ScopeMissing, StoreError
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.hub.audit import AuditEvent

REPO = RepoId("model", "acme/tiny")
ADA = Caller("token", "ada", token_id="3f9a1c")
BOB = Caller("token", "bob", token_id="77aa00")


def file(path: str = "weights.bin", xet: str | None = None) -> FileAt:
    return FileAt(REPO, CommitHash("c" * 40), FileEntry(RepoPath(path), Etag("a" * 64), 1000, xet))


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.noted: list[AuditEvent] = []
        self.written: list[AuditEvent] = []
        self.full = False
        self.behind = False

    def settled(self) -> Callable[[], bool]:
        return lambda: not self.behind

    def note(self, event: AuditEvent) -> None:
        self.noted.append(event)

    def record(self, event: AuditEvent) -> None:
        self.written.append(event)

    async def recorded(self, event: AuditEvent) -> None:
        if self.full:
            raise StoreError("full")
        self.written.append(event)

    def of(self, kind: str) -> list[AuditEvent]:
        return [event for event in [*self.noted, *self.written] if event.kind == kind]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=1000.0)


@pytest.fixture
async def auditing(log: Log, clock: SimpleNamespace) -> Auditing:
    return Auditing(log, now=lambda: clock.now)


def read(
    caller: Caller = ADA, size_bytes: int = 100, status: int = 206, request: int = 1, **more: object
) -> Record:
    return Record(
        "GET", "/x", "", f"id{request}", "10.0.0.9", caller=caller, repo=REPO, status=status,
        sent_bytes=size_bytes, **{"agent": "hf/2", "file": file(), "route": "Resolve", **more},  # type: ignore[arg-type]
    )  # fmt: skip


def exchange(caller: Caller = ADA) -> Exchange:
    made = SimpleNamespace(
        method="GET", caller=caller, repo=REPO, route="Resolve", peer="10.0.0.9", forwarded=None,
        agent="hf/2", request_id="id2", happened=[],
    )  # fmt: skip
    return cast(Exchange, made)


async def test_many_ranges_are_one_line(auditing: Auditing, log: Log) -> None:
    for _ in range(10):
        auditing.finished(read())
    auditing.finished(read(BOB, error="client left"))
    auditing.settle()
    ada, bob = log.of("file.deliver")
    assert (ada.actor.name, ada.actor.token_id, ada.actor.address, ada.actor.agent) == (
        "ada", "3f9a1c", "10.0.0.9", "hf/2"
    )  # fmt: skip
    assert (ada.repo, ada.commit_hash, ada.path, ada.digest) == (REPO, "c" * 40, "weights.bin", "a" * 64)
    assert ada.details == {"bytes": 1000, "way": "plain", "ranges": 10}
    assert bob.details == {"bytes": 100, "way": "plain", "broken_off": 1, "of": 1000}


async def test_a_line_is_written_once_a_client_asks_for_no_more(
    auditing: Auditing, log: Log, clock: SimpleNamespace
) -> None:
    auditing.finished(read())
    clock.now += 0.9
    auditing._look()
    assert log.of("file.deliver") == []
    clock.now += 0.2
    auditing._look()
    assert len(log.of("file.deliver")) == 1
    auditing.finished(read())
    for _ in range(12):
        clock.now += 0.95
        auditing.finished(read())
        auditing._look()
    assert len(log.of("file.deliver")) >= 2, "who never stops is written down meanwhile"
    auditing.settle()


async def test_a_reconstruction_counts_as_delivery(auditing: Auditing, log: Log) -> None:
    auditing.finished(read(file=None, reconstructed=((file(xet="e" * 64), 1000),), size_bytes=77))
    auditing.settle()
    (event,) = log.of("file.deliver")
    assert event.details == {"bytes": 1000, "way": "xet", "xet": "e" * 64}


@pytest.mark.parametrize("status", [304, 416, 403, 0])
async def test_what_is_no_delivery_is_no_line(auditing: Auditing, log: Log, status: int) -> None:
    auditing.finished(read(status=status))
    auditing.finished(read(size_bytes=0))
    auditing.settle()
    assert log.of("file.deliver") == []


async def test_a_token_is_used_from_somewhere_new(
    auditing: Auditing, log: Log, clock: SimpleNamespace
) -> None:
    for _ in range(3):
        auditing.finished(read())
    auditing.finished(read(BOB))
    assert [event.subject for event in log.of("token.use")] == ["3f9a1c", "77aa00"]
    clock.now += 3601
    auditing.finished(read())
    assert len(log.of("token.use")) == 3
    auditing.settle()


async def test_a_refusal_is_written_before_the_answer_and_counted_after(auditing: Auditing, log: Log) -> None:
    for _ in range(4):
        await auditing.refused(exchange(), ScopeMissing("not for this"))
    await auditing.refused(exchange(BOB), BadToken("unknown"))
    assert [(event.kind, event.actor.name, event.reason) for event in log.written] == [
        ("repo.deny", "ada", "ScopeMissing: not for this"),
        ("token.refuse", "bob", "BadToken: unknown"),
    ]
    auditing.settle()
    assert [event.details.get("repeated") for event in log.noted] == [3]


async def test_absence_and_asking_who_are_no_refusals(auditing: Auditing, log: Log) -> None:
    nobody = exchange(Caller("anonymous"))
    nobody.repo = None
    await auditing.refused(exchange(), EntryAbsent("not there"))
    await auditing.refused(nobody, AuthRequired("who are you?"))
    assert log.written == []


async def test_what_a_handler_did_is_written_with_who_asked(auditing: Auditing, log: Log) -> None:
    asked = exchange()
    asked.happened.append(Happening("repo.delete", REPO, subject="x"))
    await auditing.told(asked)
    (event,) = log.written
    assert (event.kind, event.repo, event.actor.name, event.request_id) == ("repo.delete", REPO, "ada", "id2")
    assert asked.happened == []


async def test_what_cannot_be_written_is_not_answered_as_done(auditing: Auditing, log: Log) -> None:
    log.full = True
    asked = exchange()
    asked.happened.append(Happening("repo.delete", REPO))
    with pytest.raises(StoreError):
        await auditing.told(asked)


class _NoTokens:
    def token_by_sha256(self, sha256: str) -> None:
        return None


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "1.1.1.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("203.0.113.5", "192.0.2.7", "203.0.113.5"),
    ],
)
def test_an_address_is_believed_of_trusted_proxies_alone(
    peer: str, forwarded: str | None, address: str
) -> None:
    door = Door(_NoTokens(), DoorRules(trusted_proxies=["10.0.0.0/8"]))
    assert door.address_of(peer, forwarded) == address


class Pages:
    """A journal on paper."""

    def __init__(self) -> None:
        self.pages: list[list[bytes]] = [[]]
        self.forgotten = 0

    def append(self, line: bytes) -> None:
        self.pages[-1].append(line)

    def end(self) -> None:
        self.forgotten = len(self.pages)

    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]:
        self.pages.append(list(lines))

        def forget() -> None:
            self.forgotten += 1

        return forget

    def left(self) -> list[tuple[list[bytes], Callable[[], None]]]:
        return [(page, lambda: None) for page in self.pages[self.forgotten :]]


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
async def journalled(log: Log, clock: SimpleNamespace, pages: Pages) -> Auditing:
    return Auditing(log, now=lambda: clock.now, journal=pages)


def recovered(pages: Pages, log: Log) -> list[AuditEvent]:
    """What would be written down if the process died now."""
    told = Log()
    recover(pages.left(), told, lambda _: {(one.request_id, one.path) for one in log.of("file.deliver")})
    return told.of("file.deliver")


async def test_what_began_is_known_before_it_ended(journalled: Auditing, log: Log, pages: Pages) -> None:
    journalled.begins(read(), file())
    (event,) = recovered(pages, log)
    assert (event.actor.name, event.actor.address, event.actor.agent) == ("ada", "10.0.0.9", "hf/2")
    assert (event.repo, event.path, event.digest, event.request_id) == (REPO, "weights.bin", "a" * 64, "id1")
    assert event.details == {"way": "plain", "recovered": True}
    journalled.finished(read())
    assert len(recovered(pages, log)) == 1, "and until its line is there"
    journalled.settle()
    assert recovered(pages, log) == []
    assert len(log.of("file.deliver")) == 1


async def test_of_files_that_one_request_is_about_none_is_hidden_by_another(
    journalled: Auditing, log: Log, pages: Pages
) -> None:
    two = (file(xet="e" * 64), file("other.bin", xet="f" * 64))
    journalled.begins(read(), *two, way="xet")
    log.note(replace(recovered(pages, log)[0], details={}))
    assert [event.path for event in recovered(pages, log)] == ["other.bin"]
    journalled.finished(read(file=None, reconstructed=tuple((one, 1000) for one in two)))
    log.noted.clear()
    journalled.settle()
    assert recovered(pages, log) == []


async def test_odd_words_of_a_client_stop_no_delivery_and_no_secret_is_in_a_journal(
    journalled: Auditing, log: Log, pages: Pages
) -> None:
    secret = "hf_" + "S3cret" * 8
    journalled.begins(read(agent=f"curl/\udcff Bearer {secret}"), file())
    (event,) = recovered(pages, log)
    assert event.actor.agent.startswith("curl/\\udcff")
    assert b"S3cret" not in b"".join(pages.pages[0])
    journalled.finished(read())
    journalled.settle()


def test_lines_that_nobody_here_wrote_are_passed_over(log: Log) -> None:
    lines = [b"", b"{", b"[]", b"1", b"{}", b'{"at":1,"actor":[],"repo":"a","request":"x"}', b"\xff"]
    assert recover([(lines, lambda: None)], log, lambda _: set()) == 0
    assert log.written == []


async def test_a_journal_is_dropped_after_the_log_was_closed_unless_somebody_is_still_sent_bytes(
    journalled: Auditing, log: Log, pages: Pages
) -> None:
    journalled.begins(read(), file())
    journalled.settle()
    journalled.forget()
    assert pages.forgotten == 0
    journalled.finished(read())
    journalled.settle()
    log.behind = True
    journalled.forget()
    assert pages.forgotten == 0, "the log could not be written"
    log.behind = False
    journalled.forget()
    assert pages.forgotten == 1


async def test_whoever_left_in_the_middle_received_bytes_though_nobody_counted_them(
    journalled: Auditing, log: Log
) -> None:
    for error in ("client left", ""):
        journalled.begins(read(), file())
        journalled.finished(read(size_bytes=0, error=error))
        journalled.finished(read(BOB, size_bytes=0, error="client left", request=2))
        journalled.settle()
    (event,) = log.of("file.deliver")
    assert (event.actor.name, event.details) == ("ada", {"way": "plain", "broken_off": 1, "of": 1000})
    for error, status in (("client left", 200), ("", 200), ("ScopeMissing", 403)):
        more = {"file": None, "route": "GitUploadPack", "error": error, "status": status}
        journalled.finished(read(size_bytes=0, **more))
    assert len(log.of("git.fetch")) == 1


async def test_many_ranges_are_one_line_of_the_journal(journalled: Auditing, pages: Pages) -> None:
    for number in range(50):
        journalled.begins(read(request=number), file())
    assert len(pages.pages[0]) == 1


async def test_what_began_begins_again_only_while_the_journal_knows(
    journalled: Auditing, log: Log, pages: Pages, clock: SimpleNamespace
) -> None:
    keys = journalled.begins(read(request=1), file())
    assert journalled.begins_again("id2", keys)
    journalled.finished(read(request=1))
    clock.now += 11
    journalled._look()
    assert [event.request_id for event in recovered(pages, log)] == ["id2"], "it is on its way still"
    journalled.finished(read(request=2))
    clock.now += 11
    journalled._look()
    assert not journalled.begins_again("id3", keys), "all that was known of it is written down"
    clock.now += 11
    journalled._look()
    assert recovered(pages, log) == [], "and nobody waits for the third"
    journalled.settle()
    assert [event.details["bytes"] for event in log.of("file.deliver")] == [100, 100]


async def test_a_long_download_that_was_noted_meanwhile_is_known_still(
    journalled: Auditing, log: Log, pages: Pages, clock: SimpleNamespace
) -> None:
    journalled.begins(read(request=1), file())
    journalled.finished(read(request=1))
    journalled.begins(read(request=2), file())
    clock.now += 11
    journalled._look()
    assert [event.request_id for event in log.of("file.deliver")] == ["id1"]
    assert [event.request_id for event in recovered(pages, log)] == ["id2"]
    for _ in range(5):
        clock.now += 11
        journalled._look()
    assert [event.request_id for event in recovered(pages, log)] == ["id2"], "however often it is renewed"
    journalled.settle()


async def test_a_journal_goes_once_the_log_wrote_what_it_knew(
    journalled: Auditing, log: Log, pages: Pages, clock: SimpleNamespace
) -> None:
    log.behind = True
    journalled.begins(read(), file())
    journalled.finished(read())
    for _ in range(3):
        clock.now += 11
        journalled._look()
    assert (len(pages.pages), pages.forgotten) == (2, 0)
    log.behind = False
    journalled._look()
    assert pages.forgotten == 1
    assert pages.pages[-1] == []
    journalled.settle()
