"""Reconstructions of an upstream that makes no sense are refused, whatever part is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from moongate.core.errors import UpstreamBroken
from moongate.core.spans import ByteSpan
from moongate.xet.hashes import parse_hash
from moongate.xet.reconstruction import FetchRange, Term, read_reconstruction

XORB = "6f2ce16ca5e317f0100ff0e7e5bf40a0de9032e9ee1ad04b6b8ff4e36cdfbf6c"
TERMS = [{"hash": XORB, "unpacked_length": 1_000_000, "range": {"start": 0, "end": 19}}]
V1: dict[str, Any] = {
    "offset_into_first_range": 0,
    "terms": TERMS,
    "fetch_info": {
        XORB: [
            {
                "range": {"start": 0, "end": 19},
                "url": "https://cdn.test/x",
                "url_range": {"start": 0, "end": 701_638},
            }
        ]
    },
}
V2: dict[str, Any] = {
    "offset_into_first_range": 0,
    "terms": TERMS,
    "xorbs": {
        XORB: [
            {
                "url": "https://cdn.test/x",
                "ranges": [{"chunks": {"start": 0, "end": 19}, "bytes": {"start": 0, "end": 701_638}}],
            }
        ]
    },
}


@pytest.mark.parametrize("told", [V1, V2], ids=["v1", "v2"])
def test_both_versions_are_read(told: dict[str, Any]) -> None:
    answer = read_reconstruction(told)
    term = Term(parse_hash(XORB), 1_000_000, 0, 19)
    assert answer.terms == (term,)
    assert answer.fetch_of(term) == FetchRange(0, 19, ByteSpan(0, 701_639), "https://cdn.test/x")
    assert answer.unpacked_bytes == 1_000_000


def test_more_fields_do_no_harm() -> None:
    told = copy.deepcopy(V2)
    told["terms"][0]["chunk_byte_sizes"] = [1, 2]
    told["news"] = {}
    assert read_reconstruction(told) == read_reconstruction(V2)


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no terms": lambda told: told.pop("terms"),
    "no ranges": lambda told: told.pop("xorbs"),
    "terms of another kind": lambda told: told.update(terms={}),
    "a term of another kind": lambda told: told.update(terms=[1]),
    "no hash": lambda told: told["terms"][0].update(hash="0123"),
    "a hash of another kind": lambda told: told["terms"][0].update(hash=7),
    "no length": lambda told: told["terms"][0].update(unpacked_length=0),
    "a negative length": lambda told: told["terms"][0].update(unpacked_length=-1),
    "a true length": lambda told: told["terms"][0].update(unpacked_length=True),
    "a huge length": lambda told: told["terms"][0].update(unpacked_length=1 << 40),
    "no chunks": lambda told: told["terms"][0].update(range={"start": 3, "end": 3}),
    "chunks backwards": lambda told: told["terms"][0].update(range={"start": 5, "end": 3}),
    "too many chunks": lambda told: told["terms"][0].update(range={"start": 0, "end": 8193}),
    "chunks that are not fetched": lambda told: told["terms"][0].update(range={"start": 0, "end": 20}),
    "another xorb": lambda told: told["terms"][0].update(hash="0" * 64),
    "an offset beyond": lambda told: told.update(offset_into_first_range=1_000_000),
    "a negative offset": lambda told: told.update(offset_into_first_range=-1),
    "a URL of another kind": lambda told: told["xorbs"][XORB][0].update(url=None),
    "bytes backwards": lambda told: told["xorbs"][XORB][0]["ranges"][0].update(bytes={"start": 9, "end": 3}),
    "too many bytes": lambda told: told["xorbs"][XORB][0]["ranges"][0].update(
        bytes={"start": 0, "end": 1 << 40}
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_makes_no_sense_is_refused(lie: Callable[[dict[str, Any]], object]) -> None:
    told = copy.deepcopy(V2)
    lie(told)
    with pytest.raises(UpstreamBroken):
        read_reconstruction(told)


@pytest.mark.parametrize("told", [None, [], "x", 3, {}])
def test_what_is_no_object_is_refused(told: object) -> None:
    with pytest.raises(UpstreamBroken):
        read_reconstruction(told)
