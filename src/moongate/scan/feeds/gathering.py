"""One feed of any kind, fetched: what it says now, or what it says beyond what is known.

A gatherer asks by way of a `Fetch`, which knows the feed's secret, its allowed hosts and its bounds, and
returns `Gathered`. Nothing here writes; nothing here knows of HTTP beyond status, headers and body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, Protocol, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from moongate.core.errors import UpstreamBroken
from moongate.core.feeds import Advisory, FeedKind, FeedRow
from moongate.core.hits import Indicator, day_and_time
from moongate.scan.feeds.hash_lists import read_hash_list
from moongate.scan.feeds.misp import read_event, read_manifest
from moongate.scan.feeds.options import FeedOptions
from moongate.scan.feeds.osv import read_advisories
from moongate.scan.feeds.stix import read_bundle, read_objects
from moongate.scan.feeds.virustotal import read_threat_list
from moongate.scan.feeds.words import json_of, list_of, object_of, seconds_of
from moongate.scan.feeds.yara_rules import read_rules

TAXII_TYPE: Final = "application/taxii+json;version=2.1"

_MOST_PAGES: Final = 5000
_MOST_HOURS: Final = 7 * 24
_HOURS_LATE: Final = 2
_HOUR: Final = 3600


class Fetched(Protocol):
    """An answer. `headers` are by names in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Fetch(Protocol):
    """Gets an address of one feed, with the feed's secret where that belongs."""

    async def __call__(self, url: str, headers: Mapping[str, str] = {}) -> Fetched:
        """The answer: 200, 304, or 404 and other statuses below 500 that a caller may understand.

        Raises:
            UpstreamError: no answer, a status of trouble, an address that is not allowed, or too long.
        """


@dataclass(slots=True)
class Gathered:
    """What a fetch brought.

    how: `same` (nothing new), `whole` (this is all there is) or `more` (added to what is known).
    gone: values by kind, gone_sources: whole sources, that no longer count (with `more`).
    """

    how: Literal["same", "whole", "more"]
    state: dict[str, object]
    indicators: Iterable[Indicator] = ()
    advisories: Iterable[Advisory] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    gone: list[tuple[str, str]] = field(default_factory=list)
    gone_sources: list[str] = field(default_factory=list)


Gatherer: TypeAlias = Callable[[FeedRow, FeedOptions, Fetch, float], Awaitable[Gathered]]


async def gather(feed: FeedRow, fetch: Fetch, now: float) -> Gathered:
    """What a feed says.

    Raises:
        UpstreamError: it could not be had, or makes no sense.
        BadRequest: its options make no sense.
    """
    return await GATHERERS[feed.kind](feed, FeedOptions.of(feed.options), fetch, now)


async def _document(feed: FeedRow, url: str, fetch: Fetch) -> tuple[bytes | None, dict[str, object]]:
    """The one document of a feed, None when it is what it was; and what to remember of it."""
    asked: dict[str, str] = {}
    if isinstance(etag := feed.state.get("etag"), str):
        asked["If-None-Match"] = etag
    if isinstance(modified := feed.state.get("last_modified"), str):
        asked["If-Modified-Since"] = modified
    answer = await fetch(url, asked)
    if answer.status == 304 and asked:
        return None, dict(feed.state)
    _expect(answer, 200)
    digest = sha256(answer.body).hexdigest()
    state: dict[str, object] = {"sha256": digest}
    if etag := answer.headers.get("etag"):
        state["etag"] = etag[:200]
    if modified := answer.headers.get("last-modified"):
        state["last_modified"] = modified[:100]
    return (None if feed.state.get("sha256") == digest else answer.body), state


def _expect(answer: Fetched, status: int) -> None:
    if answer.status != status:
        raise UpstreamBroken(f"the feed answered {answer.status}")


