"""Pushes made to hurt: broken, endless, or unfolding without end. Each is refused in time, nothing stays."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from moongate.hub.hosted.pushes import PushRules
from moongate.store.bare.packing import _head, pack_of
from moongate.store.bare.programs import Limits
from moongate.wire.git_objects import (
    MODE_FILE,
    CommitObject,
    ObjectKind,
    TreeItem,
    blob_oid,
    encode_commit,
    encode_tree,
    object_oid,
)
from moongate.wire.pkt_lines import FLUSH, NOWHERE, packet
from support.git_house import ADA, GitHouse, git_house

MIB = 1 << 20
KINDS: dict[ObjectKind, int] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
TIGHT = Limits(memory_bytes=512 * MIB, cpu_seconds=20, file_bytes=256 * MIB, wall_seconds=40.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[GitHouse]:
    async with git_house(
        tmp_path, push_rules=PushRules(max_pack_bytes=64 * MIB, max_objects=1000), limits=TIGHT
    ) as house:
        house.commit({"a.txt": b"1"})
        yield house


def piece(kind: ObjectKind, body: bytes) -> bytes:
    return _head(KINDS[kind], len(body)) + zlib.compress(body)


def history(blob: bytes, name: bytes = b"f.bin") -> tuple[list[bytes], str]:
    """A commit of one file: its pieces for a pack (but for the blob's), and its id."""
    tree = b"100644 %s\0%s" % (name, bytes.fromhex(blob_oid(blob)))
    return around(tree)


def around(tree: bytes) -> tuple[list[bytes], str]:
    body = encode_commit(CommitObject(object_oid("tree", tree), (), ADA, ADA, "x\n"))
    return [piece("tree", tree), piece("commit", body)], object_oid("commit", body)


async def push(
    house: GitHouse, oid: str, pack: bytes, *, name: str = "refs/heads/evil", zipped: bool = False
) -> tuple[int, bytes]:
    """What a client is told that sends this as the creation of a branch."""
    sent = packet(f"{NOWHERE} {oid} {name}\0report-status side-band-64k") + FLUSH + pack
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    if zipped:
        sent, headers["Content-Encoding"] = gzip.compress(sent, 9), "gzip"
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as session,
        session.post(f"{house.url}/git-receive-pack", data=sent, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def is_refused(house: GitHouse, oid: str, pack: bytes, *why: bytes, zipped: bool = False) -> None:
    """It is told why, in git's words; nothing of it is kept; and the next push is served."""
    before, kept = house.refs(), set(house.blobs.iterate())
    status, told = await push(house, oid, pack, zipped=zipped)
    assert status == 200
    assert b"ng refs/heads/evil " in told, told[:500]
    assert not why or any(word in told for word in why), told[:500]
    assert house.refs() == before
    assert set(house.blobs.iterate()) == kept
    incoming = house.folders.folder(house.row).incoming_dir
    assert not incoming.exists() or not list(incoming.iterdir())
    pieces, good = history(b"good")
    name = f"refs/heads/good-{len(before)}"
    _, told = await push(house, good, pack_of([piece("blob", b"good"), *pieces]), name=name)
    assert f"ok {name}".encode() in told, told


async def test_a_good_pack_lands(house: GitHouse) -> None:
    """The others would prove nothing without it."""
    pieces, oid = history(b"hello")
    status, told = await push(house, oid, pack_of([piece("blob", b"hello"), *pieces]), zipped=True)
    assert (status, house.refs()["refs/heads/evil"]) == (200, oid)
    assert b"ok refs/heads/evil" in told


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pack: pack[:-30],
        lambda pack: pack[:20],
        lambda pack: pack[:8],
        lambda pack: b"",
        lambda pack: b"x" * 100_000,
        lambda pack: pack[:-20] + b"\0" * 20,
        lambda pack: pack[:40] + b"\xff" * 8 + pack[48:],
        lambda pack: pack[:11] + b"\x09" + pack[12:],
        lambda pack: b"PACK\0\0\0\2\xff\xff\xff\xff" + pack[12:],
        lambda pack: b"PACK\0\0\0\2\0\0\3\xe8" + pack[12:],
    ],
)
async def test_broken_packs(house: GitHouse, spoil: Callable[[bytes], bytes]) -> None:
    pieces, oid = history(b"hello")
    await is_refused(house, oid, spoil(pack_of([piece("blob", b"hello"), *pieces])))


