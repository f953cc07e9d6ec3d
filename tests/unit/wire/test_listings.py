from __future__ import annotations

import pytest

from moongate.core.errors import BadRequest, UpstreamBroken
from moongate.core.names import RepoId
from moongate.core.records import FileEntry, RepoFacts
from moongate.wire.listings import (
    info_facts,
    paths_asked,
    paths_question,
    sibling_entries,
    tree_entries,
    without_xet,
    xet_where,
)

COMMIT = "c" * 40
SHA256 = "a" * 64
OID = "0" * 40
REPO = RepoId("model", "acme/tiny")
SMALL = {"type": "file", "oid": OID, "size": 7, "path": "config.json"}
LARGE = {
    "type": "file",
    "oid": OID,
    "size": 1000,
    "path": "sub/model.bin",
    "lfs": {"oid": SHA256, "size": 1000, "pointerSize": 134},
    "xetHash": "d" * 64,
}
FOLDER = {"type": "directory", "oid": OID, "size": 0, "path": "sub"}


def test_a_tree_gives_its_files() -> None:
    assert tree_entries([SMALL, FOLDER, LARGE]) == [
        FileEntry("config.json", OID, 7),
        FileEntry("sub/model.bin", SHA256, 1000, "d" * 64),
    ]


@pytest.mark.parametrize("odd", ["d" * 63, 7, None, "../" + "d" * 61])
def test_what_is_no_xet_id_is_none(odd: object) -> None:
    assert tree_entries([{**LARGE, "xetHash": odd}])[0].xet_hash is None
    assert tree_entries([{**SMALL, "xetHash": "d" * 64}])[0].xet_hash is None, "small files are never in Xet"


def test_siblings_give_files_when_they_have_hashes() -> None:
    told = {
        "siblings": [
            {"rfilename": "a.txt", "blobId": OID, "size": 3},
            {"rfilename": "b.bin", "blobId": OID, "size": 9, "lfs": {"sha256": SHA256, "size": 9}},
            {"rfilename": "unknown"},
        ]
    }
    assert sibling_entries(told) == [FileEntry("a.txt", OID, 3), FileEntry("b.bin", SHA256, 9)]
    assert sibling_entries({"id": "acme/tiny"}) == []


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {**SMALL, "path": "../etc/passwd"},
        {**SMALL, "path": "/etc/passwd"},
        {**SMALL, "path": None},
        {**SMALL, "oid": "zz"},
        {**SMALL, "oid": SHA256},
        {**SMALL, "size": -1},
        {**SMALL, "size": "7"},
        {**SMALL, "size": True},
        {**SMALL, "size": 1 << 70},
        {**LARGE, "lfs": {"oid": OID, "size": 1}},
    ],
)
def test_entries_that_cannot_be(entry: object) -> None:
    with pytest.raises(UpstreamBroken):
        tree_entries([entry])


@pytest.mark.parametrize("told", [None, {}, "text", 3])
def test_a_listing_that_is_none(told: object) -> None:
    with pytest.raises(UpstreamBroken):
        tree_entries(told)


def test_xet_is_taken_out_and_nothing_else() -> None:
    assert without_xet([SMALL, LARGE]) == [SMALL, {k: v for k, v in LARGE.items() if k != "xetHash"}]
    info = {"id": "acme/tiny", "siblings": [{"rfilename": "a", "xetHash": "x"}], "xetEnabled": True}
    assert without_xet(info) == {"id": "acme/tiny", "siblings": [{"rfilename": "a"}]}
    assert info["siblings"] == [{"rfilename": "a", "xetHash": "x"}], "the argument is left as it was"
    assert without_xet("text") == "text"


def test_xet_ids_stay_on_those_files_that_are_offered() -> None:
    other = {**LARGE, "path": "other.bin"}
    shown = xet_where([SMALL, LARGE, other, FOLDER], lambda entry: entry.path == "other.bin")
    assert shown == [SMALL, {k: v for k, v in LARGE.items() if k != "xetHash"}, other, FOLDER]
    broken = {**LARGE, "size": -1, "lfs": {"oid": SHA256, "size": -1}}
    assert "xetHash" not in str(xet_where([broken], lambda _: True)), "what makes no sense is not offered"
    assert xet_where({"id": "acme/tiny", "xetEnabled": True}, lambda _: True) == {"id": "acme/tiny"}


@pytest.mark.parametrize(
    ("private", "gated", "expected"),
    [
        (False, False, (False, False)),
        (True, "auto", (True, True)),
        (False, "manual", (False, True)),
        (None, None, (None, None)),
        ("yes", 1, (None, None)),
    ],
)
def test_the_facts_of_an_info_answer(private: object, gated: object, expected: tuple[object, object]) -> None:
    told = {"id": "acme/renamed", "sha": COMMIT, "private": private, "gated": gated}
    facts, commit_hash = info_facts(told, REPO, 5.0)
    assert commit_hash == COMMIT
    assert facts == RepoFacts(RepoId("model", "acme/renamed"), *expected, 5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "told",
    [[], {"id": "acme/tiny"}, {"sha": "main"}, {"sha": COMMIT, "id": "../x"}, {"sha": COMMIT, "id": 5}],
)
def test_info_that_makes_no_sense(told: object) -> None:
    with pytest.raises(UpstreamBroken):
        info_facts(told, REPO, 5.0)


@pytest.mark.parametrize(
    ("body", "content_type", "asked"),
    [
        (
            b"paths=a.txt&paths=sub%2Fb+c&expand=False",
            "application/x-www-form-urlencoded",
            (["a.txt", "sub/b c"], False),
        ),
        (b"paths=a.txt&expand=true", "application/x-www-form-urlencoded", (["a.txt"], True)),
        (b'{"paths":["a.txt","../x"],"expand":true}', "application/json; charset=utf-8", (["a.txt"], True)),
        (b'{"paths":"a.txt"}', "application/json", (["a.txt"], False)),
    ],
)
def test_paths_asked_for_as_a_form_or_as_json(
    body: bytes, content_type: str, asked: tuple[list[str], bool]
) -> None:
    assert paths_asked(body, content_type) == asked


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"paths":[1]}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"paths=%ff", "application/x-www-form-urlencoded"),
        (b"&".join(b"paths=%d" % n for n in range(2001)), "application/x-www-form-urlencoded"),
        (b"&".join(b"paths=%d" % n for n in range(3000)), "application/x-www-form-urlencoded"),
    ],
)
def test_paths_questions_that_make_no_sense(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        paths_asked(body, content_type)


def test_our_own_question_reads_back() -> None:
    assert paths_asked(paths_question(["a", "ü/b"], True), "application/json") == (["a", "ü/b"], True)
