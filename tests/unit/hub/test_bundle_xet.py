"""Xet files across an air gap: chunks travel once, and a file counts when it was proven on arrival."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, StoreFull, VerificationFailed
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileEntry, RepoFacts
from moongate.hub.bundle import ExportReport, ImportReport, export_bundle, import_bundle
from moongate.hub.bundle_file import MANIFEST, BadBundle, BundleReader, BundleWriter
from store_house import House, make_house
from support.xorbs import XetContent, make_xorb, xet_content

MODEL, TUNED_REPO = RepoId("model", "acme/base"), RepoId("model", "acme/tuned")
OTHER_REPO = RepoId("model", "acme/other")
COMMIT, MAIN = CommitHash("1" * 40), Revision("main")
XORBS = [make_xorb(number, chunks=12) for number in (1, 2, 3)]
BASE = xet_content(XORBS, [(0, 0, 12), (1, 0, 4)])
TUNED = xet_content(XORBS, [(0, 0, 7), (1, 4, 6), (0, 8, 12)])
OTHER = xet_content(XORBS, [(2, 0, 5), (0, 2, 3)])
CONFIG = b'{"a": 1}'
NOW = 2e9

Members = list[tuple[str, bytes]]


@dataclass
class Watch:
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


def list_in(house: House, repo: RepoId, files: dict[str, tuple[Etag, str | None]]) -> None:
    house.index.put_facts(RepoFacts(repo, False, False, house.now))
    house.index.put_ref(repo, MAIN, COMMIT, house.now)
    entries = [
        FileEntry(RepoPath(path), etag, len(house.contents[etag]), file_id)
        for path, (etag, file_id) in files.items()
    ]
    house.index.put_files(repo, COMMIT, entries, complete=True)


def give(
    house: House, out: Path, *repos: RepoId, since: Path | None = None, watch: Watch | None = None
) -> ExportReport:
    wanted = [(repo, MAIN) for repo in repos]
    return export_bundle(out, wanted, house.index, house.blobs, house.segments, watch or Watch(), since=since)


def take(house: House, bundle: Path | io.BytesIO, watch: Watch | None = None) -> ImportReport:
    with bundle.open("rb") if isinstance(bundle, Path) else bundle as file:
        return import_bundle(file, house.index, house.blobs, house.segments, watch or Watch(), NOW)


@pytest.fixture
def near(tmp_path: Path) -> House:
    """The side with an upstream: a base and a fine-tune in Xet, and a small file beside each."""
    near = make_house(tmp_path / "near")
    config = near.seal(CONFIG)
    for file in (BASE, TUNED, OTHER):
        near.put_xet(XORBS, file)
    list_in(near, MODEL, {"config.json": (config, None), "base.bin": (BASE.etag, BASE.file_id)})
    list_in(near, TUNED_REPO, {"config.json": (config, None), "tuned.bin": (TUNED.etag, TUNED.file_id)})
    return near


@pytest.fixture
def far(tmp_path: Path) -> House:
    return make_house(tmp_path / "far")


def names(bundle: Path) -> list[str]:
    return [name for name, _ in members(bundle)]


def members(bundle: Path) -> Members:
    found: Members = []
    prefix = {"blob": "blobs/{}", "xet": "xet/{}.json", "segment": "xorbs/{}", "record": "records/{}.json"}
    with bundle.open("rb") as file:
        reader = BundleReader(file)
        while not found or found[-1][0] != "moongate-end.json":
            member = reader.next()
            name = {"manifest": MANIFEST, "end": "moongate-end.json"}.get(member.kind)
            name = name or prefix[member.kind].format(member.name_hash)
            found.append((name, b"".join(reader.pieces(member))))
    return found


def rewritten(found: Members) -> io.BytesIO:
    file = io.BytesIO()
    writer = BundleWriter(file)
    for name, body in found:
        writer.add_json(name, body)
    writer.end()
    file.seek(0)
    return file


def chunk_bytes(*files: XetContent, without: tuple[XetContent, ...] = ()) -> int:
    """What the chunks take that these files have and the others do not."""
    return sum(XORBS[number].span(at, at + 1).length for number, at in chunks(*files) - chunks(*without))


def chunks(*files: XetContent) -> set[tuple[int, int]]:
    numbers = {xorb.hash: number for number, xorb in enumerate(XORBS)}
    return {
        (numbers[xorb], at)
        for file in files
        for xorb, ranges in file.needs.items()
        for one in ranges
        for at in range(one.first, one.end)
    }


def test_chunks_travel_once_and_no_file_as_a_whole(near: House, far: House, tmp_path: Path) -> None:
    watch = Watch()
    report = give(near, tmp_path / "b", MODEL, TUNED_REPO, watch=watch)
    assert (report.blobs, report.xet_files, report.missing) == (1, 2, ())
    assert report.xet_bytes == chunk_bytes(BASE, TUNED)
    assert watch.advanced_bytes == watch.planned_bytes == report.size_bytes
    assert f"blobs/{BASE.etag}" not in names(tmp_path / "b")
    told = take(far, tmp_path / "b", watch := Watch())
    assert (told.added, told.added_xet_files, told.present, told.missing) == (3, 2, 0, ())
    assert told.added_bytes == watch.advanced_bytes == report.size_bytes
    assert [far.read_xet(file.file_id) for file in (BASE, TUNED)] == [BASE.content, TUNED.content]
    assert far.chunks_here(XORBS) == chunks(BASE, TUNED)
    assert far.blobs.size_bytes(BASE.etag) is None
    entry = far.index.get_file(MODEL, COMMIT, RepoPath("base.bin"))
    assert entry is not None
    assert entry.xet_hash == BASE.file_id
    again = take(far, tmp_path / "b")
    assert (again.added, again.present, again.added_bytes) == (0, 3, 0)


def test_a_fine_tune_since_its_base_is_only_its_new_chunks(near: House, far: House, tmp_path: Path) -> None:
    give(near, tmp_path / "base", MODEL)
    report = give(near, tmp_path / "tuned", TUNED_REPO, since=tmp_path / "base")
    assert report.xet_bytes == report.size_bytes == chunk_bytes(TUNED, without=(BASE,))
    list_in(near, OTHER_REPO, {"other.bin": (OTHER.etag, OTHER.file_id)})
    third = give(near, tmp_path / "third", OTHER_REPO, since=tmp_path / "tuned")
    # what `tuned` assumed of the base counts as had, too
    assert third.xet_bytes == chunk_bytes(OTHER, without=(TUNED, BASE))
    for name in ("base", "tuned", "third"):
        assert take(far, tmp_path / name).missing == ()
    for file in (BASE, TUNED, OTHER):
        assert far.read_xet(file.file_id) == file.content


def test_a_bundle_before_its_base_waits_for_it(near: House, far: House, tmp_path: Path) -> None:
    give(near, tmp_path / "base", MODEL)
    give(near, tmp_path / "tuned", TUNED_REPO, since=tmp_path / "base")
    report = take(far, tmp_path / "tuned")
    assert TUNED.etag in report.missing
    assert far.read_xet(TUNED.file_id) is None
    assert take(far, tmp_path / "base").missing == ()
    assert far.read_xet(TUNED.file_id) == TUNED.content  # its chunks had waited here
    assert take(far, tmp_path / "tuned").missing == ()


def test_a_base_that_travelled_as_a_whole_gives_no_chunks(near: House, far: House, tmp_path: Path) -> None:
    near.index.drop_reconstruction(BASE.file_id)
    near.seal(BASE.content)
    report = give(near, tmp_path / "base", MODEL)
    assert (report.blobs, report.xet_files) == (2, 0)
    assert orjson.loads(members(tmp_path / "base")[0][1])["version"] == 1
    tuned = give(near, tmp_path / "tuned", TUNED_REPO, since=tmp_path / "base")
    assert tuned.xet_bytes == chunk_bytes(TUNED)
    assert take(far, tmp_path / "base").missing == ()
    assert take(far, tmp_path / "tuned").missing == ()
    assert far.read_xet(TUNED.file_id) == TUNED.content


def test_what_is_not_proven_here_is_not_sent(near: House, tmp_path: Path) -> None:
    near.index.mark_unverified(BASE.file_id)
    report = give(near, tmp_path / "b", MODEL)
    assert [entry.etag for _, entry in report.missing] == [BASE.etag]
    assert report.xet_files == 0


def test_damage_in_the_store_is_never_exported(near: House, tmp_path: Path) -> None:
    path = Path(near.segments.cover(XORBS[1].hash, 0, 1)[0].path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationFailed):
        give(near, tmp_path / "b", MODEL)
    assert not (tmp_path / "b").exists()


def test_an_export_that_was_broken_off_goes_on(near: House, tmp_path: Path) -> None:
    give(near, tmp_path / "whole", MODEL, TUNED_REPO)
    whole = (tmp_path / "whole").read_bytes()
    for cut in range(0, len(whole) + 1, 700):
        (tmp_path / "again.part").write_bytes(whole[:cut])
        watch = Watch()
        give(near, tmp_path / "again", MODEL, TUNED_REPO, watch=watch)
        assert (tmp_path / "again").read_bytes() == whole
        assert watch.advanced_bytes == watch.planned_bytes


def test_an_import_that_was_broken_off_goes_on(near: House, tmp_path: Path) -> None:
    give(near, tmp_path / "whole", MODEL, TUNED_REPO)
    whole = (tmp_path / "whole").read_bytes()
    far = make_house(tmp_path / "steps")
    for cut in range(100, len(whole) - 1024, 900):
        with pytest.raises(BadBundle):
            take(far, io.BytesIO(whole[:cut]))
        assert far.index.repos() == []
    before = {path: path.stat().st_ino for path in far.layout.xorbs_dir.rglob("*") if path.is_file()}
    assert before
    assert take(far, io.BytesIO(whole)).missing == ()
    assert {path: path.stat().st_ino for path in before} == before  # went on with what was there
    assert far.chunks_here(XORBS) == chunks(BASE, TUNED)
    assert far.read_xet(TUNED.file_id) == TUNED.content


def test_a_flipped_byte_never_counts_and_a_good_bundle_heals(near: House, tmp_path: Path) -> None:
    give(near, tmp_path / "b", MODEL)
    found = members(tmp_path / "b")
    for number, (name, body) in enumerate(found):
        if not name.startswith("xorbs/"):
            continue
        for at in range(0, len(body), 97):
            far = make_house(tmp_path / f"far-{number}-{at}")
            wrong = body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]
            with pytest.raises(MoongateError):
                take(far, rewritten([*found[:number], (name, wrong), *found[number + 1 :]]))
            assert far.read_xet(BASE.file_id) is None
            assert far.index.repos() == []
            assert take(far, tmp_path / "b").missing == ()
            assert far.read_xet(BASE.file_id) == BASE.content
            far.index.close()


def test_wrong_chunks_do_not_harm_a_file_that_is_proven(near: House, far: House, tmp_path: Path) -> None:
    far.put_xet(XORBS, BASE)
    give(near, tmp_path / "b", TUNED_REPO)
    bad: Members = [
        (name, bytes(len(body)) if name.startswith("xorbs/") else body)
        for name, body in members(tmp_path / "b")
    ]
    with pytest.raises(MoongateError):
        take(far, rewritten(bad))
    assert far.read_xet(BASE.file_id) == BASE.content
    assert far.chunks_here(XORBS) == chunks(BASE)
    assert take(far, tmp_path / "b").added_bytes == chunk_bytes(TUNED, without=(BASE,))
    assert far.read_xet(TUNED.file_id) == TUNED.content


Change = Callable[[dict[str, list[list[object]]]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["xet"][0].__setitem__(0, "../x"),
        lambda said: said["xet"][0].__setitem__(0, "0" * 64),
        lambda said: said["xet"][0].__setitem__(1, "0" * 40),
        lambda said: said["xet"][0].__setitem__(1, "0" * 64),
        lambda said: said["xet"][0].__setitem__(2, 7),
        lambda said: said["xet"][0].__setitem__(3, "0" * 64),
        lambda said: said["xet"][0][4].clear(),
        lambda said: said["xet"][0][4][0].__setitem__(0, "0" * 64),
        lambda said: said["xet"][0][4][0].__setitem__(1, 11),
        lambda said: said["xet"][0][4][0].__setitem__(2, 1 << 40),
        lambda said: said["xet"][0][4][0].__setitem__(4, -5),
        lambda said: said["xet"].append(said["xet"][0]),
        lambda said: said["xet"].clear(),
        lambda said: said.update(assumed_chunks=[["x", 0, 1, 0, 1]]),
        lambda said: said.update(xet="no"),
    ],
)
def test_a_table_of_contents_that_lies_about_chunks_is_refused(
    near: House, far: House, tmp_path: Path, change: Change
) -> None:
    give(near, tmp_path / "b", MODEL)
    found = members(tmp_path / "b")
    said = orjson.loads(found[0][1])
    change(said)
    with pytest.raises((BadBundle, VerificationFailed)):
        take(far, rewritten([(MANIFEST, orjson.dumps(said)), *found[1:]]))
    assert far.index.repos() == []
    assert far.read_xet(BASE.file_id) in (None, BASE.content)


def test_a_full_disk_is_said_and_the_next_time_goes_on(near: House, far: House, tmp_path: Path) -> None:
    give(near, tmp_path / "b", MODEL)

    def no_room(size_bytes: int) -> None:
        if size_bytes > len(CONFIG):
            raise StoreFull("no room")

    with (tmp_path / "b").open("rb") as file, pytest.raises(StoreFull):
        import_bundle(file, far.index, far.blobs, far.segments, Watch(), NOW, make_room=no_room)
    assert take(far, tmp_path / "b").missing == ()
