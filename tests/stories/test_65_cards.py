"""Hosted models told and found: facts from headers, lists of both worlds, lineage, quotas, old revisions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelInfo
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from moongate.double import HubDouble, LfsFile
from moongate.store.index import Index
from moongate.store.layout import Layout
from support.gateway import Gateway
from support.weights import gguf, safetensors, string, uint32

MOONGATE = Path(sys.executable).parent / "moongate"
CARD = (
    "---\nlicense: mit\nlanguage: en\nbase_model: up/base\ntags: [chat]\npipeline_tag: text-generation\n---\n"
    "# Tuned\n"
)
CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode()


class House:
    """A gateway that strangers may read from, its upstream, and two users."""

    def __init__(self, folder: Path, hub: HubDouble, gateway: Gateway) -> None:
        self.folder = folder
        self.hub = hub
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{gateway.port}"
        self.alice = self.api("alice")
        self.bob = self.api("bob")
        self.stranger = HfApi(self.url, token=False)

    def api(self, user: str) -> HfApi:
        return HfApi(self.url, token=self.run("token", "create", "--user", user, "--scope", "write")["token"])

    def run(self, *arguments: str) -> Any:
        """What a command says, as JSON."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
        done = subprocess.run(
            [MOONGATE, *arguments, "--home", self.gateway.home, "--json"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def tidies_itself_not(home: Path) -> None:
    """Have the gateway's upkeep leave `gc` to the test, which counts what that lets go."""
    layout = Layout(home)
    layout.prepare()
    with Index(layout.index_path) as index:
        assert index.try_lease("tidy", "the test", 3600, time.time())


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "client"))
    hub = HubDouble(tmp_path / "hub")
    hub.add_repo("up/base").commit({"config.json": CONFIG, "m.safetensors": LfsFile(b"base weights" * 50)})
    hub.add_repo("up/other").commit({"config.json": b"{}"})
    with hub.running():
        env = {"MOONGATE_XET": "true", "MOONGATE_REF_TTL_SECONDS": "0"}
        arguments = ("--host", "0.0.0.0", "--allow-anonymous")
        tidies_itself_not(tmp_path / "home")
        with Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, env=env, arguments=arguments) as gateway:
            house = House(tmp_path, hub, gateway)
            assert house.run("namespace", "add", "acme")["added"]
            yield house


def commit(api: HfApi, repo_id: str, files: dict[str, bytes], **options: Any) -> str:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(repo_id, operations, commit_message="work", **options).oid


def tuned(api: HfApi, repo_id: str = "acme/tuned", **options: Any) -> str:
    api.create_repo(repo_id, **options)
    weights = safetensors({"a": ("BF16", [10, 10]), "b": ("F32", [5])}, {"format": "pt"})
    return commit(
        api, repo_id, {"README.md": CARD.encode(), "config.json": CONFIG, "model.safetensors": weights}
    )


def ids(models: Any) -> list[str]:
    return [model.id for model in models]


def test_10_info_tells_what_headers_and_card_say(house: House) -> None:
    head = tuned(house.alice)
    info: ModelInfo = house.bob.model_info("acme/tuned", files_metadata=True)
    assert info.sha == head
    assert info.safetensors is not None
    assert (info.safetensors.parameters, info.safetensors.total) == ({"BF16": 100, "F32": 5}, 105)
    assert info.config == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-generation")
    assert info.tags is not None
    assert {"license:mit", "base_model:up/base", "base_model:finetune:up/base", "en", "chat"} <= set(
        info.tags
    )
    assert not any(tag.startswith("region:") for tag in info.tags)
    assert info.siblings is not None
    sizes = {one.rfilename: one.size for one in info.siblings}
    assert info.used_storage is None or info.used_storage >= sizes["model.safetensors"]  # type: ignore[operator]
    metadata = house.bob.get_safetensors_metadata("acme/tuned")
    assert metadata.parameter_count == {"BF16": 100, "F32": 5}
    only = house.bob.model_info("acme/tuned", expand=["safetensors", "gated"])
    assert (only.gated, only.sha, only.safetensors.total if only.safetensors else 0) == (False, None, 105)
    with pytest.raises(HfHubHTTPError):
        house.bob.model_info("acme/tuned", expand=["nonsense"])  # type: ignore[list-item]


