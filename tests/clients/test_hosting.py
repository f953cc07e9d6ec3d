"""Repositories that live here, through the Hub's own client of three generations."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble
from support.clients import run_client, run_script
from support.gateway import Gateway

pytestmark = pytest.mark.clients

VERSIONS = ["hub-2.4", "hub-1.x", "hub-1.0", "hub-0.36"]
MOONGATE = Path(sys.executable).parent / "moongate"
WITHOUT_XET = {"HF_HUB_DISABLE_XET": "1"}


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    with double.running():
        yield double


@pytest.fixture
def hosting(double: HubDouble, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that hosts `acme`, before a Hub that must not hear of it."""
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
    with Gateway(tmp_path / "gateway", double.url, env=env, cdn=double.cdn_netloc) as running:
        yield running
    heard = [str(request.path) for request in double.meters.requests("*")]
    assert not [path for path in heard if "acme" in path.lower()]


def token_of(gateway: Gateway, user: str, scope: str) -> str:
    """A new token, as an operator makes one beside a running gateway."""
    made = run_client(
        [MOONGATE, "token", "create", "--user", user, "--scope", scope, "--json", "--home", gateway.home],
        home=gateway.home.parent / "operator",
        endpoint=gateway.url,
    )
    return str(json.loads(made.stdout)["token"])


def gave(told: dict[str, Any]) -> dict[str, Any]:
    """What was answered, and the names of what was raised."""
    return {name: one.get("gave", one.get("raised")) for name, one in told.items()}


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_a_client_can_do(
    version: str, xet: bool, client_python: Callable[[str], Path], hosting: Gateway, tmp_path: Path
) -> None:
    repo_type = {"hub-2.4": "model", "hub-1.x": "dataset", "hub-1.0": "space", "hub-0.36": "model"}[version]
    plan = {
        "token": token_of(hosting, "alice", "write"),
        "repo": "acme/first",
        "type": repo_type,
        "small": 40,
        "large": 3_000_000,
    }
    told = gave(
        run_script(
            client_python(version),
            "hub_hosting.py",
            plan,
            home=tmp_path / "client",
            endpoint=hosting.url,
            env={} if xet else WITHOUT_XET,
        )
    )
    prefix = "" if repo_type == "model" else f"{repo_type}s/"
    assert told["create"] == told["create again"] == f"{hosting.url}/{prefix}acme/first"
    assert told["create twice"].endswith(("HfHubHTTPError", "HTTPError"))
    assert told["read"] == "one"
    assert told["messages again"] == told["messages"]  # nothing was new
    assert told["snapshot"] == told["folder here"]
    assert len(told["folder here"]) == 43
    assert [name for name in told["operations"] if name not in (".gitattributes", "README.md")] == [
        "copied/w.safetensors",
        "f/odd name+.bin",
        "f/weights.safetensors",
        "new.txt",
    ]
    assert told["copied"] == told["folder here"]["weights.safetensors"]
    assert told["on its parent"] is None
    assert told["on an old parent"].endswith("HfHubHTTPError")
    assert told["delete nothing"].endswith("EntryNotFoundError")
    assert (told["branch"], told["branch again"]) == (None, None)
    assert told["branch twice"].endswith("HfHubHTTPError")
    assert told["read branch"] == "dev"
    assert told["upload nowhere"].endswith("RevisionNotFoundError")
    assert (told["pull request"], told["pull request files"]) == (1, True)
    assert told["comment"] == "well"
    assert told["details"] == ["comment", "commit"]
    assert told["merge"] == "pr"
    assert told["discussions"] == [[1, "merged"]]
    assert told["refs"] == {"branches": ["dev/x", "main"], "tags": ["v1"], "pulls": ["refs/pr/1"]}
    assert told["expanded"]["new.txt"] == "change"
    assert set(told["paths"]) == {"f", "new.txt"}
    assert told["squash"] == 1
    assert told["after squash"] == told["move"] == "new"
    assert told["tag still"] is False
    assert "copied/w.safetensors" in told["large files"] or "f/weights.safetensors" in told["large files"]
    assert told["info moved"] == "acme/first-moved"
    assert (told["delete branch"], told["delete tag"], told["delete"]) == (None, None, None)
    assert told["exists"] is False
    assert told["delete again"] is None


