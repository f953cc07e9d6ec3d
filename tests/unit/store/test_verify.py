"""Verification finds every wrong byte, takes it out of service, and continues where it stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.store.keeping import Checked
from store_house import House


def spoil(house: House, etag: Etag, content: bytes) -> None:
    house.layout.blob(etag).write_bytes(content)


def outcomes(checked: list[Checked]) -> dict[Etag, str]:
    return {one.etag: one.outcome for one in checked}


def test_whole_files_of_both_kinds_are_right(house: House) -> None:
    content = b"hello\n"
    small = Etag(hashlib.sha1(b"blob 6\0" + content).hexdigest())
    house.blobs.add(small, 6, iter([content]))
    house.index.put_blob(small, 6, 1.0)
    large = house.seal(b"x" * 3_000_001)
    empty = house.seal(b"")
    hashed: list[int] = []
    checked = list(house.keeping().verify(threads=2, progress=hashed.append))
    assert outcomes(checked) == {small: "right", large: "right", empty: "right"}
    assert sum(hashed) == 3_000_007
    assert all(row.verified_at == house.now for row in house.index.blobs_after("", 10))


@pytest.mark.parametrize("wrong", [b"Aaaa", b"aaa", b"aaaaa", b""])
def test_what_is_wrong_goes_to_quarantine_and_can_be_fetched_again(house: House, wrong: bytes) -> None:
    bad, good = house.seal(b"aaaa"), house.seal(b"bbbb")
    spoil(house, bad, wrong)
    checked = {one.etag: one for one in house.keeping().verify()}
    assert checked[good].outcome == "right"
    assert checked[bad].outcome == "wrong"
    assert "hash to" in checked[bad].why
    quarantined_at = checked[bad].quarantined_at
    assert quarantined_at is not None
    assert quarantined_at.read_bytes() == wrong
    note = json.loads(Path(f"{quarantined_at}.json").read_text())
    assert (note["etag"], note["why"]) == (bad, checked[bad].why)
    assert house.blobs.open(bad) is None
    assert house.here() == {good}
    house.seal(b"aaaa")
    assert outcomes(list(house.keeping().verify())) == {bad: "right", good: "right"}


def test_rows_are_corrected_and_lost_files_forgotten(house: House) -> None:
    lost, unknown = house.seal(b"lost"), house.seal(b"unknown", register=False)
    house.blobs.remove(lost)
    checked = list(house.keeping().verify())
    assert outcomes(checked) == {lost: "gone", unknown: "right"}
    assert house.here() == {unknown}


def test_stopped_it_continues_with_what_it_did_not_see(house: House) -> None:
    etags = {house.seal(bytes([number]) * 1000) for number in range(40)}
    began = house.now
    first = house.keeping().verify(verified_before=began, threads=2)
    seen = {next(first).etag for _ in range(7)}
    first.close()
    house.now += 10
    noted = {row.etag for row in house.index.blobs_after("", 100) if row.verified_at >= began}
    assert seen <= noted
    rest = outcomes(list(house.keeping().verify(verified_before=began)))
    assert set(rest) == etags - noted
    assert list(house.keeping().verify(verified_before=began)) == []


def test_stopping_ends_the_threads_within_a_file(house: House) -> None:
    """The threads see the end of the iterator at their next megabyte, not at the end of their file."""
    for number in range(4):
        house.seal(bytes([number]) * (8 << 20))
    hashed: list[int] = []
    verifying = house.keeping().verify(threads=1, progress=hashed.append)
    next(verifying)
    verifying.close()
    assert sum(hashed) < 4 * (8 << 20)


def test_a_file_that_cannot_be_read_is_wrong(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = house.seal(b"aaaa")

    def broken(*_args: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.preadv", broken)
        (checked,) = house.keeping().verify()
    assert (checked.etag, checked.outcome) == (bad, "wrong")
    assert "cannot be read at byte 0" in checked.why
