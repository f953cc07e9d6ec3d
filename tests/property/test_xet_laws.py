"""Laws of Xet's formats, for whatever bytes there are, and agreement with the official client on file ids."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import hf_xet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.spans import ByteSpan
from moongate.xet.bounds import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from moongate.xet.chunker import Chunker, chunk_lengths
from moongate.xet.compiled import forget_all
from moongate.xet.crc64 import Crc64, crc64_nvme
from moongate.xet.decoding import decode_chunk, verify_xorb
from moongate.xet.gear import GEAR
from moongate.xet.groups import grouped, ungrouped
from moongate.xet.hashes import FileHasher, XetHash, chunk_hash, file_hash, hash_hex, parse_hash, xorb_hash
from moongate.xet.reconstruction import (
    FetchRange,
    Reconstruction,
    Term,
    cut_terms,
    read_reconstruction,
    write_v1,
    write_v2,
)
from moongate.xet.shard import (
    BadShard,
    Shard,
    ShardFile,
    ShardTerm,
    ShardXorb,
    dedup_answer,
    read_shard,
    write_shard,
)
from moongate.xet.xorb import BadXorb, Compression, encode_chunk, footer, layout_of, read_headers

MIB = 1 << 20
_GEAR_ZEROS = [byte for byte in range(256) if GEAR[byte] >> 48 == 0]


@st.composite
def contents(draw: st.DrawFn, most_bytes: int = 3 * MIB) -> bytes:
    """Bytes of some shape: random, of few values, repeated, of one value, or several of these in a row."""
    parts = draw(st.integers(1, 3))
    return b"".join(draw(_part(most_bytes // parts)) for _ in range(parts))


def _part(most_bytes: int) -> st.SearchStrategy[bytes]:
    sizes = st.one_of(st.integers(0, 70_000), st.integers(0, most_bytes))
    edges = st.sampled_from([1, 63, 64, 65, 8127, 8128, 8191, 8192, 8193, 131071, 131072, 131073])
    return st.builds(
        _made, st.sampled_from(["random", "few", "repeated", "one"]), sizes | edges, st.integers(0, 999)
    )


def _made(shape: str, size_bytes: int, seed: int) -> bytes:
    source = random.Random(seed)
    if shape == "random":
        return source.randbytes(size_bytes)
    if shape == "few":
        return source.randbytes(size_bytes).translate(bytes([seed % 256, 0x11]) * 128)
    if shape == "repeated":
        pattern = source.randbytes(1 + source.randrange(200_000))
        return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]
    return bytes([source.choice([*_GEAR_ZEROS, seed % 256])]) * size_bytes


def _defined(data: bytes) -> list[int]:
    """Chunk lengths by the words of the specification, byte for byte."""
    lengths, start = [], 0
    while start < len(data):
        state, end = 0, min(len(data), start + MAX_CHUNK_BYTES)
        for at in range(start + MIN_CHUNK_BYTES - 65, end):
            state = ((state << 1) + GEAR[data[at]]) & 0xFFFFFFFFFFFFFFFF
            if at + 1 - start >= MIN_CHUNK_BYTES and state >> 48 == 0:
                end = at + 1
                break
        lengths.append(end - start)
        start = end
    return lengths


@contextmanager
def numpy_alone() -> Iterator[None]:
    """As where the extra `fast` is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wasmtime", None)
        forget_all()
        try:
            yield
        finally:
            forget_all()


@settings(max_examples=25, deadline=None)
@given(contents(500_000))
def test_chunks_are_those_of_the_definition(data: bytes) -> None:
    assert chunk_lengths(data) == _defined(data)


@settings(max_examples=25, deadline=None)
@given(contents(), st.integers(1, 400_000))
def test_chunks_are_the_same_with_numpy_alone(data: bytes, piece: int) -> None:
    pytest.importorskip("wasmtime")
    with numpy_alone():
        expected = chunk_lengths(data)
    chunker, lengths = Chunker(), list[int]()
    for at in range(0, len(data), piece):
        lengths += chunker.feed(data[at : at + piece])
    assert lengths + chunker.finish() == expected


@settings(max_examples=25, deadline=None)
@given(contents(), st.lists(st.integers(1, 400_000), min_size=1, max_size=20))
def test_how_a_stream_arrives_does_not_matter(data: bytes, pieces: list[int]) -> None:
    chunker, lengths, at, turn = Chunker(), [], 0, 0
    while at < len(data):
        piece = pieces[turn % len(pieces)]
        lengths += chunker.feed(data[at : at + piece])
        at, turn = at + piece, turn + 1
    assert lengths + chunker.finish() == chunk_lengths(data)
    assert chunker.feed(data) + chunker.finish() == chunk_lengths(data), "a finished chunker is new"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), contents(MIB))
def test_bytes_put_in_front_leave_the_chunks_behind(seed: int, front: bytes) -> None:
    data = random.Random(seed).randbytes(3 * MIB)
    known = {chunk_hash(chunk) for chunk in _chunks(data)}
    fresh = sum(len(chunk) for chunk in _chunks(front + data) if chunk_hash(chunk) not in known)
    assert fresh <= len(front) + 10 * MAX_CHUNK_BYTES


