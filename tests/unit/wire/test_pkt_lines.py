from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moongate.core.errors import BadRequest
from moongate.wire.pkt_lines import (
    FLUSH,
    NOWHERE,
    RefCommand,
    advertisement,
    objects_announced,
    packet,
    read_push_head,
    report,
    words,
)

A, B = "a" * 40, "b" * 40


def test_the_commands_of_a_push_are_read() -> None:
    sent = (
        packet(f"shallow {A}\n")
        + packet(f"{A} {B} refs/heads/main\0 report-status side-band-64k agent=git/2.39.5")
        + packet(f"{NOWHERE} {B} refs/tags/v1\n")
        + packet(f"{A} {NOWHERE} refs/heads/old")
        + FLUSH
    )
    found = read_push_head(sent + b"PACK")
    assert found is not None
    head, at = found
    assert at == len(sent)
    assert head.commands == (
        RefCommand("refs/heads/main", A, B),
        RefCommand("refs/tags/v1", None, B),
        RefCommand("refs/heads/old", A, None),
    )
    assert head.has_bands
    assert head.brings_pack
    assert all(read_push_head(sent[:end]) is None for end in range(len(sent)))


def test_deletions_alone_bring_no_pack() -> None:
    found = read_push_head(packet(f"{A} {NOWHERE} refs/heads/old\0delete-refs") + FLUSH)
    assert found is not None
    assert not found[0].brings_pack


@pytest.mark.parametrize(
    "sent",
    [
        b"zzzz",
        b"0001",
        b"0004",
        b"fff5" + b"x" * 70000,
        packet("hello") + FLUSH,
        packet(f"{NOWHERE} {NOWHERE} refs/heads/x") + FLUSH,
        packet(f"{A} {B} refs/heads/x\0") + packet(f"{A} {B} refs/heads/x") + FLUSH,
        packet(f"{A} {B} refs/heads/x y\0") + FLUSH,
        packet(b"\xff" * 90) + FLUSH,
        packet(f"{A} {B} refs/heads/x") * 20000,
    ],
)
def test_what_is_no_push_is_refused(sent: bytes) -> None:
    with pytest.raises(BadRequest):
        read_push_head(sent)


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    with contextlib.suppress(BadRequest):
        read_push_head(noise)
    with contextlib.suppress(BadRequest):
        objects_announced(noise)


def test_refs_are_offered_in_order_with_what_may_be_asked() -> None:
    told = advertisement({"refs/tags/v1": B, "refs/heads/main": A}, "moongate/1")
    first, second = f"{A} refs/heads/main\0", f"{B} refs/tags/v1\n"
    assert told.startswith(b"001f# service=git-receive-pack\n0000")
    assert told.index(first.encode()) < told.index(second.encode())
    assert b" atomic " in told
    assert told.endswith(FLUSH)
    assert f"{NOWHERE} capabilities^{{}}\0".encode() in advertisement({}, "moongate/1")


def test_a_report_says_what_became_of_each_ref() -> None:
    plain = report("ok", [("refs/heads/a", None), ("refs/heads/b", "not\nnow")], has_bands=False)
    assert (
        plain
        == packet("unpack ok\n") + packet("ok refs/heads/a\n") + packet("ng refs/heads/b not now\n") + FLUSH
    )
    assert report("ok", [], has_bands=True) == packet(b"\1" + packet("unpack ok\n") + FLUSH) + FLUSH
    assert words("x" * 70000).count(b"\2") == 2


def test_a_pack_says_how_many_objects_it_has() -> None:
    assert objects_announced(b"PACK\0\0\0\2\0\0\1\1") == 257
    assert objects_announced(b"PACK\0\0\0\2") is None
    with pytest.raises(BadRequest):
        objects_announced(b"PACK\0\0\0\7\0\0\1\1")
