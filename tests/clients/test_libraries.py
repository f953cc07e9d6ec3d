"""transformers, datasets and diffusers through the gateway: the same numbers, rows and files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble, LfsFile
from support.clients import run_script
from support.gateway import Gateway
from support.hub import FurnishedHub

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(240)]

SENTENCES = ["The moon has a gate.", "Weights come through it once.", "Bananas are yellow."]
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def ml(client_python: Callable[[str], Path]) -> Path:
    return client_python("ml")


@pytest.fixture(scope="module")
def tables(ml: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway before a Hub that has a dataset of parquet files, `acme/tables`."""
    folder = tmp_path_factory.mktemp("tables")
    double = HubDouble(folder / "hub")
    with double.running():
        names = run_script(ml, "make_tables.py", {"folder": str(folder)}, home=folder, endpoint=double.url)
        files = {f"data/{name}": LfsFile((folder / name).read_bytes()) for name in names}
        double.add_repo("acme/tables", "dataset", xet=True).commit(files)
        with Gateway(
            folder / "gateway", double.url, cdn=f"{double.cdn_netloc},{double.cas_netloc}"
        ) as running:
            yield running


def test_transformers_embedding(
    ml: Path, hub: FurnishedHub, gateway: Gateway, minilm: Path, tmp_path: Path
) -> None:
    plan = {"model": str(minilm), "sentences": SENTENCES}
    local = run_script(
        ml, "transformers_embed.py", plan, home=tmp_path / "l", endpoint=gateway.url, env=OFFLINE
    )
    through = run_script(
        ml,
        "transformers_embed.py",
        plan | {"model": "acme/minilm"},
        home=tmp_path / "g",
        endpoint=gateway.url,
    )
    assert through["class"] == "BertModel"
    snapshots = (tmp_path / "g" / "hf" / "hub" / "models--acme--minilm" / "snapshots").iterdir()
    assert [path.name for path in snapshots] == [hub["acme/minilm"].refs["refs/heads/main"]]
    assert len(through["vectors"][0]) == 384
    assert through["vectors"] == local["vectors"]
    alike, unlike = (dot(through["vectors"][0], through["vectors"][n]) for n in (1, 2))
    assert alike > unlike, "the embedding means nothing"


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def test_datasets_of_parquet(ml: Path, tables: Gateway, tmp_path: Path) -> None:
    part = "hf://datasets/acme/tables/data/test-00000-of-00001.parquet"
    plan: dict[str, Any] = {
        "load": {"whole": {"path": "acme/tables"}},
        "stream": {
            "streamed": {"path": "acme/tables", "split": "train"},
            "middle": {"path": "acme/tables", "split": "train", "skip": 3200, "take": 5},
            "one file": {"path": "parquet", "data_files": part, "split": "train"},
        },
    }
    gave = given(run_script(ml, "datasets_load.py", plan, home=tmp_path / "g", endpoint=tables.url))
    assert [gave["whole"][split]["rows"] for split in ("train", "test")] == [6000, 50]
    assert gave["whole"]["train"]["last"]["id"] == 5999
    assert gave["streamed"]["rows"] == 6000
    assert [gave["middle"][at]["id"] for at in ("first", "last")] == [3200, 3204]
    assert gave["one file"]["rows"] == 50


def test_datasets_of_json_lines(ml: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    plan: dict[str, Any] = {
        "load": {
            "whole": {"path": "acme/rows"},
            "files": {"path": "acme/rows", "data_files": {"only": "test.jsonl"}, "revision": "v1"},
        },
        "stream": {"streamed": {"path": "acme/rows", "split": "train", "take": 300}},
    }
    gave = given(run_script(ml, "datasets_load.py", plan, home=tmp_path / "g", endpoint=gateway.url))
    assert [gave["whole"][split]["rows"] for split in ("train", "test")] == [500, 20]
    assert gave["whole"]["train"]["first"] == {"id": 0, "text": "row 0 é"}
    assert gave["files"]["only"]["rows"] == 20
    assert gave["streamed"]["last"] == {"id": 299, "text": "row 299 é"}


def given(told: dict[str, Any]) -> dict[str, Any]:
    assert [answer for answer in told.values() if "gave" not in answer] == []
    return {name: answer["gave"] for name, answer in told.items()}


def test_diffusers(ml: Path, hub: FurnishedHub, gateway: Gateway, tmp_path: Path) -> None:
    plan = {
        "usual": {"pretrained_model_name": "acme/pipeline"},
        "variant": {"pretrained_model_name": "acme/pipeline", "variant": "fp16"},
    }
    told = run_script(ml, "diffusers_download.py", plan, home=tmp_path / "g", endpoint=gateway.url)
    repo = hub["acme/pipeline"]
    weights = "unet/diffusion_pytorch_model.safetensors"
    half = "unet/diffusion_pytorch_model.fp16.safetensors"
    usual = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json"}
    assert set(told["usual"].get("gave", told["usual"])) == usual | {weights}
    # one cache holds both: the second load adds its variant to the same snapshot
    assert set(told["variant"].get("gave", told["variant"])) == usual | {weights, half}
    for name, digest in told["variant"]["gave"].items():
        assert digest == hashlib.sha256(hub.content(repo, name)).hexdigest()
