"""huggingface.js (`@huggingface/hub`) through the gateway: what it gets is what the Hub holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moongate.double import Repo
from support.clients import run_script
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

FILES = {
    "git": {"repo": "acme/tiny", "path": "config.json"},
    "lfs": {"repo": "acme/tiny", "path": "model.safetensors"},
    "folder": {"repo": "acme/tiny", "path": "onnx/model.onnx", "revision": "v1.0"},
    "slash branch": {"repo": "acme/tiny", "path": "head/extra.txt", "revision": "feat/new-head"},
    "pull request": {"repo": "acme/tiny", "path": "config.json", "revision": "refs/pr/1"},
    "spaces": {"repo": "acme/Odd_Names.v1-2", "path": "sub dir/a+b.txt"},
    "dataset": {"repo": {"type": "dataset", "name": "acme/rows"}, "path": "train.jsonl"},
    "space": {"repo": {"type": "space", "name": "acme/demo"}, "path": "assets/picture.png"},
    "renamed": {"repo": "acme/before", "path": "w.safetensors"},
    "gguf": {"repo": "acme/tiny-GGUF", "path": "tiny-Q4_K_M.gguf"},
}
LISTINGS = {
    "tiny": {"repo": "acme/tiny"},
    "tag": {"repo": "acme/tiny", "revision": "v1.0"},
    # the client leaves the revision unencoded here, so that it arrives as three segments
    "pull request": {"repo": "acme/tiny", "revision": "refs/pr/1"},
    "folder": {"repo": "acme/tiny", "path": "onnx"},
    "odd": {"repo": "acme/Odd_Names.v1-2"},
}


@pytest.fixture
def told(
    hub: FurnishedHub, gateway: Gateway, hub_js: Path, program: Callable[[str], Path], tmp_path: Path
) -> dict[str, Any]:
    plan = {
        "modules": str(hub_js),
        "files": FILES | {"absent": {"repo": "acme/tiny", "path": "absent.json"}},
        "listings": LISTINGS,
        "large": FILES["lfs"],
        "many": {"type": "dataset", "name": "acme/many"},
        "snapshot": "acme/pipeline",
    }
    told = run_script(program("node"), "hub.mjs", plan, home=tmp_path / "a", endpoint=gateway.url)
    assert isinstance(told, dict)
    return told


def repo_of(hub: FurnishedHub, designation: Any) -> Repo:
    if isinstance(designation, dict):
        return hub.double.repo(designation["name"], designation["type"])
    return hub["acme/after" if designation == "acme/before" else designation]


def test_reads_everything(told: dict[str, Any], hub: FurnishedHub) -> None:
    for name, asked in FILES.items():
        repo, revision = repo_of(hub, asked["repo"]), str(asked.get("revision", "main"))
        data = hub.content(repo, str(asked["path"]), revision)
        assert told[f"file {name}"] == {"gave": hashlib.sha256(data).hexdigest()}, name
        commit = repo.resolve(revision)
        assert commit is not None
        node = commit.files[str(asked["path"])]
        info = {"size": len(data), "etag": f'"{node.etag}"', "xet": bool(node.lfs and node.lfs.xet)}
        assert told[f"info {name}"] == {"gave": info}, name
    assert told["file absent"] == told["info absent"] == {"gave": None}
    part = hub.content(hub["acme/tiny"], "model.safetensors")[1_000_000:1_300_000]
    assert told["part"] == {"gave": hashlib.sha256(part).hexdigest()}

    for name, asked in LISTINGS.items():
        commit = hub[str(asked["repo"])].resolve(str(asked.get("revision", "main")))
        assert commit is not None
        prefix = f"{asked['path']}/" if "path" in asked else ""
        files = {path: node for path, node in commit.files.items() if path.startswith(prefix)}
        listed = {entry["path"]: entry for entry in told[f"list {name}"]["gave"] if entry["type"] == "file"}
        assert listed.keys() == files.keys(), name
        for path, node in files.items():
            assert (listed[path]["size"], listed[path]["oid"]) == (node.size_bytes, node.oid)
            assert listed[path]["lfs"] == (node.lfs.sha256 if node.lfs else None)
    assert told["many"] == {"gave": 2_550}

    pipeline = hub["acme/pipeline"]
    head = pipeline.head
    assert head is not None
    snapshot = {name: hashlib.sha256(hub.content(pipeline, name)).hexdigest() for name in head.files}
    assert told["snapshot"] == {"gave": snapshot}


def test_reads_facts(told: dict[str, Any], hub: FurnishedHub) -> None:
    tiny = hub["acme/tiny"]
    assert told["model"]["gave"]["sha"] == tiny.refs["refs/heads/main"]
    assert told["dataset"] == {"gave": "acme/rows"}
    assert told["space"] == {"gave": "gradio"}
    assert len(told["models"]["gave"]) == len(set(told["models"]["gave"])) > 6, "the second page is missing"
    assert "acme/many" in told["datasets"]["gave"]
    assert told["spaces"] == {"gave": ["acme/demo"]}
    assert told["count"] == {"gave": len(told["commits"]["gave"])} == {"gave": 3}
    assert (told["exists"], told["exists not"]) == ({"gave": True}, {"gave": False})
    assert (told["repo exists"], told["repo exists not"]) == ({"gave": True}, {"gave": False})
    assert [entry["path"] for entry in told["paths"]["gave"]] == ["config.json", "onnx"]
    assert "gave" in told["access"]
    assert told["access gated"]["status"] == 401


def test_with_a_token(
    hub: FurnishedHub, gateway: Gateway, hub_js: Path, program: Callable[[str], Path], tmp_path: Path
) -> None:
    plan = {
        "modules": str(hub_js),
        "token": ADA,
        "files": {"private": {"repo": "acme/private", "path": "model.safetensors"}},
        "listings": {"gated": {"repo": "acme/gated-auto"}},
        "large": FILES["lfs"],
        "many": {"type": "dataset", "name": "acme/many"},
        "snapshot": "acme/gated-auto",
    }
    told = run_script(program("node"), "hub.mjs", plan, home=tmp_path / "a", endpoint=gateway.url)
    assert "gave" in told["file private"], told["file private"]
    assert set(told["snapshot"]["gave"]) == {".gitattributes", "config.json", "model.safetensors"}
    assert told["whoami"] == {"gave": "ada"}
    assert "gave" in told["access gated"]
