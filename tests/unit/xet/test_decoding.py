"""Raw bytes of stored chunks: the same whoever decodes, and nothing from what is not as it should be."""

from __future__ import annotations

import gc
import random
from itertools import product

import lz4.frame
import pytest

from moongate.xet import compiled
from moongate.xet.bounds import MAX_CHUNK_BYTES
from moongate.xet.decoding import Decoder, decode_chunks, fitting, new_decoder, retire
from moongate.xet.groups import grouped
from moongate.xet.xorb import (
    BadXorb,
    Compression,
    Scheme,
    chunks_in,
    encode_chunk,
    read_headers,
    rows_of,
)

FRAMES = [
    {"block_size": size, "block_linked": linked, "store_size": told, **sums}
    for size, linked, told, sums in product(
        (4, 5, 6, 7),
        (False, True),
        (False, True),
        ({}, {"content_checksum": True}, {"block_checksum": True}),
    )
]


def stored(scheme: Scheme, raw: bytes, frame: dict[str, object]) -> bytes:
    """A chunk with its header, its frame as somebody else may write it."""
    data = raw
    if scheme is not Scheme.NONE:
        data = lz4.frame.compress(grouped(raw) if scheme is Scheme.BG4_LZ4 else raw, **frame)
    lengths = len(data).to_bytes(3, "little") + bytes([scheme]) + len(raw).to_bytes(3, "little")
    return b"\0" + lengths + data


