"""Upstream's bytes are wrong once: a client that comes back for the rest gives up, or starts over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from moongate.double import FlipByte, HubDouble, Match, Throttle, big_file
from support.clients import run_client
from support.gateway import Gateway

pytestmark = pytest.mark.clients

MIB = 1 << 20
SIZE = 24 * MIB + 4321
CDN = Match(origin="cdn")
FILE = "acme/big/resolve/main/model.bin"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    """Its CDN inverts one byte of the first answer that has it."""
    double = HubDouble(tmp_path / "hub")
    with double.running():
        double.add_repo("acme/big").commit({"model.bin": big_file(tmp_path / "right", SIZE, seed=1)})
        with double.failing(Throttle(8e6, match=CDN), FlipByte(7 * MIB + 5, match=CDN, times=1)):
            yield double


@pytest.fixture
def gateway(hub: HubDouble, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc) as running:
        yield running


@pytest.fixture
def is_right(tmp_path: Path) -> Callable[[Path], bool]:
    right = (tmp_path / "right").read_bytes()
    return lambda path: path.read_bytes() == right


@pytest.mark.parametrize("version", ["hub-2.4", "hub-1.x", "hub-0.36"])
def test_huggingface_hub(
    version: str,
    client_python: Callable[[str], Path],
    gateway: Gateway,
    is_right: Callable[[Path], bool],
    tmp_path: Path,
) -> None:
    def pull(*options: str, check: bool = True) -> CompletedProcess[str]:
        said = ", ".join(("'acme/big', 'model.bin'", *options))
        script = f"import huggingface_hub as h; h.hf_hub_download({said})"
        words = [client_python(version), "-c", script]
        return run_client(words, home=tmp_path / "client", endpoint=gateway.url, check=check)

    def got() -> list[bool]:
        return [is_right(path) for path in (tmp_path / "client").rglob("model.bin") if path.is_file()]

    first = pull(check=False)
    assert got() == ([] if first.returncode else [True])
    second = pull(check=False)
    assert got() == ([] if second.returncode else [True])
    assert second.returncode == 0 or "start over (huggingface_hub: force_download=True)" in second.stderr
    pull("force_download=True")
    assert got() == [True]


@pytest.mark.parametrize(
    "words", [("curl", "-sSfL", "-C", "-", "-o"), ("wget", "-nv", "-c", "-O")], ids=lambda words: words[0]
)
def test_transfer_tools(
    words: tuple[str, ...],
    program: Callable[[str], Path],
    gateway: Gateway,
    is_right: Callable[[Path], bool],
    tmp_path: Path,
) -> None:
    client = tmp_path / "client"
    command = [program(words[0]), *words[1:], "w", f"{gateway.url}/{FILE}"]
    for _ in range(3):
        done = run_client(command, home=client, endpoint=gateway.url, check=False)
        assert done.returncode, "it says that a wrong file is whole"
    assert "409" in done.stderr
    (client / "w").unlink()
    run_client(command, home=client, endpoint=gateway.url)
    assert is_right(client / "w")


def test_git_lfs(
    program: Callable[[str], Path], gateway: Gateway, is_right: Callable[[Path], bool], tmp_path: Path
) -> None:
    """It asks for ranges with an end, compares the sha256 itself, and begins anew when told again."""
    program("git-lfs")
    client, env = tmp_path / "client", {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}

    def git(*words: str, check: bool = True) -> CompletedProcess[str]:
        command = [program("git"), *words]
        return run_client(command, home=client, endpoint=gateway.url, env=env, check=check)

    git("lfs", "install", "--skip-repo")
    git("clone", "-q", f"{gateway.url}/acme/big", "clone")
    first = git("-C", "clone", "lfs", "pull", check=False)
    assert first.returncode or is_right(client / "clone" / "model.bin")
    git("-C", "clone", "lfs", "pull")
    assert is_right(client / "clone" / "model.bin")
