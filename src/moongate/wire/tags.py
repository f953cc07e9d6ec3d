"""The searchable words of a repository, derived from its card, its configuration and its files' names.

Said as the Hub says them: `license:mit`, `base_model:finetune:acme/tiny`, `dataset:glue`, a language by its
bare code. Nothing is invented: what neither the card nor a file says has no tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moongate.core.names import RepoType
from moongate.wire.cards import RELATIONS, is_model_id, texts
from moongate.wire.front_matter import Value

MAX_TAGS: Final = 500
_MAX_TAG_CHARS = 200

_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/([0-9]{4}\.[0-9]{4,5})")
_DATASET_KEYS = (
    "task_categories", "task_ids", "annotations_creators", "language_creators", "multilinguality",
    "source_datasets", "size_categories",
)  # fmt: skip

_BY_ENDING = {
    ".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".tflite": "tflite", ".keras": "keras",
    ".ckpt": "pytorch", ".pt": "pytorch", ".pth": "pytorch", ".msgpack": "jax", ".nemo": "nemo",
}  # fmt: skip
_BY_NAME = {
    "pytorch_model.bin": "pytorch", "tf_model.h5": "tf", "flax_model.msgpack": "jax",
    "model_index.json": "diffusers", "modules.json": "sentence-transformers",
    "adapter_config.json": "peft",
}  # fmt: skip
_LIBRARIES = ("peft", "diffusers", "sentence-transformers")

_TASKS = {
    "ForCausalLM": ("text-generation", "AutoModelForCausalLM"),
    "LMHeadModel": ("text-generation", "AutoModelForCausalLM"),
    "ForConditionalGeneration": ("text2text-generation", "AutoModelForSeq2SeqLM"),
    "ForMaskedLM": ("fill-mask", "AutoModelForMaskedLM"),
    "ForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "ForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
    "ForQuestionAnswering": ("question-answering", "AutoModelForQuestionAnswering"),
    "ForMultipleChoice": ("multiple-choice", "AutoModelForMultipleChoice"),
    "ForImageClassification": ("image-classification", "AutoModelForImageClassification"),
    "ForObjectDetection": ("object-detection", "AutoModelForObjectDetection"),
    "ForAudioClassification": ("audio-classification", "AutoModelForAudioClassification"),
    "ForCTC": ("automatic-speech-recognition", "AutoModelForCTC"),
    "ForSpeechSeq2Seq": ("automatic-speech-recognition", "AutoModelForSpeechSeq2Seq"),
}


@dataclass(frozen=True, slots=True)
class Derived:
    """What may be searched for, and where a model comes from."""

    tags: tuple[str, ...]
    library_name: str | None = None
    pipeline_tag: str | None = None
    auto_model: str | None = None
    base_models: tuple[str, ...] = ()
    relation: str | None = None


def derive(
    repo_type: RepoType,
    card: Mapping[str, Value],
    readme: str,
    config: Mapping[str, object],
    paths: Sequence[str],
) -> Derived:
    """The tags of a repository whose card, README, `config` (see `model_config`) and files these are."""
    if repo_type != "model":
        return Derived(_limited(_plain_tags(repo_type, card, readme)))
    formats = _formats(paths)
    library = _library(card, config, formats)
    task, auto_model = _task(config)
    pipeline = _word(card.get("pipeline_tag")) or (task if library == "transformers" else None)
    bases = tuple(dict.fromkeys(base for base in texts(card.get("base_model")) if is_model_id(base)))
    relation = _relation(card, bases, formats, library)
    tags = [
        *([library] if library else []),
        *formats,
        *texts(config.get("model_type")),
        *([pipeline] if pipeline else []),
        *_plain_tags(repo_type, card, readme),
        *(f"base_model:{base}" for base in bases),
        *(f"base_model:{relation}:{base}" for base in bases if relation),
    ]
    return Derived(
        _limited(tags), library, pipeline, auto_model if library == "transformers" else None, bases, relation
    )


def _plain_tags(repo_type: RepoType, card: Mapping[str, Value], readme: str) -> Iterator[str]:
    yield from texts(card.get("tags"))
    language = "language:" if repo_type == "dataset" else ""
    yield from (f"{language}{word}" for word in texts(card.get("language")))
    if repo_type == "dataset":
        yield from (f"{key}:{word}" for key in _DATASET_KEYS for word in texts(card.get(key)))
    else:
        yield from (f"dataset:{word}" for word in texts(card.get("datasets")))
    if repo_type == "space":
        yield from texts(card.get("sdk"))
    yield from (f"arxiv:{paper}" for paper in _ARXIV.findall(readme))
    yield from (f"license:{word}" for word in texts(card.get("license")))


def _limited(tags: Iterable[str]) -> tuple[str, ...]:
    """Each tag once, in order; an absurd one not at all."""
    return tuple(dict.fromkeys(tag for tag in tags if len(tag) <= _MAX_TAG_CHARS))[:MAX_TAGS]


def _formats(paths: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        word = _BY_NAME.get(name) if "/" not in path else None
        word = word or _BY_ENDING.get(name[name.rfind(".") :] if "." in name else "")
        if word:
            found[word] = None
        if name.startswith("events.out.tfevents"):
            found["tensorboard"] = None
    return tuple(found)


def _library(card: Mapping[str, Value], config: Mapping[str, object], formats: Sequence[str]) -> str | None:
    named = _word(card.get("library_name"))
    if named:
        return named
    by_file = next((library for library in _LIBRARIES if library in formats), None)
    if by_file:
        return by_file
    if config.get("architectures") or config.get("model_type"):
        return "transformers"
    return "gguf" if "gguf" in formats else None


def _task(config: Mapping[str, object]) -> tuple[str | None, str | None]:
    for architecture in texts(config.get("architectures")):
        for ending, found in _TASKS.items():
            if architecture.endswith(ending):
                return found
    return None, None


def _relation(
    card: Mapping[str, Value], bases: Sequence[str], formats: Sequence[str], library: str | None
) -> str | None:
    """How it comes from its base: by the card's own word, or else by what is there."""
    said = card.get("base_model_relation")
    if not bases:
        return None
    if said in RELATIONS:
        return str(said)
    if len(bases) > 1:
        return "merge"
    if library == "peft" or "peft" in formats:
        return "adapter"
    return "quantized" if "gguf" in formats else "finetune"


def _word(value: Value) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_TAG_CHARS else None