async def _hashes(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    body, state = await _document(feed, feed.url, fetch)
    if body is None:
        return Gathered("same", state)
    return Gathered("whole", state, read_hash_list(body, options.confidence))


async def _stix(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    body, state = await _document(feed, feed.url, fetch)
    if body is None:
        return Gathered("same", state)
    return Gathered("whole", state, read_bundle(body, now, options.confidence).indicators)


async def _osv(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    body, state = await _document(feed, feed.url, fetch)
    if body is None:
        return Gathered("same", state)
    return Gathered("whole", state, advisories=read_advisories(body))


async def _yara(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    body, state = await _document(feed, feed.url, fetch)
    if body is None:
        return Gathered("same", state)
    return Gathered("whole", state, rules={"rules": read_rules(body)})


async def _taxii(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    """Everything a collection added since the last time, page by page."""
    base = feed.url.rstrip("/").removesuffix("/objects") + "/objects/"
    since, seen = feed.state.get("added_after"), set[str]()
    newest = since if isinstance(since, str) else ""
    gathered = Gathered("more" if newest else "whole", {})
    indicators: list[Indicator] = []
    following = ""
    for _ in range(_MOST_PAGES):
        query = {"match[type]": "indicator"}
        if isinstance(since, str):
            query["added_after"] = since
        if following:
            query["next"] = following
        answer = await fetch(f"{base}?{urlencode(query)}", {"Accept": TAXII_TYPE})
        _expect(answer, 200)
        if not answer.headers.get("content-type", "").startswith("application/taxii+json"):
            raise UpstreamBroken("the server does not speak TAXII 2.1")
        envelope = object_of(json_of(answer.body, "the envelope"), "the envelope")
        said = read_objects(list_of(envelope.get("objects")), now, options.confidence)
        indicators += said.indicators
        gathered.gone += [(one.kind, one.value) for one in said.gone]
        newest = max(newest, _timestamp(answer.headers.get("x-taxii-date-added-last", "")))
        if envelope.get("more") is not True:
            break
        following = str(envelope.get("next", ""))
        if not following or following in seen:
            raise UpstreamBroken("the server's pages lead nowhere")
        seen.add(following)
    else:
        raise UpstreamBroken(f"the collection has more than {_MOST_PAGES} pages")
    gathered.state = {"added_after": newest} if newest else {}
    gathered.indicators = indicators
    if gathered.how == "whole":
        taken = set(gathered.gone)
        gathered.indicators = [one for one in indicators if (one.kind, one.value) not in taken]
    elif not indicators and not gathered.gone:
        gathered.how = "same"
    return gathered


def _timestamp(text: str) -> str:
    return text if seconds_of(text) is not None and len(text) <= 40 else ""


async def _misp(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    """The events that changed since the last time."""
    base = feed.url.removesuffix("manifest.json").rstrip("/") + "/"
    body, state = await _document(feed, base + "manifest.json", fetch)
    known = feed.state.get("events")
    known = known if isinstance(known, dict) else {}
    if body is None:
        return Gathered("same", {**state, "events": known})
    events = read_manifest(body)
    changed = [uuid for uuid, stamp in events.items() if known.get(uuid) != stamp]
    gone = [uuid for uuid in known if uuid not in events]
    indicators: list[Indicator] = []
    for uuid in changed:
        answer = await fetch(f"{base}{quote(uuid)}.json")
        _expect(answer, 200)
        indicators += read_event(answer.body, uuid, options.confidence)
    state["events"] = events
    if not changed and not gone:
        return Gathered("same", state)
    return Gathered(
        "more" if known else "whole", state, indicators, gone_sources=[*gone, *changed] if known else []
    )


async def _gti_list(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    """The hours that came out since the last time, the oldest first; at first only the latest.

    The address is a list's, such as https://www.virustotal.com/api/v3/threat_lists/malware.
    """
    base = feed.url.rstrip("/").removesuffix("/latest")
    label = urlsplit(base).path.rsplit("/", 1)[-1]
    query = urlencode({"type": "file", "query": f"gti_score:{options.min_score}+"})
    last = feed.state.get("hour")
    newest = int(now // _HOUR) - _HOURS_LATE
    if not isinstance(last, int):
        answer = await fetch(f"{base}/latest?{query}")
        _expect(answer, 200)
        return Gathered("whole", {"hour": newest}, read_threat_list(answer.body, options.min_score, label))
    found: list[Indicator] = []
    for hour in range(max(last + 1, newest - _MOST_HOURS), newest + 1):
        answer = await fetch(f"{base}/{_hour_name(hour)}?{query}")
        if answer.status == 404:
            break  # it comes out later
        _expect(answer, 200)
        found += read_threat_list(answer.body, options.min_score, label)
        last = hour
    return Gathered("more" if found else "same", {"hour": last}, found)


def _hour_name(hour: int) -> str:
    return day_and_time(hour * _HOUR)[:13].replace("-", "").replace("T", "")


async def _service(feed: FeedRow, options: FeedOptions, fetch: Fetch, now: float) -> Gathered:
    """A service holds nothing to fetch."""
    return Gathered("same", {})


GATHERERS: Final[Mapping[FeedKind, Gatherer]] = {
    "hashes": _hashes,
    "stix": _stix,
    "taxii": _taxii,
    "misp": _misp,
    "osv": _osv,
    "yara": _yara,
    "gti-list": _gti_list,
    "virustotal": _service,
}
