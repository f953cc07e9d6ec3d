"""A furnished Hub double for the whole run, and a gateway process in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import Gateway
from support.hub import FurnishedHub, furnished

_OLD = ("hub-1.", "hub-0.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The newest client is driven each time, those before it by `make test-long`."""
    for item in items:
        if "clients" in item.path.parts and any(old in item.name for old in _OLD):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[FurnishedHub]:
    """The Hub double every test here reads, and none changes."""
    with furnished(tmp_path_factory.mktemp("hub"), minilm) as furnished_hub:
        yield furnished_hub


@pytest.fixture(scope="session")
def gateway(hub: FurnishedHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests that do not care what it holds already."""
    home = tmp_path_factory.mktemp("gateway") / "home"
    with Gateway(home, hub.url, cdn=hub.hosts) as running:
        yield running


@pytest.fixture
def fresh_gateway(hub: FurnishedHub, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that holds nothing yet."""
    with Gateway(tmp_path / "home", hub.url, cdn=hub.hosts) as running:
        yield running
