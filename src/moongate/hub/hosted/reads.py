"""The JSON answers about hosted repositories: info, trees, paths, refs, history, large files, discussions.

What a commit holds cannot change, so answers about commits stay in memory under the commit; which commit a
branch is, and who may see the repository, is looked up every time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

import orjson

from moongate.core.errors import BadRequest, EntryAbsent
from moongate.core.names import DEFAULT_REVISION, CommitHash
from moongate.core.records import FileEntry
from moongate.hub import keys
from moongate.hub.answers import Answer, AnswerMemory
from moongate.hub.hosted.cards import Cards
from moongate.hub.hosted.discussions import Discussions
from moongate.hub.hosted.history import History
from moongate.hub.hosted.inventory import Inventory
from moongate.hub.hosted.listings import HostedListings, Told
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.refs import HostedRefs
from moongate.hub.hosted.views import RepoState, expanded, whole_view
from moongate.store.index import HostedRow, Index, StoredAnswer
from moongate.wire import routes
from moongate.wire.links import next_header
from moongate.wire.listings import paths_asked, xet_where

_JSON: Final = ("Content-Type", "application/json; charset=utf-8")
_AUDIENCE: Final = "hosted"
_KEPT_SECONDS: Final = 300.0
_COMMITS_SHOWN: Final = 50
_MOST_COMMITS_SHOWN: Final = 1000
_MOST_PAGES: Final = 1 << 31
_TREE_PAGE: Final = 1000
_TREE_PAGE_EXPANDED: Final = 100

Offered = Callable[[FileEntry], bool]
"""Whether clients are told a file's Xet id now."""


@dataclass(frozen=True, slots=True)
class ReadRooms:
    """Where the answers come from."""

    objects: GitObjects
    refs: HostedRefs
    listings: HostedListings
    history: History
    inventory: Inventory
    discussions: Discussions
    cards: Cards


