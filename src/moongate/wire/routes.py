"""Which question a request path asks. One function, `parse_route`, and one small class for each question.

Rules:

- Paths are split raw and decoded segment by segment, because `%2F` inside a segment belongs to a revision
  or a folder and never to an id. The query is not part of a route.
- An id has two segments, or one (legacy: `gpt2`). The first place where a keyword makes sense tells which.
- A revision is one segment (`refs%2Fpr%2F1`), or three for `refs/pr/N` and `refs/convert/NAME` unencoded.
- A segment `.` or `..`, a control character, an encoded slash in an id, or text that is not UTF-8 is
  `BadName` wherever it stands. What is merely unknown is `ApiOther`, `RepoOther` or `Unknown`, no error.
- `rest` and `path` of the catch-all routes stay as raw as they came, fit for passing on.

Source: the Hub's addresses as its clients send them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName
from moongate.core.names import (
    CommitHash,
    RepoId,
    RepoPath,
    RepoType,
    Revision,
    is_repo_segment,
    parse_commit_hash,
    parse_repo_id,
    parse_repo_path,
    parse_revision,
    shown,
)

MAX_PATH_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Info:
    """What a repository is: `/api/models/{id}[/revision/{revision}]`."""

    repo: RepoId
    revision: Revision | None


@dataclass(frozen=True, slots=True)
class Tree:
    """The entries of a folder; `path` None is the root."""

    repo: RepoId
    revision: Revision
    path: RepoPath | None


@dataclass(frozen=True, slots=True)
class PathsInfo:
    """Facts about the paths that the posted body names."""

    repo: RepoId
    revision: Revision


@dataclass(frozen=True, slots=True)
class Refs:
    """Branches, tags and pull requests."""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class Commits:
    """The history of a revision."""

    repo: RepoId
    revision: Revision


@dataclass(frozen=True, slots=True)
class TreeSize:
    """The bytes below a folder; `path` None is the root."""

    repo: RepoId
    revision: Revision
    path: RepoPath | None


@dataclass(frozen=True, slots=True)
class AuthCheck:
    """May the caller read (or write) the repository?"""

    repo: RepoId
    write: bool


@dataclass(frozen=True, slots=True)
class XetReadToken:
    """A token to read a revision's files through Xet."""

    repo: RepoId
    revision: Revision


@dataclass(frozen=True, slots=True)
class XetWriteToken:
    """A token to upload through Xet. For a commit that opens a pull request, clients name it `None`."""

    repo: RepoId
    revision: Revision


@dataclass(frozen=True, slots=True)
class RepoOther:
    """Anything else below a repository's API base; `rest` is raw, without a leading slash."""

    repo: RepoId
    rest: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Search over all repositories of a type: `/api/models`."""

    kind: RepoType


@dataclass(frozen=True, slots=True)
class ApiOther:
    """Any other route below `/api/`; `path` is raw and begins with `/api/`."""

    path: str


@dataclass(frozen=True, slots=True)
class Whoami:
    """Whose token is this?"""


@dataclass(frozen=True, slots=True)
class Resolve:
    """A file of a revision: `/{id}/resolve/{revision}/{path}`."""

    repo: RepoId
    revision: Revision
    path: RepoPath


@dataclass(frozen=True, slots=True)
class ResolveCache:
    """A small file of a commit, at the address the Hub redirects to: `/api/resolve-cache/…`."""

    repo: RepoId
    commit_hash: CommitHash
    path: RepoPath


@dataclass(frozen=True, slots=True)
class Raw:
    """What git holds at a path; for an LFS file, its pointer."""

    repo: RepoId
    revision: Revision
    path: RepoPath


@dataclass(frozen=True, slots=True)
class GitInfoRefs:
    """The refs of a repository, for git; the query says for which service."""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class GitUploadPack:
    """git fetches."""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class GitReceivePack:
    """git pushes."""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class LfsBatch:
    """Where are these LFS objects?"""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class LfsObject:
    """One LFS object's bytes, at the address that our batch answers give."""

    repo: RepoId
    oid: Etag


@dataclass(frozen=True, slots=True)
class LfsOther:
    """Any other LFS route (locks, verify); `rest` is raw, after `info/lfs/`."""

    repo: RepoId
    rest: str


@dataclass(frozen=True, slots=True)
class V2Root:
    """Is this a registry? `/v2/`."""


@dataclass(frozen=True, slots=True)
class V2Manifest:
    """A model as ollama asks for it; `tag` is a quantisation or `latest`."""

    repo: RepoId
    tag: str


