"""One gateway in front of one Hub double for all of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moongate.double import HubDouble, LfsFile
from support.front import CONFIG, SECRET_FILE, Front, until
from support.gateway import Gateway

WEIGHTS = b"weights!" * 40_000


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("hostile")
    double = HubDouble(folder / "hub")
    double.add_user("ada", "hf_ada", grants=["acme/gated"])
    repo = double.add_repo("acme/tiny")
    repo.commit({"config.json": CONFIG, "dir/notes.txt": b"notes\n", "weights.bin": LfsFile(WEIGHTS)})
    repo.pull_request()
    double.add_repo("acme/tiny-GGUF").commit({"tiny-Q4_0.gguf": LfsFile(b"GGUF" + bytes(5000))})
    double.add_repo("acme/rows", "dataset").commit({"rows.jsonl": b'{"x": 1}\n'})
    double.add_repo("acme/gated", gated=True).commit({"config.json": SECRET_FILE})
    double.add_repo("gpt0").commit({"config.json": b"{}"})
    with double.running(), Gateway(folder / "home", double.url, cdn=double.cdn_netloc) as gateway:
        yield Front(double, repo, gateway)


@pytest.fixture(scope="module")
def left_well(front: Front) -> Iterator[None]:
    """After the last test of a module, the gateway is as good as new, and has kept nothing more."""
    front.is_well()
    until(lambda: not front.kept()[0]["partials"])
    before = front.kept()
    yield
    front.is_well()
    assert front.kept() == before
