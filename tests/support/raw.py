"""Requests as bytes on the wire: nothing is encoded, followed or added that was not asked for.

`ask` sends one request, `follow` goes where it is sent and collects the metadata of every hop, `told` says
what a Hub client reads off an answer: so a Hub that redirects and a gateway that does not can be compared.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

_TIMEOUT_SECONDS = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_HOPS = 6


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str = ""

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    base_url: str,
    target: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> RawAnswer:
    """Send one request to an origin; the target goes out as it is. Nothing is followed."""
    place = urlsplit(base_url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body or method in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        said = {name.lower(): value for name, value in answer.getheaders()}
        return RawAnswer(answer.status, said, answer.read(), base_url + target)
    finally:
        connection.close()


def follow(
    base_url: str,
    target: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> RawAnswer:
    """As `ask`, and goes where it is sent, without a token to another origin; first words on a file win."""
    sent, url, kept = dict(headers or {}), base_url + target, dict[str, str]()
    for _ in range(_MAX_HOPS):
        place = urlsplit(url)
        origin = f"{place.scheme}://{place.netloc}"
        if origin != base_url:
            sent.pop("Authorization", None)
        answer = ask(origin, url.removeprefix(origin), method, sent, body)
        kept = {**answer.headers, **{name: value for name, value in kept.items() if name in _OF_THE_FILE}}
        if answer.status not in _REDIRECTS or "location" not in answer.headers:
            return RawAnswer(answer.status, kept, answer.body, url)
        url = urljoin(url, answer.headers["location"])
    raise AssertionError(f"{target} redirects without end")


_OF_THE_FILE = {
    "x-repo-commit", "x-linked-size", "x-linked-etag", "accept-ranges", "content-disposition",
}  # fmt: skip


def told(answer: RawAnswer, base_url: str) -> dict[str, Any]:
    """What clients read off an answer, without addresses and without what speaks of Xet or of scans."""
    said = answer.headers
    found: dict[str, Any] = {"status": answer.status}
    if answer.status >= 400:
        found |= {"code": said.get("x-error-code"), "commit": said.get("x-repo-commit")}
        if answer.status == 416:
            found["range"] = said.get("content-range")
        return found
    found["more"] = _leads_on(said.get("link", ""), base_url)
    found["total"] = said.get("x-total-count")
    if "x-repo-commit" in said:
        found |= _of_a_file(said)
    if "json" in said.get("content-type", "") and "x-repo-commit" not in said:
        found["json"] = _plain(json.loads(answer.body), base_url) if answer.body else None
        if "/paths-info/" in answer.url:
            found["json"].sort(key=lambda entry: entry["path"])  # the Hub promises no order
    else:
        found["body"] = answer.body
    return found


def _of_a_file(said: Mapping[str, str]) -> dict[str, Any]:
    etag = said.get("x-linked-etag") or said.get("etag", "")
    name = re.search(r"filename\*=UTF-8''([^;]+)", said.get("content-disposition", ""))
    return {
        "commit": said["x-repo-commit"],
        "etag": etag.removeprefix("W/").strip('"'),
        "size": said.get("x-linked-size") or _size(said),
        "range": said.get("content-range"),
        "ranges": said.get("accept-ranges"),
        "encoding": said.get("content-encoding"),
        "name": name and name[1],
    }


def _size(said: Mapping[str, str]) -> str | None:
    if "content-range" in said:
        return said["content-range"].rpartition("/")[2]
    return said.get("content-length")


def _leads_on(link: str, base_url: str) -> bool:
    assert not link or f"<{base_url}/" in link or "xet" in link, f"a link leads away: {link}"
    return bool(link) and "xet" not in link


_OWN = re.compile("xet|security|^scansDone$|^filesWithIssues$|^filesScanned$", re.IGNORECASE)
"""The gateway speaks of its own CAS, and of what its own scans found."""


def _plain(value: Any, base_url: str) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, base_url) for key, item in value.items() if not _OWN.search(key)}
    if isinstance(value, list):
        return [_plain(item, base_url) for item in value]
    return value.replace(base_url, "HUB") if isinstance(value, str) else value
