"""Every generation of the client finds hosted repositories in lists, before those of upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from moongate.double import HubDouble, Settings
from support.clients import run_script
from support.gateway import Gateway
from support.weights import safetensors

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(240)]

CARD = b"---\nlicense: mit\nbase_model: up/base\npipeline_tag: fill-mask\n---\n# Tuned\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that hosts two models and a dataset, before a Hub whose lists have pages of two."""
    folder = tmp_path_factory.mktemp("lists")
    hub = HubDouble(folder / "hub", settings=Settings(list_page_size=2))
    for number in range(5):
        hub.add_repo(f"up/m{number}").commit({"config.json": b"{}"})
    hub.add_repo("up/data", "dataset").commit({"a.txt": b"a"})
    with hub.running():
        env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
        with Gateway(folder / "gateway", hub.url, cdn=hub.cdn_netloc, env=env) as gateway:
            api = HfApi(gateway.url, token=False)
            weights = safetensors({"a": ("F32", [7])})
            for name in ("acme/tuned", "acme/plain"):
                api.create_repo(name)
            api.create_commit(
                "acme/tuned",
                [CommitOperationAdd("README.md", CARD), CommitOperationAdd("model.safetensors", weights)],
                commit_message="work",
            )
            api.create_repo("acme/rows", repo_type="dataset")
            yield gateway


@pytest.mark.parametrize("client", ["hub-0.36", "hub-1.0", "hub-1.x", "hub-2.4"])
def test_lists(client: str, client_python: Callable[[str], Path], house: Gateway, tmp_path: Path) -> None:
    told = run_script(
        client_python(client), "hub_lists.py", {"token": None}, home=tmp_path, endpoint=house.url
    )
    ours = {"acme/tuned", "acme/plain"}  # of the same second, so in either order
    assert set(told["all"][:2]) == ours
    assert sorted(told["all"][2:]) == [f"up/m{number}" for number in range(5)]
    assert [len(found) for found in told["limits"]] == [1, 2, 3, 4]
    assert set(told["limits"][1]) == ours
    assert set(told["by_author"]) == set(told["sorted"]) == ours
    assert told["by_search"] == told["by_filter"] == told["by_task"] == ["acme/tuned"]
    (tuned,) = [item for item in told["full"] if item[0] == "acme/tuned"]
    assert tuned[2] == [".gitattributes", "README.md", "model.safetensors"]
    assert len(tuned[1]) == 40
    assert told["datasets"] == ["acme/rows", "up/data"]
    assert told["parameters"] == 7
    assert told["license"] == "mit"
    assert "base_model:finetune:up/base" in told["tags"]
