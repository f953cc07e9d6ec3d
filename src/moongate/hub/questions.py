"""Routes about a commit as questions: what they are kept under, how they are asked, what they teach."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

import orjson

from moongate.core.digests import is_sha256
from moongate.core.errors import BadName, UpstreamBroken
from moongate.core.names import (
    CommitHash,
    RepoId,
    RepoPath,
    Revision,
    is_commit_hash,
    parse_repo_path,
    parse_revision,
)
from moongate.hub import keys
from moongate.hub.infos import FOR_MEMBERS
from moongate.hub.listings import RECURSIVE, Listings
from moongate.hub.pinned import CommitQuestion, Keep
from moongate.hub.refs import Resolved
from moongate.store.index import Index, StoredAnswer
from moongate.wire import routes
from moongate.wire.links import next_link
from moongate.wire.listings import paths_question, sibling_entries, tree_entries

CommitRoute = routes.Info | routes.Tree | routes.Commits | routes.TreeSize

_MAX_REFS_LEARNED = 100
_VOLATILE = frozenset(("expand", "securityStatus"))


def commit_question(
    route: CommitRoute, pairs: Sequence[tuple[str, str]], resolved: Resolved
) -> CommitQuestion:
    """The question that a route with this normalised query asks about a commit."""
    repo, commit_hash = resolved.repo, resolved.commit_hash
    query = keys.question(pairs)
    volatile = any(name in _VOLATILE for name, _ in pairs)
    base = repo.api_path
    match route:
        case routes.Info():
            path = f"{base}/revision/{commit_hash}"
            key = keys.info(repo, commit_hash, pairs)
            personal = ("expand", FOR_MEMBERS) in pairs
            return CommitQuestion("info", key, path + query, volatile, personal=personal)
        case routes.Tree():
            path = f"{base}/tree/{commit_hash}" + (f"/{quote(route.path, safe='')}" if route.path else "")
            key = keys.tree(repo, commit_hash, route.path or "", pairs)
            return CommitQuestion("tree", key, path + query, volatile)
        case routes.Commits():
            key = keys.at_commit("commits", repo, commit_hash, query)
            return CommitQuestion("commits", key, f"{base}/commits/{commit_hash}{query}")
        case routes.TreeSize():
            path = f"{base}/treesize/{commit_hash}/{quote(route.path or '', safe='')}"
            key = keys.at_commit("treesize", repo, commit_hash, f"/{route.path or ''}{query}")
            return CommitQuestion("treesize", key, path + query)


def paths_info_question(paths: Sequence[RepoPath], expand: bool, resolved: Resolved) -> CommitQuestion:
    """The question about some paths of a commit; their order does not matter."""
    repo, commit_hash = resolved.repo, resolved.commit_hash
    body = paths_question(sorted(set(paths)), expand)
    key = keys.at_commit("paths-info", repo, commit_hash, f":{hashlib.sha256(body).hexdigest()}")
    return CommitQuestion("paths-info", key, f"{repo.api_path}/paths-info/{commit_hash}", expand, body)


def lessons(
    route: CommitRoute | routes.PathsInfo,
    pairs: Sequence[tuple[str, str]],
    resolved: Resolved,
    index: Index,
    listings: Listings,
    *,
    siblings_suffice: bool = True,
) -> Keep:
    """What an answer to the route teaches about the commit's files, written to the index.

    siblings_suffice: whether siblings teach of large files too, although they say nothing of Xet.
    """
    repo, commit_hash = resolved.repo, resolved.commit_hash

    def keep(stored: StoredAnswer) -> None:
        said = orjson.loads(stored.body)
        match route:
            case routes.Info() if ("blobs", "true") in pairs:
                siblings = _nameable(said.get("siblings"), "rfilename")
                entries = sibling_entries({"siblings": siblings})
                taught = [one for one in entries if siblings_suffice or not is_sha256(one.etag)]
                index.put_files(repo, commit_hash, taught)
            case routes.Tree():
                last = RECURSIVE[0] in pairs and route.path is None and next_link(stored.headers) is None
                complete = last and listings.pages(repo, commit_hash) is not None
                index.put_files(repo, commit_hash, tree_entries(_nameable(said, "path")), complete)
            case routes.PathsInfo():
                index.put_files(repo, commit_hash, tree_entries(_nameable(said, "path")))
            case _:
                pass

    return keep


def _nameable(items: object, key: str) -> object:
    """A listing without the files whose paths no client could ask us for: odd, and no reason to refuse it.

    Raises:
        UpstreamBroken: a path climbs out of its place, as no path in git can; clients might follow it.
    """
    if not isinstance(items, list):
        return items
    if any(isinstance(item, dict) and _climbs(str(item.get(key))) for item in items):
        raise UpstreamBroken("upstream's listing names a path that climbs out of its repository")
    return [item for item in items if not isinstance(item, dict) or _is_path(item.get(key))]


def _climbs(path: str) -> bool:
    segments = path.replace("\\", "/").split("/")  # some clients run on Windows
    return "\0" in path or any(segment in ("", ".", "..") for segment in segments)


def _is_path(text: object) -> bool:
    try:
        parse_repo_path(str(text))
    except BadName:
        return False
    return True


def ref_lessons(repo: RepoId, index: Index) -> Keep:
    """What a list of refs teaches: where branches and tags point."""

    def keep(stored: StoredAnswer) -> None:
        for name, commit_hash in _targets(orjson.loads(stored.body))[:_MAX_REFS_LEARNED]:
            index.put_ref(repo, name, commit_hash, stored.fetched_at)
            index.put_ref(repo, Revision(commit_hash), commit_hash, stored.fetched_at)

    return keep


def _targets(said: object) -> list[tuple[Revision, CommitHash]]:
    if not isinstance(said, dict):
        return []
    found = []
    for kind, name_key in (("branches", "name"), ("tags", "name"), ("converts", "ref")):
        items = said.get(kind)
        for item in items if isinstance(items, list) else ():
            name, target = (
                (item.get(name_key), item.get("targetCommit")) if isinstance(item, dict) else ("", "")
            )
            if isinstance(name, str) and isinstance(target, str) and is_commit_hash(target):
                try:
                    found.append((parse_revision(name), CommitHash(target)))
                except BadName:
                    continue
    return found
