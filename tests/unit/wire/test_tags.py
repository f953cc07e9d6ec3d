"""The searchable words of a repository."""

from __future__ import annotations

import pytest

from moongate.wire.front_matter import Value
from moongate.wire.tags import MAX_TAGS, derive

_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def test_a_fine_tune() -> None:
    card: dict[str, Value] = {
        "license": "mit",
        "language": ["en", "de"],
        "tags": ["chat", "llama"],
        "datasets": "acme/talk",
        "base_model": "acme/tiny",
    }
    readme = "See https://arxiv.org/abs/2106.09685."
    found = derive("model", card, readme, _LLAMA, ["README.md", "model.safetensors", "onnx/model.onnx"])
    assert found.library_name == "transformers"
    assert found.pipeline_tag == "text-generation"
    assert found.auto_model == "AutoModelForCausalLM"
    assert found.base_models == ("acme/tiny",)
    assert found.tags == (
        "transformers", "safetensors", "onnx", "llama", "text-generation", "chat", "en", "de",
        "dataset:acme/talk", "arxiv:2106.09685", "license:mit", "base_model:acme/tiny",
        "base_model:finetune:acme/tiny",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("card", "paths", "relation"),
    [
        ({"base_model": ["a/b", "c/d"]}, [], "merge"),
        ({"base_model": "a/b"}, ["adapter_config.json"], "adapter"),
        ({"base_model": "a/b", "library_name": "peft"}, [], "adapter"),
        ({"base_model": "a/b"}, ["model-q4.gguf"], "quantized"),
        ({"base_model": "a/b", "base_model_relation": "finetune"}, ["model-q4.gguf"], "finetune"),
        ({"base_model": "a/b"}, ["model.safetensors"], "finetune"),
        ({"base_model": "no such name"}, [], None),
        ({}, ["model.safetensors"], None),
    ],
)
def test_how_a_model_comes_from_its_base(
    card: dict[str, Value], paths: list[str], relation: str | None
) -> None:
    found = derive("model", card, "", {}, paths)
    assert found.relation == relation
    assert [tag for tag in found.tags if tag.startswith(f"base_model:{relation}:")] == [
        f"base_model:{relation}:{base}" for base in found.base_models
    ]


def test_nothing_is_invented() -> None:
    found = derive("model", {}, "", {}, ["README.md", ".gitattributes"])
    assert found.tags == ()
    assert (found.library_name, found.pipeline_tag) == (None, None)


def test_the_card_goes_before_what_files_suggest() -> None:
    card: dict[str, Value] = {"library_name": "vllm", "pipeline_tag": "fill-mask"}
    found = derive("model", card, "", _LLAMA, [])
    assert (found.library_name, found.pipeline_tag, found.auto_model) == ("vllm", "fill-mask", None)


def test_a_dataset_and_a_space() -> None:
    card: dict[str, Value] = {"task_categories": ["fill-mask"], "language": "en", "license": ["mit", "other"]}
    assert derive("dataset", card, "", {}, ["a.gguf"]).tags == (
        "language:en",
        "task_categories:fill-mask",
        "license:mit",
        "license:other",
    )
    assert derive("space", {"sdk": "gradio", "tags": ["demo"]}, "", {}, []).tags == ("demo", "gradio")


def test_tags_are_bounded() -> None:
    many: list[Value] = [f"t{n}" for n in range(10_000)]
    tags = derive("model", {"tags": ["x" * 5000, *many]}, "", {}, []).tags
    assert len(tags) == MAX_TAGS
    assert max(map(len, tags)) < 10