def test_20_gguf_facts(house: House) -> None:
    house.alice.create_repo("acme/quantised")
    pairs = [
        ("general.architecture", string("llama")),
        ("llama.context_length", uint32(8192)),
        ("general.file_type", uint32(15)),
    ]
    commit(house.alice, "acme/quantised", {"q4.gguf": gguf(pairs, [("t", [256, 16], 12)]) + bytes(10_000)})
    info = house.bob.model_info("acme/quantised")
    assert info.gguf == {
        "architecture": "llama",
        "context_length": 8192,
        "quantization": "Q4_K_M",
        "total": 4096,
    }


def test_30_a_bad_card_is_refused_before_and_at_the_commit(house: House) -> None:
    house.alice.create_repo("acme/tuned")
    before = house.alice.model_info("acme/tuned").sha
    with pytest.raises(ValueError, match='"license" must be one of'):
        commit(house.alice, "acme/tuned", {"README.md": b"---\nlicense: nonsense\n---\n"})
    from huggingface_hub.utils import get_session

    line = {"content": "---\ntags: x\n---\n", "path": "README.md", "encoding": "utf-8"}
    body = "".join(
        json.dumps({"key": key, "value": value}) + "\n"
        for key, value in (("header", {"summary": "x"}), ("file", line))
    )
    url = f"{house.url}/api/models/acme/tuned/commit/main"
    headers = {"Authorization": f"Bearer {house.alice.token}", "Content-Type": "application/x-ndjson"}
    answer = get_session().post(url, content=body, headers=headers)
    assert answer.status_code == 400
    assert '"tags" must be an array' in answer.json()["error"]
    assert house.alice.model_info("acme/tuned").sha == before


