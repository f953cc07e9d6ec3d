"""What a repository's card may say: the checks of the Hub's `validate-yaml` route, by its own words.

An error keeps a README from being committed; a warning is printed by clients, and nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from moongate.core.errors import BadName
from moongate.core.names import RepoType, parse_repo_id
from moongate.wire.front_matter import BadCard, Value, front_matter
from moongate.wire.licenses import LICENSES

MISSING: Final = "empty or missing yaml metadata in repo card"

RELATIONS: Final = ("adapter", "merge", "quantized", "finetune")
"""How a model may come from its base model."""

PIPELINES: Final = frozenset((
    "any-to-any", "audio-classification", "audio-text-to-text", "audio-to-audio",
    "automatic-speech-recognition", "depth-estimation", "document-question-answering", "feature-extraction",
    "fill-mask", "graph-ml", "image-classification", "image-feature-extraction", "image-segmentation",
    "image-text-to-image", "image-text-to-text", "image-text-to-video", "image-to-3d", "image-to-image",
    "image-to-text", "image-to-video", "keypoint-detection", "mask-generation", "multiple-choice",
    "object-detection", "other", "question-answering", "reinforcement-learning", "robotics",
    "sentence-similarity", "summarization", "table-question-answering", "table-to-text",
    "tabular-classification", "tabular-regression", "tabular-to-text", "text-classification",
    "text-generation", "text-ranking", "text-retrieval", "text-to-3d", "text-to-audio", "text-to-image",
    "text-to-speech", "text-to-video", "text2text-generation", "time-series-forecasting",
    "token-classification", "translation", "unconditional-image-generation", "video-classification",
    "video-text-to-text", "video-to-video", "visual-document-retrieval", "visual-question-answering",
    "voice-activity-detection", "zero-shot-classification", "zero-shot-image-classification",
    "zero-shot-object-detection",
))  # fmt: skip

_LISTS = ("tags", "widget", "model-index", "configs")
_TEXTS = ("pipeline_tag", "library_name", "pretty_name", "license_name", "title", "emoji", "thumbnail")
_TEXT_OR_LIST = (
    "language", "datasets", "metrics", "task_categories", "task_ids", "size_categories", "multilinguality",
    "annotations_creators", "language_creators", "source_datasets",
)  # fmt: skip
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_SDKS = ("gradio", "docker", "static", "streamlit")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")


@dataclass(frozen=True, slots=True)
class CardCheck:
    """What is wrong with a card, and what is merely odd."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The answer of the `validate-yaml` route."""
        return {
            "errors": [{"message": error} for error in self.errors],
            "warnings": [{"message": warning} for warning in self.warnings],
        }


def check_card(readme: str, repo_type: RepoType) -> CardCheck:
    """The errors and warnings of a README's metadata."""
    try:
        card = front_matter(readme)
    except BadCard as error:
        return CardCheck(errors=(error.message,))
    if not card:
        return CardCheck(warnings=(MISSING,))
    return CardCheck(tuple(_errors(card, repo_type)), tuple(_warnings(card)))


def texts(value: Value | object) -> list[str]:
    """One text, or the texts of a list; whatever else stands there is left out."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str) and item]


def _errors(card: Mapping[str, Value], repo_type: RepoType) -> Iterator[str]:
    for name in _LISTS:
        if card.get(name) is not None and not isinstance(card[name], list):
            yield f'"{name}" must be an array'
    for name in _TEXTS:
        if card.get(name) is not None and not isinstance(card[name], str):
            yield f'"{name}" must be a string'
    for name in ("tags", *_TEXT_OR_LIST):
        yield from _texts_errors(name, card.get(name))
    yield from _license_errors(card.get("license"))
    yield from _base_model_errors(card)
    if isinstance(results := card.get("model-index"), list):
        yield from _results_errors(results)
    if repo_type == "space":
        yield from _one_of("sdk", card.get("sdk"), _SDKS)
        for name in ("colorFrom", "colorTo"):
            yield from _one_of(name, card.get(name), _COLORS)


def _texts_errors(name: str, value: Value) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            if not isinstance(item, str):
                yield f'"{name}[{number}]" must be a string'
                return
    elif value is not None and not isinstance(value, str) and name != "tags":
        yield f'"{name}" must be one of [string, array]'


def _license_errors(value: Value) -> Iterator[str]:
    if value is None:
        return
    named = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item in LICENSES for item in named):
        yield f'"license" must be one of [{", ".join(LICENSES)}, array]'


def _base_model_errors(card: Mapping[str, Value]) -> Iterator[str]:
    value = card.get("base_model")
    named = value if isinstance(value, list) else [] if value is None else [value]
    for number, item in enumerate(named):
        where = f"base_model[{number}]" if isinstance(value, list) else "base_model"
        if not isinstance(item, str):
            yield f'"{where}" must be a string'
        elif not is_model_id(item):
            yield f'"{where}" with value "{item[:100]}" is not valid. Use a model id from https://hf.co/models.'
    yield from _one_of("base_model_relation", card.get("base_model_relation"), RELATIONS)


def is_model_id(text: str) -> bool:
    """Whether the text may be a model's id."""
    try:
        parse_repo_id("model", text)
    except BadName:
        return False
    return True


def _results_errors(models: list[Value]) -> Iterator[str]:
    for number, model in enumerate(models):
        where = f"model-index[{number}]"
        if not isinstance(model, dict):
            yield f'"{where}" must be of type object'
            return
        if not isinstance(model.get("name"), str):
            yield f'"{where}.name" is required'
        results = model.get("results")
        if not isinstance(results, list):
            yield (
                f'"{where}.results" must be an array'
                if results is not None
                else (f'"{where}.results" is required')
            )
            continue
        for place, result in enumerate(results):
            yield from _result_errors(f"{where}.results[{place}]", result)


def _result_errors(where: str, result: Value) -> Iterator[str]:
    if not isinstance(result, dict):
        yield f'"{where}" must be of type object'
        return
    task, dataset, metrics = result.get("task"), result.get("dataset"), result.get("metrics")
    if not isinstance(task, dict) or not isinstance(task.get("type"), str):
        yield f'"{where}.task.type" is required'
    if dataset is not None:
        for name in ("name", "type"):
            if not isinstance(dataset, dict) or not isinstance(dataset.get(name), str):
                yield f'"{where}.dataset.{name}" is required'
    if not isinstance(metrics, list):
        yield (
            f'"{where}.metrics" must be an array' if metrics is not None else f'"{where}.metrics" is required'
        )
        return
    for number, metric in enumerate(metrics):
        if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
            yield f'"{where}.metrics[{number}].type" is required'
        elif "value" not in metric:
            yield f'"{where}.metrics[{number}].value" is required'


def _one_of(name: str, value: Value, allowed: tuple[str, ...]) -> Iterator[str]:
    if value is not None and value not in allowed:
        yield f'"{name}" must be one of [{", ".join(allowed)}]'


def _warnings(card: Mapping[str, Value]) -> Iterator[str]:
    pipeline = card.get("pipeline_tag")
    if isinstance(pipeline, str) and pipeline not in PIPELINES:
        known = ", ".join(sorted(PIPELINES))
        yield f'The pipeline tag "{pipeline[:100]}" is not in the official list: {known}'
    for language in texts(card.get("language")):
        if not _LANGUAGE.fullmatch(language):
            yield (
                f'The language "{language[:40]}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code '
                '(two/three letters), or "code" or "multilingual".'
            )
    if card.get("license") == "other" and not card.get("license_name"):
        yield 'The license is "other": please name it with "license_name".'
