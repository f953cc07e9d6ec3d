"""The Hub is gone: what was pulled once is pulled again by clients that hold nothing; the rest is told.

The gateways here let refs and access hold for half a second or not at all, so that what they answer they
answer because upstream cannot be asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import raw
from support.clients import run_client, run_script
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = [pytest.mark.clients, pytest.mark.long, pytest.mark.timeout(240)]

VERSIONS = ("hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36")
SOON = {
    "MOONGATE_REF_TTL_SECONDS": "0.5",
    "MOONGATE_ABSENT_TTL_SECONDS": "0",
    "MOONGATE_ACCESS_TTL_SECONDS": "0",
}
EVERY_TIME = SOON | {"MOONGATE_REF_TTL_SECONDS": "0"}
PLAN: dict[str, Any] = {
    "files": {
        "branch": {"repo_id": "acme/tiny", "filename": "config.json", "revision": "feat/new-head"},
        "tag": {"repo_id": "acme/tiny", "filename": "model.safetensors", "revision": "v1.0"},
        "pull request": {"repo_id": "acme/tiny", "filename": "config.json", "revision": "refs/pr/1"},
        "bare": {"repo_id": "oldie", "filename": "w.bin"},
        "renamed": {"repo_id": "acme/before", "filename": "w.safetensors"},
        "absent": {"repo_id": "acme/tiny", "filename": "generation_config.json"},
    },
    "snapshots": {
        "model": {"repo_id": "acme/tiny"},
        "dataset": {"repo_id": "acme/rows", "repo_type": "dataset"},
        "space": {"repo_id": "acme/demo", "repo_type": "space"},
        "some": {"repo_id": "acme/pipeline", "allow_patterns": ["*.json", "unet/*.safetensors"]},
    },
}
GUARDED = {"files": {"gated": {"repo_id": "acme/gated-auto", "filename": "model.safetensors"}}}
SENTENCES = ["The moon has a gate.", "It is open."]


@pytest.fixture(scope="module")
def warmed(hub: FurnishedHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that soon asks upstream again."""
    home = tmp_path_factory.mktemp("warmed") / "home"
    with Gateway(home, hub.url, cdn=hub.hosts, env=SOON) as running:
        yield running


@pytest.mark.parametrize("version", VERSIONS)
def test_files_and_snapshots(
    version: str, client_python: Callable[[str], Path], hub: FurnishedHub, warmed: Gateway, tmp_path: Path
) -> None:
    client = client_python(version)
    first = run_script(client, "hub_files.py", PLAN, home=tmp_path / "1", endpoint=warmed.url)
    with hub.double.away():
        second = run_script(client, "hub_files.py", PLAN, home=tmp_path / "2", endpoint=warmed.url)
        warmed.restart()
        third = run_script(client, "hub_files.py", PLAN, home=tmp_path / "3", endpoint=warmed.url)
    for told in (first, second, third):
        assert "EntryNotFoundError" in told["absent"].pop("raised")
        told["absent"].pop("message")
    assert first == second == third
    assert [name for name, answer in first.items() if "gave" not in answer] == ["absent"]


