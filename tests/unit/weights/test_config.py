"""What configuration files say of a model."""

from __future__ import annotations

import json

import pytest

from moongate.weights.config import MAX_CONFIG_BYTES, model_config


def test_what_clients_ask_for_is_taken() -> None:
    files = {
        "config.json": {"architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_size": 8},
        "tokenizer_config.json": {
            "eos_token": {"content": "</s>"},
            "bos_token": "<s>",
            "chat_template": "{{ m }}",
        },
        "adapter_config.json": {"base_model_name_or_path": "acme/tiny", "task_type": "CAUSAL_LM", "r": 8},
        "model_index.json": {"_class_name": "Pipeline"},
    }
    assert model_config({name: json.dumps(told).encode() for name, told in files.items()}) == {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "tokenizer_config": {"eos_token": "</s>", "bos_token": "<s>", "chat_template": "{{ m }}"},
        "peft": {"base_model_name_or_path": "acme/tiny", "task_type": "CAUSAL_LM"},
        "diffusers": {"_class_name": "Pipeline"},
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"architectures": "x", "model_type": 3, "auto_map": [], "quantization_config": 7}',
        b'{"architectures": [1, {}], "model_type": ""}',
        b" " * (MAX_CONFIG_BYTES + 1) + b'{"model_type": "x"}',
    ],
)
def test_nonsense_says_nothing(data: bytes) -> None:
    assert model_config({"config.json": data, "tokenizer_config.json": data}) == {}