@dataclass(frozen=True, slots=True)
class V2Blob:
    """One layer of such a model, by its sha256."""

    repo: RepoId
    digest: Etag


@dataclass(frozen=True, slots=True)
class Unknown:
    """No address of the Hub that we know; `path` is raw."""

    path: str


RevisionRoute = Info | Tree | PathsInfo | Commits | TreeSize
RepoRoute = (
    RevisionRoute
    | XetReadToken
    | XetWriteToken
    | Refs
    | AuthCheck
    | RepoOther
    | Resolve
    | ResolveCache
    | Raw
    | GitInfoRefs
    | GitUploadPack
) | (GitReceivePack | LfsBatch | LfsObject | LfsOther | V2Manifest | V2Blob)
Route = RepoRoute | Listing | ApiOther | Whoami | V2Root | Unknown

_PLURALS: dict[str, RepoType] = {"models": "model", "datasets": "dataset", "spaces": "space"}
# First segments that are never a model's namespace.
_RESERVED = frozenset(("api", "v2", "buckets", "kernels", "models", *_PLURALS))
_REF_FAMILIES = ("pr", "convert", "heads", "tags")
# Words after an id in the API, and how many further segments each needs at least.
_API_KEYWORDS = {"revision": 1, "tree": 1, "paths-info": 1, "commits": 1, "treesize": 1, "refs": 0}
_API_KEYWORDS |= dict.fromkeys(("preupload", "commit", "tag", "branch", "compare", "super-squash"), 1)
_API_KEYWORDS |= dict.fromkeys(("xet-read-token", "xet-write-token", "user-access-request"), 1)
# Few without further segments: each makes a repository of that name look like a part of a bare id.
_API_KEYWORDS |= dict.fromkeys(("auth-check", "discussions"), 0)


def parse_route(raw_path: str) -> Route:
    """The question that a raw request path asks; a query, if still there, is ignored.

    Raises:
        BadName: a repository id, revision, path or hash in it cannot be one.
    """
    path = raw_path.partition("?")[0]
    if not path.startswith("/") or len(path) > MAX_PATH_CHARS:
        raise BadName("not a request path, or absurdly long")
    raw = path[1:].split("/")
    segments = [_decoded(segment) for segment in raw]
    if segments[0] == "api":
        return _api_route(path, raw, segments)
    if segments[0] == "v2":
        return _v2_route(path, segments[1:])
    if segments[0] in _PLURALS and segments[0] != "models":
        return _file_route(path, _PLURALS[segments[0]], raw[1:], segments[1:])
    if segments[0] in _RESERVED:
        return Unknown(path)
    return _file_route(path, "model", raw, segments)


def _api_route(path: str, raw: list[str], segments: list[str]) -> Route:
    if len(segments) > 2 and segments[-1] == "":
        raw, segments = raw[:-1], segments[:-1]
    rest = segments[1:]
    if rest in (["whoami-v2"], ["whoami"]):
        return Whoami()
    if rest[:1] == ["resolve-cache"]:
        return _resolve_cache(path, rest[1:])
    if not rest or rest[0] not in _PLURALS:
        return ApiOther(path)
    repo_type = _PLURALS[rest[0]]
    if len(rest) == 1:
        return Listing(repo_type)
    id_length = _api_id_length(rest[1:])
    repo = _repo(repo_type, rest[1 : 1 + id_length])
    return _repo_api_route(repo, raw[2 + id_length :], rest[1 + id_length :])


def _api_id_length(segments: Sequence[str]) -> int:
    """How many segments the id has: one when a keyword with all it needs follows at once, else two."""
    if len(segments) == 1:
        return 1
    keyword, further = segments[1], len(segments) - 2
    return 1 if keyword in _API_KEYWORDS and further >= _API_KEYWORDS[keyword] else 2


def _repo_api_route(repo: RepoId, raw: list[str], segments: list[str]) -> Route:
    if not segments:
        return Info(repo, None)
    keyword, after = segments[0], segments[1:]
    if keyword == "refs" and not after:
        return Refs(repo)
    if keyword == "auth-check" and after in ([], ["write"]):
        return AuthCheck(repo, write=bool(after))
    if keyword in ("tree", "treesize") and after:
        revision, left = _take_revision(after)
        folder = parse_repo_path("/".join(left)) if "".join(left) not in ("", "/") else None
        return Tree(repo, revision, folder) if keyword == "tree" else TreeSize(repo, revision, folder)
    if keyword in ("xet-read-token", "xet-write-token") and after:
        revision, left = _take_revision(after)
        if not left:
            return (XetReadToken if keyword == "xet-read-token" else XetWriteToken)(repo, revision)
    if keyword in ("revision", "paths-info", "commits") and after:
        revision, left = _take_revision(after)
        if not left:
            if keyword == "revision":
                return Info(repo, revision)
            return PathsInfo(repo, revision) if keyword == "paths-info" else Commits(repo, revision)
    return RepoOther(repo, "/".join(raw))


