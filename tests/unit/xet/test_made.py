"""Chunks made of plain bytes: a client puts together the very file from them, whatever its reconstruction."""

from __future__ import annotations

import random

import pytest

from moongate.core.digests import Etag
from moongate.xet.bounds import MAX_CHUNK_BYTES
from moongate.xet.decoding import decode_chunk
from moongate.xet.hashes import XetHash
from moongate.xet.made import MadeRanges, made_up_terms, make_ranges, structure_key
from moongate.xet.reconstruction import Term
from moongate.xet.xorb import read_headers

ETAG = Etag("a" * 64)
X, Y = XetHash(b"x" * 32), XetHash(b"y" * 32)


def stored(made: MadeRanges, content: bytes, start: int, end: int) -> bytes:
    return b"".join(
        part if isinstance(part, bytes) else content[part.start : part.end] for part in made.parts(start, end)
    )


def put_together(made: MadeRanges, terms: tuple[Term, ...], content: bytes) -> bytes:
    """What a client makes of the ranges: it goes by chunk numbers and lengths alone."""
    found = b""
    for term in terms:
        one = next(r for r in made.ranges if r.xorb == term.xorb and r.first <= term.start < r.end)
        view = memoryview(stored(made, content, one.span.start, one.span.end))
        chunks = [bytes(decode_chunk(view, chunk)) for chunk in read_headers(view)]
        assert len(chunks) == one.end - one.first
        assert all(len(chunk) <= MAX_CHUNK_BYTES for chunk in chunks)
        found += b"".join(chunks[term.start - one.first :])[: term.unpacked_bytes]
    return found


@pytest.mark.parametrize("size_bytes", [1, 7, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1, (33 << 20) + 5])
def test_a_made_up_reconstruction_makes_the_file(size_bytes: int) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    terms = made_up_terms(ETAG, size_bytes)
    made = make_ranges(ETAG, terms, {term.xorb: [(term.start, term.end)] for term in terms})
    assert made is not None
    assert put_together(made, terms, content) == content
    assert terms == made_up_terms(ETAG, size_bytes)


def test_ranges_of_several_terms_with_chunks_between_and_terms_that_come_twice() -> None:
    content = random.Random(1).randbytes(500_000)
    terms = (
        Term(X, 100_000, 3, 5),
        Term(Y, 200_001, 0, 9),
        Term(X, 99_999, 7, 8),
        Term(X, 100_000, 3, 5),
    )
    content = content[:100_000] + content[100_000:400_000] + content[:100_000]
    made = make_ranges(ETAG, terms, {X: [(2, 10)], Y: [(0, 9)]})
    assert made is not None
    assert put_together(made, terms, content) == content


def test_any_part_of_the_stream_is_what_the_whole_has_there() -> None:
    chance = random.Random(2)
    content = chance.randbytes(300_000)
    terms = (Term(X, 150_001, 0, 7), Term(Y, 149_999, 2, 4))
    made = make_ranges(ETAG, terms, {X: [(0, 7)], Y: [(1, 5)]})
    assert made is not None
    end = made.ranges[-1].span.end
    whole = stored(made, content, 0, end)
    assert len(whole) == end
    for _ in range(300):
        start = chance.randrange(end)
        stop = min(end, start + chance.choice((1, 7, 8, 9, 1000, 100_000)))
        assert stored(made, content, start, stop) == whole[start:stop]


def test_terms_that_overlap_in_part_cannot_be_made() -> None:
    terms = (Term(X, 100_000, 0, 5), Term(X, 100_000, 3, 8))
    assert make_ranges(ETAG, terms, {X: [(0, 8)]}) is None


def test_other_terms_are_another_structure_and_other_ranges_have_another_key() -> None:
    terms = (Term(X, 100_000, 0, 5), Term(Y, 100_000, 0, 5))
    others = (terms[1], terms[0])
    ranges = {X: [(0, 5)], Y: [(0, 5)]}
    assert structure_key(terms, ranges) != structure_key(others, ranges)
    assert structure_key(terms, ranges) != structure_key(terms, {X: [(0, 6)], Y: [(0, 5)]})
    assert structure_key(terms, ranges) == structure_key(terms, dict(reversed(ranges.items())))
    made, swapped = make_ranges(ETAG, terms, ranges), make_ranges(ETAG, others, ranges)
    assert made is not None
    assert swapped is not None
    assert made.key != swapped.key
