"""huggingface_hub, four generations of it: what it gets of the gateway is what it gets of the Hub.

Asked of the Hub itself the clients are told to leave Xet alone; asked of the gateway they are not, and read
large files through its Xet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moongate.double import Meters
from support.clients import run_script
from support.gateway import Gateway
from support.hub import ADA, BOB, ODD_NAMES, FurnishedHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

VERSIONS = ("hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36")
NO_XET = {"HF_HUB_DISABLE_XET": "1"}
ODD = [*ODD_NAMES, "sub dir/größe + 100%.bin", "empty.txt"]
DIVERGENCES = {
    # The Hub tells anonymous callers of an absent repository 401 without a code, which clients understand
    # over https only; the gateway adds the code, so that they understand it over http as well.
    "auth_check private", "auth_check absent", "private info", "absent info", "absent dataset", "repo_exists",
    "metadata absent repo", "metadata private",
}  # fmt: skip


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest, client_python: Callable[[str], Path]) -> Path:
    return client_python(request.param)


def same(
    direct: Any, through: Any, url: str, gateway_url: str, but: frozenset[str] | set[str] = frozenset()
) -> None:
    """Both tell the same, but for their addresses."""
    assert direct.keys() == through.keys()
    for name, there in direct.items():
        here = through[name]
        if name in but:
            continue
        for word in (there, here):
            word.pop("message", None)
        assert _placed(here, gateway_url) == _placed(there, url), name


def _placed(value: Any, url: str) -> Any:
    if isinstance(value, str):
        return value.replace(url, "HUB")
    if isinstance(value, list):
        return [_placed(item, url) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, url) for key, item in value.items()}
    return value


def test_facts(client: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    commit = hub["acme/tiny"].refs["refs/tags/v1.0"]
    revisions = ["v1.0", "feat/new-head", "release/2.0", "refs/pr/1", commit]
    for name, token in (("anonymous", None), ("ada", ADA)):
        plan = {"revisions": revisions, "odd_names": ODD, "token": token}
        direct = run_script(
            client, "hub_facts.py", plan, home=tmp_path / f"d{name}", endpoint=hub.url, env=NO_XET
        )
        through = run_script(client, "hub_facts.py", plan, home=tmp_path / f"g{name}", endpoint=gateway.url)
        same(direct, through, hub.url, gateway.url, DIVERGENCES if token is None else frozenset())
        if token is None:
            assert through["repo_exists"] == {"gave": [True, False, True]}
            for refused in DIVERGENCES - {"repo_exists"}:
                assert through[refused]["raised"] == "RepositoryNotFoundError", refused


def files_plan(hub: FurnishedHub) -> dict[str, dict[str, object]]:
    tiny = {"repo_id": "acme/tiny"}
    weights = {**tiny, "filename": "model.safetensors"}
    config = {**tiny, "filename": "config.json"}
    plan: dict[str, dict[str, object]] = {
        "git file": config,
        "lfs file": weights,
        "again": weights,
        "tag": {**config, "revision": "v1.0"},
        "branch": {**config, "revision": "feat/new-head"},
        "slash tag": {**config, "revision": "release/2.0"},
        "pull request": {**config, "revision": "refs/pr/1"},
        "commit": {**weights, "revision": hub["acme/tiny"].refs["refs/tags/v1.0"]},
        "in a folder": {**tiny, "filename": "onnx/model.onnx"},
        "empty": {**tiny, "filename": "empty.txt"},
        "bare": {"repo_id": "oldie", "filename": "w.bin"},
        "alias": {"repo_id": "gpt0", "filename": "config.json"},
        "renamed": {"repo_id": "acme/before", "filename": "w.safetensors"},
        "dataset": {"repo_id": "acme/rows", "filename": "train.jsonl", "repo_type": "dataset"},
        "parquet": {
            "repo_id": "acme/rows",
            "filename": "default/train/0000.parquet",
            "repo_type": "dataset",
            "revision": "refs/convert/parquet",
        },
        "space": {"repo_id": "acme/demo", "filename": "assets/picture.png", "repo_type": "space"},
        "odd revision": {
            "repo_id": "acme/Odd_Names.v1-2",
            "filename": ODD_NAMES[0],
            "revision": "fix/a+b,c",
        },
    }
    return plan | {f"odd {name}": {"repo_id": "acme/Odd_Names.v1-2", "filename": name} for name in ODD}


def test_files(client: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    plan = {
        "files": files_plan(hub) | {"absent": {"repo_id": "acme/tiny", "filename": "generation_config.json"}},
        "snapshots": {
            "all": {"repo_id": "acme/tiny"},
            "allowed": {"repo_id": "acme/tiny", "allow_patterns": ["*.json", "onnx/*"], "revision": "v1.0"},
            "ignored": {"repo_id": "acme/pipeline", "ignore_patterns": ["*.bin", "*.ckpt"]},
            "folder": {"repo_id": "acme/rows", "repo_type": "dataset", "local_dir": "here"},
            "space": {"repo_id": "acme/demo", "repo_type": "space"},
            "branch": {"repo_id": "acme/tiny", "revision": "feat/new-head"},
            "odd": {"repo_id": "acme/Odd_Names.v1-2"},
        },
        "remembered_absent": [{"repo_id": "acme/tiny", "filename": "generation_config.json"}],
    }
    direct = run_script(client, "hub_files.py", plan, home=tmp_path / "d", endpoint=hub.url, env=NO_XET)
    cold = run_script(client, "hub_files.py", plan, home=tmp_path / "g1", endpoint=gateway.url)
    remembered = cold.pop("absent generation_config.json")
    assert remembered == direct.pop("absent generation_config.json") == "object", (
        "the absence is not remembered"
    )
    same(direct, cold, hub.url, gateway.url)
    failed = [name for name, told in cold.items() if "gave" not in told]
    assert failed == ["absent"]
    assert cold["absent"]["raised"].endswith("EntryNotFoundError")


def test_second_snapshot_asks_nothing(
    client: Path, hub: FurnishedHub, fresh_gateway: Gateway, tmp_path: Path
) -> None:
    commit = hub["acme/tiny"].refs["refs/heads/main"]
    plan = {"snapshots": {"all": {"repo_id": "acme/tiny", "revision": commit}}}
    first = run_script(client, "hub_files.py", plan, home=tmp_path / "1", endpoint=fresh_gateway.url)
    before = asked_upstream(hub.double.meters)
    second = run_script(client, "hub_files.py", plan, home=tmp_path / "2", endpoint=fresh_gateway.url)
    assert asked_upstream(hub.double.meters)[len(before) :] == []
    assert first == second
    assert set(first["all"]["gave"]) == set(hub["acme/tiny"].commits[commit].files)


def asked_upstream(meters: Meters) -> list[str]:
    return [f"{record.method} {record.path}" for record in meters.requests()]


@pytest.mark.parametrize("version", ["hub-2.4", "hub-0.36"])
def test_doors(
    version: str, client_python: Callable[[str], Path], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    """Gated and private repositories open to who may enter, and refuse others in words their client knows."""
    client = client_python(version)
    guarded = {
        name: {"repo_id": f"acme/{name}", "filename": "model.safetensors"}
        for name in ("gated-auto", "gated-manual", "private")
    }
    rows = {"repo_id": "acme/gated-rows", "filename": "rows.jsonl", "repo_type": "dataset"}
    plan = {"files": guarded | {"rows": rows}, "snapshots": {"all": {"repo_id": "acme/gated-auto"}}}
    let_in = run_script(
        client, "hub_files.py", plan | {"token": ADA}, home=tmp_path / "a", endpoint=gateway.url
    )
    assert all("gave" in told for told in let_in.values()), let_in
    for name, token, status in (("bob", BOB, 403), ("anonymous", None, 401)):
        told = run_script(
            client, "hub_files.py", plan | {"token": token}, home=tmp_path / name, endpoint=gateway.url
        )
        for gated in ("gated-auto", "gated-manual", "rows", "all"):
            assert (told[gated]["raised"], told[gated]["status"]) == ("GatedRepoError", status), told[gated]
        assert told["private"]["raised"] == "RepositoryNotFoundError"


def test_errors(client: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    tiny = {"repo_id": "acme/tiny", "filename": "config.json"}
    plan = {
        "calls": {
            "entry": ["download", tiny | {"filename": "absent.bin"}],
            "revision": ["download", tiny | {"revision": "absent"}],
            "repo": ["download", tiny | {"repo_id": "acme/absent"}],
            "bare repo": ["download", tiny | {"repo_id": "absent"}],
            "type": ["download", tiny | {"repo_type": "dataset"}],
            "gated": ["download", tiny | {"repo_id": "acme/gated-auto"}],
            "snapshot repo": ["snapshot", {"repo_id": "acme/absent"}],
            "snapshot revision": ["snapshot", {"repo_id": "acme/tiny", "revision": "absent"}],
            "info revision": ["info", {"repo_id": "acme/tiny", "revision": "0" * 40}],
            "whoami": ["whoami", {}],
        }
    }
    told = run_script(client, "hub_errors.py", plan, home=tmp_path / "g", endpoint=gateway.url)
    expected = {
        "entry": "EntryNotFoundError",
        "revision": "RevisionNotFoundError",
        "repo": "RepositoryNotFoundError",
        "bare repo": "RepositoryNotFoundError",
        "type": "RepositoryNotFoundError",
        "gated": "GatedRepoError",
        "snapshot repo": "RepositoryNotFoundError",
        "snapshot revision": "RevisionNotFoundError",
        "info revision": "RevisionNotFoundError",
    }
    for name, kind in expected.items():
        assert kind in told[name]["is"], (name, told[name])
        assert "LocalEntryNotFoundError" not in told[name]["is"], (name, told[name])
    assert told["whoami"]["raised"]


def test_file_system(client: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    plan = {"odd_names": [name for name in ODD if name != "empty.txt" and "@" not in name]}
    direct = run_script(client, "hub_filesystem.py", plan, home=tmp_path / "d", endpoint=hub.url, env=NO_XET)
    through = run_script(client, "hub_filesystem.py", plan, home=tmp_path / "g", endpoint=gateway.url)
    same(direct, through, hub.url, gateway.url)
    assert [name for name, told in through.items() if "raised" in told] == ["absent"]