@pytest.mark.parametrize("version", ["hub-2.4", pytest.param("hub-0.36", marks=pytest.mark.long)])
def test_what_others_may(
    version: str, client_python: Callable[[str], Path], hosting: Gateway, tmp_path: Path
) -> None:
    python, alice = client_python(version), token_of(hosting, "alice", "write")
    for name, private in (("public", False), ("secret", True)):
        make = (
            "from huggingface_hub import HfApi; import sys; api = HfApi(token=sys.argv[1]);"
            f"api.create_repo('acme/{name}', private={private});"
            f"api.upload_file(path_or_fileobj=b'hello', path_in_repo='a.txt', repo_id='acme/{name}')"
        )
        run_client([python, "-c", make, alice], home=tmp_path / "alice", endpoint=hosting.url)

    def visit(user: str, scope: str, repo: str) -> dict[str, Any]:
        plan = {"token": token_of(hosting, user, scope), "repo": f"acme/{repo}"}
        home = tmp_path / f"{user}-{scope}-{repo}"
        return gave(run_script(python, "hub_visitor.py", plan, home=home, endpoint=hosting.url))

    reader = visit("bob", "read", "public")
    assert reader["whoami"] == "bob"
    assert reader["info"] == "acme/public"
    assert "a.txt" in reader["snapshot"]
    assert reader["listed"] == ["acme/public"]
    for refused in ("upload", "upload large", "pull request", "make private", "delete"):
        assert isinstance(reader[refused], str), refused
    assert "a.txt" in visit("bob", "read", "public")["snapshot"]  # nothing was changed

    stranger = visit("bob", "write", "secret")
    assert stranger["info"] == "RepositoryNotFoundError"
    assert stranger["exists"] is False
    for refused in ("snapshot", "check", "upload", "upload large", "pull request", "make private", "delete"):
        assert isinstance(stranger[refused], str), refused

    run_client(
        [
            MOONGATE,
            *("access", "add", "acme/secret", "user:bob", "--role", "read", "--home", hosting.home),
        ],
        home=tmp_path / "operator",
        endpoint=hosting.url,
    )
    invited = visit("bob", "write", "secret")
    assert "a.txt" in invited["snapshot"]
    assert invited["pull request"] is None
    for refused in ("upload", "upload large", "make private", "delete"):
        assert isinstance(invited[refused], str), refused


def test_thousands_of_small_files(
    client_python: Callable[[str], Path], hosting: Gateway, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    for number in range(2000):
        path = folder / f"d{number % 20}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    script = (
        "from huggingface_hub import HfApi; import sys, os; api = HfApi(token=sys.argv[1]);"
        "api.create_repo('acme/many'); api.upload_folder(folder_path=sys.argv[2], repo_id='acme/many');"
        "api.upload_file(path_or_fileobj=b'x', path_in_repo='d0/x', repo_id='acme/many');"
        "print(len(api.list_repo_files('acme/many')))"
    )
    python, token = client_python("hub-2.4"), token_of(hosting, "alice", "write")
    done = run_client([python, "-c", script, token, folder], home=tmp_path / "client", endpoint=hosting.url)
    assert int(done.stdout.split()[-1]) == 2002


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_libraries_push_as_to_the_hub(
    xet: bool, client_python: Callable[[str], Path], hosting: Gateway, tmp_path: Path
) -> None:
    plan = {
        "token": token_of(hosting, "alice", "write"),
        "model": "acme/tiny-bert",
        "dataset": "acme/rows",
    }
    told = run_script(
        client_python("ml"),
        "libraries_push.py",
        plan,
        home=tmp_path / "ml",
        endpoint=hosting.url,
        env={} if xet else WITHOUT_XET,
        timeout_seconds=240,
    )
    assert told == {"weights": True, "rows": True}


@pytest.mark.parametrize(("version", "word"), [("hub-2.4", "repos"), ("hub-0.36", "repo")])
def test_the_command_line(
    version: str, word: str, client_python: Callable[[str], Path], hosting: Gateway, tmp_path: Path
) -> None:
    hf = client_python(version).parent / "hf"
    env = {"HF_TOKEN": token_of(hosting, "alice", "write")}
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 1000)

    def run(*words: str | Path) -> str:
        return run_client([hf, *words], home=tmp_path / "client", endpoint=hosting.url, env=env).stdout

    run(word, "create", "acme/cli", "--private")
    run("upload", "acme/cli", folder)
    run(word, "tag", "create", "acme/cli", "v1", "-m", "first")
    run("download", "acme/cli", "--revision", "v1", "--local-dir", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == bytes(range(256)) * 1000
    if word == "repos":
        run(word, "settings", "acme/cli", "--public")
        run(word, "duplicate", "acme/cli", "acme/again")
        run(word, "move", "acme/again", "acme/other")
        run(word, "branch", "create", "acme/other", "dev")
        run(word, "delete-files", "acme/other", "config.json")
        run("download", "acme/again", "--local-dir", tmp_path / "moved")
        assert sorted(path.name for path in (tmp_path / "moved").glob("[a-z]*")) == ["model.safetensors"]
        run(word, "delete", "acme/other", "--yes")
