"""The `hf` command through the gateway: downloads and questions, as people type them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import run_client
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = pytest.mark.clients


@pytest.fixture(params=["hub-2.4", "hub-1.x", "hub-0.36"])
def hf(request: pytest.FixtureRequest, client_python: Callable[[str], Path]) -> Path:
    return client_python(request.param).parent / "hf"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def expected(
    hub: FurnishedHub, repo_id: str, *, only: Callable[[str], bool] = lambda _: True
) -> dict[str, str]:
    repo = hub[repo_id]
    assert repo.head is not None
    return {
        name: hashlib.sha256(hub.content(repo, name)).hexdigest() for name in repo.head.files if only(name)
    }


def test_download_a_model(hf: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    """The real model: 91 MB of weights and its tokenizer, into the cache, and again into a folder."""
    done = run_client([hf, "download", "acme/minilm"], home=tmp_path / "home", endpoint=gateway.url)
    place = next(word for word in done.stdout.split() if "snapshots" in word).removeprefix("path=")
    assert digests(Path(place)) == expected(hub, "acme/minilm")
    run_client(
        [hf, "download", "acme/minilm", "--local-dir", "here", "--include", "*.json"],
        home=tmp_path / "home",
        endpoint=gateway.url,
    )
    jsons = expected(hub, "acme/minilm", only=lambda name: name.endswith(".json"))
    assert digests(tmp_path / "home" / "here") == jsons


def test_download_files_of_a_revision(hf: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    where = ["--revision", "feat/new-head", "--local-dir", "here"]
    run_client(
        [hf, "download", "acme/tiny", "config.json", "model.safetensors", *where],
        home=tmp_path,
        endpoint=gateway.url,
    )
    assert (tmp_path / "here" / "config.json").read_text() == '{"version": "head"}'
    found = digests(tmp_path / "here")
    assert found.keys() == {"config.json", "model.safetensors"}


def test_refusals_are_told_plainly(hf: Path, gateway: Gateway, tmp_path: Path) -> None:
    for words, told in (
        (["acme/absent"], "not found"),
        (["acme/tiny", "--revision", "absent"], "revision"),
        (["acme/tiny", "absent.bin"], "absent.bin"),
        (["acme/gated-auto"], "access"),
    ):
        done = run_client(
            [hf, "download", *words], home=tmp_path, endpoint=gateway.url, check=False, timeout_seconds=60
        )
        assert done.returncode != 0, words
        assert told in (done.stdout + done.stderr).lower(), (words, done.stderr)


def test_gated_with_a_token(hf: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    run_client(
        [hf, "download", "acme/gated-manual", "--local-dir", "here"],
        home=tmp_path,
        endpoint=gateway.url,
        env={"HF_TOKEN": ADA},
    )
    assert digests(tmp_path / "here") == expected(hub, "acme/gated-manual")


def test_questions(
    client_python: Callable[[str], Path], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    hf = client_python("hub-2.4").parent / "hf"

    def asked(*words: str, token: str | None = None) -> str:
        env = {"HF_TOKEN": token} if token else {}
        return run_client([hf, *words], home=tmp_path, endpoint=gateway.url, env=env).stdout

    commit = hub["acme/tiny"].refs["refs/heads/main"]
    assert json.loads(asked("models", "info", "acme/tiny", "--json"))["sha"] == commit
    names = {model["id"] for model in json.loads(asked("models", "ls", "--author", "acme", "--json"))}
    assert {"acme/tiny", "acme/minilm", "acme/tiny-GGUF"} <= names
    assert "model.safetensors" in asked("models", "ls", "acme/tiny")
    assert "# tiny" in asked("models", "card", "acme/tiny")
    assert "acme/rows" in asked("datasets", "ls", "--json")
    assert "acme/demo" in asked("spaces", "ls", "--json")
    assert "ada" in asked("auth", "whoami", token=ADA)
