"""The audit log by itself: lines a second into a durable chain, beside the same lines appended to a file.

Target: at least 50,000 lines a second through batches.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.hub.audit import Actor, AuditEvent
from moongate.hub.audit_log import AuditLog
from moongate.store.index import Index
from moongate.store.signing_key import SigningKey

NAME = "audit"
_LINES = 100_000
_BATCH = 4096
_AT_LEAST = Target("at least", 50_000.0, "value")


def measure(stage: Stage) -> Section:
    """How fast noted events become lines, and how that compares with appending them to a file in batches."""
    section = Section(
        NAME,
        "Lines of the audit log",
        f"{_LINES} deliveries noted by one thread: made, chained, hashed and committed durably to SQLite, "
        f"until the last is written. Beside it, the same lines appended to a file, synced every {_BATCH}.",
    )
    logged, appended = [], []
    for _ in range(max(1, stage.plan.rounds)):
        with tempfile.TemporaryDirectory(dir=stage.plan.work) as folder:
            logged.append(_logged(Path(folder)))
            appended.append(_appended(Path(folder)))
    ours, theirs = Samples(tuple(logged)), Samples(tuple(appended))
    section.rows.append(Row("deliveries", "lines/s", ours, "plain append", theirs, _AT_LEAST))
    return section


def _events() -> list[AuditEvent]:
    repo, commit = RepoId("model", "acme/tiny"), CommitHash("c" * 40)
    return [
        AuditEvent(
            "file.deliver",
            Actor(f"user-{number % 50}", "token", "3f9a1c04", f"10.0.0.{number % 250}", "hf/1.0"),
            repo,
            commit,
            RepoPath(f"model-{number % 100:05}.safetensors"),
            Etag(f"{number:064x}"),
            request_id=f"{number:020x}",
            details={"bytes": 1 << 20, "way": "plain"},
            at=1_800_000_000.0 + number / 1000,
        )
        for number in range(_LINES)
    ]


def _logged(folder: Path) -> float:
    index = Index(folder / "index.sqlite3")
    log = AuditLog(index, lambda: SigningKey.of_home(folder, "audit"))
    events = _events()
    started = time.perf_counter()
    for event in events[:-1]:
        log.note(event)
    log.record(events[-1])
    seconds = time.perf_counter() - started
    log.close()
    lines = index.audit_after(0, _LINES)
    (folder / "lines").write_bytes(b"".join(row.line + b"\n" for row in lines))
    index.close()
    return _LINES / seconds


def _appended(folder: Path) -> float:
    lines = (folder / "lines").read_bytes().splitlines(keepends=True)
    descriptor = os.open(folder / "beside", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        started = time.perf_counter()
        for start in range(0, len(lines), _BATCH):
            os.write(descriptor, b"".join(lines[start : start + _BATCH]))
            os.fdatasync(descriptor)
        return len(lines) / (time.perf_counter() - started)
    finally:
        os.close(descriptor)
