"""An index with threat intelligence, and a server that speaks as feeds do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.app.settings import Settings
from moongate.store.index import Index
from support.feed_desk import Desk
from support.feeds import FeedServer


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Index(tmp_path / "index.sqlite3") as index:
        yield Desk(index, Settings(home=tmp_path))


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer() as server:
        yield server
