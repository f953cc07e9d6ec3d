"""The admin API under `/api/moongate/v1/`: one table of operations, and the OpenAPI document made from it.

For administrators: a token with scope `admin`, or anybody on this machine while we listen on loopback.
Other sites' pages are turned away by what browsers say of them (Origin, Sec-Fetch-Site), so that a visitor's
browser cannot be made to act here.
Everything that may take a while runs in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from aiohttp import hdrs, web
from pydantic import ValidationError

from moongate import __version__
from moongate.app import admin_models as models
from moongate.app import audit_models, feed_models, hosting_models, identity_models
from moongate.app.admin_approvals import approval_operations
from moongate.app.admin_audit import SEARCHED
from moongate.app.admin_feeds import AdminFeeds
from moongate.app.admin_hosting import AdminHosting
from moongate.app.admin_identity import AdminIdentity
from moongate.app.admin_models import Model
from moongate.app.admin_policy import policy_operations
from moongate.app.admin_verdicts import AdminVerdicts, VerdictDetails, VerdictList
from moongate.app.dispatch import MethodAbsent
from moongate.app.door import Door
from moongate.app.exchange import Exchange
from moongate.app.hooks import webhook_operations
from moongate.app.hub_routes import read_body
from moongate.app.jobs import JobBoard, Progress
from moongate.app.operations import Asked, Operation, needing
from moongate.app.replies import JSON_TYPE, Reply, json_reply
from moongate.app.tokens import Bounds, mint
from moongate.core.errors import Absent, BadRequest, MoongateError, NotAllowed, StoreError
from moongate.core.names import RepoId, Revision, parse_repo, parse_revision
from moongate.core.records import FileEntry
from moongate.hub.pull import PullPlan
from moongate.hub.trusts import check_place

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

BASE = "/api/moongate/v1"
_MAX_BODY_BYTES = 1 << 20
_MAX_FAILURES = 1000
_MAX_QUERY_FIELDS = 32
_VERIFY = models.NewVerify
_SUBJECTS = ("name", "place", "team", "user", "pattern", "subject")
"""What an operation's query or body calls that which it is about."""


_AUDITED = {
    ("DELETE", "/repos"): "repo.delete",
    ("POST", "/pins"): "pin.create",
    ("DELETE", "/pins"): "pin.delete",
    ("POST", "/tokens"): "token.create",
    ("DELETE", "/tokens/{id}"): "token.revoke",
    ("POST", "/grants"): "access.grant",
    ("DELETE", "/grants"): "access.revoke",
    ("POST", "/gc"): "content.collect",
    ("POST", "/evict"): "content.evict",
    ("POST", "/namespaces"): "namespace.create",
    ("POST", "/limits"): "namespace.change",
    ("DELETE", "/namespaces"): "namespace.delete",
    ("POST", "/teams"): "access.grant",
    ("DELETE", "/teams"): "access.revoke",
    ("POST", "/access"): "access.grant",
    ("DELETE", "/access"): "access.revoke",
    ("POST", "/trusts"): "trust.create",
    ("DELETE", "/trusts/{id}"): "trust.delete",
    ("POST", "/roles"): "access.grant",
    ("DELETE", "/roles"): "access.revoke",
    ("POST", "/accounts"): "account.create",
    ("POST", "/accounts/state"): "account.change",
    ("POST", "/groups"): "access.grant",
    ("DELETE", "/groups"): "access.revoke",
    ("POST", "/pulls"): "content.pull",
    ("POST", "/verifications"): "content.verify",
}
"""The kind of event (`hub.audit.KINDS`) that is written down when an operation changed something.

Feeds, requests, waivers, recalls and the rules are written down by whoever changes them.
"""
_MADE = ("token.create", "trust.create")
"""What is known by an id that the answer tells."""

_ADMINISTERED = {
    ("DELETE", "/repos"): "repo",
    ("POST", "/pins"): "repo",
    ("DELETE", "/pins"): "repo",
    ("POST", "/access"): "place",
    ("DELETE", "/access"): "place",
}
"""What administers a repository, and what its query or body calls that; the policy is asked before.

Recalls are not asked about: no rule may keep dangerous content served.
"""


