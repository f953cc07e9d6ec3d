"""MISP feeds: a manifest, and one file an event.

Of an event's attributes (those of its objects, too), hashes and addresses at the Hub count that are marked
`to_ids`: other attributes are context. `hashes.csv` holds MD5s of attribute values, for MISP's own cache; it
is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from moongate.core.errors import UpstreamBroken
from moongate.core.hits import Indicator
from moongate.scan.feeds.words import indicator_of, json_of, label_of, list_of, object_of, tlp_of

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOST_EVENTS: Final = 100_000
# Which part of `filename|sha256` and its like is the hash.
_TYPES: Final[Mapping[str, int]] = {
    "sha256": 0, "md5": 0, "filename|sha256": 1, "filename|md5": 1, "malware-sample": 1, "url": 0, "link": 0,
}  # fmt: skip


def read_manifest(body: bytes) -> dict[str, str]:
    """The timestamp of each event, by its uuid.

    Raises:
        UpstreamBroken: it is no manifest.
    """
    told = object_of(json_of(body, "manifest.json"), "manifest.json")
    if len(told) > _MOST_EVENTS:
        raise UpstreamBroken(f"manifest.json lists more than {_MOST_EVENTS} events")
    events: dict[str, str] = {}
    for uuid, about in told.items():
        if not _UUID.fullmatch(uuid) or not isinstance(about, dict):
            raise UpstreamBroken("manifest.json lists something that is no event")
        events[uuid.lower()] = str(about.get("timestamp", ""))[:40]
    return events


def read_event(body: bytes, uuid: str, confidence: int) -> list[Indicator]:
    """What an event says, with its uuid as the source.

    Raises:
        UpstreamBroken: it is no event.
    """
    told = object_of(json_of(body, f"the event {uuid}"), f"the event {uuid}")
    event = object_of(told.get("Event"), f"the event {uuid}")
    tags = [_tag(tag) for tag in list_of(event.get("Tag"))]
    found = []
    for attribute in _attributes(event):
        part = _TYPES.get(str(attribute.get("type")))
        if part is None or attribute.get("to_ids") is not True or attribute.get("deleted") is True:
            continue
        own = [_tag(tag) for tag in list_of(attribute.get("Tag"))]
        about = Indicator(
            "pattern",
            "",
            label_of(attribute.get("comment"), event.get("info")),
            confidence,
            tlp_of([*tags, *own]),
            source=uuid,
        )
        pieces = str(attribute.get("value", "")).split("|")
        indicator = indicator_of(pieces[part], about) if part < len(pieces) else None
        if indicator is not None:
            found.append(indicator)
    return found


def _attributes(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for holder in (event, *list_of(event.get("Object"))):
        if isinstance(holder, dict) and holder.get("deleted") is not True:
            for attribute in list_of(holder.get("Attribute")):
                if isinstance(attribute, dict):
                    yield attribute


def _tag(tag: object) -> str:
    return str(tag.get("name", "")) if isinstance(tag, dict) else ""
