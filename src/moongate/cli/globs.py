"""What a pattern of repositories means: upstream's lists say, page by page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.repos import RepoPattern
from moongate.core.callers import Caller
from moongate.core.errors import BadName, UpstreamBroken, UpstreamError
from moongate.core.names import RepoId, parse_repo_id
from moongate.wire import routes
from moongate.wire.links import next_link

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway
    from moongate.cli.gateway import Gateway as RemoteGateway

_PAGE_ROWS = 1000
_MOST_PAGES = 100


async def expand(gateway: Gateway, pattern: RepoPattern, caller: Caller) -> list[RepoId]:
    """The repositories of upstream that fit a pattern, by name; offline, those known here.

    Raises:
        CommandFailed: none fits, or the pattern leaves its namespace open (wrong usage).
        UpstreamError: upstream does not answer.
    """
    _query(pattern)
    if gateway.settings.offline:
        return _fitting(gateway.index.repos(), pattern)
    return _fitting(await _listed(gateway, pattern, caller), pattern)


def expand_there(remote: RemoteGateway, pattern: RepoPattern) -> list[RepoId]:
    """The same, asked of a gateway elsewhere, as any client of it would.

    Raises:
        CommandFailed: none fits, the pattern leaves its namespace open, or the gateway is not there.
        MoongateError: the gateway, or upstream, says no.
    """
    path: str | None = f"/api/{pattern.repo_type}s?{_query(pattern)}"
    listed: list[RepoId] = []
    for _ in range(_MOST_PAGES):
        if path is None:
            return _fitting(listed, pattern)
        body, path = remote.page(path)
        listed += _ids(body, pattern)
    raise UpstreamError(f"the list of {pattern.namespace} does not end")


def must_be_closed(pattern: RepoPattern) -> None:
    """Return when a pattern names its namespace.

    Raises:
        CommandFailed: it leaves it open (wrong usage).
    """
    if pattern.namespace is None:
        raise wrong_usage(
            f"{pattern} leaves the namespace open",
            hint="name it, as in 'acme/*': upstream has too many repositories. A glob over files goes behind "
            "an --include of its own",
        )


def _query(pattern: RepoPattern) -> str:
    must_be_closed(pattern)
    return urlencode({"author": pattern.namespace, "limit": _PAGE_ROWS})


def _fitting(listed: list[RepoId], pattern: RepoPattern) -> list[RepoId]:
    found = sorted({repo for repo in listed if pattern.matches(repo)})
    if not found:
        raise CommandFailed(f"nothing upstream fits {pattern}", hint="names match by case")
    return found


async def _listed(gateway: Gateway, pattern: RepoPattern, caller: Caller) -> list[RepoId]:
    query = _query(pattern)
    repos: list[RepoId] = []
    for _ in range(_MOST_PAGES):
        answer = await gateway.repos.answer(routes.Listing(pattern.repo_type), query, caller)
        if answer.status != 200:
            raise UpstreamBroken(f"upstream answers {answer.status} to its list of {pattern.repo_type}s")
        repos += _ids(answer.body, pattern)
        following = next_link(dict(answer.headers))
        if following is None:
            return repos
        query = urlsplit(following).query
    raise UpstreamError(f"upstream's list of {pattern.namespace} does not end")


def _ids(body: bytes, pattern: RepoPattern) -> list[RepoId]:
    try:
        rows = json.loads(body)
        names = [str(row["id"]) for row in rows]
    except (ValueError, TypeError, KeyError):
        raise UpstreamBroken(f"upstream's list of {pattern.repo_type}s makes no sense") from None
    found = []
    for name in names:
        try:
            found.append(parse_repo_id(pattern.repo_type, name))
        except BadName:
            continue  # a kind of repository that we do not know; nothing could be pulled of it
    return found
