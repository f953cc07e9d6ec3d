"""The front matter of a README: the simple part of YAML that cards are written in."""

from __future__ import annotations

from moongate.double.content import MemoryContent
from moongate.double.repo import Commit

_PREFIXED = {"license": "license:", "datasets": "dataset:", "base_model": "base_model:"}


def card_of(commit: Commit) -> dict[str, object]:
    """The card data of a commit's README; empty when there is none we can read."""
    node = commit.files.get("README.md")
    if node is None or not isinstance(node.content, MemoryContent):
        return {}
    text = node.content.data.decode(errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return {}
    return parse(text[4:].partition("\n---")[0])


def parse(text: str) -> dict[str, object]:
    """Top-level `key: value`, `key: [a, b]` and dash lists; what is nested deeper is left out."""
    card: dict[str, object] = {}
    key, items = "", []
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if bare.startswith("- ") and key and ": " not in bare:
            items.append(_value(bare[2:]))
            card[key] = list(items)
        elif not line[0].isspace() and ":" in bare and not bare.startswith("- "):
            key, _, rest = bare.partition(":")
            key, items = key.strip(), []
            if rest.strip():
                card[key] = _value(rest.strip())
    return card


def _value(text: str) -> object:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [_value(item) for item in text[1:-1].split(",") if item.strip()]
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


def tags_of(commit: Commit, card: dict[str, object]) -> list[str]:
    """The tags the Hub derives: library and formats, then the card's own, then license, datasets, region."""
    tags = [str(card[key]) for key in ("library_name", "pipeline_tag") if key in card]
    names = list(commit.files)
    for tag, suffix in (
        ("safetensors", ".safetensors"),
        ("gguf", ".gguf"),
        ("onnx", ".onnx"),
        ("parquet", ".parquet"),
    ):
        if any(name.endswith(suffix) for name in names):
            tags.append(tag)
    tags += _texts(card.get("tags")) + _texts(card.get("language"))
    for key, prefix in _PREFIXED.items():
        tags += [prefix + text for text in _texts(card.get(key))]
    return list(dict.fromkeys([*tags, "region:us"]))


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)] if value is not None else []