def _chunks(data: bytes) -> list[bytes]:
    chunks, at = [], 0
    for length in chunk_lengths(data):
        chunks.append(data[at : at + length])
        at += length
    return chunks


# The official client


def _official(folder: Path, *contents: bytes) -> list[str]:
    paths = []
    for data in contents:
        path = folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        paths.append(str(path))
    return [info.hash for info in hf_xet.hash_files(paths)]


def _ours(data: bytes) -> str:
    return hash_hex(file_hash([(chunk_hash(chunk), len(chunk)) for chunk in _chunks(data)]))


@settings(max_examples=20, deadline=None)
@given(st.lists(contents(), min_size=1, max_size=4))
def test_file_hashes_agree_with_hf_xet(
    tmp_path_factory: pytest.TempPathFactory, several: list[bytes]
) -> None:
    assert [_ours(data) for data in several] == _official(tmp_path_factory.mktemp("files"), *several)


@pytest.mark.parametrize("shape", ["random", "few", "repeated", "one"])
def test_file_hashes_of_large_files_agree_with_hf_xet(shape: str, tmp_path: Path) -> None:
    data = _made(shape, 40 * MIB + 4321, seed=7)
    assert [_ours(data)] == _official(tmp_path, data)


_LEAVES = st.lists(
    st.tuples(st.binary(min_size=32, max_size=32).map(XetHash), st.integers(1, MAX_CHUNK_BYTES)),
    max_size=60,
)


@given(_LEAVES, st.integers(1, 30))
def test_a_file_hash_grows_chunk_by_chunk(leaves: list[tuple[XetHash, int]], times: int) -> None:
    hasher = FileHasher()
    for leaf in leaves * times:
        hasher.add(leaf)
    assert hasher.digest() == file_hash(leaves * times)


def _plain_crc64(data: bytes) -> int:
    """CRC-64/NVME, bit by bit."""
    state = (1 << 64) - 1
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x9A6C9329AC4BC9B5 if state & 1 else 0)
    return state ^ ((1 << 64) - 1)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 40_000), max_size=4))
def test_a_checksum_does_not_care_how_bytes_come(dice: random.Random, lengths: list[int]) -> None:
    pieces = [dice.randbytes(length) for length in lengths]
    crc = Crc64()
    for piece in pieces:
        crc.update(piece)
    assert crc.value == _plain_crc64(b"".join(pieces))


def test_the_checksum_of_the_standard() -> None:
    assert crc64_nvme(b"123456789") == 0xAE8B14860A799888
    assert crc64_nvme(b"") == 0


# Round trips


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_grouping_can_be_undone(data: bytes) -> None:
    assert bytes(ungrouped(grouped(data))) == data


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_hash_is_its_hex_string(value: bytes) -> None:
    assert parse_hash(hash_hex(XetHash(value))) == value


@settings(max_examples=40, deadline=None)
@given(contents(MIB), st.sampled_from(get_args(Compression)), st.booleans())
def test_what_is_packed_in_a_xorb_comes_out(data: bytes, compression: Compression, with_footer: bool) -> None:
    chunks = _chunks(data)
    leaves = [(chunk_hash(chunk), len(chunk)) for chunk in chunks]
    body = b"".join(encode_chunk(chunk, compression) for chunk in chunks)
    layout = layout_of(read_headers(memoryview(body)))
    whole = memoryview(body + footer(xorb_hash(leaves), leaves, layout) if with_footer and chunks else body)
    assert verify_xorb(whole, xorb_hash(leaves)) == leaves
    assert b"".join(decode_chunk(whole, chunk) for chunk in read_headers(whole)) == data
    assert len(body) <= len(data) + 8 * len(chunks), "compression never costs"
    if len(chunks) > 2:
        span = layout.span(1, len(chunks) - 1)
        part = whole[span.start : span.end]
        assert b"".join(decode_chunk(part, one) for one in read_headers(part)) == b"".join(chunks[1:-1])
        assert layout.raw_bytes(1, len(chunks) - 1) == sum(map(len, chunks[1:-1]))


@settings(max_examples=100, deadline=None)
@given(contents(200_000), st.sampled_from(get_args(Compression)), st.data())
def test_no_damaged_xorb_passes(data: bytes, compression: Compression, more: st.DataObject) -> None:
    chunks = _chunks(data)
    if not chunks:
        return
    expected = xorb_hash([(chunk_hash(chunk), len(chunk)) for chunk in chunks])
    body = bytearray(b"".join(encode_chunk(chunk, compression) for chunk in chunks))
    at = more.draw(st.integers(0, len(body) - 1))
    if more.draw(st.booleans()):
        body[at] ^= more.draw(st.integers(1, 255))
    else:
        del body[at:]
    try:
        leaves = verify_xorb(memoryview(bytes(body)), expected)
    except BadXorb:
        return
    assert xorb_hash(leaves) == expected, "a header byte that no chunk depends on"
    raw = b"".join(decode_chunk(memoryview(body), chunk) for chunk in read_headers(memoryview(body)))
    assert raw == data


