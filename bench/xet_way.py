"""The way to a file through Xet, step by step as clients go it: headers, token, reconstruction, first data.

    python -m bench.xet_way < job.json > result.json

A job is `{"endpoint", "repo", "path"}`; the result `{"first_byte"}`: seconds from the first question to the
first byte of chunk data, every question on a connection of its own.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.reader import Answered, Connection
from moongate.core.spans import ByteSpan
from moongate.xet.hashes import hash_hex
from moongate.xet.reconstruction import read_reconstruction

_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a xorb and where it can be had."""

    xorb: str
    url: str
    span: ByteSpan

    def asked(self) -> list[str | int]:
        """As a reader's job names it: path, first and last byte."""
        parts = urlsplit(self.url)
        return [f"{parts.path}?{parts.query}", self.span.start, self.span.end - 1]


def pieces_of(endpoint: str, repo: str, path: str) -> list[Piece]:
    """The ranges of a file's xorbs, in the order in which the file needs them first.

    Raises:
        Answered: some answer was not what clients need.
    """
    headers, _ = _ask(f"{endpoint}/{repo}/resolve/main/{path}", method="HEAD")
    commit, file_id = headers.get("x-repo-commit"), headers.get("x-xet-hash")
    if commit is None or file_id is None:
        raise Answered(f"{endpoint} does not offer {repo} through Xet")
    _, body = _ask(f"{endpoint}/api/models/{repo}/xet-read-token/{commit}")
    token = json.loads(body)
    bearer = {"Authorization": f"Bearer {token['accessToken']}"}
    _, body = _ask(f"{token['casUrl']}/v2/reconstructions/{file_id}", bearer)
    answer = read_reconstruction(json.loads(body))
    found: dict[tuple[str, int], Piece] = {}
    for term in answer.terms:
        fetch = answer.fetch_of(term)
        xorb = hash_hex(term.xorb)
        found.setdefault((xorb, fetch.start), Piece(xorb, fetch.url, fetch.span))
    return list(found.values())


def first_byte(endpoint: str, repo: str, path: str) -> float:
    """Seconds to the first byte of the first piece.

    Raises:
        Answered: some answer was not what clients need.
    """
    started = time.perf_counter()
    piece = pieces_of(endpoint, repo, path)[0]
    parts = urlsplit(piece.url)
    connection = Connection(parts.hostname or "", parts.port or 80)
    try:
        wanted, first, last = piece.asked()
        status, _, came = connection.ask(str(wanted), [int(first), int(last)])
        if status != 206:
            raise Answered(f"{status} for {piece.url}")
        if not came:
            connection.take(1)
        return time.perf_counter() - started
    finally:
        connection.close()


def _ask(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, parts.path, headers=dict(headers or {}))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise Answered(f"{answer.status} for {url}")
    return {name.lower(): value for name, value in answer.getheaders()}, body


def main() -> int:
    job = json.loads(sys.stdin.readline())
    try:
        found = first_byte(job["endpoint"], job["repo"], job["path"])
    except (OSError, Answered) as error:
        print(f"xet_way: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"first_byte": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
