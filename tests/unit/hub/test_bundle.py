"""Across an air gap: what one gateway exports, another serves without an upstream."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from moongate.core.callers import ANONYMOUS
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, RepoAbsent, RevisionAbsent, VerificationFailed
from moongate.core.names import RepoId, RepoPath, Revision, parse_repo
from moongate.double import HubDouble, LfsFile
from moongate.hub.bundle import ExportReport, ImportReport, export_bundle, import_bundle
from moongate.hub.bundle_file import END, MANIFEST, BadBundle, BundleWriter
from moongate.store.blobs import Blobs
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from support.yard import MAIN, Gate, Yard

WEIGHTS = LfsFile(bytes(range(256)) * 8000)
REPO = parse_repo("acme/tiny")
NOW = 2e9


@dataclass
class Seen:
    planned_bytes: int = 0
    advanced_bytes: int = 0
    carried: list[Etag] = field(default_factory=list)

    def planned(self, files: int, size_bytes: int) -> None:
        self.planned_bytes = size_bytes

    def advanced(self, size_bytes: int) -> None:
        self.advanced_bytes += size_bytes

    def finished(self, etag: Etag, carried: bool) -> None:
        if carried:
            self.carried.append(etag)


@dataclass
class Side:
    """One side of the gap."""

    folder: Path
    index: Index
    blobs: Blobs
    segments: Segments

    def take(self, bundle: Path | io.BytesIO) -> ImportReport:
        with bundle.open("rb") if isinstance(bundle, Path) else bundle as file:
            return import_bundle(file, self.index, self.blobs, self.segments, Seen(), NOW)

    def give(self, out: Path, repo: RepoId, revision: Revision = MAIN) -> ExportReport:
        return export_bundle(out, [(repo, revision)], self.index, self.blobs, self.segments, Seen())


SideMaker = Callable[[str], Side]


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SideMaker]:
    made: list[Side] = []

    def make(name: str) -> Side:
        layout = Layout(tmp_path / name)
        layout.prepare()
        index = Index(tmp_path / name / "index.sqlite3")
        made.append(Side(tmp_path / name, index, Blobs(layout), Segments(layout)))
        return made[-1]

    yield make
    for one in made:
        one.index.close()


@dataclass
class Connected:
    """A gateway with an upstream and some repositories pulled."""

    gate: Gate
    side: Side

    async def pull(self, files: dict[str, bytes | LfsFile]) -> None:
        self.gate.clock.advance(61)
        await self.gate.get("/api/models/acme/tiny")
        await self.gate.get("/api/models/acme/tiny/refs")
        await self.gate.get("/api/models/acme/tiny/tree/main?recursive=true")
        for path, content in files.items():
            data = content if isinstance(content, bytes) else WEIGHTS.content.data  # type: ignore[attr-defined]
            file, _ = await self.gate.proxied.file_at(REPO, MAIN, RepoPath(path), ANONYMOUS)
            self.side.blobs.add(file.entry.etag, file.entry.size_bytes, iter((data,)))

    def export(self, name: str, since: Path | None = None, seen: Seen | None = None) -> Path:
        out = self.side.folder / name
        here = self.side
        wanted = [(REPO, MAIN)]
        export_bundle(out, wanted, here.index, here.blobs, here.segments, seen or Seen(), since=since)
        return out


FILES: dict[str, bytes | LfsFile] = {"config.json": b"{}", "sub/a.txt": b"a", "model.safetensors": WEIGHTS}


@pytest.fixture
async def connected(yard: Yard, hub: HubDouble, side: SideMaker) -> Connected:
    hub.add_repo("acme/tiny").commit(dict(FILES))
    yard.folder = yard.folder / "home"
    there = side("home")
    made = Connected(yard.gate(), there)
    await made.pull(FILES)
    return made


def members(bundle: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(bundle) as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def rewritten(found: list[tuple[str, bytes]]) -> io.BytesIO:
    file = io.BytesIO()
    writer = BundleWriter(file)
    for name, body in found:
        writer.add_json(name, body)
    writer.end()
    file.seek(0)
    return file


async def test_the_other_side_serves_it_without_upstream(
    yard: Yard, connected: Connected, side: SideMaker
) -> None:
    bundle = connected.export("bundle.tar")
    other = side("other")
    report = other.take(bundle)
    assert (report.repos, report.missing) == ((REPO,), ())
    assert report.added == 3
    yard.folder = other.folder
    yard.double.meters.reset()
    isolated = yard.gate(offline=True)
    paths = ("", "/revision/main", "/refs", "/tree/main", "/tree/main?recursive=true", "/tree/main/sub")
    for path in paths:
        mine = await isolated.get(f"/api/models/acme/tiny{path}")
        assert mine.body == (await connected.gate.get(f"/api/models/acme/tiny{path}")).body
    file, resolved = await isolated.proxied.file_at(REPO, MAIN, RepoPath("model.safetensors"), ANONYMOUS)
    assert (file.entry.etag, resolved.outcome) == (WEIGHTS.sha256, "hit")
    assert other.blobs.size_bytes(file.entry.etag) == file.entry.size_bytes
    assert other.index.blob(file.entry.etag) is not None


def tar_lists(bundle: Path) -> list[str]:
    told = subprocess.run(["tar", "tf", bundle], check=True, capture_output=True, text=True)
    return told.stdout.splitlines()


async def test_an_ordinary_tar_lists_it(connected: Connected) -> None:
    listed = tar_lists(connected.export("b.tar"))
    assert listed[0] == MANIFEST
    assert listed[-1] == END
    assert f"blobs/{WEIGHTS.sha256}" in listed


async def test_an_export_that_was_broken_off_goes_on(
    connected: Connected, side: SideMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = connected.export("whole.tar").read_bytes()
    out = connected.side.folder / "again.tar"
    part = out.with_name("again.tar.part")
    for cut in (0, 100, 513, len(whole) // 3, len(whole) - 1500, len(whole)):
        part.write_bytes(whole[:cut])
        seen = Seen()
        connected.export("again.tar", seen=seen)
        assert out.read_bytes() == whole
        assert seen.advanced_bytes == seen.planned_bytes
        assert not part.exists()
    part.write_bytes(whole[: len(whole) - 1500])
    seen = Seen()
    connected.export("again.tar", seen=seen)
    assert len(seen.carried) < 3
    part.write_bytes(b"something else" * 1000)
    assert connected.export("again.tar").read_bytes() == whole


async def test_an_import_that_was_broken_off_goes_on(connected: Connected, side: SideMaker) -> None:
    whole = connected.export("whole.tar").read_bytes()
    other = side("other")
    for cut in (100, 5000, len(whole) // 2, len(whole) - 3000, len(whole) - 1500):
        with pytest.raises(BadBundle):
            other.take(io.BytesIO(whole[:cut]))
        assert other.index.get_ref(REPO, MAIN) is None  # nothing is half known
        assert other.index.get_facts(REPO) is None
    kept = sum(1 for _ in other.blobs.iterate())
    assert kept == 3
    report = other.take(io.BytesIO(whole))
    assert (report.added, report.present) == (0, 3)
    assert other.take(io.BytesIO(whole)).added == 0


async def test_a_stream_that_cannot_seek_is_read_as_well(connected: Connected, side: SideMaker) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, offset: int, whence: int = 0) -> int:
            raise io.UnsupportedOperation

    other = side("other")
    whole = connected.export("whole.tar").read_bytes()
    assert other.take(Pipe(whole)).added == 3
    assert other.take(Pipe(whole)).added == 0


async def test_a_later_bundle_carries_what_is_new(yard: Yard, connected: Connected, side: SideMaker) -> None:
    first = connected.export("first.tar")
    yard.double.repo("acme/tiny").commit({"new.txt": b"new"})
    await connected.pull({"new.txt": b"new"})
    second = connected.export("second.tar", since=first)
    assert second.stat().st_size < first.stat().st_size // 10
    yard.double.repo("acme/tiny").commit({"newer.txt": b"newer"})
    await connected.pull({"newer.txt": b"newer"})
    third = connected.export("third.tar", since=second)  # what `second` assumes, its owner has
    other = side("other")
    assert [other.take(bundle).added for bundle in (first, second, third)] == [3, 1, 1]
    row = other.index.get_ref(REPO, MAIN)
    head = yard.double.repo("acme/tiny").head
    assert row is not None
    assert head is not None
    assert row.commit_hash == head.hash
    other.take(first)  # an older word does not undo a later one
    assert other.index.get_ref(REPO, MAIN) == row
    alone = side("alone")
    assert Etag(WEIGHTS.sha256) in alone.take(third).missing


async def test_what_is_not_here_is_said_so(connected: Connected) -> None:
    connected.side.blobs.remove(Etag(WEIGHTS.sha256))
    out = connected.side.folder / "b.tar"
    report = connected.side.give(out, REPO)
    assert (REPO, "model.safetensors") in [(repo, entry.path) for repo, entry in report.missing]
    for repo, revision, error in (
        (parse_repo("acme/none"), MAIN, RepoAbsent),
        (REPO, Revision("nope"), RevisionAbsent),
    ):
        with pytest.raises(error, match="pull"):
            connected.side.give(out, repo, revision)


async def test_damage_in_the_store_is_never_exported(connected: Connected) -> None:
    path = next(connected.side.folder.rglob(WEIGHTS.sha256))
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationFailed):
        connected.export("b.tar")
    assert not (connected.side.folder / "b.tar").exists()


async def test_content_that_is_not_its_name_is_refused_and_the_rest_stays(
    connected: Connected, side: SideMaker
) -> None:
    found = members(connected.export("b.tar"))
    bad = [
        (name, bytes([body[0] ^ 1]) + body[1:] if name == f"blobs/{WEIGHTS.sha256}" else body)
        for name, body in found
    ]
    other = side("other")
    with pytest.raises(VerificationFailed):
        other.take(rewritten(bad))
    assert other.blobs.size_bytes(Etag(WEIGHTS.sha256)) is None
    assert other.index.get_facts(REPO) is None


HOSTILE_NAMES = (
    "../../etc/passwd",
    "/etc/passwd",
    "blobs/../../x",
    "blobs/" + "0" * 63,
    "blobs/" + "A" * 64,
    "records/x.json",
    "notes.txt",
    "./moongate-bundle.json",
)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_names_that_do_not_belong_are_refused(
    connected: Connected, side: SideMaker, tmp_path: Path, name: str
) -> None:
    found = members(connected.export("b.tar"))
    for at in (0, 1, len(found) - 1):
        with pytest.raises(BadBundle):
            side(f"other{at}").take(rewritten([*found[:at], (name, b"x"), *found[at:]]))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, b"x", b"L"]
)
async def test_only_plain_files_are_taken(side: SideMaker, kind: bytes) -> None:
    header = tarfile.TarInfo(MANIFEST)
    header.type, header.linkname = kind, "/etc/passwd"
    with pytest.raises(BadBundle):
        side("other").take(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


@pytest.mark.parametrize("junk", [b"", b"PK\x03\x04" * 400, bytes(2048), b"\xff" * 2048])
def test_what_is_no_bundle_is_called_so(side: SideMaker, junk: bytes) -> None:
    with pytest.raises(BadRequest):
        side("other").take(io.BytesIO(junk))


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(version=99),
        lambda said: said.update(format="zip"),
        lambda said: said.update(blobs=[["../x", 1]]),
        lambda said: said["blobs"][0].__setitem__(1, 1 << 62),
        lambda said: said["blobs"][0].__setitem__(1, 7),
        lambda said: said["blobs"].append(["0" * 64, 1]),
        lambda said: said["repos"][0].update(id="../../etc"),
        lambda said: said["repos"][0].update(private="no"),
        lambda said: said["repos"][0]["refs"].append(["main", "nope", 1.0]),
        lambda said: said.update(records=7),
        lambda said: said.pop("assumed"),
    ],
)
async def test_a_table_of_contents_that_makes_no_sense_is_refused(
    connected: Connected, side: SideMaker, change: Change
) -> None:
    found = members(connected.export("b.tar"))
    said = orjson.loads(found[0][1])
    change(said)
    other = side("other")
    with pytest.raises(BadBundle):
        other.take(rewritten([(MANIFEST, orjson.dumps(said)), *found[1:]]))
    assert other.index.repos() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(id="other/repo"),
        lambda said: said.update(commit_hash="main"),
        lambda said: said["files"].append(["../../x", "0" * 40, 1]),
        lambda said: said["files"].append(["x", "0" * 40, -1]),
        lambda said: said["answers"][0].__setitem__(0, "info:models/other/repo@" + "0" * 40),
        lambda said: said["answers"][0].__setitem__(0, "api:/api/whoami-v2"),
        lambda said: said["answers"][0].__setitem__(1, 302),
        lambda said: said["answers"][0].__setitem__(2, {"content-type": "x\r\nSet-Cookie: a=b"}),
        lambda said: said["answers"][0].__setitem__(3, "bm90IGpzb24="),
        lambda said: said.pop("answers"),
    ],
)
async def test_a_listing_that_makes_no_sense_is_refused(
    connected: Connected, side: SideMaker, change: Change
) -> None:
    found = members(connected.export("b.tar"))
    at = next(number for number, (name, _) in enumerate(found) if name.startswith("records/"))
    said = orjson.loads(found[at][1])
    change(said)
    body = orjson.dumps(said)
    named = f"records/{hashlib.sha256(body).hexdigest()}.json"
    other = side("other")
    with pytest.raises(BadBundle):
        other.take(rewritten([*found[:at], (named, body), *found[at + 1 :]]))
    with pytest.raises(BadBundle):
        other.take(rewritten([*found[:at], (found[at][0], body), *found[at + 1 :]]))
    assert other.index.repos() == []


async def test_a_repository_pulled_by_an_old_name_is_found_by_it(yard: Yard, side: SideMaker) -> None:
    yard.double.add_repo("openai/gpt2", legacy_id="gpt2").commit({"a": b"a"})
    here, there = side("here"), side("there")
    yard.folder = here.folder
    bare = parse_repo("gpt2")
    await yard.gate().proxied.commit_of(bare, MAIN, ANONYMOUS)
    out = here.folder / "b.tar"
    here.give(out, bare)
    there.take(out)
    yard.folder = there.folder
    isolated = yard.gate(offline=True)
    assert (await isolated.proxied.commit_of(bare, MAIN, ANONYMOUS)).repo == parse_repo("openai/gpt2")
