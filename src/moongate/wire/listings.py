"""Repository info, trees and paths-info: facts read from the Hub's JSON, and the JSON without Xet.

Three hashes stand in a listing: `oid` (git), `lfs.oid` (sha256) and `xetHash`. The etag of a file, which
names its content, is the sha256 where there is one, and git's oid otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl

from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import BadName, BadRequest, UpstreamBroken
from moongate.core.names import CommitHash, RepoId, RepoPath, is_commit_hash, parse_repo_id, parse_repo_path
from moongate.core.records import MAX_FILE_BYTES, FileEntry, RepoFacts

MAX_PATHS = 2000

_HEX64 = re.compile(r"[0-9a-f]{64}")
_XET_KEYS = frozenset(("xetHash", "xet_hash", "xetEnabled"))


def without_xet(told: object) -> object:
    """The same JSON with no word of Xet in it, its entries or its siblings.

    A client that finds a `xetHash` goes straight to the Xet servers, past us.
    """
    if isinstance(told, list):
        return [_bare(item) for item in told]
    bare = _bare(told)
    if isinstance(bare, dict) and isinstance(bare.get("siblings"), list):
        return {**bare, "siblings": [_bare(item) for item in bare["siblings"]]}
    return bare


def xet_where(told: object, offered: Callable[[FileEntry], bool]) -> object:
    """The same listing with `xetHash` on those files alone that are offered so, and no other word of Xet."""
    if not isinstance(told, list):
        return without_xet(told)
    return [item if _is_offered(item, offered) else _bare(item) for item in told]


def tree_entries(told: object) -> list[FileEntry]:
    """The files of a tree or paths-info answer; folders and submodules are left out.

    Raises:
        UpstreamBroken: it is no listing, or an entry names no path, hash or sensible size.
    """
    if not isinstance(told, list):
        raise UpstreamBroken("upstream's listing is no list")
    return [_file_entry(item) for item in told if not (isinstance(item, dict) and _is_no_file(item))]


def sibling_entries(told: object) -> list[FileEntry]:
    """The files of an info answer that was asked with `blobs=true`; siblings without hashes are left out.

    Raises:
        UpstreamBroken: a sibling with a hash has no sensible path or size.
    """
    siblings = told.get("siblings") if isinstance(told, dict) else None
    if not isinstance(siblings, list):
        return []
    return [
        _file_entry({"path": item.get("rfilename"), "oid": item.get("blobId"), **_sized(item)})
        for item in siblings
        if isinstance(item, dict) and (item.get("blobId") or item.get("lfs"))
    ]


def info_facts(told: object, repo: RepoId, now: float) -> tuple[RepoFacts, CommitHash]:
    """The facts of an info answer and its commit.

    The facts stand under the id that upstream gave: a repository that was renamed has a new one.

    Raises:
        UpstreamBroken: the answer is no object, or lacks a sensible id or commit.
    """
    if not isinstance(told, dict):
        raise UpstreamBroken("upstream's repository info is no object")
    sha = told.get("sha")
    if not isinstance(sha, str) or not is_commit_hash(sha):
        raise UpstreamBroken("upstream's repository info names no commit")
    private, gated = told.get("private"), told.get("gated")
    facts = RepoFacts(
        repo=_canonical(told, repo),
        private=private if isinstance(private, bool) else None,
        # False, or the way access is granted: "auto" or "manual".
        gated=gated if isinstance(gated, bool) else True if isinstance(gated, str) else None,
        checked_at=now,
    )
    return facts, CommitHash(sha)


def paths_asked(body: bytes, content_type: str) -> tuple[list[RepoPath], bool]:
    """The paths of a paths-info question, and whether it wants the expanded facts.

    Python clients send a form, others JSON. Paths that cannot exist are left out, as absent ones are.

    Raises:
        BadRequest: it is neither, or names no list of paths, or more than 2000.
    """
    if "json" in content_type.lower():
        paths, expand = _json_paths(body)
    else:
        paths, expand = _form_paths(body)
    if len(paths) > MAX_PATHS:
        raise BadRequest(f"paths-info takes up to {MAX_PATHS} paths at a time")
    return [RepoPath(path) for path in paths if _is_path(path)], expand


def paths_question(paths: Sequence[str], expand: bool) -> bytes:
    """The JSON body of a paths-info question."""
    return json.dumps({"paths": list(paths), "expand": expand}).encode()


def _json_paths(body: bytes) -> tuple[list[str], bool]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the paths-info question is not JSON") from None
    paths = told.get("paths") if isinstance(told, dict) else None
    if isinstance(paths, str):
        paths = [paths]
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise BadRequest("the paths-info question holds no list of paths")
    return paths, told.get("expand") is True


def _form_paths(body: bytes) -> tuple[list[str], bool]:
    try:
        pairs = parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=MAX_PATHS + 10)
    except ValueError:
        raise BadRequest("the paths-info question is not a form") from None
    paths = [value for name, value in pairs if name in ("paths", "paths[]")]
    if not paths:
        raise BadRequest("the paths-info question names no paths")
    return paths, any(name == "expand" and value.lower() == "true" for name, value in pairs)


def _is_path(text: str) -> bool:
    try:
        parse_repo_path(text)
    except BadName:
        return False
    return True


def _canonical(told: Mapping[str, object], repo: RepoId) -> RepoId:
    name = told.get("id")
    if name is None:
        return repo
    try:
        return parse_repo_id(repo.repo_type, name if isinstance(name, str) else "")
    except BadName:
        raise UpstreamBroken("upstream's repository info has an impossible id") from None


def _is_no_file(item: Mapping[str, object]) -> bool:
    return item.get("type", "file") != "file"


def _file_entry(item: object) -> FileEntry:
    if not isinstance(item, dict):
        raise UpstreamBroken("upstream's listing holds something that is no entry")
    lfs = item.get("lfs")
    large = lfs if isinstance(lfs, dict) else {}
    size_bytes = _first(large.get("size"), item.get("size"))
    if (
        not isinstance(size_bytes, int)
        or isinstance(size_bytes, bool)
        or not 0 <= size_bytes < MAX_FILE_BYTES
    ):
        raise UpstreamBroken("upstream's listing holds a file without a sensible size")
    try:
        path = parse_repo_path(str(item.get("path") or ""))
        return FileEntry(path, _etag(item, large), size_bytes, _xet_hash(item) if large else None)
    except BadName as error:
        raise UpstreamBroken(f"upstream's listing holds an impossible entry: {error}") from None


def _xet_hash(item: Mapping[str, object]) -> str | None:
    told = item.get("xetHash")
    return told if isinstance(told, str) and _HEX64.fullmatch(told) else None


def _etag(item: Mapping[str, object], large: Mapping[str, object]) -> Etag:
    etag = parse_etag(str(_first(large.get("oid"), large.get("sha256"), item.get("oid")) or ""))
    if bool(large) != (len(etag) == 64):
        raise BadName("its hash is of the wrong kind")
    return etag


def _sized(sibling: Mapping[str, object]) -> dict[str, object]:
    return {"size": sibling.get("size"), "lfs": sibling.get("lfs")}


def _first(*values: object) -> object:
    return next((value for value in values if value is not None), None)


def _is_offered(item: object, offered: Callable[[FileEntry], bool]) -> bool:
    if not isinstance(item, dict) or _XET_KEYS.isdisjoint(item):
        return True
    try:
        return offered(_file_entry(item))
    except UpstreamBroken:
        return False


def _bare(item: object) -> object:
    if not isinstance(item, dict) or _XET_KEYS.isdisjoint(item):
        return item
    return {key: value for key, value in item.items() if key not in _XET_KEYS}
