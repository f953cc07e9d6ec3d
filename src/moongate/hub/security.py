"""Our verdicts in the answers about repositories: files' and repositories' security status, and `/scan`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import structlog

from moongate.core.callers import Caller
from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import BadName, StoreError
from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId
from moongate.core.verdicts import Verdict
from moongate.hub.answers import Answer
from moongate.hub.judging import Judging
from moongate.hub.refs import Resolved
from moongate.store.index import Index
from moongate.wire import routes
from moongate.wire.security_words import file_status, repo_status

_MOST_FILES = 20_000
log = structlog.get_logger("moongate.judging")

_JSON = (("Content-Type", "application/json; charset=utf-8"),)


class SecurityAnswers:
    """Adds what scans said to what upstream, or a hosted repository, answers."""

    def __init__(self, judging: Judging, index: Index) -> None:
        self._judging = judging
        self._index = index

    @staticmethod
    def concerns(route: routes.Route, query: str) -> bool:
        """Whether the answer may tell of safety, so that a remembered one may be out of date."""
        match route:
            case routes.Info():
                return "securityStatus" in query or "securityRepoStatus" in query
            case routes.Tree():
                return "expand" in query
            case routes.RepoOther(rest=rest):
                return rest == "scan"
        return False

    @staticmethod
    def is_scan(route: routes.Route) -> bool:
        return isinstance(route, routes.RepoOther) and route.rest == "scan"

    async def merged(self, answer: Answer, resolved: Resolved | None) -> Answer:
        """An answer with our words in it. `resolved`: the commit that it is about, where that matters."""
        if answer.status != 200:
            return answer
        return await asyncio.to_thread(self._merged, answer, resolved)

    def _merged(self, answer: Answer, resolved: Resolved | None) -> Answer:
        try:
            told = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return answer
        if isinstance(told, list):
            for entry in told:
                self._merge_entry(entry)
        elif isinstance(told, dict) and "securityRepoStatus" in told and resolved is not None:
            status = self.of_commit(resolved.repo, resolved.commit_hash, told["securityRepoStatus"])
            told["securityRepoStatus"] = status
        else:
            return answer
        return replace(answer, body=orjson.dumps(told))

    def _merge_entry(self, entry: Any) -> None:
        if not isinstance(entry, dict) or entry.get("type") != "file":
            return
        if "securityFileStatus" not in entry and "lastCommit" not in entry:
            return
        lfs = entry.get("lfs")
        try:
            etag = parse_etag(str(lfs["oid"] if isinstance(lfs, dict) else entry.get("oid")))
        except (BadName, KeyError):
            return
        told = entry.get("securityFileStatus")
        if told is not None:
            self._hear(etag, told)
        known = self._judging.known(etag, str(entry.get("path", "")))
        entry["securityFileStatus"] = file_status(known, entry.get("securityFileStatus"))

    def _hear(self, etag: Etag, status: object) -> None:
        """What the Hub's own scanners say counts with the others, from when it passes by."""
        try:
            self._judging.hear_of_hub(etag, status)
        except StoreError as error:
            log.warning("the Hub's word was not written down", etag=etag, why=error.message)

    async def scan(self, repos: Any, repo: RepoId, caller: Caller, asked: Answer | None) -> Answer:
        """The answer to `/scan`: of the newest commit of the main branch. `asked`: upstream's own."""
        resolved = await repos.commit_of(repo, DEFAULT_REVISION, caller)
        upstream: object = None
        if asked is not None and asked.status == 200:
            try:
                upstream = orjson.loads(asked.body)
            except orjson.JSONDecodeError:
                upstream = None
        status = await asyncio.to_thread(self.of_commit, resolved.repo, resolved.commit_hash, upstream)
        return Answer(200, _JSON, orjson.dumps(status), resolved.outcome, resolved.age_seconds)

    def of_commit(self, repo: RepoId, commit_hash: CommitHash, upstream: object) -> dict[str, Any]:
        """The security status of a commit, by what is known of its files."""
        files = self._index.files_of(repo, commit_hash)[:_MOST_FILES]
        verdicts: list[tuple[str, Verdict | None]] = []
        for entry in files:
            known = self._judging.known(entry.etag, entry.path)
            clean_by_nature: Verdict | None = "clean" if entry.size_bytes == 0 else None
            verdicts.append((entry.path, known.verdict if known is not None else clean_by_nature))
        complete = bool(files) and self._index.listing_complete(repo, commit_hash)
        return repo_status(verdicts, upstream, complete=complete)