def test_file_system_and_command(
    client_python: Callable[[str], Path], hub: FurnishedHub, warmed: Gateway, tmp_path: Path
) -> None:
    python = client_python("hub-2.4")
    plan = {"odd_names": []}

    def read(home: str) -> Any:
        return run_script(python, "hub_filesystem.py", plan, home=tmp_path / home, endpoint=warmed.url)

    def download(home: str) -> str:
        command = [python.parent / "hf", "download", "acme/minilm", "--local-dir", "here"]
        run_client(command, home=tmp_path / home, endpoint=warmed.url)
        with (tmp_path / home / "here" / "model.safetensors").open("rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()

    first, weights = read("1"), download("1")
    with hub.double.away():
        second = read("2")
        assert download("2") == weights
    for told in (first, second):
        told["absent"].pop("message")
    assert first == second


def test_guarded_files_within_their_grace(
    client_python: Callable[[str], Path], hub: FurnishedHub, warmed: Gateway, tmp_path: Path
) -> None:
    """Whoever was let in lately stays in; the file being cached lets nobody else in."""
    client = client_python("hub-2.4")

    def pull(home: str, token: str | None) -> Any:
        plan = GUARDED | {"token": token}
        return run_script(client, "hub_files.py", plan, home=tmp_path / home, endpoint=warmed.url)["gated"]

    first = pull("1", ADA)
    with hub.double.away():
        assert pull("2", ADA) == first
        target = "/acme/gated-auto/resolve/main/model.safetensors"
        stranger = raw.ask(warmed.url, target, headers={"Authorization": "Bearer hf_" + "Eve" * 12})
        assert stranger.status in (401, 403, 503)
        assert stranger.headers["x-error-code"]
        assert raw.ask(warmed.url, target).status in (401, 503)


def test_an_old_answer_says_so(hub: FurnishedHub, tmp_path: Path) -> None:
    target = "/acme/tiny/resolve/main/config.json"
    pinned = target.replace("main", hub["acme/tiny"].refs["refs/heads/main"])
    with Gateway(tmp_path / "home", hub.url, cdn=hub.hosts, env=EVERY_TIME) as gateway:
        fresh = raw.ask(gateway.url, target)
        assert fresh.headers["x-moongate-cache"] == "miss"
        assert "warning" not in fresh.headers
        with hub.double.away():
            stale = raw.ask(gateway.url, target)
            assert (stale.status, stale.headers["x-moongate-cache"]) == (200, "stale")
            assert stale.headers["warning"].startswith("110")
            assert int(stale.headers["age"]) >= 0
            settled = raw.ask(gateway.url, pinned)
            assert (settled.status, settled.headers["x-moongate-cache"]) == (200, "hit")
    assert fresh.body == stale.body == settled.body


@pytest.mark.slow
@pytest.mark.long
def test_libraries(
    client_python: Callable[[str], Path], hub: FurnishedHub, warmed: Gateway, tmp_path: Path
) -> None:
    python = client_python("ml")
    scripts: dict[str, dict[str, Any]] = {
        "transformers_embed.py": {"model": "acme/minilm", "sentences": SENTENCES},
        "datasets_load.py": {
            "load": {"rows": {"path": "acme/rows"}},
            "stream": {"streamed": {"path": "acme/rows", "split": "train", "take": 100}},
        },
        "diffusers_download.py": {"pipeline": {"pretrained_model_name": "acme/pipeline"}},
    }

    def run(home: str) -> dict[str, Any]:
        return {
            script: run_script(python, script, plan, home=tmp_path / home, endpoint=warmed.url)
            for script, plan in scripts.items()
        }

    first = run("1")
    with hub.double.away():
        assert run("2") == first
    assert "raised" not in str(first)


def test_other_clients(
    hub_js: Path, program: Callable[[str], Path], hub: FurnishedHub, warmed: Gateway, tmp_path: Path
) -> None:
    plan: dict[str, Any] = {
        "modules": str(hub_js),
        "files": {"large": {"repo": "acme/tiny", "path": "model.safetensors"}},
        "listings": {"tiny": {"repo": "acme/tiny"}},
        "large": {"repo": "acme/tiny", "path": "model.safetensors"},
        "many": {"type": "dataset", "name": "acme/many"},
        "snapshot": "acme/pipeline",
    }

    def javascript(home: str) -> dict[str, Any]:
        told = run_script(program("node"), "hub.mjs", plan, home=tmp_path / home, endpoint=warmed.url)
        told.pop("repo exists not")  # an absence does not last
        return {name: answer for name, answer in told.items() if "gave" in answer}

    def curl(home: str) -> bytes:
        command = [program("curl"), "-sSf", "-r", "1000000-1999999", "-o", tmp_path / home]
        command.append(f"{warmed.url}/acme/tiny-GGUF/resolve/main/tiny-Q8_0.gguf")
        run_client(command, home=tmp_path, endpoint=warmed.url)
        return (tmp_path / home).read_bytes()

    def ollama() -> list[bytes]:
        manifest = raw.ask(warmed.url, "/v2/acme/tiny-GGUF/manifests/Q8_0")
        digests = [layer["digest"] for layer in manifest.json()["layers"]]
        bodies = [raw.ask(warmed.url, f"/v2/acme/tiny-GGUF/blobs/{digest}").body for digest in digests]
        return [manifest.body, *bodies]

    first = javascript("1"), curl("a"), ollama()
    with hub.double.away():
        assert (javascript("2"), curl("b"), ollama()) == first


def test_what_is_not_kept(
    client_python: Callable[[str], Path], hub: FurnishedHub, fresh_gateway: Gateway, tmp_path: Path
) -> None:
    """A client that is not served says why: upstream cannot be reached, not that the file does not exist."""
    plan = {
        "calls": {
            "snapshot": ["snapshot", {"repo_id": "acme/tiny"}],
            "info": ["info", {"repo_id": "acme/tiny"}],
        }
    }
    with hub.double.away():
        for target in ("/acme/tiny/resolve/main/config.json", "/api/models/acme/tiny", "/api/models"):
            answer = raw.ask(fresh_gateway.url, target)
            assert answer.status == 503
            assert answer.headers["x-error-code"] == "UpstreamUnreachable"
            assert "upstream" in answer.json()["error"]
        for version in ("hub-2.4", "hub-0.36"):
            client = client_python(version)
            told = run_script(
                client, "hub_errors.py", plan, home=tmp_path / version, endpoint=fresh_gateway.url
            )
            for name in plan["calls"]:
                assert told[name]["raised"] in ("LocalEntryNotFoundError", "HfHubHTTPError"), told[name]
            assert "upstream" in told["info"]["message"]
            assert told["info"]["status"] == 503


def test_offline_by_setting(client_python: Callable[[str], Path], hub: FurnishedHub, tmp_path: Path) -> None:
    """`--offline` serves what is kept and never asks, although upstream is there."""
    client, home = client_python("hub-2.4"), tmp_path / "home"
    with Gateway(home, hub.url, cdn=hub.hosts) as online:
        first = run_script(client, "hub_files.py", PLAN, home=tmp_path / "1", endpoint=online.url)
    before = len(hub.double.meters.requests())
    with Gateway(home, hub.url, cdn=hub.hosts, arguments=["--offline"], env=EVERY_TIME) as offline:
        second = run_script(client, "hub_files.py", PLAN, home=tmp_path / "2", endpoint=offline.url)
        unknown = raw.ask(offline.url, "/acme/tiny-GGUF/resolve/main/tiny-Q8_0.gguf")
    assert len(hub.double.meters.requests()) == before
    for told in (first, second):
        told["absent"].pop("message")
    assert first == second
    assert unknown.status == 503
    assert unknown.headers["x-error-code"] == "UpstreamUnreachable"
