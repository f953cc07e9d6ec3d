"""Chromium, and a gateway to look at, for each file of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.pages import Stage, chromium, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gateway on loopback: whoever sits at this machine may everything."""
    with staged(tmp_path_factory.mktemp("pages")) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gateway that others can reach: everybody needs a token."""
    allowed = {"MOONGATE_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}
    folder = tmp_path_factory.mktemp("closed")
    with staged(folder, "--host", "0.0.0.0", settings=allowed) as running:
        yield running


@pytest.fixture(scope="module")
def browser(program: Callable[[str], Path]) -> Iterator[Browser]:
    """Debian's Chromium. Not for longer than a module: its event loop would keep others from running."""
    with chromium(program("chromium")) as running:
        yield running