async def test_a_blob_that_unfolds(house: GitHouse) -> None:
    """A hundred megabytes of nothing, in a hundred kilobytes."""
    size_bytes = 100 * MIB
    hasher = hashlib.sha1(b"blob %d\0" % size_bytes)
    packer = zlib.compressobj(9)
    zipped = b""
    for _ in range(100):
        hasher.update(bytes(MIB))
        zipped += packer.compress(bytes(MIB))
    zipped += packer.flush()
    tree = b"100644 f.bin\0" + hasher.digest()
    pieces, oid = around(tree)
    blob = _head(3, size_bytes) + zipped
    await is_refused(house, oid, pack_of([blob, *pieces]), b"git-lfs")
    await is_refused(house, hasher.hexdigest(), pack_of([blob]), b"git-lfs")


async def test_a_tree_that_unfolds(house: GitHouse) -> None:
    size_bytes = 700 * MIB
    packer = zlib.compressobj(9)
    zipped = b"".join(packer.compress(bytes(MIB)) for _ in range(700)) + packer.flush()
    _, oid = history(b"hello")
    await is_refused(house, oid, pack_of([_head(2, size_bytes) + zipped]))


async def test_deltas_that_double(house: GitHouse) -> None:
    """Each delta is its base twice: the last would be two gigabytes."""
    base = b"x" * 1024
    pieces, offsets, at, size = [piece("blob", base)], [12], 12, len(base)
    for _ in range(21):
        at += len(pieces[-1])
        delta = _varint(size) + _varint(size * 2) + _copies(size) * 2
        pieces.append(_head(6, len(delta)) + _offset(at - offsets[-1]) + zlib.compress(delta))
        offsets.append(at)
        size *= 2
    _, oid = history(b"hello")
    await is_refused(house, oid, pack_of(pieces))


async def test_a_delta_that_claims_too_much(house: GitHouse) -> None:
    delta = _varint(4) + _varint(1 << 50) + _copies(4)
    first = piece("blob", b"base")
    second = _head(6, len(delta)) + _offset(len(first)) + zlib.compress(delta)
    _, oid = history(b"hello")
    await is_refused(house, oid, pack_of([first, second]))


async def test_too_many_objects_and_too_many_bytes(house: GitHouse) -> None:
    many = [piece("blob", b"%d" % number) for number in range(1001)]
    _, oid = history(b"hello")
    await is_refused(house, oid, pack_of(many), b"at most 1000 objects")
    await is_refused(house, oid, pack_of([]) + os.urandom(65 * MIB), b"at most")


async def test_a_zipped_body_that_unfolds(house: GitHouse) -> None:
    _, oid = history(b"hello")
    await is_refused(house, oid, b"PACK\0\0\0\2\0\0\0\1" + bytes(200 * MIB), b"at most", zipped=True)


async def test_a_body_that_is_not_what_it_says(house: GitHouse) -> None:
    headers = {"Content-Type": "application/x-git-receive-pack-request", "Content-Encoding": "gzip"}
    address = f"{house.url}/git-receive-pack"
    async with aiohttp.ClientSession() as session:
        for sent in (b"no zip", gzip.compress(b"00")[:-9], gzip.compress(b"")):
            async with session.post(address, data=sent, headers=headers) as answer:
                assert answer.status == 400
                assert answer.headers["X-Error-Code"] == "BadRequest"
        for more in ({"Content-Encoding": "br"}, {"Content-Type": "text/plain"}):
            async with session.post(address, data=b"0000", headers=headers | more) as answer:
                assert answer.status == 400


@pytest.mark.parametrize(
    "name",
    [b".git", b".GIT", b"..", b".", b"a\xff", b"a\nb", b"git~1", ".g\u200cit".encode(), b"a/b", b"a\\b"],
)
async def test_names_that_would_harm_whoever_clones(house: GitHouse, name: bytes) -> None:
    pieces, oid = history(b"[core]", name)
    await is_refused(house, oid, pack_of([piece("blob", b"[core]"), *pieces]))


