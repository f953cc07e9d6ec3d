"""Xet files against a Hub double's CAS: each chunk fetched once, proven before its file is complete anywhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.callers import ANONYMOUS
from moongate.core.records import FileAt
from moongate.double import HubDouble, LfsFile
from moongate.hub.xet_files import XetRules
from support.xetting import XetHouse, file_at

MIB = 1 << 20
SIZE = 20 * MIB + 12_345
HouseMaker = Callable[..., XetHouse]


@pytest.fixture(scope="module")
def base() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def tuned(base: bytes) -> bytes:
    """The base with 5 % of it changed, in one piece."""
    start = SIZE // 2
    return base[:start] + os.urandom(SIZE // 20) + base[start + SIZE // 20 :]


@pytest.fixture
def double(tmp_path: Path, base: bytes, tuned: bytes) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/base", xet=True).commit({"model.bin": LfsFile(base)})
    double.add_repo("acme/tuned", xet=True).commit({"model.bin": LfsFile(tuned)})
    with double.running():
        yield double


@pytest.fixture
async def house(tmp_path: Path, double: HubDouble) -> AsyncIterator[HouseMaker]:
    houses: list[XetHouse] = []

    def make(name: str = "home", rules: XetRules | None = None, **more: object) -> XetHouse:
        allowed = [double.cdn_netloc, double.cas_netloc]
        houses.append(XetHouse(tmp_path / name, double.url, allowed, rules=rules, **more))  # type: ignore[arg-type]
        return houses[-1]

    yield make
    for one in houses:
        await one.close()


def at(double: HubDouble, repo: str, content: bytes) -> FileAt:
    commit = double.repo(repo).resolve("main").hash
    return file_at(repo, commit, "model.bin", content, double.xet_file(repo, "model.bin").id)


def sent(double: HubDouble) -> int:
    return double.meters.bytes_sent(origin="cdn")


async def test_a_cold_file_is_fetched_once_and_proven(
    double: HubDouble, house: HouseMaker, base: bytes
) -> None:
    one, file = house(), at(double, "acme/base", base)
    assert await one.read_xet(file) == base
    assert file.entry.xet_hash is not None
    assert await one.xets.finished(file.entry.xet_hash)
    assert one.notes.proven_ids == [file.entry.xet_hash]
    first = sent(double)
    assert first < SIZE * 1.01
    assert await one.read_xet(file) == base
    assert sent(double) == first
    assert (await one.xets.reconstruction_of(file, ANONYMOUS)).verified
