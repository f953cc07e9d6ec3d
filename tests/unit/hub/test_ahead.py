"""Batches decoded ahead: each once, whoever comes first; closed once, whenever nobody wants it any more."""

from __future__ import annotations

import threading

import pytest

from moongate.core.errors import StoreError
from moongate.hub.ahead import Decoding, Helpers
from moongate.store.pieces import Piece

_PATIENCE_SECONDS = 60.0


class Slow:
    """A batch that is decoded when it may be, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.decoded = self.closed = 0
        self.begun, self.may_end, self.shut = threading.Event(), threading.Event(), threading.Event()
        self.by = ""
        self._error = error

    def pieces(self) -> list[Piece]:
        self.decoded += 1
        self.by = threading.current_thread().name
        self.begun.set()
        assert self.may_end.wait(_PATIENCE_SECONDS)
        if self._error is not None:
            raise self._error
        return [memoryview(b"raw")]

    def close(self) -> None:
        self.closed += 1
        self.shut.set()


def decoding(batch: Slow) -> Decoding:
    return Decoding(batch)  # type: ignore[arg-type]


def test_a_helper_decodes_what_is_offered_and_the_reader_waits_for_it() -> None:
    helpers, batch = Helpers(1), Slow()
    one = decoding(batch)
    helpers.offer(one)
    assert batch.begun.wait(_PATIENCE_SECONDS)
    assert not one.begin()
    assert not one.is_done
    batch.may_end.set()
    assert one.pieces() == [b"raw"]
    assert (batch.decoded, batch.by, one.is_done) == (1, "decode", True)
    helpers.close()


def test_the_reader_decodes_what_no_helper_has_begun_with() -> None:
    helpers, busy, mine, last = Helpers(1), Slow(), Slow(), Slow()
    first, second, third = decoding(busy), decoding(mine), decoding(last)
    for one in (first, second, third):
        helpers.offer(one)
    assert busy.begun.wait(_PATIENCE_SECONDS)
    mine.may_end.set()
    assert second.begin()
    assert mine.by == threading.current_thread().name
    busy.may_end.set()
    last.may_end.set()
    assert third.pieces() == second.pieces() == first.pieces()
    assert (busy.decoded, mine.decoded, last.decoded) == (1, 1, 1)
    helpers.close()


def test_what_went_wrong_is_told_to_the_reader_and_the_helper_goes_on() -> None:
    helpers, bad, good = Helpers(1), Slow(StoreError("it is lost")), Slow()
    first, second = decoding(bad), decoding(good)
    helpers.offer(first)
    helpers.offer(second)
    bad.may_end.set()
    good.may_end.set()
    with pytest.raises(StoreError, match="it is lost"):
        first.pieces()
    assert second.pieces() == [b"raw"]
    helpers.close()


def test_given_up_before_it_was_begun_it_is_closed_and_never_decoded() -> None:
    helpers, batch, after = Helpers(1), Slow(), Slow()
    one = decoding(batch)
    one.give_up()
    one.give_up()
    helpers.offer(one)
    helpers.offer(decoding(after))
    assert after.begun.wait(_PATIENCE_SECONDS)
    assert (batch.decoded, batch.closed) == (0, 1)
    after.may_end.set()
    helpers.close()


def test_given_up_while_it_is_decoded_it_is_closed_when_it_was() -> None:
    helpers, batch = Helpers(1), Slow()
    one = decoding(batch)
    helpers.offer(one)
    assert batch.begun.wait(_PATIENCE_SECONDS)
    one.give_up()
    assert not batch.closed
    batch.may_end.set()
    assert batch.shut.wait(_PATIENCE_SECONDS)
    one.give_up()
    assert batch.closed == 1
    helpers.close()