class HostedReads:
    """Answers about hosted repositories, for callers that were let in. Any thread; may take a while."""

    def __init__(
        self,
        index: Index,
        rooms: ReadRooms,
        offered: Offered,
        memory: AnswerMemory,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._objects = rooms.objects
        self._refs = rooms.refs
        self._listings = rooms.listings
        self._history = rooms.history
        self._inventory = rooms.inventory
        self._discussions = rooms.discussions
        self._cards = rooms.cards
        self._offered = offered
        self._memory = memory
        self._clock = clock

    def answer(
        self,
        row: HostedRow,
        route: routes.RepoRoute,
        query: str,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        """The answer to a route about this repository.

        Raises:
            RevisionAbsent, EntryAbsent, Absent: there is no such thing.
            BadRequest: the question cannot be.
        """
        match route:
            case routes.Info():
                return self._info(row, route, query)
            case routes.Tree():
                return self._tree(row, route, query)
            case routes.PathsInfo():
                return self._paths_info(row, route, post_body, content_type)
            case routes.Refs():
                include_prs = ("include_prs", "1") in _pairs(query) or ("include_prs", "true") in _pairs(
                    query
                )
                return _answer(self._refs.as_told(row, include_prs=include_prs))
            case routes.Commits():
                return self._commits(row, route, query)
            case routes.TreeSize():
                commit_hash = self._refs.resolve(row, route.revision)
                size_bytes = self._listings.tree_size(row, commit_hash, route.path or "")
                return _answer({"path": f"/{route.path or ''}", "size": size_bytes})
            case routes.RepoOther():
                return self._other(row, route.rest, query)
            case _:
                raise EntryAbsent("this address has no JSON answer")

    def state_of(self, row: HostedRow, *, siblings: bool) -> RepoState:
        """What there is to tell of the main branch; see `lists.States`."""
        ref = self._refs.find(row, DEFAULT_REVISION)
        if ref is None:
            return RepoState(row, None, row.created_at, None)
        return self._state_at(row, ref.commit_hash, siblings=siblings, blobs=False)

    def info_of(self, row: HostedRow, commit_hash: CommitHash | None) -> dict[str, object]:
        """What repository info says at a commit, without the files; None: of the main branch."""
        if commit_hash is None or not self._objects.has_commit(row, commit_hash):
            return whole_view(self.state_of(row, siblings=False))
        return whole_view(self._state_at(row, commit_hash, siblings=False, blobs=False))

    def stored_answers(self, row: HostedRow, commit_hash: CommitHash) -> dict[str, StoredAnswer]:
        """What clients ask of a commit where nobody else can be asked, as proxied repositories' is kept.

        By the keys of `hub.keys`: info, with blobs and without, refs and the whole tree.
        """
        now = self._clock()
        repo = row.repo
        told: dict[str, object] = {
            keys.tree(repo, commit_hash, "", [("recursive", "true")]): self._listings.tree(
                row, commit_hash, "", recursive=True, expand=False
            )
        }
        for pairs in ((), (("blobs", "true"),)):
            state = self._state_at(row, commit_hash, siblings=True, blobs=bool(pairs))
            told[keys.info(repo, commit_hash, pairs)] = whole_view(state)
        for query, include_prs in (("", False), ("?include_prs=1", True)):
            told[keys.of_repo("refs", repo, query)] = self._refs.as_told(row, include_prs=include_prs)
        headers = {_JSON[0].lower(): _JSON[1]}
        return {key: StoredAnswer(200, headers, orjson.dumps(said), now) for key, said in told.items()}

    def _state_at(self, row: HostedRow, commit_hash: CommitHash, *, siblings: bool, blobs: bool) -> RepoState:
        facts = self._cards.facts(row, commit_hash, lambda: self._listings.files(row, commit_hash))
        listed: Sequence[Told] = ()
        if siblings:
            listed = self._listings.tree(row, commit_hash, "", recursive=True, expand=False)
        return RepoState(
            row,
            commit_hash,
            float(self._objects.commit(row, commit_hash).committer.at),
            facts,
            [_sibling(one, blobs=blobs) for one in listed if one["type"] == "file"],
            self._index.hosted_bytes(row.number),
        )

    def _info(self, row: HostedRow, route: routes.Info, query: str) -> Answer:
        pairs = keys.normal_query(query)
        commit_hash = self._refs.resolve(row, route.revision or DEFAULT_REVISION)
        question = ("info", row.number, row.changed_at, str(row.repo), commit_hash, *pairs)
        kept = self._memory.get(_AUDIENCE, question, self._clock())
        if kept is not None:
            return kept
        expand = [value for name, value in pairs if name == "expand"]
        siblings = not expand or "siblings" in expand
        state = self._state_at(row, commit_hash, siblings=siblings, blobs=("blobs", "true") in pairs)
        view = whole_view(state)
        if ("securityStatus", "true") in pairs:
            view["securityRepoStatus"] = {"scansDone": False, "filesWithIssues": []}
        if expand:
            view = expanded(view, row.repo.repo_type, expand)
        return self._keep(question, _answer(view))

    def _tree(self, row: HostedRow, route: routes.Tree, query: str) -> Answer:
        pairs = dict(keys.normal_query(query))
        commit_hash = self._refs.resolve(row, route.revision)
        recursive, expand = pairs.get("recursive") == "true", pairs.get("expand") == "true"
        folder, start = route.path or "", _number(pairs.get("cursor", "0"), _MOST_PAGES)
        question = ("tree", row.number, row.changed_at, commit_hash, folder, recursive, expand)
        told = self._entries(question, row, commit_hash, folder, recursive=recursive, expand=expand)
        most = _TREE_PAGE_EXPANDED if expand else _TREE_PAGE
        end = start + min(most, _number(pairs.get("limit", str(most)), _MOST_PAGES) or most)
        link = None
        if end < len(told):
            rest = urlencode([(name, value) for name, value in pairs.items() if name != "cursor"])
            place = (route.path and f"/{_quoted(route.path)}") or ""
            link = f"{row.repo.api_path}/tree/{_quoted(route.revision)}{place}?{rest}&cursor={end}"
        return _answer(xet_where(told[start:end], self._offered), link, commit_hash)

    def _entries(
        self,
        question: Hashable,
        row: HostedRow,
        commit_hash: CommitHash,
        folder: str,
        *,
        recursive: bool,
        expand: bool,
    ) -> list[Told]:
        """All entries of a tree answer; long ones are kept in memory for the pages that follow."""
        kept = self._memory.get(_AUDIENCE, question, self._clock())
        if kept is not None:
            said: list[Told] = orjson.loads(kept.body)
            return said
        told = self._listings.tree(row, commit_hash, folder, recursive=recursive, expand=expand)
        self._keep(question, _answer(told))
        return told

    def _paths_info(
        self, row: HostedRow, route: routes.PathsInfo, body: bytes | None, content_type: str
    ) -> Answer:
        if body is None:
            raise BadRequest("paths-info is asked by POST")
        paths, expand = paths_asked(body, content_type or _guessed_type(body))
        commit_hash = self._refs.resolve(row, route.revision)
        told = self._listings.paths(row, commit_hash, paths, expand=expand)
        return _answer(xet_where(told, self._offered), commit_hash=commit_hash)

    def _commits(self, row: HostedRow, route: routes.Commits, query: str) -> Answer:
        pairs = dict(keys.normal_query(query))
        hashes = self._history.hashes(row, self._refs.resolve(row, route.revision))
        page = _number(pairs.get("p", "0"), _MOST_PAGES)
        limit = min(_number(pairs.get("limit", str(_COMMITS_SHOWN)), _MOST_PAGES), _MOST_COMMITS_SHOWN) or 1
        start, end = page * limit, (page + 1) * limit
        told = self._history.told(row, hashes[start:end], formatted="formatted" in pairs.get("expand", ""))
        link = None
        if end < len(hashes):
            rest = urlencode([(name, value) for name, value in pairs.items() if name != "p"])
            path = f"{row.repo.api_path}/commits/{_quoted(route.revision)}"
            link = f"{path}?{rest}{'&' if rest else ''}p={page + 1}"
        return _answer(told, link, more=(("X-Total-Count", str(len(hashes))),))

    def _other(self, row: HostedRow, rest: str, query: str) -> Answer:
        pairs = dict(parse_qsl(query))
        match [unquote(part) for part in rest.split("/")]:
            case ["lfs-files"]:
                return self._lfs_files(row, pairs)
            case ["compare", *asked] if asked:
                return self._compare(row, "/".join(asked))
            case ["discussions"]:
                page = _number(pairs.get("p", "0"), _MOST_PAGES)
                return _answer(self._discussions.listed(row, page, pairs))
            case ["discussions", number] if _is_number(number):
                diff = pairs.get("diff") in ("1", "true")
                return _answer(self._discussions.details(row, int(number), diff=diff))
            case ["scan"]:
                return _answer({"scansDone": False, "filesWithIssues": []})
            case ["likers"]:
                return _answer([])
            case _:
                raise EntryAbsent("This repository has nothing at this address.")

    def _lfs_files(self, row: HostedRow, pairs: dict[str, str]) -> Answer:
        limit = min(_number(pairs.get("limit", "1000"), _MOST_PAGES), 1000) or 1
        told, cursor = self._inventory.page(row, pairs.get("cursor", ""), limit)
        link = None
        if cursor:
            link = f"{row.repo.api_path}/lfs-files?{urlencode({'limit': limit, 'cursor': cursor})}"
        return _answer(told, link)

    def _compare(self, row: HostedRow, asked: str) -> Answer:
        old, dots, new = asked.partition("..")
        if not dots:
            raise BadRequest("Expected two revisions, as in a..b")
        before, after = self._refs.resolve(row, old), self._refs.resolve(row, new.removeprefix("."))
        text = self._history.compare(row, before, after)
        return Answer(200, (("Content-Type", "text/plain; charset=utf-8"),), text.encode(), "hit")

    def _keep(self, question: Hashable, answer: Answer) -> Answer:
        self._memory.put(_AUDIENCE, question, answer, self._clock() + _KEPT_SECONDS)
        return answer


def _answer(
    told: object,
    link: str | None = None,
    commit_hash: CommitHash | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> Answer:
    headers = [_JSON, *more]
    if link is not None:
        headers.append(("Link", next_header(link)))
    if commit_hash is not None:
        headers.append(("X-Repo-Commit", commit_hash))
    return Answer(200, tuple(headers), orjson.dumps(told), "hit")


def _sibling(one: Told, *, blobs: bool) -> Told:
    if not blobs:
        return {"rfilename": one["path"]}
    told: Told = {"rfilename": one["path"], "blobId": one["oid"], "size": one["size"]}
    lfs = one.get("lfs")
    if isinstance(lfs, dict):
        told["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    return told


def _pairs(query: str) -> list[tuple[str, str]]:
    return keys.normal_query(query)


def _quoted(text: str) -> str:
    return urlencode({"": text})[1:].replace("+", "%20")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18


def _number(text: str, most: int) -> int:
    if not _is_number(text) or int(text) > most:
        raise BadRequest("a number in the query is none, or absurdly large")
    return int(text)


def _guessed_type(body: bytes) -> str:
    return "application/json" if body.lstrip()[:1] == b"{" else "application/x-www-form-urlencoded"