def content(chance: random.Random) -> bytes:
    """Bytes of some kind: noise, what repeats within few or many bytes, few different ones, a mixture."""
    length = chance.choice([1, 4, 5, 12, 13, 17, 300, 65_535, 65_537, MAX_CHUNK_BYTES])
    pattern = chance.randbytes(chance.randrange(1, 40))
    kinds = (
        chance.randbytes(length),
        pattern * (length // len(pattern) + 1),
        bytes(chance.choices(range(chance.randrange(1, 30)), k=length)),
        b"".join(chance.choice([chance.randbytes(50), pattern * 9]) for _ in range(length // 50 + 1)),
    )
    return chance.choice(kinds)[:length]


def decoded(decoder: Decoder, data: bytes) -> list[bytes]:
    """What a decoder makes of chunks."""
    found, chunks = list[bytes](), read_headers(memoryview(data))
    while chunks:
        some = chunks[: fitting(chunks)]
        start = some[0].data_start
        decoder.stored[: some[-1].end - start] = data[start : some[-1].end]
        run = [bytes(piece) for piece in decoder.decode(some, start)]
        assert bytes(decoder.together()) == b"".join(run)
        assert b"".join(decoder.decode_rows(rows_of(some), start)) == b"".join(run)
        found += run
        chunks = chunks[len(some) :]
    return found


def test_every_kind_of_frame_is_decoded(way: str) -> None:
    chance, decoder = random.Random(4), new_decoder()
    for frame in FRAMES:
        raws = [content(chance) for _ in range(6)]
        data = b"".join(stored(chance.choice(tuple(Scheme)), raw, frame) for raw in raws)
        assert decoded(decoder, data) == raws, frame


def test_what_is_damaged_is_refused_by_both_or_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wasmtime")
    with_loops = new_decoder()
    monkeypatch.setattr(compiled, "take", lambda: None)
    without = new_decoder()
    assert type(with_loops) is not type(without)
    chance, refused = random.Random(11), 0
    for number in range(300):
        raw = content(chance)[: chance.choice([20, 200, 2000, 9000])]
        scheme = Scheme.LZ4 if number % 2 else Scheme.BG4_LZ4
        good = stored(scheme, raw, FRAMES[number % len(FRAMES)])
        data = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(5, len(data))] = chance.choice([0, 1, 255, chance.randrange(256)])
        outcomes = [_outcome(decoder, bytes(data)) for decoder in (with_loops, without)]
        assert outcomes[0] == outcomes[1]
        for decoder in (with_loops, without):
            assert decoded(decoder, good) == [raw]
        refused += outcomes[0] is None
    assert 50 < refused < 290


def _outcome(decoder: Decoder, data: bytes) -> list[bytes] | None:
    try:
        return decoded(decoder, data)
    except BadXorb:
        return None


def test_a_good_frame_is_decoded_after_a_bad_one(way: str) -> None:
    raw, decoder = random.Random(2).randbytes(300) * 9, new_decoder()
    good = stored(Scheme.LZ4, raw, {"store_size": False})
    cut = lz4.frame.compress(raw, store_size=True)[:-9]
    bad = b"\0" + len(cut).to_bytes(3, "little") + b"\1" + len(raw).to_bytes(3, "little") + cut
    for _ in range(2):
        with pytest.raises(BadXorb):
            decoded(decoder, bad)
        assert decoded(decoder, good) == [raw]


def test_a_run_that_failed_leaves_nothing_behind(way: str) -> None:
    good = encode_chunk(b"abcd" * 5000, "bg4-lz4")
    bad = bytearray(good)
    bad[5] += 1  # the raw length
    data, decoder = good + bytes(bad), new_decoder()
    for _ in range(3):
        with pytest.raises(BadXorb):
            decoded(decoder, data)
    assert decoded(decoder, good) == [b"abcd" * 5000]


@pytest.mark.parametrize("scheme", [Scheme.NONE, Scheme.LZ4, Scheme.BG4_LZ4])
def test_a_chunk_stored_raw_has_the_length_it_tells(way: str, scheme: Scheme) -> None:
    bad = b"\0" + (5).to_bytes(3, "little") + b"\0" + (6).to_bytes(3, "little") + b"12345"
    data, decoder = stored(scheme, b"abcd" * 5000, {}) + bad, new_decoder()
    with pytest.raises(BadXorb):
        decoded(decoder, data)
    decoder.stored[: len(data)] = data
    with pytest.raises(BadXorb):
        decoder.decode_rows(rows_of(read_headers(memoryview(data))))


def test_many_chunks_at_once_are_what_each_of_them_is(way: str) -> None:
    chance = random.Random(7)
    raws = [chance.randbytes(chance.randrange(1, 9)) * chance.randrange(1, 4000) for _ in range(60)]
    raws += [chance.randbytes(length) for length in (1, 2, 3, 5, 70_001)]
    raws += [bytes(MAX_CHUNK_BYTES)] * 40
    raws += [b"x"] * 2500
    kinds: tuple[Compression, ...] = ("auto", "none", "lz4", "bg4-lz4")
    data = b"head" + b"".join(encode_chunk(raw, chance.choice(kinds)) for raw in raws)
    chunks = [chunk._replace(data_start=chunk.data_start + 4) for chunk in read_headers(memoryview(data)[4:])]
    assert len({chunk.scheme for chunk in chunks}) == 3
    some = chunks[5:]
    base = some[0].data_start
    assert decode_chunks(memoryview(data)[base:], some, base) == raws[5:]


def test_more_than_fits_is_not_begun(way: str) -> None:
    data = b"".join(encode_chunk(bytes(MAX_CHUNK_BYTES), "lz4") for _ in range(20))
    decoder = new_decoder()
    decoder.stored[: len(data)] = data
    with pytest.raises(ValueError, match="more chunks than fit"):
        decoder.decode(read_headers(memoryview(data)))
    with pytest.raises(ValueError, match="more chunks than fit"):
        decoder.decode_rows(rows_of(read_headers(memoryview(data))))


def test_rows_are_the_chunks_they_were_made_of() -> None:
    chunks = read_headers(memoryview(encode_chunk(bytes(90), "lz4") + encode_chunk(b"abc")))
    assert chunks_in(rows_of(chunks)) == chunks
    assert [chunk.scheme for chunk in chunks_in(rows_of(chunks))] == [Scheme.LZ4, Scheme.NONE]


def test_what_was_decoded_outlives_the_decoder(way: str) -> None:
    raw = random.Random(3).randbytes(999) * 90
    data, decoder = stored(Scheme.BG4_LZ4, raw, {}), new_decoder()
    decoder.stored[: len(data)] = data
    (piece,) = decoder.decode(read_headers(memoryview(data)))
    del decoder
    compiled.forget_all()
    gc.collect()
    assert piece == raw


def test_memory_is_used_again(way: str) -> None:
    decoder = new_decoder()
    decoder.stored[:4] = b"mark"
    retire(decoder)
    assert new_decoder().stored[:4] == b"mark"
