"""A Hub that is down, slow, failing or fed up: what is kept is served, the rest refused in known words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import HangUp, HubDouble, Latency, LfsFile, Match, Stall, Status, TooMany
from support.front import until
from support.gateway import Gateway
from support.raw import RawAnswer, ask

pytestmark = pytest.mark.long

KEPT = [
    "/acme/kept/resolve/main/config.json",
    "/acme/kept/resolve/main/w.bin",
    "/api/models/acme/kept",
    "/api/models/acme/kept/revision/main",
    "/api/models/acme/kept/tree/main",
    "/api/models/acme/kept/refs",
    "/api/models?search=kept",
]
NEW = [
    "/acme/new/resolve/main/config.json",
    "/acme/kept/resolve/v1/config.json",
    "/api/models/acme/new",
    "/api/models/acme/new/tree/main",
    "/api/models?search=new",
    "/acme/new.git/info/refs?service=git-upload-pack",
]
TROUBLES = {
    "silent": Stall(match=Match(origin="hub")),
    "slow": Latency(3.0, match=Match(origin="hub")),
    "hanging up": HangUp(match=Match(origin="hub")),
    "500": Status(500, match=Match(origin="hub")),
    "502": Status(502, "<html>Bad gateway</html>", match=Match(origin="hub")),
    "503": Status(503, match=Match(origin="hub")),
    "504": Status(504, match=Match(origin="hub")),
    "429 for an hour": TooMany(3600, match=Match(origin="hub")),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    repo = double.add_repo("acme/kept")
    repo.commit({"config.json": b'{"version": 1}', "w.bin": LfsFile(b"weights" * 9000)})
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, *arguments: str, **settings: object) -> Gateway:
    settings = {"ref_ttl_seconds": 0, "absent_ttl_seconds": 0, "upstream_timeout_seconds": 0.4, **settings}
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    return Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, env=env, arguments=arguments)


def is_stale(answer: RawAnswer) -> None:
    assert answer.headers["warning"].startswith("110 ")
    assert int(answer.headers["age"]) >= 0


def is_refused(answer: RawAnswer) -> None:
    if answer.headers.get("x-moongate-cache") == "pass":  # upstream's own words, as they came
        assert answer.status >= 429
        return
    assert answer.status in (429, 502, 503, 504), answer
    assert answer.headers["x-error-code"].startswith("Upstream")
    assert len(answer.json()["error"]) > 10
    if answer.status == 429:
        assert int(answer.headers["retry-after"]) > 0


def test_1_what_is_kept_is_served_through_every_trouble(tmp_path: Path, hub: HubDouble) -> None:
    commit = hub.repo("acme/kept").resolve("main")
    assert commit is not None
    pinned = [path.replace("/main", f"/{commit.hash}") for path in KEPT if "/main" in path]
    with gateway(tmp_path, hub, upstream_timeout_seconds=30) as running:
        right = {path: ask(running.url, path).body for path in (*KEPT, *pinned)}
        until(lambda: ask(running.url, "/api/moongate/v1/usage").json()["blobs"] == 2)
    with gateway(tmp_path, hub) as running:
        for name in ("silent", "hanging up", "503", "429 for an hour"):
            with hub.failing(TROUBLES[name]):
                for path in KEPT:
                    answer = ask(running.url, path)
                    assert (answer.status, answer.body) == (200, right[path]), (name, path)
                    is_stale(answer)
                for path in pinned:
                    answer = ask(running.url, path)
                    assert (answer.status, answer.body) == (200, right[path]), (name, path)
                    assert "warning" not in answer.headers
        with hub.away():
            for path in (*KEPT, *pinned):
                assert ask(running.url, path).body == right[path]
            running.restart()
            for path in (*KEPT, *pinned):
                assert ask(running.url, path).body == right[path]
    with gateway(tmp_path, hub, "--offline") as running:
        hub.meters.reset()
        for path in (*KEPT, *pinned):
            assert ask(running.url, path).body == right[path]
        for path in NEW:
            is_refused(ask(running.url, path))
        assert not hub.meters.requests(), "an offline gateway asked"


def test_2_what_is_not_kept_is_refused_and_there_when_the_trouble_is_over(
    tmp_path: Path, hub: HubDouble
) -> None:
    with gateway(tmp_path, hub) as running:
        until(lambda: ask(running.url, KEPT[0]).status == 200)  # its patience with upstream is short
        for number, (name, trouble) in enumerate(TROUBLES.items()):
            repo = hub.add_repo(f"acme/new{number}")
            repo.commit({"config.json": b"{}"})
            paths = [path.replace("/new", f"/new{number}") for path in NEW]
            with hub.failing(trouble):
                for path in paths:
                    is_refused(ask(running.url, path))
            if not isinstance(trouble, TooMany):
                until(lambda first=paths[0]: ask(running.url, first).body == b"{}")
                until(lambda info=paths[2], name=repo.id: ask(running.url, info).json().get("id") == name)
        assert ask(running.url, "/readyz").status == 200


def test_3_a_branch_catches_up_once_upstream_is_back(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub, upstream_timeout_seconds=30) as running:
        assert json.loads(ask(running.url, KEPT[0]).body)["version"] == 1
        hub.repo("acme/kept").commit({"config.json": b'{"version": 2}'})
        with hub.away():
            assert json.loads(ask(running.url, KEPT[0]).body)["version"] == 1
        with gateway(tmp_path / "second", hub, upstream_timeout_seconds=30) as fresh:
            assert json.loads(ask(fresh.url, KEPT[0]).body)["version"] == 2
        running.restart()
        assert json.loads(ask(running.url, KEPT[0]).body)["version"] == 2
