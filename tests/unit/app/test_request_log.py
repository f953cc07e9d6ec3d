"""Log lines: to standard error as it is when they are written, and never in the way of what writes them."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from moongate.app.exchange import Record
from moongate.app.request_log import RequestLog, configure_logging
from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.names import RepoId


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    kept, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**kept)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_a_logger_follows_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("info", "json")
    log = structlog.get_logger("test")
    for _ in range(2):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        log.info("heard")
        assert '"heard"' in cast(io.StringIO, sys.stderr).getvalue()


@pytest.mark.parametrize("where", ["closed", "full disk"])
def test_a_line_that_cannot_be_written_stops_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("info", "text")
    with Path("/dev/full").open("w", buffering=1) as full:
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed if where == "closed" else full)
        log = structlog.get_logger("test")
        log.error("nobody hears this")
        log.warning("nor this")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


async def test_lines_of_requests_come_again_when_the_disk_has_room(tmp_path: Path) -> None:
    place = os.open("/dev/full", os.O_WRONLY)
    log = RequestLog("json", descriptor=place)
    log._render = cast(Any, lambda *_: b"a line\n")
    exchange = cast(Any, SimpleNamespace())
    log.write(exchange, 0.0)
    log.flush()
    room = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(room, place)
    log.write(exchange, 0.0)
    log.close()
    os.close(room)
    os.close(place)
    assert (tmp_path / "log").read_bytes() == b"a line\n"


async def test_each_line_tells_of_its_own_request(tmp_path: Path) -> None:
    """Although what it has in common with the line before is not made again."""
    repo, ada = RepoId("model", "acme/tiny"), Caller("token", "ada")
    changes: list[dict[str, Any]] = [
        {},
        {"sent_bytes": 7},
        {"path": '/b"\\ü'},
        {"caller": ada},
        {"repo": None},
        {"peer": "10.0.0.2"},
        {"status": 404},
        {"status": 404, "error": "EntryAbsent: no such file"},
        {"trace": "a" * 200},
        {"path": "/\udcff", "error": "Odd: \udcfe", "trace": "\udcff"},
        {"method": "HEAD"},
        {"outcome": "miss"},
        {"route": "Tree"},
        {},
    ]
    place = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    log = RequestLog("json", descriptor=place)
    path, expected = "/acme/tiny/resolve/main/a", []
    for number, change in enumerate(changes):
        record = Record(
            "GET", path, "secret=1", f"id{number}", "10.0.0.1", None, 0.0, "Resolve", repo, ANONYMOUS
        )
        record.outcome, record.status = "hit", 206
        for name, value in change.items():
            setattr(record, name, value)
        log.write(record, 0.25, 1_000_000_000.5)
        told = {
            "time": "2001-09-09T01:46:40.500Z",
            "event": "request",
            "id": f"id{number}",
            "who": record.caller.user,
            "peer": record.peer,
            "method": record.method,
            "route": record.route,
            "repo": str(record.repo) if record.repo else None,
            "path": record.path.replace("\udcff", "\\udcff"),
            "outcome": record.outcome,
            "status": record.status,
            "bytes": record.sent_bytes,
            "seconds": 0.25,
        }
        told |= {"error": record.error.replace("\udcfe", "\\udcfe")} if record.error else {}
        told |= {"trace": record.trace[:128].replace("\udcff", "\\udcff")} if record.trace else {}
        expected.append(told)
    log.close()
    os.close(place)
    assert [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()] == expected
