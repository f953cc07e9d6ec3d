"""The queue of what waits: page by page, searched, and however much was decided since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from moongate.app.pages.approvals import ApprovalPages
from moongate.app.pages.visits import Shown, Visit
from moongate.core.approvals import MOST_REQUESTS
from moongate.core.callers import ANONYMOUS
from moongate.hub.audit import Actor, NoAudit
from moongate.policy.desk import Desk
from moongate.policy.loading import load
from moongate.policy.short_facts import facts_from
from moongate.store.index import Index
from moongate.web.approval_views import ApprovalsView

NOW = 1_800_000_000.0


class Queue:
    """A desk, and its page as an administrator sees it."""

    def __init__(self, index: Index) -> None:
        self._now = NOW
        self.desk = Desk(index, NoAudit(), lambda: self._now)
        self._rules = load("balanced").rules

    def hold(self, repo: str, path: str) -> str:
        self._now += 1
        told = {
            "repo": repo,
            "actor": "eve",
            "commit_hash": "c" * 40,
            "path": path,
            "digest": hashlib.sha256(f"{repo}/{path}".encode()).hexdigest(),
            "verdict": "suspicious",
        }
        facts = facts_from(told, self._now)
        return self.desk.held(facts, self._rules.decide(facts))

    async def page(self, **query: str) -> ApprovalsView:
        pages = ApprovalPages(self.desk, lambda visit: [], lambda etag: None)
        shown = await pages.queue(Visit(cast(Any, None), ANONYMOUS, is_admin=True, query=query))
        assert isinstance(shown, Shown)
        view = shown.values["view"]
        assert isinstance(view, ApprovalsView)
        return view


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Index(f"sqlite:///{tmp_path}/index.sqlite3") as index:
        yield Queue(index)


async def test_a_long_queue_has_pages(queue: Queue) -> None:
    for number in range(120):
        queue.hold("acme/many", f"{number:03}.bin")
    first = await queue.page()
    assert (first.total, len(first.waiting), first.newer) == ("120", 50, None)
    assert first.older == "/-/approvals?from=50"
    last = await queue.page(**{"from": "100"})
    assert [line.name for line in last.waiting] == [f"acme/many/{n:03}.bin" for n in range(19, -1, -1)]
    assert (last.newer, last.older) == ("/-/approvals?from=50", None)


async def test_a_queue_is_searched_by_name_and_stays_so_on_its_next_page(queue: Queue) -> None:
    for number in range(60):
        queue.hold("acme/Wanted", f"{number}.bin")
        queue.hold("acme/other", f"{number}.bin")
    found = await queue.page(search="wanted")
    assert found.total == "60"
    assert {line.name.partition("/")[2].partition("/")[0] for line in found.waiting} == {"Wanted"}
    assert found.older == "/-/approvals?search=wanted&from=50"


async def test_what_waits_is_shown_however_much_was_decided_since(queue: Queue) -> None:
    waiting = queue.hold("acme/first", "a.bin")
    for number in range(MOST_REQUESTS):
        queue.desk.refuse(queue.hold("acme/later", f"{number}.bin"), "no", Actor("person", "ada"))
    assert queue.desk.request(waiting).state == "open"
    assert [line.name for line in (await queue.page()).waiting] == ["acme/first/a.bin"]