async def test_a_tree_that_git_would_not_write(house: GitHouse) -> None:
    blob = bytes.fromhex(blob_oid(b"x"))
    for tree in (
        b"100644 b\0" + blob + b"100644 a\0" + blob,
        b"100644 a\0" + blob + b"100644 a\0" + blob,
        b"100644 a\0" + blob[:10],
        b"777777 a\0" + blob,
    ):
        pieces, oid = around(tree)
        await is_refused(house, oid, pack_of([piece("blob", b"x"), *pieces]))


async def test_a_history_with_holes(house: GitHouse) -> None:
    pieces, oid = history(b"hello")
    await is_refused(house, oid, pack_of(pieces))
    await is_refused(house, oid, pack_of([piece("blob", b"hello"), pieces[1]]))
    await is_refused(house, "f" * 40, pack_of([]))


async def test_nobody_reads_another_repositorys_blob_by_naming_it(house: GitHouse) -> None:
    """What is in the store is not in this repository: a tree that names it is not whole."""
    secret = b"another team's secret"
    house.regular(secret)
    tree = encode_tree([TreeItem(MODE_FILE, "stolen", blob_oid(secret))])
    pieces, oid = around(tree)
    await is_refused(house, oid, pack_of(pieces), b"not whole", b"cannot be unpacked")


async def test_a_client_that_leaves_in_the_middle(house: GitHouse) -> None:
    pieces, oid = history(b"hello")
    pack = pack_of([piece("blob", b"hello"), *pieces])
    head = packet(f"{NOWHERE} {oid} refs/heads/evil\0report-status") + FLUSH
    _, writer = await asyncio.open_connection("127.0.0.1", int(house.base.rpartition(":")[2]))
    writer.write(
        b"POST /acme/tiny/git-receive-pack HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 99999\r\n\r\n"
        + head
        + pack[:40]
    )
    await writer.drain()
    incoming = house.folders.folder(house.row).incoming_dir
    async with asyncio.timeout(60):
        while not incoming.exists() or not list(incoming.iterdir()):  # noqa: ASYNC110 - a thing on disk
            await asyncio.sleep(0.01)
        writer.close()
        while list(incoming.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "refs/heads/evil" not in house.refs()


async def test_questions_of_a_fetch_that_make_no_sense(house: GitHouse) -> None:
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    address = f"{house.url}/git-upload-pack"
    questions = [
        b"",
        b"zzzz",
        b"0000" * 1000,
        packet("want " + "f" * 40 + "\n") + FLUSH + packet("done\n"),
        packet("command=fetch") + b"0001" + packet("want " + "f" * 40) + packet("done") + FLUSH,
        packet("command=nonsense") + FLUSH,
        packet("command=fetch") + b"0001" + packet("filter tree:99999999999999999999") + FLUSH,
        os.urandom(5000),
    ]
    async with aiohttp.ClientSession() as session:
        for question in questions:
            for more in ({}, {"Git-Protocol": "version=2"}):
                async with (
                    asyncio.timeout(60),
                    session.post(address, data=question, headers=headers | more) as answer,
                ):
                    assert answer.status == 200
                    assert b"PACK" not in await answer.read()
        async with session.post(address, data=bytes(17 * MIB), headers=headers) as answer:
            assert answer.status == 400
    copy = await house.clone()
    assert (copy / "a.txt").read_bytes() == b"1"


def _varint(number: int) -> bytes:
    told = bytearray()
    while number >= 0x80:
        told.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*told, number])


def _offset(distance: int) -> bytes:
    told = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        told.insert(0, distance & 0x7F | 0x80)
    return bytes(told)


def _copies(size: int) -> bytes:
    """Instructions of a delta: copy the whole base, some megabytes at a time."""
    told, at = b"", 0
    while at < size:
        length = min(size - at, 0xFFFFFF)
        told += bytes([0xFF]) + at.to_bytes(4, "little") + length.to_bytes(3, "little")
        at += length
    return told
