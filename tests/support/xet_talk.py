"""Xet by plain HTTP, as a client in another language does it: JSON token, terms, ranges, chunks.

talk = XetTalk(gateway.url, "acme/base")
talk.read("model.safetensors")           # the bytes, put together from chunks
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from moongate.xet.decoding import decode_chunk
from moongate.xet.xorb import read_headers
from support.raw import RawAnswer, ask

_LINK = re.compile(r'<([^>]+)>; rel="([^"]+)"')


@dataclass
class XetTalk:
    """One reader of one repository."""

    url: str
    repo: str
    token: str | None = None
    revision: str = "main"
    xet_token: str = ""
    cas_url: str = ""
    data_urls: list[str] = field(default_factory=list)

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def head(self, path: str, headers: Mapping[str, str] | None = None, method: str = "HEAD") -> RawAnswer:
        target = f"/{self.repo}/resolve/{self.revision}/{path}"
        return ask(self.url, target, method, {**self.auth, **(headers or {})})

    def ask_token(self, method: str = "GET") -> RawAnswer:
        return ask(self.url, f"/api/models/{self.repo}/xet-read-token/{self.revision}", method, self.auth)

    def log_in(self) -> XetTalk:
        """Get a Xet token, as JSON."""
        told = self.ask_token().json()
        self.cas_url, self.xet_token = told["casUrl"], told["accessToken"]
        return self

    def cas(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes = b""
    ) -> RawAnswer:
        """Ask our CAS with the Xet token."""
        place = urlsplit(self.cas_url or f"{self.url}/cas")
        sent = {"Authorization": f"Bearer {self.xet_token}", **(headers or {})}
        return ask(f"{place.scheme}://{place.netloc}", place.path + path, method, sent, body)

    def file_id(self, path: str) -> str:
        return self.head(path).headers["x-xet-hash"]

    def read(self, path: str, *, version: int = 2, span: tuple[int, int] | None = None) -> bytes:
        """The bytes of a file, or of a span of it, from chunks."""
        if not self.xet_token:
            self.log_in()
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        answer = self.cas(f"/v{version}/reconstructions/{self.file_id(path)}", headers)
        assert answer.status == 200, (answer, answer.body)
        content = self.put_together(answer.json())
        return content if span is None else content[: span[1] - span[0]]

    def put_together(self, told: Mapping[str, Any]) -> bytes:
        chunks: dict[tuple[str, int], bytes] = {}
        for xorb, ranges in _fetches(told).items():
            for first, end, start, last, url in ranges:
                data = self.data(url, f"bytes={start}-{last}")
                assert data.status == 206, (data, data.body[:300])
                view = memoryview(data.body)
                headers = read_headers(view)
                assert len(headers) == end - first
                for at, header in enumerate(headers):
                    chunks[xorb, first + at] = bytes(decode_chunk(view, header))
        terms = []
        for term in told["terms"]:
            spans = range(term["range"]["start"], term["range"]["end"])
            raw = b"".join(chunks[term["hash"], number] for number in spans)
            assert len(raw) == term["unpacked_length"]
            terms.append(raw)
        return b"".join(terms)[told["offset_into_first_range"] :]

    def data(self, url: str, asked: str | None, method: str = "GET") -> RawAnswer:
        """Read a data address, without any token."""
        self.data_urls.append(url)
        place = urlsplit(url)
        headers = {"Range": asked} if asked else {}
        return ask(f"{place.scheme}://{place.netloc}", f"{place.path}?{place.query}", method, headers)


def links(answer: RawAnswer) -> dict[str, str]:
    """The addresses in a Link header, by relation."""
    return {rel: url for url, rel in _LINK.findall(answer.headers.get("link", ""))}


def first_address(answer: RawAnswer) -> tuple[str, list[tuple[int, int]]]:
    """The first data address of a reconstruction in version 2, and the ranges it is signed for."""
    entries = next(iter(json.loads(answer.body)["xorbs"].values()))
    return entries[0]["url"], [(one["bytes"]["start"], one["bytes"]["end"]) for one in entries[0]["ranges"]]


def _fetches(told: Mapping[str, Any]) -> dict[str, list[tuple[int, int, int, int, str]]]:
    if "xorbs" in told:
        return {
            xorb: [
                (*_ends(one["chunks"]), *_ends(one["bytes"]), entry["url"])
                for entry in entries
                for one in entry["ranges"]
            ]
            for xorb, entries in told["xorbs"].items()
        }
    return {
        xorb: [(*_ends(one["range"]), *_ends(one["url_range"]), one["url"]) for one in ranges]
        for xorb, ranges in told["fetch_info"].items()
    }


def _ends(told: Mapping[str, int]) -> tuple[int, int]:
    return told["start"], told["end"]
