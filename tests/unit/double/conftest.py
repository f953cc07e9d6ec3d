"""A running double with one small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble, LfsFile, Repo
from unit.double.plain import ALICE, BOB, CAROL, WEIGHTS


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    made = HubDouble(tmp_path / "state")
    repo = made.add_repo("acme/tiny")
    card = "---\nlicense: mit\ntags:\n- small\n---\n# Tiny\n"
    repo.commit({"README.md": card, "config.json": b'{"a": "' + b"x" * 2000 + b'"}'}, message="first")
    repo.tag("v1")
    files = {"model.safetensors": LfsFile(WEIGHTS), "sub dir/a+b.txt": "hi"}
    repo.commit(files, message="second")
    repo.branch("feat/x")
    made.add_user("alice", ALICE, orgs=["acme"])
    made.add_user("bob", BOB, role="read")
    made.add_user("carol", CAROL, grants=["acme/gated", "acme/secret"])
    with made.running():
        yield made


@pytest.fixture
def tiny(double: HubDouble) -> Repo:
    return double.repo("acme/tiny")
