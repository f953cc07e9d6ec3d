"""A house with one hosted repository behind git's door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.git_house import GitHouse, git_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[GitHouse]:
    async with git_house(tmp_path) as house:
        yield house
