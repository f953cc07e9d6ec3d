"""The CAS origin: reconstructions for those with a Xet token, and the uploads of Xet clients.

Paths as clients of all ages spell them: with `/v2`, with `/v1`, without a version, in the singular. Data
itself lies on the CDN origin, at URLs that are signed here for the ranges of one answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

import orjson

from moongate.core.errors import BadName
from moongate.core.spans import ByteSpan
from moongate.double.ask import Ask
from moongate.double.cas_uploads import CasUploads
from moongate.double.content import MemoryContent
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.world import World
from moongate.double.xet_files import XetFile
from moongate.double.xorb_data import xorb_path
from moongate.double.xorbs import StoredXorb
from moongate.xet.hashes import XetHash, parse_hash
from moongate.xet.reconstruction import FetchRange, Reconstruction, Term, cut_terms, write_v1, write_v2
from moongate.xet.shard import dedup_answer, is_dedup_chunk

_BATCH_MOST = 1000
_KEY_SECONDS = 86_400


class Cas:
    """Answers every request to the CAS origin."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._uploads = CasUploads(world)
        self._hmac_key = secrets.token_bytes(32)

    async def answer(self, ask: Ask) -> Reply:
        """The reply to a request.

        Raises:
            Refusal: as the door turns it into an answer.
        """
        segments = ask.segments
        version = segments[0] if segments[0] in ("v1", "v2") else ""
        rest = segments[1:] if version else segments
        match ask.method, *rest:
            case "GET", ("reconstructions" | "reconstruction"), file_id:
                return self._reconstruction(ask, file_id, version)
            case "GET", "reconstructions":
                return self._batch(ask, ask.all("file_id"))
            case "POST", "reconstructions":
                return self._batch(ask, await _batch_ids(ask))
            case "GET", ("chunks" | "chunk"), _, chunk:
                return self._dedup(ask, chunk)
            case "HEAD", ("xorbs" | "xorb"), _, xorb:
                self._world.xet_tokens.check(ask)
                return _length(self._xorb(_hash(xorb)).content.size_bytes)
            case "HEAD", "files", file_id:
                return _length(self._file(ask, file_id).size_bytes)
            case "POST", "telemetry":
                await ask.body()
                return json_reply({})
            case _:
                return await self._uploads.answer(ask, version, rest)

    def _file(self, ask: Ask, file_id: str) -> XetFile:
        token = self._world.xet_tokens.check(ask)
        found = self._world.xet.by_id(file_id)
        if found is None or not token.reaches(file_id):
            raise Refusal(404, "File not found")
        return found

    def _xorb(self, xorb: XetHash) -> StoredXorb:
        found = self._world.xet.xorbs.get(xorb)
        if found is None:
            raise Refusal(404, "Xorb not found")
        return found

    def _reconstruction(self, ask: Ask, file_id: str, version: str) -> Reply:
        file = self._file(ask, file_id)
        span = ask.span(file.size_bytes)
        cut = cut_terms(
            file.terms, ByteSpan(0, file.size_bytes) if span is None else ByteSpan(span[0], span[1] + 1)
        )
        one_url = version == "v2"
        answer = Reconstruction(cut.offset_bytes, cut.terms, self._fetches(cut.terms, one_url))
        reply = json_reply(write_v2(answer) if one_url else write_v1(answer))
        del reply.headers["ETag"]
        return reply

    def _batch(self, ask: Ask, file_ids: list[str]) -> Reply:
        files = [self._file(ask, file_id) for file_id in file_ids[:_BATCH_MOST]]
        terms = [term for file in files for term in file.terms]
        told = write_v1(Reconstruction(0, tuple(terms), self._fetches(terms, False)))
        one_by_one = {file.id: write_v1(Reconstruction(0, file.terms, {}))["terms"] for file in files}
        return json_reply({"files": one_by_one, "fetch_info": told["fetch_info"]})

    def _fetches(self, terms: Iterable[Term], one_url: bool) -> dict[XetHash, tuple[FetchRange, ...]]:
        chunks: dict[XetHash, list[tuple[int, int]]] = {}
        for term in terms:
            chunks.setdefault(term.xorb, []).append((term.start, term.end))
        return {xorb: self._signed(self._xorb(xorb), _merged(runs), one_url) for xorb, runs in chunks.items()}

    def _signed(self, xorb: StoredXorb, runs: list[tuple[int, int]], one_url: bool) -> tuple[FetchRange, ...]:
        spans = [xorb.layout.span(first, end) for first, end in runs]
        if one_url:
            urls = [self._url(xorb, spans)] * len(spans)
        else:
            urls = [self._url(xorb, [span]) for span in spans]
        return tuple(
            FetchRange(first, end, span, url)
            for (first, end), span, url in zip(runs, spans, urls, strict=True)
        )

    def _url(self, xorb: StoredXorb, spans: list[ByteSpan]) -> str:
        ranges = "bytes=" + ",".join(f"{span.start}-{span.end - 1}" for span in spans)
        ttl_seconds = self._world.settings.url_ttl_seconds
        return self._world.cdn_url + self._world.signer.sign(xorb_path(xorb.hash), ttl_seconds, ranges=ranges)

    def _dedup(self, ask: Ask, chunk: str) -> Reply:
        self._world.xet_tokens.check(ask)
        value = _hash(chunk)
        found = self._world.xet.dedup_xorb(value) if self._world.settings.xet_dedup else None
        if found is None or not (is_dedup_chunk(value, first_of_file=self._world.xet.begins_file(value))):
            raise Refusal(404, "Chunk not found")
        now = int(time.time())
        return Reply(
            200,
            {"Content-Type": "application/octet-stream"},
            MemoryContent(dedup_answer([found], self._hmac_key, now, now + _KEY_SECONDS)),
        )


async def _batch_ids(ask: Ask) -> list[str]:
    try:
        return [str(one["hash"]) for one in orjson.loads(await ask.body())]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Refusal(400, "Expected an array of objects with a hash") from None


def _hash(text: str) -> XetHash:
    try:
        return parse_hash(text)
    except BadName as error:
        raise Refusal(400, str(error)) from None


def _length(size_bytes: int) -> Reply:
    return Reply(200, {"Content-Type": "application/octet-stream"}, content_length=size_bytes)


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(runs):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((first, end))
    return merged