class AdminRoutes:
    """Handles every path under the admin prefix."""

    def __init__(self, gateway: Gateway, door: Door) -> None:
        self._gateway = gateway
        self._door = door
        self._started_at = time.time()
        self.jobs = JobBoard(gateway.settings.home / "jobs")
        self.operations = (
            *needing("admin", *self._table()),
            *policy_operations(gateway.governing, gateway.guarding.knowledge),
            *approval_operations(gateway.governing.desk),
            *webhook_operations(gateway.announcing.hooks),
            *needing("approve", *self._verdicts_table()),
        )

    def _table(self) -> tuple[Operation, ...]:
        repo, grant, limit = ("repo", "revision"), ("user", "pattern"), ("limit",)
        return (
            Operation("GET", "/status", "How the gateway is", self._status, models.Status),
            Operation("GET", "/repos", "What is kept, by repository", self._repos, models.Repos),
            Operation("DELETE", "/repos", "Remove a repository", self._rm, models.Removed, None, repo),
            Operation("GET", "/usage", "The store as a whole", self._usage, models.Usage),
            Operation("GET", "/pins", "What eviction passes over", self._pins, models.Pins),
            Operation("POST", "/pins", "Pin", self._pin, models.Pin, models.Pin, status=201),
            Operation("DELETE", "/pins", "Unpin", self._unpin, models.Gone, None, repo),
            Operation("GET", "/tokens", "The gateway's tokens", self._tokens, models.Tokens),
            Operation("POST", "/tokens", "Make a token", self._mint, models.Minted, models.NewToken, (), 201),
            Operation("DELETE", "/tokens/{id}", "Revoke a token", self._revoke, models.Revoked),
            Operation("GET", "/grants", "Who may use the gateway's Hub token", self._grants, models.Grants),
            Operation("POST", "/grants", "Grant", self._grant, models.Grant, models.Grant, status=201),
            Operation("DELETE", "/grants", "Take back a grant", self._ungrant, models.Gone, None, grant),
            *self._hosting_table(),
            *self._feeds_table(),
            *self._identity_table(),
            *self._audit_table(),
            Operation("GET", "/failures", "Files that failed", self._failures, models.Failures, None, limit),
            Operation("POST", "/gc", "Bring disk and index together", self._gc, models.Collected),
            Operation("POST", "/evict", "Make room under the quota now", self._evict, models.Evicted),
            Operation("POST", "/pulls", "Start a pull", self._pull, models.Job, models.NewPull, status=202),
            Operation("POST", "/verifications", "Hash again", self._rehash, models.Job, _VERIFY, (), 202),
            Operation("GET", "/jobs", "Pulls and verifications", self._jobs, models.Jobs),
            Operation("GET", "/jobs/{id}", "One of them", self._job, models.Job),
            Operation("DELETE", "/jobs/{id}", "Ask it to end", self._cancel, models.Job),
        )  # fmt: skip

    def _verdicts_table(self) -> tuple[Operation, ...]:
        verdicts, asked = AdminVerdicts(self._gateway.index), ("verdict", "repo", "before", "limit")
        return (
            Operation("GET", "/verdicts", "What scans said", verdicts.listed, VerdictList, None, asked),
            Operation("GET", "/verdicts/{etag}", "One content", verdicts.details, VerdictDetails),
        )

    def _audit_table(self) -> tuple[Operation, ...]:
        audit, given = self._gateway.audit_office(), audit_models
        pages, new = ("after", "limit"), given.NewRecall
        return (
            Operation("GET", "/audit", "Search it", audit.search_audit, given.AuditLines, None, SEARCHED),
            Operation("GET", "/audit-lines", "As hashed", audit.raw_audit, given.RawLines, None, pages),
            Operation("GET", "/audit-verification", "Check it", audit.verify_audit, given.Verification),
            Operation("GET", "/audit-checkpoints", "What was signed", audit.checkpoints, given.Checkpoints),
            Operation("POST", "/audit-checkpoints", "Sign the end", audit.checkpoint, given.Checkpoints),
            Operation("GET", "/audit-key", "Who signs", audit.audit_key, given.AuditKey),
            Operation("GET", "/recalls", "What was recalled", audit.recalls, given.Recalls),
            Operation("POST", "/recalls", "Recall", audit.recall, given.RecallReport, new, (), 201),
            Operation("GET", "/recalls/{id}", "Who received it", audit.show_recall, given.RecallReport),
            Operation("DELETE", "/recalls/{id}", "Take it back", audit.undo_recall, given.Recall),
        )  # fmt: skip

    def _hosting_table(self) -> tuple[Operation, ...]:
        hosting, given = AdminHosting(self._gateway.repos.hosted.places), hosting_models
        new, member, role = given.NewNamespace, given.Member, given.Access
        name, in_team, place, who = ("name",), ("team", "user"), ("place",), ("place", "subject")
        return (
            Operation("GET", "/namespaces", "What is hosted here", hosting.namespaces, given.Namespaces),
            Operation("POST", "/namespaces", "Host one", hosting.add_namespace, given.Added, new, (), 201),
            Operation("POST", "/limits", "Limit one", hosting.limit, given.Limits, given.NewLimits),
            Operation("DELETE", "/namespaces", "Give one up", hosting.give_up, models.Gone, None, name),
            Operation("GET", "/teams", "Teams and their members", hosting.teams, given.Teams),
            Operation("POST", "/teams", "Put a user into one", hosting.join, member, member, (), 201),
            Operation("DELETE", "/teams", "Take a user out", hosting.leave, models.Gone, None, in_team),
            Operation("GET", "/access", "Roles at places", hosting.access, given.Accesses, None, place),
            Operation("POST", "/access", "Give a role", hosting.allow, role, role, (), 201),
            Operation("DELETE", "/access", "Take a role back", hosting.disallow, models.Gone, None, who),
        )  # fmt: skip

    def _feeds_table(self) -> tuple[Operation, ...]:
        gateway, given = self._gateway, feed_models
        feeds = AdminFeeds(gateway.index, gateway.feeds, gateway.intelligence, gateway.audit)
        name = feed_models.FeedName
        subject = ("subject",)
        return (
            Operation("GET", "/feeds", "Threat intelligence, and how old it is", feeds.list, given.Feeds),
            Operation("GET", "/feeds/check", "What feeds know", feeds.check, given.Checked, None, subject),
            Operation("GET", "/feeds/hunt", "What is kept and known to feeds", feeds.hunt, given.Hunted),
            Operation("POST", "/feeds/refresh", "Fetch one now", feeds.refresh, given.Refreshed, name),
            Operation("POST", "/feeds/approve", "Let it count", feeds.approve, given.Refreshed, name),
            Operation("POST", "/feeds/refuse", "Forget what is held", feeds.refuse, models.Gone, name),
        )  # fmt: skip

    def _identity_table(self) -> tuple[Operation, ...]:
        who, given = (
            AdminIdentity(self._gateway.identity.people, self._gateway.identity.trusts),
            identity_models,
        )
        role, account, state, pair = given.Role, given.NewAccount, given.AccountState, given.GroupTeam
        of_role, of_pair = ("subject", "role", "namespace"), ("group", "team")
        return (
            Operation("GET", "/trusts", "Trusted issuers", who.trusts, given.Trusts),
            Operation("POST", "/trusts", "Trust one", who.trust, given.Trust, given.NewTrust, (), 201),
            Operation("DELETE", "/trusts/{id}", "Trust no more", who.distrust, models.Gone),
            Operation("GET", "/roles", "Roles of the gateway", who.roles, given.Roles),
            Operation("POST", "/roles", "Give a role", who.give_role, role, role, (), 201),
            Operation("DELETE", "/roles", "Take a role back", who.take_role, models.Gone, None, of_role),
            Operation("GET", "/accounts", "People and service accounts", who.accounts, given.Accounts),
            Operation("POST", "/accounts", "A service account", who.add_service, account, account, (), 201),
            Operation("POST", "/accounts/state", "Disable, enable", who.set_disabled, state, state),
            Operation("GET", "/groups", "Groups in teams", who.groups, given.GroupTeams),
            Operation("POST", "/groups", "Have a group be in a team", who.map_group, pair, pair, (), 201),
            Operation("DELETE", "/groups", "Take that back", who.unmap_group, models.Gone, None, of_pair),
        )  # fmt: skip

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        """Answers a request under the prefix.

        Raises:
            AuthRequired, ScopeMissing: not an administrator.
            NotAllowed: another site's page asks.
            BadRequest: the body or query is not what the operation takes.
            Absent, MethodAbsent: there is no such operation.
        """
        self._refuse_foreign_pages(exchange)
        path = exchange.path.removeprefix(BASE).rstrip("/")
        try:
            operation, part = self._find(exchange.method, path)
        except (Absent, MethodAbsent):
            # strangers are not told what there is
            self._door.require("admin", exchange.caller, exchange.request)
            if path == "/openapi.json":
                return json_reply(200, openapi(self.operations), exchange.request_id)
            raise
        self._door.require(operation.permission, exchange.caller, exchange.request)
        address = self._door.address_of(exchange.peer, exchange.forwarded)
        query, body = _query(exchange.query, operation), await _body(exchange, operation)
        asked = Asked(part, query, body, exchange, address)
        await self._ask_policy(operation, asked)
        answer = await operation.run(asked)
        kind = _AUDITED.get((operation.method, operation.path))
        if kind is not None:
            _tell(kind, asked, answer)
        told = answer.model_dump_json().encode()
        return Reply(operation.status, (JSON_TYPE,), told, request_id=exchange.request_id, shared=False)

    async def _ask_policy(self, operation: Operation, asked: Asked) -> None:
        """Return when the rules let this caller administer the repository that is to be changed, if any is.

        Raises:
            RefusedByPolicy, HeldByPolicy: they do not.
        """
        gate, name = self._gateway.guarding.gate, _ADMINISTERED.get((operation.method, operation.path))
        if name is None or gate.is_off:
            return
        repo = _administered(asked, name)
        if repo is not None:
            await asyncio.to_thread(gate.may_change, "admin", repo, asked.exchange.caller)

    def _find(self, method: str, path: str) -> tuple[Operation, str]:
        wanted = "GET" if method == "HEAD" else method
        allowed = []
        for operation in self.operations:
            stem, brace, _ = operation.path.partition("{")
            part = path.removeprefix(stem) if brace else ""
            if path != operation.path and not (brace and path.startswith(stem) and part and "/" not in part):
                continue
            if operation.method == wanted:
                return operation, unquote(part)
            allowed.append(operation.method)
        if allowed:
            raise MethodAbsent(allowed)
        raise Absent(f"the admin API has no such operation; {BASE}/openapi.json lists them")

    def _refuse_foreign_pages(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        origin, site = headers.get(hdrs.ORIGIN), headers.get("Sec-Fetch-Site")
        foreign = origin is not None and origin != self._door.base_url(exchange.request)
        if foreign or site in ("cross-site", "same-site"):
            raise NotAllowed("Pages of other sites may not use the admin API.")
        if exchange.caller.method == "session" and not exchange.is_read and origin is None is site:
            raise NotAllowed(
                "A browser's session changes nothing here unless the browser says which page asks."
            )

    # What is kept

    async def _status(self, _: Asked) -> Model:
        settings, index = self._gateway.settings, self._gateway.index
        usage = await asyncio.to_thread(self._gateway.keeping.usage)
        return models.Status(
            version=__version__,
            started_at=self._started_at,
            upstream=settings.upstream,
            offline=settings.offline,
            workers=settings.workers,
            repos=len(await asyncio.to_thread(index.repos)),
            blobs=usage.blobs,
            blob_bytes=usage.blob_bytes,
            xet_files=usage.xet_files,
            xorb_bytes=usage.xorb_bytes,
            quota_bytes=usage.quota_bytes,
            free_bytes=usage.free_bytes,
            filling=[
                models.Filling(etag=etag, present_bytes=present, size_bytes=size)
                for etag, present, size in self._gateway.fills.active
            ],
        )

    async def _repos(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.usage_by_repo)
        pinned = {pin.repo for pin in await asyncio.to_thread(self._gateway.index.pins)}
        return models.Repos(
            repos=[
                models.Repo(
                    repo=str(row.repo),
                    files=row.files,
                    logical_bytes=row.logical_bytes,
                    stored_bytes=row.stored_bytes,
                    saved_bytes=row.saved_bytes,
                    own_bytes=row.own_bytes,
                    last_read_at=row.last_read_at,
                    pinned=row.repo in pinned,
                )
                for row in rows
            ]
        )

    async def _rm(self, asked: Asked) -> Model:
        repo, revision = _repo_in(asked.query)
        removed = await asyncio.to_thread(self._gateway.keeping.remove, repo, revision)
        self._gateway.repos.forget(repo)
        return models.Removed.model_validate(removed)

    async def _usage(self, _: Asked) -> Model:
        return models.Usage.model_validate(
            _fields(await asyncio.to_thread(self._gateway.keeping.usage), models.Usage)
        )

    async def _pins(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.pins)
        return models.Pins(pins=[models.Pin(repo=str(row.repo), revision=row.revision) for row in rows])

    async def _pin(self, asked: Asked) -> Model:
        repo, revision = parse_repo(asked.body.repo), _revision(asked.body.revision)
        await asyncio.to_thread(self._gateway.index.pin, repo, revision, time.time())
        return models.Pin(repo=str(repo), revision=revision)

    async def _unpin(self, asked: Asked) -> Model:
        repo, revision = _repo_in(asked.query)
        return models.Gone(removed=await asyncio.to_thread(self._gateway.index.unpin, repo, revision))

    async def _failures(self, asked: Asked) -> Model:
        limit = _number(asked.query.get("limit", "100"), _MAX_FAILURES)
        rows = await asyncio.to_thread(self._gateway.index.failures, limit)
        return models.Failures(
            failures=[
                models.Failure(
                    etag=row.etag, repo=str(row.repo), path=row.path, why=row.why, failed_at=row.failed_at
                )
                for row in rows
            ]
        )

    async def _gc(self, _: Asked) -> Model:
        collected = await asyncio.to_thread(self._gateway.stock.collect)
        return models.Collected.model_validate(_fields(collected, models.Collected))

    async def _evict(self, _: Asked) -> Model:
        evicted = await asyncio.to_thread(self._gateway.keeping.evict)
        return models.Evicted.model_validate(_fields(evicted, models.Evicted))

    # Who may

    async def _tokens(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.tokens)
        return models.Tokens(
            tokens=[
                models.Token.model_validate({**_fields(row, models.Token), "places": list(row.places)})
                for row in rows
            ]
        )

    async def _mint(self, asked: Asked) -> Model:
        wanted: models.NewToken = asked.body
        secret, row = await asyncio.to_thread(
            mint,
            self._gateway.index,
            wanted.user,
            wanted.scope,
            wanted.expires_seconds,
            wanted.note,
            time.time(),
            Bounds(
                tuple(check_place(place) for place in wanted.places),
                max_seconds=self._gateway.settings.token_max_seconds,
            ),
        )
        return models.Minted(
            token=secret.reveal(),
            id=row.id,
            user=row.user,
            scope=row.scope,
            created_at=row.created_at,
            expires_at=row.expires_at,
            places=list(row.places),
        )

    async def _revoke(self, asked: Asked) -> Model:
        revoked = await asyncio.to_thread(self._gateway.index.revoke_token, asked.part, time.time())
        return models.Revoked(revoked=revoked)

    async def _grants(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.grants)
        return models.Grants(grants=[models.Grant(user=row.user, pattern=row.repo_pattern) for row in rows])

    async def _grant(self, asked: Asked) -> Model:
        await asyncio.to_thread(self._gateway.index.grant, asked.body.user, asked.body.pattern)
        return models.Grant(user=asked.body.user, pattern=asked.body.pattern)

    async def _ungrant(self, asked: Asked) -> Model:
        user, pattern = _required(asked.query, "user"), _required(asked.query, "pattern")
        return models.Gone(removed=await asyncio.to_thread(self._gateway.index.revoke_grant, user, pattern))

    # What takes a while

    async def _pull(self, asked: Asked) -> Model:
        wanted: models.NewPull = asked.body
        repo, revision = parse_repo(wanted.repo), parse_revision(wanted.revision)

        async def work(progress: Progress) -> None:
            puller, caller = self._gateway.puller, self._gateway.operator
            plan = await puller.plan(repo, revision, caller, wanted.include, wanted.exclude)
            report = await puller.pull(plan, caller, _PullTeller(progress))
            if report.failed:
                entry, error = report.failed[0]
                raise StoreError(f"{len(report.failed)} files failed; {entry.path}: {error.message}")

        return self.jobs.start("pull", f"{repo}@{revision}", work)

    async def _rehash(self, asked: Asked) -> Model:
        before = asked.body.verified_before

        async def work(progress: Progress) -> None:
            await asyncio.to_thread(self._verify_now, progress, float("inf") if before is None else before)

        return self.jobs.start("verify", "everything", work)

    def _verify_now(self, progress: Progress, before: float) -> None:
        job = progress.job

        def hashed(count: int) -> None:
            job.done_bytes += count
            progress.tell()

        verdicts = self._gateway.keeping.verify(verified_before=before, progress=hashed)
        for checked in verdicts:
            job.done_files += 1
            if checked.outcome == "wrong":
                job.wrong.append(checked.etag)
            if progress.cancelled:
                return
        job.why = f"{len(job.wrong)} wrong" if job.wrong else ""

    async def _jobs(self, _: Asked) -> Model:
        return models.Jobs(jobs=await asyncio.to_thread(self.jobs.jobs))

    async def _job(self, asked: Asked) -> Model:
        return await asyncio.to_thread(self.jobs.job, asked.part)

    async def _cancel(self, asked: Asked) -> Model:
        return self.jobs.cancel(asked.part)


class _PullTeller:
    """Tells a pull's progress on the job board."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._job = progress.job

    def planned(self, plan: PullPlan) -> None:
        self._job.total_files = len({entry.etag for entry in plan.files})
        self._job.total_bytes = plan.size_bytes
        self._progress.tell()

    def started(self, entry: FileEntry) -> None:
        self._progress.tell()

    def advanced(self, entry: FileEntry, size_bytes: int) -> None:
        self._job.done_bytes += size_bytes
        self._progress.tell()

    def finished(self, entry: FileEntry, fetched: bool) -> None:
        self._job.done_files += 1
        self._progress.tell()

    def failed(self, entry: FileEntry, error: MoongateError) -> None:
        self._job.why = f"{entry.path}: {error.message}"


def openapi(operations: tuple[Operation, ...]) -> dict[str, object]:
    """The API as an OpenAPI 3.1 document, from the same models that check requests and write answers."""
    schemas: dict[str, object] = {}
    paths: dict[str, dict[str, object]] = {}
    problem = _content(models.Problem, schemas)
    for operation in operations:
        told: dict[str, object] = {
            "summary": operation.summary,
            "operationId": operation.run.__name__.lstrip("_"),
            "responses": {
                str(operation.status): {"description": "done", "content": _content(operation.gives, schemas)},
                "default": {"description": "refused", "content": problem},
            },
        }
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.query]
        if "{" in operation.path:
            name = operation.path.partition("{")[2].rstrip("}")
            parameters.append(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}  # type: ignore[dict-item]
            )
        if parameters:
            told["parameters"] = parameters
        if operation.takes is not None:
            told["requestBody"] = {"required": True, "content": _content(operation.takes, schemas)}
        paths.setdefault(BASE + operation.path, {})[operation.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {"title": "Moongate admin API", "version": __version__},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _content(model: type[Model], schemas: dict[str, object]) -> dict[str, object]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _tell(kind: str, asked: Asked, answer: Model) -> None:
    """Has an operation written down that changed something."""
    told = answer.model_dump()
    if told.get("removed") is False or told.get("revoked") is False or told.get("added") is False:
        return
    body = {} if asked.body is None else asked.body.model_dump(exclude_none=True)
    given = {**asked.query, **body}
    repo = given.pop("repo", None)
    subject = asked.part or next((str(given[name]) for name in _SUBJECTS if given.get(name)), "")
    if kind in _MADE:
        subject = str(told["id"])
    asked.exchange.tell(
        kind, parse_repo(str(repo)) if repo else None, subject=subject, details={**given, "way": "admin api"}
    )


def _fields(row: object, model: type[Model]) -> dict[str, object]:
    """Those attributes of a row that the model shows."""
    return {name: getattr(row, name) for name in model.model_fields}


def _query(raw: str, operation: Operation) -> dict[str, str]:
    try:
        query = dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        raise BadRequest(f"the query has more than {_MAX_QUERY_FIELDS} keys") from None
    unknown = set(query) - set(operation.query)
    if unknown:
        raise BadRequest(f"unknown query key: {min(unknown)[:40]!r}")
    return query


async def _body(exchange: Exchange, operation: Operation) -> Model | None:
    if operation.takes is None:
        return None
    raw = await read_body(exchange, _MAX_BODY_BYTES)
    kind = exchange.request.content_type
    if kind != "application/json":
        raise BadRequest("the body must be JSON, with Content-Type: application/json")
    try:
        return operation.takes.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where + ': ' if where else ''}{first['msg']}") from None


def _administered(asked: Asked, name: str) -> RepoId | None:
    """The repository that is named so; None for a namespace, or when nothing is."""
    place = str(asked.query.get(name) or getattr(asked.body, name, ""))
    return parse_repo(place) if "/" in place or (place and name == "repo") else None


def _repo_in(query: Mapping[str, str]) -> tuple[RepoId, Revision | None]:
    return parse_repo(_required(query, "repo")), _revision(query.get("revision"))


def _revision(text: str | None) -> Revision | None:
    return parse_revision(text) if text else None


def _required(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        raise BadRequest(f"the query lacks {name!r}")
    return value


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"not a number: {text[:20]!r}")
    return max(1, min(int(text), most))
