"""Laws of git's objects: what is written reads back, and nothing that anybody sends breaks a reader."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from moongate.core.errors import BadRequest
from moongate.wire.git_objects import (
    OBJECT_KINDS,
    CommitObject,
    Signature,
    TagObject,
    TreeItem,
    encode_commit,
    encode_tag,
    encode_tree,
    parse_commit,
    parse_tag,
    parse_tree,
)

oids = st.text("0123456789abcdef", min_size=40, max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
    lambda text: text not in (".", "..")
)
items = st.builds(TreeItem, st.sampled_from([0o100644, 0o100755, 0o120000, 0o40000, 0o160000]), names, oids)
trees = st.lists(items, unique_by=lambda item: item.name, max_size=12)
people = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>\n\0"), max_size=20).map(
    str.strip
)
offsets = st.from_regex(r"[+-][0-9]{4}", fullmatch=True)
signatures = st.builds(Signature, people, people, st.integers(-(10**12), 10**12), offsets)
messages = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
commits = st.builds(
    CommitObject, oids, st.lists(oids, max_size=3).map(tuple), signatures, signatures, messages
)
tags = st.builds(
    TagObject,
    oids,
    st.sampled_from(OBJECT_KINDS),
    names.filter(lambda n: "\n" not in n),
    signatures,
    messages,
)


@given(trees)
def test_a_tree_reads_back_in_one_order(items: list[TreeItem]) -> None:
    body = encode_tree(items)
    read = parse_tree(body)
    assert set(read) == set(items)
    assert encode_tree(reversed(read)) == body


@given(commits)
def test_a_commit_reads_back(commit: CommitObject) -> None:
    assert parse_commit(encode_commit(commit)) == commit


@given(tags)
def test_a_tag_reads_back(tag: TagObject) -> None:
    read = parse_tag(encode_tag(tag))
    assert (read.target, read.target_kind, read.tagger, read.message) == (
        tag.target,
        tag.target_kind,
        tag.tagger,
        tag.message,
    )


@given(st.binary(max_size=200), st.one_of(trees.map(encode_tree), commits.map(encode_commit)), st.data())
def test_readers_only_ever_say_bad_request(noise: bytes, body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body)))
    for sent in (noise, body[:at], body[:at] + noise + body[at:]):
        for read in (parse_tree, parse_commit, parse_tag):
            with contextlib.suppress(BadRequest):
                read(sent)  # type: ignore[operator]
