"""A Hub double, a real index in SQLite, and proxied repositories between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moongate.core.names import RepoId
from moongate.double import HubDouble
from support.yard import TINY, Clock, Gate, Yard


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    double.add_user("alice", "hf_alice", grants=["acme/gated", "acme/private"])
    double.add_user("bob", "hf_bob")
    with double.running():
        yield double


@pytest.fixture
async def yard(hub: HubDouble, tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(hub, tmp_path, Clock())
    yield yard
    for gate in yard.gates:
        await gate.proxied.close()
        await gate.upstream.close()
        gate.index.close()


@pytest.fixture
def gate(yard: Yard) -> Gate:
    return yard.gate()


@pytest.fixture
def tiny(hub: HubDouble) -> RepoId:
    """A public model with one commit."""
    hub.add_repo("acme/tiny").commit({"config.json": b"{}", "sub/a.txt": b"a", "sub/deep/b.txt": b"b"})
    return TINY
