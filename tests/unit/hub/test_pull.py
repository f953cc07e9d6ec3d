from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.digests import Etag
from moongate.core.errors import GatedRepo, MoongateError, RevisionAbsent
from moongate.core.names import RepoId, Revision, parse_repo
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.double import Cut, FlipByte, LfsFile, Match
from moongate.hub.fill import FileBody, FillRules, Fills
from moongate.hub.pull import Puller, PullPlan
from moongate.store.blobs import Blobs
from moongate.store.layout import Layout
from moongate.upstream.guard import AddressGuard
from moongate.upstream.ranged import FileSource, Road
from support.filling import Notes, no_limit
from support.yard import ALICE, BOB, MAIN, Gate, Yard

WEIGHTS = LfsFile(b"weights!" * 400_000)
REPO = parse_repo("acme/tiny")


@dataclass
class Seen:
    """A watcher that remembers."""

    plans: list[PullPlan] = field(default_factory=list)
    bytes_by_path: dict[str, int] = field(default_factory=dict)
    done: dict[str, bool] = field(default_factory=dict)
    failures: dict[str, MoongateError] = field(default_factory=dict)

    def planned(self, plan: PullPlan) -> None:
        self.plans.append(plan)

    def started(self, entry: FileEntry) -> None:
        self.bytes_by_path[entry.path] = 0

    def advanced(self, entry: FileEntry, size_bytes: int) -> None:
        self.bytes_by_path[entry.path] += size_bytes

    def finished(self, entry: FileEntry, fetched: bool) -> None:
        self.done[entry.path] = fetched

    def failed(self, entry: FileEntry, error: MoongateError) -> None:
        self.failures[entry.path] = error


@dataclass
class Pulling:
    puller: Puller
    blobs: Blobs


@pytest.fixture
async def pulling(yard: Yard, gate: Gate, tmp_path: Path) -> AsyncIterator[Pulling]:
    layout = Layout(tmp_path / "home")
    layout.prepare()
    blobs = Blobs(layout)
    fills = Fills(layout, blobs, FillRules(), Notes(), no_limit)
    guard = AddressGuard(yard.double.url, [yard.double.cdn_netloc], {})

    async def open_file(file: FileAt, caller: Caller, span: ByteSpan) -> FileBody:
        def source() -> FileSource:
            path = f"{file.repo.file_path}/resolve/{file.commit_hash}/{quote(file.entry.path)}"
            road = Road(path, gate.proxied.access.fetching_credential(caller, file.repo, files=True))
            return FileSource(
                guard, yard.double.url, road, file.entry.size_bytes, timeout_seconds=30, user_agent="test"
            )

        return await fills.open(file.entry.etag, file.entry.size_bytes, source, span)

    yield Pulling(Puller(gate.proxied, gate.index, open_file, fills.finished), blobs)
    await fills.stop()


@pytest.fixture
def files(yard: Yard) -> None:
    yard.double.add_repo("acme/tiny").commit(
        {
            "model.safetensors": WEIGHTS,
            "copy.safetensors": WEIGHTS,
            "config.json": b"{}",
            "onnx/model.onnx": LfsFile(b"onnx" * 1000),
            "empty.txt": b"",
        }
    )


async def test_a_pull_fetches_every_content_once_and_a_second_one_nothing(
    yard: Yard, pulling: Pulling, files: None
) -> None:
    seen = Seen()
    plan = await pulling.puller.plan(REPO, MAIN, ANONYMOUS)
    report = await pulling.puller.pull(plan, ANONYMOUS, seen)
    assert report.failed == ()
    assert {entry.path for entry in plan.files} >= {"model.safetensors", "config.json", "onnx/model.onnx"}
    assert all(pulling.blobs.size_bytes(entry.etag) == entry.size_bytes for entry in plan.files)
    assert yard.double.meters.bytes_sent(etag=WEIGHTS.sha256) == 3_200_000
    assert sum(seen.bytes_by_path.values()) == plan.size_bytes
    yard.double.meters.reset()
    again = await pulling.puller.pull(await pulling.puller.plan(REPO, MAIN, ANONYMOUS), ANONYMOUS, Seen())
    assert (again.fetched_bytes, again.failed) == (0, ())
    assert yard.asked() == []


@pytest.mark.parametrize(
    ("include", "exclude", "paths"),
    [
        (("*.json",), (), {"config.json"}),
        (("onnx/",), (), {"onnx/model.onnx"}),
        ((), ("*.safetensors", "onnx/*", ".git*"), {"config.json", "empty.txt"}),
        (("nothing*",), (), set()),
    ],
)
async def test_patterns_choose(
    pulling: Pulling, files: None, include: tuple[str, ...], exclude: tuple[str, ...], paths: set[str]
) -> None:
    plan = await pulling.puller.plan(REPO, MAIN, ANONYMOUS, include, exclude)
    assert {entry.path for entry in plan.files} == paths
    assert (await pulling.puller.pull(plan, ANONYMOUS, Seen())).failed == ()


async def test_a_broken_connection_is_no_failure(yard: Yard, pulling: Pulling, files: None) -> None:
    plan = await pulling.puller.plan(REPO, MAIN, ANONYMOUS)
    with yard.double.failing(Cut(1_000_000, match=Match(origin="cdn"), times=2)):
        assert (await pulling.puller.pull(plan, ANONYMOUS, Seen())).failed == ()


async def test_one_bad_file_stops_no_other(
    yard: Yard, pulling: Pulling, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moongate.hub.pull._PAUSE_SECONDS", 0.0)
    plan = await pulling.puller.plan(REPO, MAIN, ANONYMOUS, exclude=("copy*",))
    seen = Seen()
    with yard.double.failing(FlipByte(7, match=Match(origin="cdn", path=f"*{WEIGHTS.sha256}*"))):
        report = await pulling.puller.pull(plan, ANONYMOUS, seen)
    assert [entry.path for entry, _ in report.failed] == ["model.safetensors"] == list(seen.failures)
    assert pulling.blobs.size_bytes(Etag(WEIGHTS.sha256)) is None
    assert set(seen.done) == {entry.path for entry in plan.files} - {"model.safetensors"}


async def test_a_closed_gate_stops_the_pull(yard: Yard, pulling: Pulling) -> None:
    yard.double.add_repo("acme/gated", gated=True).commit({"a": b"a"})
    gated = parse_repo("acme/gated")
    plan = await pulling.puller.plan(gated, MAIN, BOB)
    with pytest.raises(GatedRepo):
        await pulling.puller.pull(plan, BOB, Seen())
    assert (await pulling.puller.pull(plan, ALICE, Seen())).failed == ()


async def test_an_unknown_revision_is_said_so(pulling: Pulling, files: None) -> None:
    with pytest.raises(RevisionAbsent):
        await pulling.puller.plan(REPO, Revision("nope"), ANONYMOUS)


async def test_what_was_pulled_answers_clients_without_upstream(
    yard: Yard, pulling: Pulling, files: None, tiny_routes: tuple[str, ...]
) -> None:
    await pulling.puller.plan(REPO, MAIN, ANONYMOUS)
    offline = yard.gate(offline=True)
    for path in tiny_routes:
        assert (await offline.get(path)).status == 200, path


@pytest.fixture
def tiny_routes() -> tuple[str, ...]:
    base: RepoId = REPO
    return (
        base.api_path,
        f"{base.api_path}/refs",
        f"{base.api_path}/tree/main",
        f"{base.api_path}/tree/main/onnx",
    )
