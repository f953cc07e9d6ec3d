"""Which files are offered as Xet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.names import RepoPath
from moongate.core.records import FileEntry
from moongate.hub.offers import PLAIN_LIMIT_BYTES, TROUBLE_SECONDS, XetOffers
from moongate.store.index import Index
from support.yard import Clock

ETAG, FILE_ID = Etag("e" * 64), "f" * 64
ENTRY = FileEntry(RepoPath("model.safetensors"), ETAG, 1000, FILE_ID)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite3") as opened:
        yield opened


def proven(index: Index) -> None:
    index.put_reconstruction(FILE_ID, ETAG, 1000, [], {}, 1.0)
    assert index.mark_verified(FILE_ID, ETAG, 2.0)


def test_what_upstream_keeps_in_xet_is_offered_so(index: Index) -> None:
    offers = XetOffers(index)
    assert offers.offered(ENTRY)
    assert not offers.offered(FileEntry(ENTRY.path, ETAG, 1000)), "upstream has it not in Xet"
    assert not offers.offered(FileEntry(ENTRY.path, Etag("e" * 40), 1000, FILE_ID)), "small files never are"
    assert not XetOffers(index, enabled=False).offered(ENTRY)


def test_offline_only_what_is_proven_is_offered(index: Index) -> None:
    index.put_reconstruction(FILE_ID, ETAG, 1000, [], {}, 1.0)
    assert not XetOffers(index, offline=True).offered(ENTRY)
    proven(index)
    assert XetOffers(index, offline=True).offered(ENTRY)


def test_content_that_lies_here_in_another_way_is_not_fetched_again(index: Index) -> None:
    index.put_blob(ETAG, 1000, 1.0)
    assert not XetOffers(index).offered(ENTRY)
    huge = FileEntry(ENTRY.path, ETAG, PLAIN_LIMIT_BYTES + 1, FILE_ID)
    assert XetOffers(index).offered(huge), "clients do not read it plainly"
    proven(index)
    assert XetOffers(index).offered(ENTRY)


def test_what_failed_is_offered_plainly_for_a_while(index: Index) -> None:
    clock = Clock()
    offers = XetOffers(index, clock=clock)
    other = FileEntry(ENTRY.path, Etag("d" * 64), 1000, "c" * 64)
    offers.withdraw(FILE_ID)
    assert (offers.offered(ENTRY), offers.offered(other), offers.serial) == (False, True, 1)
    offers.withdraw(FILE_ID)
    assert offers.serial == 1, "nothing changed for those who keep answers"
    clock.advance(TROUBLE_SECONDS + 1)
    assert offers.offered(ENTRY)
    offers.withdraw()
    assert (offers.offered(ENTRY), offers.offered(other), offers.serial) == (False, False, 2)
    proven(index)
    assert offers.offered(ENTRY), "what is here needs no upstream"
