"""What changes hosted repositories: they are made, moved and dropped; branches, tags, discussions, settings.

Each handler says whether it answered: what is not about a hosted repository is left to others. Commits have
their own room (`commit_routes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from moongate.app.commit_routes import CommitRoutes, may_speak
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.replies import JSON_TYPE, Reply
from moongate.core.digests import parse_etag
from moongate.core.errors import (
    Absent,
    BadName,
    BadRequest,
    Conflict,
    NotAllowed,
)
from moongate.core.names import (
    DEFAULT_REVISION,
    RepoId,
    RepoType,
    parse_repo_id,
    parse_repo_type,
    parse_revision,
    shown,
)
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.repositories import NewRepo, visibility_in
from moongate.wire import routes
from moongate.wire.hosted_paths import Asked, DiscussionAsked, parse_hosted

_MAX_BODY_BYTES: Final = 1 << 20
MANAGE_PREFIX: Final = "/api/repos/"

Body = Mapping[str, Any]


class HostedRoutes:
    """Handles what is about hosted repositories and is no plain read."""

    def __init__(
        self,
        hosted: HostedRepos,
        commits: CommitRoutes,
        base_url: Callable[[web.BaseRequest], str],
    ) -> None:
        self._hosted = hosted
        self._commits = commits
        self._base_url = base_url

    # Repositories

    async def manage(self, exchange: Exchange) -> tuple[web.StreamResponse | None, bytes]:
        """`/api/repos/create|delete|move`: the answer, or (None) the body that was read: not ours."""
        word = exchange.path.removeprefix(MANAGE_PREFIX)
        raw = await read_body(exchange, _MAX_BODY_BYTES)
        if word not in ("create", "delete", "move") or exchange.is_read:
            return None, raw
        body = _object(raw)
        if word == "move":
            repo_type = _type_in(body)
            old, new = _repo_named(repo_type, body, "fromRepo"), _repo_named(repo_type, body, "toRepo")
            if not (self._hosted.hosts(old) or self._hosted.hosts(new)):
                return None, raw
            return await self._move(exchange, old, new), raw
        repo = self._named(exchange, body)
        if repo is None or not (self._hosted.hosts(repo) or exchange.caller.kind == "token"):
            return None, raw
        answer = self._create if word == "create" else self._delete
        return await answer(exchange, repo, body), raw

    async def _create(self, exchange: Exchange, repo: RepoId, body: Body) -> web.StreamResponse:
        allow(exchange, "POST")
        wanted = NewRepo(
            repo,
            visibility_in(body, default=self._hosted.repositories.begin_private(repo.namespace)),
            _text_in(body, "license", None),
            _text_in(body, "sdk", None),
        )
        told = self._address(exchange, repo)
        try:
            await asyncio.to_thread(self._hosted.repositories.create, wanted, exchange.caller)
        except Conflict as error:
            headers = (("X-Error-Code", "Conflict"), ("X-Error-Message", error.message))
            return self._json(exchange, {"error": error.message, **told}, 409, headers)
        exchange.tell("repo.create", repo, details={"private": wanted.private})
        return self._json(exchange, told)

    async def _delete(self, exchange: Exchange, repo: RepoId, body: Body) -> web.StreamResponse:
        allow(exchange, "DELETE")
        row = await asyncio.to_thread(self._hosted.to_administer, repo, exchange.caller)
        await asyncio.to_thread(self._hosted.repositories.delete, row)
        exchange.tell("repo.delete", repo)
        return self._json(exchange, {})

    async def _move(self, exchange: Exchange, old: RepoId, new: RepoId) -> web.StreamResponse:
        allow(exchange, "POST")
        for repo in (old, new):
            if not self._hosted.hosts(repo):
                raise NotAllowed(f"The namespace {shown(repo.namespace)} is not hosted here.")
        row = await asyncio.to_thread(self._hosted.to_administer, old, exchange.caller)
        await asyncio.to_thread(self._hosted.repositories.move, row, new, exchange.caller)
        exchange.tell("repo.move", old, subject=str(new))
        return self._json(exchange, self._address(exchange, new))

    def _named(self, exchange: Exchange, body: Body) -> RepoId | None:
        """The repository that a body of create or delete names; without a namespace it is the caller's."""
        name, organization = _text_in(body, "name", ""), _text_in(body, "organization", None)
        repo_type = _type_in(body)
        if name and "/" in name:
            return parse_repo_id(repo_type, name)
        namespace = organization or (exchange.caller.user if exchange.caller.kind == "token" else "")
        if not namespace:
            return None
        return parse_repo_id(repo_type, f"{namespace}/{name}")

    # Everything below a repository

    async def repo_other(self, exchange: Exchange, route: routes.RepoOther) -> web.StreamResponse:
        """What is asked of a hosted repository besides reads."""
        asked = parse_hosted(route.rest)
        if asked is None:
            raise Absent("This repository has nothing at this address.")
        if isinstance(asked, DiscussionAsked):
            return await self._discussion(exchange, route.repo, asked)
        match asked.kind:
            case "commit":
                return await self._commits.commit(exchange, route.repo, asked.name)
            case "preupload":
                return await self._commits.preupload(exchange, route.repo, asked.name)
            case _:
                return await self._handlers[asked.kind](self, exchange, route.repo, asked)

    async def _settings(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "PUT")
        row = await asyncio.to_thread(self._hosted.to_administer, repo, exchange.caller)
        body = await self._body(exchange)
        changed = await asyncio.to_thread(self._hosted.repositories.change, row, body)
        visibility = "private" if changed.private else "public"
        exchange.tell("repo.change", repo, details={"visibility": visibility, "settings": sorted(body)})
        return self._json(exchange, {"private": changed.private, "visibility": visibility})

    async def _duplicate(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST")
        row = self._hosted.files_for(repo, exchange.caller)
        body = await self._body(exchange)
        to = _repo_named(repo.repo_type, body, "repository")
        wanted = NewRepo(to, visibility_in(body, default=row.private))
        told = self._address(exchange, to)
        try:
            await asyncio.to_thread(self._hosted.repositories.duplicate, row, wanted, exchange.caller)
        except Conflict as error:
            headers = (("X-Error-Code", "Conflict"), ("X-Error-Message", error.message))
            return self._json(exchange, {"error": error.message, **told}, 409, headers)
        exchange.tell("repo.create", to, subject=str(repo), details={"private": wanted.private})
        return self._json(exchange, told)

    async def _branch(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST", "DELETE")
        row = self._hosted.repo_for(repo, exchange.caller, "write")
        refs = self._hosted.refs_of
        if exchange.method == "DELETE":
            await asyncio.to_thread(refs.delete_branch, row, asked.name)
            exchange.tell("ref.delete", repo, subject=asked.name)
            return self._json(exchange, {})
        body = await self._body(exchange)
        start = _text_in(body, "startingPoint", None)
        await asyncio.to_thread(
            refs.create_branch,
            row,
            asked.name,
            parse_revision(start) if start else DEFAULT_REVISION,
            overwrite=body.get("overwrite") is True,
            empty=body.get("emptyBranch") is True,
            author=self._hosted.commits.signature(exchange.caller),
        )
        exchange.tell("ref.create", repo, subject=asked.name)
        return self._json(exchange, {})

    async def _tag(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST", "DELETE")
        row = self._hosted.repo_for(repo, exchange.caller, "write")
        refs = self._hosted.refs_of
        if exchange.method == "DELETE":
            await asyncio.to_thread(refs.delete_tag, row, asked.name)
            exchange.tell("ref.delete", repo, subject=asked.name)
            return self._json(exchange, {})
        body = await self._body(exchange)
        name, message = _text_in(body, "tag", ""), _text_in(body, "message", "")
        tagger = self._hosted.commits.signature(exchange.caller)
        await asyncio.to_thread(
            refs.create_tag, row, name or "", parse_revision(asked.name), message or "", tagger
        )
        exchange.tell("ref.create", repo, subject=name or "")
        return self._json(exchange, {})

    async def _squash(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST")
        row = self._hosted.repo_for(repo, exchange.caller, "write")
        message = _text_in(await self._body(exchange), "message", "") or ""
        made = await asyncio.to_thread(self._hosted.commits.squash, row, asked.name, message, exchange.caller)
        exchange.tell("repo.commit", repo, commit_hash=made, subject=asked.name, reason="squashed")
        return self._json(exchange, {"commitId": made})

    # Large files

    async def _lfs_file(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "DELETE")
        row = self._hosted.repo_for(repo, exchange.caller, "write")
        gone = await asyncio.to_thread(self._hosted.inventory.drop, row, [parse_etag(asked.name)])
        if not gone:
            raise Absent("This repository has no such large file.")
        exchange.tell("repo.change", repo, digest=asked.name, reason="a large file was deleted")
        return self._json(exchange, {})

    async def _lfs_batch(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST")
        row = self._hosted.repo_for(repo, exchange.caller, "write")
        deletions = (await self._body(exchange)).get("deletions")
        hashes = deletions.get("sha") if isinstance(deletions, dict) else None
        if not isinstance(hashes, list):
            raise BadRequest("this names no large files to delete")
        etags = [parse_etag(str(one)) for one in hashes]
        await asyncio.to_thread(self._hosted.inventory.drop, row, etags)
        exchange.tell(
            "repo.change", repo, reason="large files were deleted", details={"digests": etags[:100]}
        )
        return self._json(exchange, {})

    async def _lfs_duplicate(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        """Lets large files of this repository be committed to another one."""
        allow(exchange, "POST")
        body = await self._body(exchange)
        target, files = body.get("target"), body.get("files")
        if not isinstance(target, dict) or not isinstance(files, list):
            raise BadRequest("this names no target or no files")
        source = self._hosted.files_for(repo, exchange.caller)
        to = _repo_named(parse_repo_type(str(target.get("type") or "model")), target, "name")
        row = self._hosted.repo_for(to, exchange.caller, "write")
        failed = []
        for one in files:
            sha256 = str(one.get("sha256")) if isinstance(one, dict) else ""
            if not await asyncio.to_thread(self._hosted.uploads.lend, source, row, exchange.caller, sha256):
                failed.append({"sha256": sha256, "error": "There is no such large file."})
        if len(failed) < len(files):
            details = {"from": str(repo), "files": len(files) - len(failed)}
            exchange.tell("repo.change", to, reason="large files were lent to it", details=details)
        return self._json(exchange, {"success": len(files) - len(failed), "failed": failed})

    # Discussions

    async def _discussions(self, exchange: Exchange, repo: RepoId, asked: Asked) -> web.StreamResponse:
        allow(exchange, "POST")
        row = self._hosted.repo_for(repo, exchange.caller)
        may_speak(exchange.caller)
        body = await self._body(exchange)
        title, text = _text_in(body, "title", "") or "", _text_in(body, "description", "") or ""
        number = await asyncio.to_thread(
            self._hosted.discussions.open,
            row,
            title,
            text,
            exchange.caller,
            pull_request=body.get("pullRequest") is True,
        )
        exchange.tell("repo.discuss", repo, subject=f"#{number}", details={"what": "open"})
        url = f"{self._address(exchange, row.repo)['url']}/discussions/{number}"
        told = {"num": number, "title": title, "url": url, "pullRequest": body.get("pullRequest") is True}
        return self._json(exchange, told)

    async def _discussion(
        self, exchange: Exchange, repo: RepoId, asked: DiscussionAsked
    ) -> web.StreamResponse:
        allow(exchange, "POST")
        caller, rooms = exchange.caller, self._hosted.discussions
        row = self._hosted.repo_for(repo, caller, "write" if asked.word in ("merge", "pin") else "read")
        may_speak(caller)
        body = await self._body(exchange)
        text = _text_in(body, "comment", "") or ""
        number = asked.number
        work: Callable[[], dict[str, object]]
        match asked.word:
            case "comment":
                work = lambda: rooms.comment(row, number, text, caller)  # noqa: E731
            case "status":
                status = _text_in(body, "status", "") or ""
                work = lambda: rooms.set_status(row, number, status, text, caller)  # noqa: E731
            case "title":
                title = _text_in(body, "title", "") or ""
                work = lambda: rooms.set_title(row, number, title, caller)  # noqa: E731
            case "merge":
                work = lambda: rooms.merge(row, number, text, caller)  # noqa: E731
            case "edit":
                content = _text_in(body, "content", "") or ""
                work = lambda: rooms.edit_comment(row, number, asked.event_id, content)  # noqa: E731
            case "hide":
                work = lambda: rooms.edit_comment(row, number, asked.event_id, None)  # noqa: E731
            case _:
                raise Absent("Discussions cannot be pinned here.")
        event = await asyncio.to_thread(work)
        if asked.word == "merge":
            exchange.tell("repo.commit", repo, subject=f"refs/pr/{number}", reason="merged")
        else:
            exchange.tell("repo.discuss", repo, subject=f"#{number}", details={"what": asked.word})
        key = {"edit": "updatedComment", "hide": "updatedComment"}.get(asked.word, "newMessage")
        return self._json(exchange, {key: event, "newStatus": event, "newTitle": event})

    # Words

    _handlers: Final[
        dict[str, Callable[[HostedRoutes, Exchange, RepoId, Asked], Awaitable[web.StreamResponse]]]
    ] = {
        "settings": _settings,
        "duplicate": _duplicate,
        "branch": _branch,
        "tag": _tag,
        "super-squash": _squash,
        "lfs-file": _lfs_file,
        "lfs-batch": _lfs_batch,
        "lfs-duplicate": _lfs_duplicate,
        "discussions": _discussions,
    }

    async def _body(self, exchange: Exchange) -> Body:
        return _object(await read_body(exchange, _MAX_BODY_BYTES))

    def _address(self, exchange: Exchange, repo: RepoId) -> dict[str, str]:
        """Where a repository is, for clients that read its type and name from its address."""
        url = f"{self._base_url(exchange.request)}{repo.file_path}"
        return {"url": url, "name": repo.repo_id, "id": repo.repo_id}

    @staticmethod
    def _json(
        exchange: Exchange,
        told: object,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> web.StreamResponse:
        return Reply(status, (JSON_TYPE, *headers), orjson.dumps(told), request_id=exchange.request_id)


def _object(raw: bytes) -> Body:
    if not raw.strip():
        return {}
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(said, dict):
        raise BadRequest("the body is no JSON object")
    return said


def _text_in(body: Body, name: str, default: str | None) -> str | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadRequest(f"{name} is a text")
    return value


def _type_in(body: Body) -> RepoType:
    return parse_repo_type(_text_in(body, "type", None) or "model")


def _repo_named(repo_type: RepoType, body: Body, name: str) -> RepoId:
    text = _text_in(body, name, None)
    if not text or "/" not in text:
        raise BadName(f"{name} names no repository as namespace/name")
    return parse_repo_id(repo_type, text)
