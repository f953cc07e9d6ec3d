"""Questions for lists, as the Hub's clients ask them, and which repositories fit.

    search    words that stand in the id          author   the namespace
    filter    tags, all of which must be there    limit    how many on a page
    sort      lastModified, createdAt, downloads, likes or trendingScore
    pipeline_tag, gated, num_parameters, models, datasets    as the Hub takes them
    full, config, cardData, expand                           what is told of each

Whatever asks for what a hosted repository never has (an app, an inference provider) fits none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from moongate.core.errors import BadRequest
from moongate.core.names import RepoType, shown
from moongate.hub.hosted.views import EXPANDABLE

CURSOR: Final = "moongate_from"
"""The parameter that says where a later page of hosted repositories begins, or `BEYOND` them."""

BEYOND: Final = "upstream"

MAX_PAGE: Final = 1000

_MAX_FIELDS = 200
_SORTS = {
    "lastModified": "lastModified", "last_modified": "lastModified", "createdAt": "createdAt",
    "created_at": "createdAt", "downloads": "downloads", "likes": "likes", "trendingScore": "trendingScore",
    "trending_score": "trendingScore", "trending": "trendingScore",
}  # fmt: skip
_NEVER = ("apps", "inference", "inference_provider")
_COUNT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([KMBT]?)", re.IGNORECASE)
_BEFORE_SLASH = re.compile(r"([A-Za-z0-9._-]+)/")
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """One question for a list. `start` is where its page of hosted repositories begins; None: beyond them.

    asked: those of `full`, `config` and `cardData` that are wanted.
    """

    words: tuple[str, ...] = ()
    author: str | None = None
    tags: tuple[str, ...] = ()
    pipeline: str | None = None
    parameters: tuple[float, float] | None = None
    linked: Mapping[str, tuple[str, ...]] | None = None
    fits_none: bool = False
    sort: str | None = None
    descending: bool = True
    limit: int | None = None
    start: int | None = 0
    asked: frozenset[str] = frozenset()
    expand: tuple[str, ...] = ()

    def fits(self, view: Mapping[str, object]) -> bool:
        """Whether a repository (see `whole_view`) is asked for."""
        repo_id, tags = str(view["id"]).lower(), view.get("tags")
        known = {str(tag).lower() for tag in tags} if isinstance(tags, list) else set()
        return (
            not self.fits_none
            and all(word in repo_id for word in self.words)
            and (self.author is None or str(view.get("author", "")).lower() == self.author.lower())
            and all(tag in known for tag in self.tags)
            and (self.pipeline is None or view.get("pipeline_tag") == self.pipeline)
            and (self.parameters is None or self._parameters_fit(view))
            and all(_names_one(view.get(name), wanted) for name, wanted in (self.linked or {}).items())
        )

    def _parameters_fit(self, view: Mapping[str, object]) -> bool:
        low, high = self.parameters or (0.0, float("inf"))
        for name in ("safetensors", "gguf"):
            facts = view.get(name)
            total = facts.get("total") if isinstance(facts, dict) else None
            if isinstance(total, int):
                return low <= total <= high
        return False

    def sort_key(self) -> Callable[[Mapping[str, object]], tuple[bool, str, float]]:
        """By what to order what fits; without a wish, by what changed last."""
        field = self.sort or "lastModified"

        def key(view: Mapping[str, object]) -> tuple[bool, str, float]:
            value = view.get(field)
            number = float(value) if isinstance(value, int | float) else 0.0
            return value is not None, value if isinstance(value, str) else "", number

        return key

    def names(self, namespaces: Callable[[str], bool]) -> bool:
        """Whether it names something of a namespace that lives here, so that it must not leave the house."""
        said = [self.author or "", *self.words, *self.tags]
        said += [name for names in (self.linked or {}).values() for name in names]
        candidates = {name for text in said for name in _BEFORE_SLASH.findall(text)}
        return bool(self.author and namespaces(self.author)) or any(map(namespaces, candidates))


def read_question(query: str, repo_type: RepoType) -> ListQuestion:
    """The question that a list's raw query asks.

    Raises:
        BadRequest: it asks for a field, an order or a number that cannot be.
    """
    try:
        pairs = parse_qsl(query, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise BadRequest("the query has absurdly many parts") from None
    said: dict[str, list[str]] = {}
    for name, value in pairs:
        said.setdefault(name.removesuffix("[]"), []).append(value)
    one = {name: values[-1] for name, values in said.items()}
    expand = tuple(name for value in said.get("expand", []) for name in value.split(",") if name)
    _check_expand(expand, repo_type)
    linked: dict[str, tuple[str, ...]] = {
        name: tuple(said[name]) for name in ("models", "datasets") if repo_type == "space" and name in said
    }
    return ListQuestion(
        words=tuple(" ".join(said.get("search", [])).lower().split()),
        author=one.get("author") or None,
        tags=tuple(tag.lower() for value in said.get("filter", []) for tag in value.split(",") if tag),
        pipeline=one.get("pipeline_tag") or None,
        parameters=_parameters(one["num_parameters"]) if one.get("num_parameters") else None,
        linked=linked or None,
        fits_none=_is_true(one.get("gated")) or any(said.get(name) for name in _NEVER),
        sort=_sort(one.get("sort")),
        descending=one.get("direction") != "1",
        limit=_number(one.get("limit"), "limit"),
        start=None if one.get(CURSOR) == BEYOND else _number(one.get(CURSOR), CURSOR) or 0,
        asked=frozenset(name for name in ("full", "config", "cardData") if _is_true(one.get(name))),
        expand=expand,
    )


def _check_expand(expand: Sequence[str], repo_type: RepoType) -> None:
    for name in expand:
        if name not in EXPANDABLE[repo_type]:
            raise BadRequest(f"expand: a {repo_type} has no {shown(name)}")


def _sort(text: str | None) -> str | None:
    return _SORTS.get(text) if text else None  # the Hub may know more orders than we do


def _number(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest(f"{name} is no number: {shown(text)}")
    return int(text)


def _parameters(text: str) -> tuple[float, float]:
    bounds = {"min": 0.0, "max": float("inf")}
    for part in text.split(","):
        name, _, value = part.partition(":")
        match = _COUNT.fullmatch(value.strip())
        if name.strip() not in bounds or match is None:
            raise BadRequest("num_parameters is written min:6B,max:128B")
        bounds[name.strip()] = float(match[1]) * _UNITS[match[2].upper()]
    return bounds["min"], bounds["max"]


def _names_one(value: object, wanted: Sequence[str]) -> bool:
    return isinstance(value, list) and any(name in value for name in wanted)


def _is_true(text: str | None) -> bool:
    return text is not None and text.lower() in ("true", "1")
