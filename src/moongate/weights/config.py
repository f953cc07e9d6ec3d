"""What the configuration files beside a model's weights say of it, as the Hub's `config` repeats it.

Only the few words that clients ask for are taken, each of the type it should be; a file that is no JSON says
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

CONFIG_FILES: Final = ("config.json", "tokenizer_config.json", "adapter_config.json", "model_index.json")
"""The files that are read, at the top of a repository."""

MAX_CONFIG_BYTES: Final = 4 << 20
"""A longer file is not looked at."""

_MAX_TEXT_CHARS = 256
_MAX_TEMPLATE_CHARS = 256 << 10
_MAX_WORDS = 32
_ADAPTER_WORDS = ("base_model_name_or_path", "task_type", "revision")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")


def model_config(files: Mapping[str, bytes]) -> dict[str, object]:
    """The `config` of a model, from those of `CONFIG_FILES` that it has."""
    found = {name: _object(data) for name, data in files.items()}
    config = found.get("config.json", {})
    told: dict[str, object] = {}
    architectures = [word for word in _list(config.get("architectures")) if _is_text(word)][:_MAX_WORDS]
    if architectures:
        told["architectures"] = architectures
    if _is_text(config.get("model_type")):
        told["model_type"] = config["model_type"]
    auto_map = {name: at for name, at in _mapping(config.get("auto_map")).items() if _is_text(at)}
    if auto_map and len(auto_map) <= _MAX_WORDS:
        told["auto_map"] = auto_map
    quantization = _mapping(config.get("quantization_config"))
    quantization = {name: value for name, value in quantization.items() if _is_small(value)}
    if quantization and len(quantization) <= _MAX_WORDS:
        told["quantization_config"] = quantization
    tokenizer = _tokenizer(found.get("tokenizer_config.json", {}))
    if tokenizer:
        told["tokenizer_config"] = tokenizer
    adapter = found.get("adapter_config.json", {})
    peft = {
        name: adapter[name]
        for name in ("base_model_name_or_path", "task_type")
        if _is_text(adapter.get(name))
    }
    if peft:
        told["peft"] = peft
    class_name = found.get("model_index.json", {}).get("_class_name")
    if _is_text(class_name):
        told["diffusers"] = {"_class_name": class_name}
    return told


def _tokenizer(told: Mapping[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name in _TOKENS:
        value = told.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if _is_text(text):
            kept[name] = text
    template = told.get("chat_template")
    if isinstance(template, str) and len(template) <= _MAX_TEMPLATE_CHARS:
        kept["chat_template"] = template
    return kept


def _object(data: bytes) -> dict[str, object]:
    if len(data) > MAX_CONFIG_BYTES:
        return {}
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_CHARS


def _is_small(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float) or _is_text(value)
