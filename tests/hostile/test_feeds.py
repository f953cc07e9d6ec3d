"""Feeds that lie, break or burst: every parser ends with what it understood, or says that it is none."""

from __future__ import annotations

import io
import json
import random
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.errors import MoongateError
from moongate.scan.feeds import hub_status, osv, virustotal
from moongate.scan.feeds.hash_lists import read_hash_list
from moongate.scan.feeds.misp import read_event, read_manifest
from moongate.scan.feeds.refreshing import fits
from moongate.scan.feeds.stix import equalities, read_bundle, read_objects
from moongate.scan.feeds.subjects import read_subject
from moongate.scan.feeds.yara_rules import read_rules
from support.feeds import indicator, osv_zip

A = "a" * 64

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["type", "bundle", "objects", "indicator", "pattern", "Event", "Attribute", "Object", "value", "to_ids",
     "data", "attributes", "last_analysis_stats", "malicious", "status", "avScan", "pickleImportScan",
     "affected", "package", "ranges", "events", "introduced", "versions", "id", "iocs", "gti_assessment",
     "threat_score"]
)  # fmt: skip
SHAPED = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(WORDS, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(SHAPED)
def test_json_of_any_shape_is_understood_or_refused(told: object) -> None:
    body = json.dumps(told).encode()
    for read in (
        lambda: [fits(one) for one in read_bundle(body, 1.0, 75).indicators],
        lambda: read_objects([told], 1.0, 75),
        lambda: read_manifest(body),
        lambda: read_event(body, "u", 75),
        lambda: virustotal.read_file(body, A),
        lambda: virustotal.read_threat_list(body, 60, "x"),
        lambda: list(osv.read_advisories(osv_zip({"id": "x", "told": told}))),
        lambda: list(osv.read_advisory(told)) if isinstance(told, dict) else None,
        lambda: hub_status.findings_of(told),
    ):
        try:
            read()
        except MoongateError:
            continue


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_bytes_of_any_kind_are_understood_or_refused(body: bytes) -> None:
    for read in (
        lambda: read_hash_list(body, 75),
        lambda: read_bundle(body, 1.0, 75),
        lambda: read_rules(body),
        lambda: list(osv.read_advisories(body)),
        lambda: read_subject(body.decode("latin-1")),
        lambda: osv.wanted(body.decode("latin-1")),
        lambda: equalities(body.decode("latin-1")),
    ):
        try:
            read()
        except MoongateError:
            continue


def test_patterns_made_to_take_long_do_not() -> None:
    for pattern in (
        "[" * 9000,
        "[url:value = '" + "\\" * 9000,
        "[file:hashes.'" + "A" * 9000 + "' = ''",
        " OR " * 4000,
    ):
        assert equalities(pattern) is None


@pytest.mark.parametrize("level", [1, 9])
def test_a_zip_that_bursts_is_refused_before_it_does(level: int) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("bomb.json", b"[" + b" " * (64 << 20) + b"]")
    with pytest.raises(MoongateError):
        list(osv.read_advisories(held.getvalue()))


def test_damaged_zips_of_advisories_are_refused_or_read() -> None:
    whole = osv_zip({"id": "X-1", "affected": [{"package": {"ecosystem": "PyPI", "name": "x"}}]})
    chance = random.Random(7)
    for _ in range(500):
        body = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            list(osv.read_advisories(bytes(body)))
        except MoongateError:
            continue


def test_half_surrogates_and_nuls_are_kept_out_of_the_index() -> None:
    # JSON cannot carry them past the parser, or they are left out before they are written.
    said = read_objects([indicator(A, name="a\ud800"), indicator("b" * 64, name="a\0b")], 1_790_000_000.0, 75)
    assert [fits(one) for one in said.indicators] == [False, True]
