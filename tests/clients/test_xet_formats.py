"""Our Xet codecs against the official client, with the Hub double between them and no gateway.

What our writers packed the client must put together; what the client uploads our readers must take apart and
find right: the double believes nothing, it recomputes every hash of an upload with them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from moongate.double import ExpireUrls, HubDouble, LfsFile, Match, Settings, Status
from moongate.xet.chunker import chunk_lengths
from moongate.xet.hashes import chunk_hash, file_hash, hash_hex
from moongate.xet.xorb import Compression, Scheme, read_headers
from support.clients import run_script

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

TOKEN = "hf_" + "Xet" * 12
MIB = 1 << 20
CLIENTS = ("hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36")


def _floats(count: int) -> bytes:
    """Small float32 values, whose high bytes are alike."""
    source = random.Random(3)
    return b"".join(source.randbytes(2) + bytes([source.randrange(8), 60]) for _ in range(count))


FILES: Mapping[str, bytes] = {
    "random.bin": random.Random(1).randbytes(20 * MIB + 17),
    "zeros.bin": bytes(5 * MIB),
    "floats.safetensors": _floats(MIB),
    "text.gguf": b"".join(b"%d,%d\n" % (n, n * n) for n in range(300_000)),
    "repeated.bin": random.Random(2).randbytes(300_000) * 10,
    "tiny.bin": b"!",
    "empty.bin": b"",
}


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def xet_id(data: bytes) -> str:
    leaves, at = [], 0
    for length in chunk_lengths(data):
        leaves.append((chunk_hash(data[at : at + length]), length))
        at += length
    return hash_hex(file_hash(leaves))


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, client_python: Callable[[str], Path]) -> Path:
    return client_python(request.param)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    made = HubDouble(tmp_path / "state", settings=Settings(new_repos_xet=True))
    made.add_user("acme", TOKEN)
    with made.running():
        yield made


def add(double: HubDouble, repo_id: str, files: Mapping[str, bytes]) -> None:
    """A repository in Xet, packed at once."""
    repo = double.add_repo(repo_id, xet=True)
    repo.commit({name: LfsFile(data) for name, data in files.items()})
    repo.pack()


def schemes(double: HubDouble) -> set[Scheme]:
    """How chunks are stored."""
    return {
        chunk.scheme
        for one in double.world.xet.xorbs
        for chunk in read_headers(memoryview(one.content.path.read_bytes()))
    }


def by_cas(double: HubDouble) -> int:
    """How many files were asked for by reconstruction, in any version."""
    return len(
        {one.path.rpartition("/")[2] for one in double.meters.requests("*/reconstructions/*", status=200)}
    )


@pytest.mark.parametrize(
    ("compression", "expected"),
    [
        ("none", {Scheme.NONE}),
        ("lz4", {Scheme.NONE, Scheme.LZ4}),
        ("bg4-lz4", {Scheme.NONE, Scheme.BG4_LZ4}),
        ("auto", set(Scheme)),
    ],
)
def test_the_client_reads_what_we_packed(
    double: HubDouble, client: Path, tmp_path: Path, compression: Compression, expected: set[Scheme]
) -> None:
    double.settings.xet_compression = compression
    add(double, "acme/packed", FILES)
    assert schemes(double) == expected
    told = run_script(
        client,
        "xet_round_trip.py",
        {"get": ["acme/packed"], "files": [["acme/packed", "random.bin"]]},
        home=tmp_path / "home",
        endpoint=double.url,
    )
    assert told["acme/packed"] == digests(FILES)
    assert told["acme/packed random.bin"] == digests(FILES)["random.bin"]
    assert by_cas(double) == len(FILES) - 1, "all but the empty file came through the CAS"


def test_the_client_reads_version_1(double: HubDouble, client: Path, tmp_path: Path) -> None:
    add(double, "acme/packed", FILES)
    with double.failing(Status(404, match=Match(origin="cas", path="/v2/*"))):
        told = run_script(
            client, "xet_round_trip.py", {"get": ["acme/packed"]}, home=tmp_path / "home", endpoint=double.url
        )
    assert told["acme/packed"] == digests(FILES)
    assert len(double.meters.requests("/v1/reconstructions/*", status=200)) >= len(FILES) - 1


def test_a_tuned_file_comes_from_two_xorbs(double: HubDouble, client: Path, tmp_path: Path) -> None:
    base = FILES["random.bin"]
    tuned = {"random.bin": base[: 7 * MIB] + b"tuned" + base[7 * MIB :]}
    add(double, "acme/base", {"random.bin": base})
    add(double, "acme/tuned", tuned)
    assert len({term.xorb for term in double.xet_file("acme/tuned", "random.bin").terms}) == 2
    told = run_script(
        client, "xet_round_trip.py", {"get": ["acme/tuned"]}, home=tmp_path / "home", endpoint=double.url
    )
    assert told["acme/tuned"] == digests(tuned)


def test_the_client_mends_expired_urls(double: HubDouble, client: Path, tmp_path: Path) -> None:
    add(double, "acme/packed", {"random.bin": FILES["random.bin"]})
    number = double.fault(ExpireUrls(after_seconds=0.0, match=Match(path="/xorbs/*"), times=1))
    told = run_script(
        client, "xet_round_trip.py", {"get": ["acme/packed"]}, home=tmp_path / "home", endpoint=double.url
    )
    assert told["acme/packed"]["random.bin"] == digests(FILES)["random.bin"]
    assert double.faults.used(number) == 1
    assert len(double.meters.requests("/xorbs/*", status=403)) == 1


def test_we_read_what_the_client_uploads(double: HubDouble, client: Path, tmp_path: Path) -> None:
    folder = tmp_path / "up"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    one = tmp_path / "one.bin"
    one.write_bytes(random.Random(9).randbytes(3 * MIB))
    told = run_script(
        client,
        "xet_round_trip.py",
        {"repo": "acme/up", "put": str(folder), "one": str(one)},
        home=tmp_path / "home",
        endpoint=double.url,
        env={"HF_TOKEN": TOKEN},
    )
    sent = {**FILES, "one/file.bin": one.read_bytes()}
    assert told["back"] == digests(sent)
    assert double.meters.requests("/v1/xorbs/*", origin="cas", status=200)
    assert double.meters.requests("/v2/shards", origin="cas", status=200)
    assert not double.meters.requests("/lfs-upload/*")
    for name, data in sent.items():
        if data:
            assert double.xet_file("acme/up", name).id == xet_id(data), name


def test_an_upload_sends_only_what_is_not_there(double: HubDouble, client: Path, tmp_path: Path) -> None:
    base = FILES["random.bin"]
    add(double, "acme/base", {"random.bin": base})
    before = {one.hash for one in double.world.xet.xorbs}
    folder = tmp_path / "up"
    folder.mkdir()
    (folder / "tuned.bin").write_bytes(base[: 7 * MIB] + b"tuned" + base[7 * MIB :])
    told = run_script(
        client,
        "xet_round_trip.py",
        {"repo": "acme/up", "put": str(folder)},
        home=tmp_path / "home",
        endpoint=double.url,
        env={"HF_TOKEN": TOKEN},
    )
    assert told["back"] == {"tuned.bin": hashlib.sha256((folder / "tuned.bin").read_bytes()).hexdigest()}
    fresh = [one for one in double.world.xet.xorbs if one.hash not in before]
    assert 0 < sum(one.content.size_bytes for one in fresh) <= 4 * 131072


def test_the_javascript_client_asks_for_several_ranges_at_once(
    double: HubDouble, hub_js: Path, program: Callable[[str], Path], tmp_path: Path
) -> None:
    base = FILES["random.bin"]
    tuned = base[: 7 * MIB] + b"tuned" + base[7 * MIB :]
    add(double, "acme/base", FILES)
    add(double, "acme/tuned", {"random.bin": tuned})
    wanted = [["acme/base", name] for name in FILES if FILES[name]] + [["acme/tuned", "random.bin"]]
    plan = {"modules": str(hub_js), "get": wanted}
    told = run_script(
        program("node"), "xet_round_trip.mjs", plan, home=tmp_path / "home", endpoint=double.url
    )
    for repo, name in wanted:
        data = tuned if repo == "acme/tuned" else FILES[name]
        assert told[f"{repo} {name}"] == ["XetBlob", hashlib.sha256(data).hexdigest()]
        if len(data) > 2_000_000:
            assert told[f"{repo} {name} part"] == hashlib.sha256(data[1_000_000:1_300_000]).hexdigest()
    assert any("," in (one.range or "") for one in double.meters.requests("/xorbs/*", status=206))


def test_we_read_what_the_javascript_client_uploads(
    double: HubDouble, hub_js: Path, program: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its chunker sometimes cuts at 8128 bytes, so its ids are not always ours; all that follows agrees."""
    data = random.Random(11).randbytes(3 * MIB)
    (tmp_path / "from.bin").write_bytes(data)
    plan = {
        "modules": str(hub_js),
        "put": {"repo": "acme/js", "path": "up.bin", "from": str(tmp_path / "from.bin")},
    }
    told = run_script(
        program("node"),
        "xet_round_trip.mjs",
        plan,
        home=tmp_path / "home",
        endpoint=double.url,
        env={"HF_TOKEN": TOKEN},
    )
    assert told["back"] == hashlib.sha256(data).hexdigest()
    assert double.meters.requests("*/shards*", origin="cas", status=200)
    file = double.xet_file("acme/js", "up.bin")
    stored = [double.world.xet.xorbs.get(term.xorb) for term in file.terms]
    assert b"".join(one.raw(t.start, t.end) for one, t in zip(stored, file.terms, strict=True) if one) == data