_hashes = st.binary(min_size=32, max_size=32).filter(lambda value: value != b"\xff" * 32).map(XetHash)
_terms = st.builds(
    lambda xorb, length, start, count: ShardTerm(xorb, length, start, start + count),
    _hashes,
    st.integers(1, 64 * MIB),
    st.integers(0, 8000),
    st.integers(1, 192),
)
_shas = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def shard_files(draw: st.DrawFn) -> ShardFile:
    terms = tuple(draw(st.lists(_terms, max_size=5)))
    proofs = tuple(draw(st.lists(_hashes, min_size=len(terms), max_size=len(terms))))
    return ShardFile(draw(_hashes), terms, proofs if draw(st.booleans()) else (), draw(_shas))


_shard_xorbs = st.builds(
    ShardXorb,
    _hashes,
    st.lists(st.tuples(_hashes, st.integers(1, MAX_CHUNK_BYTES)), max_size=9).map(tuple),
    st.integers(0, 64 * MIB),
)
_shards = st.builds(
    Shard, st.lists(shard_files(), max_size=4).map(tuple), st.lists(_shard_xorbs, max_size=4).map(tuple)
)


@settings(max_examples=100, deadline=None)
@given(_shards, st.binary(max_size=300))
def test_a_shard_reads_as_it_was_written_whatever_follows(shard: Shard, after: bytes) -> None:
    assert read_shard(write_shard(shard) + after) == shard


@settings(max_examples=100, deadline=None)
@given(_shards, st.data())
def test_a_shard_cut_short_is_refused(shard: Shard, more: st.DataObject) -> None:
    data = write_shard(shard)
    with pytest.raises(BadShard):
        read_shard(data[: more.draw(st.integers(0, len(data) - 1))])


@settings(max_examples=50, deadline=None)
@given(st.lists(_shard_xorbs, max_size=3), st.binary(min_size=32, max_size=32))
def test_a_dedup_answer_shows_no_chunk_hash(xorbs: list[ShardXorb], key: bytes) -> None:
    told = read_shard(dedup_answer(xorbs, key, created=1, key_expiry=2))
    assert told.files == ()
    assert [(one.xorb_hash, one.stored_bytes) for one in told.xorbs] == [
        (one.xorb_hash, one.stored_bytes) for one in xorbs
    ]
    for shown, true in zip(told.xorbs, xorbs, strict=True):
        assert [length for _, length in shown.chunks] == [length for _, length in true.chunks]
        plain = {chunk for chunk, _ in true.chunks} & {chunk for chunk, _ in shown.chunks}
        assert not plain or key == bytes(32)


@st.composite
def reconstructions(draw: st.DrawFn) -> Reconstruction:
    terms: list[Term] = []
    fetches: dict[XetHash, tuple[FetchRange, ...]] = {}
    for xorb in draw(st.lists(_hashes, min_size=1, max_size=4, unique=True)):
        start = draw(st.integers(0, 100))
        ranges = []
        for _ in range(draw(st.integers(1, 3))):
            end = start + draw(st.integers(1, 50))
            span = ByteSpan(start * 1000, end * 1000 - draw(st.integers(0, 9)))
            ranges.append(
                FetchRange(start, end, span, f"http://cdn.test/{hash_hex(xorb)}?{draw(st.integers(0, 1))}")
            )
            terms.append(Term(xorb, draw(st.integers(1, 10 * MIB)), start, end))
            start = end + draw(st.integers(0, 5))
        fetches[xorb] = tuple(ranges)
    terms = draw(st.permutations(terms))
    return Reconstruction(draw(st.integers(0, terms[0].unpacked_bytes - 1)), tuple(terms), fetches)


@settings(max_examples=60, deadline=None)
@given(reconstructions())
def test_both_versions_say_the_same(answer: Reconstruction) -> None:
    first, second = read_reconstruction(write_v1(answer)), read_reconstruction(write_v2(answer))
    for told in (first, second):
        assert (told.offset_bytes, told.terms) == (answer.offset_bytes, answer.terms)
        assert {xorb: set(ranges) for xorb, ranges in told.fetches.items()} == {
            xorb: set(ranges) for xorb, ranges in answer.fetches.items()
        }
        for term in told.terms:
            fetch = told.fetch_of(term)
            assert fetch.start <= term.start < term.end <= fetch.end


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_cut_terms_are_those_that_overlap(lengths: list[int], more: st.DataObject) -> None:
    terms = [Term(XetHash(bytes([n]) * 32), length, n, n + 1) for n, length in enumerate(lengths)]
    whole = [(n, offset) for n, length in enumerate(lengths) for offset in range(length)]
    start = more.draw(st.integers(0, len(whole) - 1))
    end = more.draw(st.integers(start + 1, len(whole) + 20))
    cut = cut_terms(terms, ByteSpan(start, end))
    got = [(term.start, offset) for term in cut.terms for offset in range(term.unpacked_bytes)]
    assert got[cut.offset_bytes :][: end - start] == whole[start:end]
    assert 0 <= cut.offset_bytes < cut.terms[0].unpacked_bytes