def _resolve_cache(path: str, segments: list[str]) -> Route:
    if len(segments) < 4 or segments[0] not in _PLURALS:
        return ApiOther(path)
    repo_type = _PLURALS[segments[0]]
    # A commit hash is never a name, so the first one ends the id.
    bare = len(segments[2]) == 40 and _is_hex(segments[2])
    id_length = 1 if bare else 2
    repo = _repo(repo_type, segments[1 : 1 + id_length])
    left = segments[1 + id_length :]
    if len(left) < 2:
        return ApiOther(path)
    return ResolveCache(repo, parse_commit_hash(left[0]), parse_repo_path("/".join(left[1:])))


def _v2_route(path: str, segments: list[str]) -> Route:
    if segments in ([], [""]):
        return V2Root()
    if len(segments) not in (3, 4) or segments[-2] not in ("manifests", "blobs"):
        return Unknown(path)
    repo, last = _repo("model", segments[:-2]), segments[-1]
    if segments[-2] == "blobs":
        etag = parse_etag(last.removeprefix("sha256:"))
        if not last.startswith("sha256:") or not is_sha256(etag):
            raise BadName(f"not a digest: {shown(last)} (expected sha256:…)")
        return V2Blob(repo, etag)
    if not is_repo_segment(last):
        raise BadName(f"not a tag: {shown(last)}")
    return V2Manifest(repo, last)


def _file_route(path: str, repo_type: RepoType, raw: list[str], segments: list[str]) -> Route:
    """What stands below a repository's file base: files, git and LFS."""
    for id_length in (1, 2):
        head, after = segments[:id_length], segments[id_length:]
        if len(after) >= 3 and after[0] in ("resolve", "raw"):
            revision, left = _take_revision(after[1:])
            if not left:
                return Unknown(path)
            name = parse_repo_path("/".join(left))
            repo = _repo(repo_type, head)
            return Resolve(repo, revision, name) if after[0] == "resolve" else Raw(repo, revision, name)
        if after in (["info", "refs"], ["git-upload-pack"], ["git-receive-pack"]):
            return _GIT_ROUTES[after[-1]](_git_repo(repo_type, head))
        if len(after) >= 3 and after[:2] == ["info", "lfs"]:
            return _lfs_route(_git_repo(repo_type, head), raw[id_length + 2 :], after[2:])
    return Unknown(path)


_GIT_ROUTES: dict[str, type[GitInfoRefs | GitUploadPack | GitReceivePack]] = {
    "refs": GitInfoRefs,
    "git-upload-pack": GitUploadPack,
    "git-receive-pack": GitReceivePack,
}


def _lfs_route(repo: RepoId, raw: list[str], segments: list[str]) -> Route:
    if segments == ["objects", "batch"]:
        return LfsBatch(repo)
    if len(segments) == 2 and segments[0] == "objects" and len(segments[1]) == 64 and _is_hex(segments[1]):
        return LfsObject(repo, parse_etag(segments[1]))
    return LfsOther(repo, "/".join(raw))


def _take_revision(segments: list[str]) -> tuple[Revision, list[str]]:
    """The revision that the segments begin with, and the segments after it."""
    if (
        len(segments) >= 3
        and segments[0] == "refs"
        and segments[1] in _REF_FAMILIES
        and "/" not in segments[2]
    ):
        return parse_revision("/".join(segments[:3])), segments[3:]
    return parse_revision(segments[0]), segments[1:]


def _repo(repo_type: RepoType, segments: Sequence[str]) -> RepoId:
    for segment in segments:
        if not is_repo_segment(segment):
            raise BadName(f"not a repository id: {shown('/'.join(segments))} (expected 'namespace/name')")
    return parse_repo_id(repo_type, "/".join(segments))


def _git_repo(repo_type: RepoType, segments: Sequence[str]) -> RepoId:
    return _repo(repo_type, [*segments[:-1], segments[-1].removesuffix(".git")])


def _decoded(segment: str) -> str:
    try:
        text = unquote(segment, errors="strict")
        text.encode()
    except UnicodeError:
        raise BadName("the request path is not UTF-8") from None
    if any(char < " " or char == "\x7f" for char in text):
        raise BadName("the request path holds a control character")
    if any(part in (".", "..") for part in text.split("/")):
        raise BadName("the request path climbs out of its place")
    return text


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)
