"""git and git-lfs through the gateway: clones with their large files, of public and guarded repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import run_client
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

NEVER_ASK = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}


@pytest.fixture
def git(program: Callable[[str], Path], gateway: Gateway, tmp_path: Path) -> Callable[..., str]:
    program("git-lfs")
    executable = program("git")
    home = tmp_path / "home"

    def run(*words: str, check: bool = True) -> str:
        done = run_client(
            [executable, *words], home=home, endpoint=gateway.url, env=NEVER_ASK, cwd=tmp_path, check=check
        )
        return done.stdout + done.stderr

    home.mkdir()
    run("lfs", "install", "--skip-repo")
    return run


def pulled(git: Callable[..., str], url: str, folder: Path) -> dict[str, str]:
    git("clone", "-q", url, str(folder))
    git("-C", str(folder), "lfs", "pull")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def expected(hub: FurnishedHub, repo_id: str, repo_type: str = "model") -> dict[str, str]:
    repo = hub.double.repo(repo_id, repo_type)
    assert repo.head is not None
    return {name: hashlib.sha256(hub.content(repo, name)).hexdigest() for name in repo.head.files}


def test_clone_with_large_files(
    git: Callable[..., str], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    assert pulled(git, f"{gateway.url}/acme/tiny", tmp_path / "a") == expected(hub, "acme/tiny")
    assert pulled(git, f"{gateway.url}/datasets/acme/rows.git", tmp_path / "b") == expected(
        hub, "acme/rows", "dataset"
    )
    assert pulled(git, f"{gateway.url}/spaces/acme/demo", tmp_path / "c") == expected(
        hub, "acme/demo", "space"
    )
    head = git("-C", str(tmp_path / "a"), "rev-parse", "HEAD").strip()
    assert head == hub["acme/tiny"].refs["refs/heads/main"]
    assert "v1.0" in git("-C", str(tmp_path / "a"), "tag")


def test_large_files_come_from_what_is_kept(
    git: Callable[..., str], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(hub.content(hub["acme/pipeline"], "original.ckpt")).hexdigest()
    first = pulled(git, f"{gateway.url}/acme/pipeline", tmp_path / "first")
    before = hub.double.meters.bytes_sent(origin="cdn")
    second = pulled(git, f"{gateway.url}/acme/pipeline", tmp_path / "second")
    assert first == second
    assert first["original.ckpt"] == sha256
    assert hub.double.meters.bytes_sent(origin="cdn") == before


def test_guarded_repositories(
    git: Callable[..., str], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    with_token = gateway.url.replace("http://", f"http://ada:{ADA}@")
    for name in ("acme/private", "acme/gated-auto"):
        folder = tmp_path / name.replace("/", "-")
        assert pulled(git, f"{with_token}/{name}", folder) == expected(hub, name)
        refused = git("clone", f"{gateway.url}/{name}", str(tmp_path / "none"), check=False)
        assert "fatal" in refused
        assert not (tmp_path / "none").exists()


def test_fetch_of_a_pull_request(
    git: Callable[..., str], hub: FurnishedHub, gateway: Gateway, tmp_path: Path
) -> None:
    folder = str(tmp_path / "pr")
    git("clone", "-q", f"{gateway.url}/acme/tiny", folder)
    git("-C", folder, "fetch", "-q", "origin", "refs/pr/1:pr")
    assert git("-C", folder, "show", "pr:config.json") == '{"version": "pr"}'