def test_40_lists_hold_both_worlds_and_respect_access(house: House) -> None:
    tuned(house.alice)
    tuned(house.alice, "acme/secret", private=True)
    assert ids(house.alice.list_models())[:2] == ["acme/secret", "acme/tuned"]
    assert set(ids(house.alice.list_models())[2:]) == {"up/base", "up/other"}
    assert set(ids(house.stranger.list_models())) == {"acme/tuned", "up/base", "up/other"}
    assert [len(ids(house.stranger.list_models(limit=limit))) for limit in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert ids(house.bob.list_models(filter=["license:mit", "base_model:up/base"])) == ["acme/tuned"]
    assert ids(house.bob.list_models(author="acme", full=True)) == ["acme/tuned"]
    assert ids(house.alice.list_models(search="acme/sec")) == ["acme/secret"]
    assert ids(house.bob.list_datasets(author="acme")) == []
    assert not [one.path for one in house.hub.meters.requests() if "acme" in one.path]
    house.bob.hf_hub_download("up/base", "config.json")
    house.hub.stop()
    assert ids(house.bob.list_models(search="e")) == ["acme/tuned", "up/base"]  # what is known here


def test_50_lineage_by_exact_commits(house: House) -> None:
    house.bob.hf_hub_download("up/base", "config.json")
    base = house.bob.model_info("up/base").sha
    tuned(house.alice)
    assert house.run("show", "acme/tuned")["made_from"] == [
        {"repo": "up/base", "commit_hash": base, "relation": "finetune", "hosted": False, "base_models": []}
    ]
    house.hub.repo("up/base").commit({"config.json": b'{"newer": true}'})
    assert house.bob.model_info("up/base").sha != base
    commit(house.alice, "acme/tuned", {"README.md": CARD.encode() + b"more words\n"})
    house.alice.create_repo("acme/smaller")
    card = b"---\nbase_model: acme/tuned\nbase_model_relation: quantized\n---\n"
    commit(house.alice, "acme/smaller", {"README.md": card})
    (middle,) = house.run("show", "acme/smaller")["made_from"]
    assert middle["commit_hash"] == house.bob.model_info("acme/tuned").sha
    assert (middle["relation"], middle["hosted"]) == ("quantized", True)
    assert [one["commit_hash"] for one in middle["base_models"]] == [base]


def test_60_quotas(house: House) -> None:
    assert (
        house.run("namespace", "set", "acme", "--quota", "100kB", "--max-repos", "2")["quota_bytes"]
        == 100_000
    )
    house.alice.create_repo("acme/one")
    house.alice.create_repo("acme/two")
    with pytest.raises(HfHubHTTPError, match="2 repositories") as refused:
        house.alice.create_repo("acme/three")
    assert refused.value.response.headers["X-Error-Code"] == "QuotaExceeded"
    commit(house.alice, "acme/one", {"w.bin": os.urandom(60_000)})
    with pytest.raises(HfHubHTTPError, match="quota allows"):
        commit(house.alice, "acme/one", {"v.bin": os.urandom(59_000)})
    with pytest.raises(HfHubHTTPError, match="quota allows"):
        commit(house.alice, "acme/two", {"small.txt": b"words " * 9_000})
    assert ids(house.bob.list_models(author="acme")) == ["acme/one", "acme/two"]
    assert house.alice.file_exists("acme/one", "w.bin")
    assert not house.alice.file_exists("acme/one", "v.bin")
    (row,) = house.run("namespace", "list")["namespaces"]
    assert (row["repos"], row["quota_repos"]) == (2, 2)
    assert 60_000 <= row["used_bytes"] < 100_000
    house.run("namespace", "set", "acme", "--quota", "0")
    commit(house.alice, "acme/one", {"v.bin": os.urandom(60_000)})


def test_65_new_repositories_begin_as_the_namespace_says(house: House) -> None:
    house.run("namespace", "set", "acme", "--private")
    house.alice.create_repo("acme/hidden")
    house.alice.create_repo("acme/shown", private=False)
    assert [house.alice.model_info(f"acme/{name}").private for name in ("hidden", "shown")] == [True, False]
    house.run("namespace", "set", "acme", "--public")
    house.alice.create_repo("acme/later")
    assert not house.alice.model_info("acme/later").private


def test_70_old_revisions_let_their_large_files_go(house: House) -> None:
    house.alice.create_repo("acme/one")
    weights = [os.urandom(30_000 + n) for n in range(5)]
    commits = [
        commit(house.alice, "acme/one", {"w.bin": data, "n.txt": b"%d" % n}) for n, data in enumerate(weights)
    ]
    house.alice.create_tag("acme/one", tag="v1", revision=commits[1])
    house.run("namespace", "set", "acme", "--keep-revisions", "2")
    assert house.run("gc")["released"] == 2
    for number, revision in enumerate(commits):
        if number in (0, 2):
            with pytest.raises(EntryNotFoundError):
                house.bob.hf_hub_download("acme/one", "w.bin", revision=revision)
        else:
            path = house.bob.hf_hub_download("acme/one", "w.bin", revision=revision)
            assert Path(path).read_bytes() == weights[number]
        path = house.bob.hf_hub_download("acme/one", "n.txt", revision=revision)
        assert Path(path).read_bytes() == b"%d" % number
    assert [one.commit_id for one in house.bob.list_repo_commits("acme/one")][:5] == commits[::-1]
    assert house.run("gc")["released"] == 0
    subprocess.run(
        ["git", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false", "clone", "-q",
         f"{house.url}/acme/one", "clone"],
        cwd=house.folder, check=True, timeout=60, env={**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"},
    )  # fmt: skip
    log = subprocess.run(
        ["git", "log", "--format=%H"], cwd=house.folder / "clone", check=True, capture_output=True, text=True
    )
    assert log.stdout.split()[:5] == commits[::-1]


def test_80_a_gated_repository_shows_itself_and_keeps_its_files(house: House) -> None:
    tuned(house.alice)
    house.alice.update_repo_settings("acme/tuned", gated="manual")
    assert house.bob.model_info("acme/tuned").gated == "manual"
    assert house.bob.list_repo_files("acme/tuned")
    for api in (house.bob, house.stranger):
        with pytest.raises(GatedRepoError):
            api.hf_hub_download("acme/tuned", "config.json")
    house.run("access", "add", "acme/tuned", "user:bob", "--role", "read")
    assert house.bob.hf_hub_download("acme/tuned", "config.json")
    with pytest.raises(RepositoryNotFoundError):
        house.stranger.model_info("acme/none")
