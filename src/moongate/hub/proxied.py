"""Proxied repositories: the front of this room for commits, files and every answer that is JSON.

- Answers about a commit (info, tree, paths-info, commits, treesize): see `pinned`.
- Answers that age (refs, lists, searches, whatever we do not know): see `ageing`.
- A hit in memory comes first: one look-up, nothing awaited. It lasts no longer than the ref it rests on, the
  access it was given for, or `ref_ttl_seconds`, so that processes that share an index agree within that time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import orjson

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, EntryAbsent
from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId, RepoPath, Revision, is_commit_hash
from moongate.core.records import FileAt, FileEntry
from moongate.hub import keys
from moongate.hub.access import NOBODY, Access
from moongate.hub.ageing import AgeingAnswers, AgeingQuestion
from moongate.hub.answers import PUBLIC, Answer, AnswerMemory
from moongate.hub.asker import Asker
from moongate.hub.entries import Entries
from moongate.hub.events import HubEvents, NoEvents, Outcome
from moongate.hub.identity import auth_check, whoami
from moongate.hub.infos import Infos
from moongate.hub.listings import Listings
from moongate.hub.manifests import Manifests
from moongate.hub.notes import write_down
from moongate.hub.offers import XetOffers
from moongate.hub.pinned import Keep, PinnedAnswers
from moongate.hub.questions import CommitRoute, commit_question, lessons, paths_info_question, ref_lessons
from moongate.hub.refs import Refs, Resolved
from moongate.hub.rules import HubRules
from moongate.store.index import Index
from moongate.upstream.client import UpstreamClient
from moongate.wire import routes
from moongate.wire.listings import paths_asked, xet_where

_JSON = (("Content-Type", "application/json; charset=utf-8"),)
_MAX_QUERY_CHARS = 8192
_XET_ID = b'"xetHash"'
_INLINE_BYTES = 64 << 10


class ProxiedRepos:
    """The repositories of one upstream, as every caller may see them."""

    def __init__(
        self,
        index: Index,
        upstream: UpstreamClient,
        rules: HubRules,
        *,
        events: HubEvents | None = None,
        offers: XetOffers | None = None,
        clock: Callable[[], float] = time.time,
        lives_here: Callable[[RepoId], bool] = lambda repo: False,
    ) -> None:
        """`lives_here`: which names are hosted repositories', which upstream may not take.

        `offers`: which files are offered as Xet; without it none is, and no answer says a word of Xet."""
        events = events or NoEvents()
        self._offers = offers if offers is not None and offers.enabled else None
        self._offers_serial = 0
        self._index = index
        self._rules = rules
        self._events = events
        self._clock = clock
        self._memory = AnswerMemory(rules.memory_bytes)
        asker = self._asker = Asker(upstream, rules, events, clock)
        infos = Infos(index, asker, self._memory, clock, lives_here)
        self.access = Access(index, asker, infos, rules, clock)
        self._refs = Refs(index, infos, self.access, rules, clock)
        self._entries = Entries(index, asker, self.access, rules, clock)
        self._listings = Listings(index)
        self._pinned = PinnedAnswers(index, asker, self.access, rules, clock)
        self._ageing = AgeingAnswers(index, asker, rules, clock)
        self._manifests = Manifests(index, asker, self.access, self._refs, self._ageing)

    async def commit_of(self, repo: RepoId, revision: Revision, caller: Caller) -> Resolved:
        """The commit a revision points to, and the repository's present name.

        Raises:
            RepoAbsent, RevisionAbsent, BadToken: upstream says so to this caller.
            UpstreamError: it cannot be asked, and nothing that this caller may have is kept.
        """
        return await self._refs.resolve(repo, revision, caller)

    async def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]:
        """The file at a path of a revision, when this caller may read it.

        Raises:
            EntryAbsent: the commit has no such file; carries the commit.
            GatedRepo: the files are not for this caller.
            Otherwise as `commit_of`.
        """
        resolved = await self._refs.resolve(repo, revision, caller)
        return await self._entries.file_at(resolved.repo, resolved.commit_hash, path, caller), resolved

    async def answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        """The answer to a JSON route, its raw query, and for paths-info the posted body.

        Raises:
            MoongateError: the coded refusal or absence, or why upstream could not be asked.
        """
        question: Hashable = (route, query) if post_body is None else (route, query, post_body)
        answer = self._at_hand(question, caller)
        if answer is None:
            if len(query) > _MAX_QUERY_CHARS:
                raise BadRequest("the query is absurdly long")
            answer = await self._answer(route, query, caller, question, post_body, content_type)
        self._events.answered(type(route).__name__.lower(), answer.outcome)
        return answer

    async def manifest(self, repo: RepoId, tag: str, caller: Caller, user_agent: str) -> Answer:
        """A GGUF repository's manifest for a tag, byte for byte as upstream wrote it for this kind of client.

        Raises:
            BadRequest: upstream knows no such tag.
            Otherwise as `file_at`.
        """
        return await self._manifests.manifest(repo, tag, caller, user_agent)

    async def layer(self, repo: RepoId, digest: Etag, caller: Caller) -> FileAt:
        """The content of a layer that a manifest named. Its commit is `manifests.NO_COMMIT` when no listing
        of the repository has it; then it is at upstream's `/v2/{id}/blobs/sha256:{digest}`.

        Raises:
            EntryAbsent: no manifest and no listing that is kept here names it.
            Otherwise as `file_at`.
        """
        return await self._manifests.layer(repo, digest, caller)

    def reads(self, caller: Caller, repo: RepoId) -> bool:
        """Whether this caller may read the repository's files, as far as is known without asking."""
        return self.access.reads(caller, repo)

    async def may_read_files(
        self, caller: Caller, repo: RepoId, commit_hash: CommitHash, path: RepoPath
    ) -> None:
        """See `Access.may_read_files`."""
        await self.access.may_read_files(caller, repo, commit_hash, path)

    def forget(self, repo: RepoId) -> None:
        """Drop what memory knows of a repository, after it was removed from the index."""
        self._memory.drop_repo(repo)
        for room in (self._refs, self._entries, self._listings):
            room.forget(repo)

    def doubt(self, file: FileAt) -> None:
        """Ask upstream afresh what a file is, because its bytes were not what upstream had said of it."""
        self._entries.doubt(file)
        self._listings.forget(file.repo)
        self._memory.drop_repo(file.repo)

    def when_forgetting(self, told: Callable[[], None]) -> None:
        """Call this, and nobody else, whenever something that was at hand may no longer be believed."""
        self._memory.forgetting = told

    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None:
        """The fresh answer that memory has for exactly this caller; nothing is awaited."""
        return self._at_hand((route, query), caller)

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None:
        """As `file_at`, when all of it is known, fresh, and open to this caller; nothing is awaited."""
        resolved = self._refs.at_hand(repo, revision, caller)
        if resolved is None or not self.access.reads(caller, resolved.repo):
            return None
        file = self._entries.known(resolved.repo, resolved.commit_hash, path)
        return None if file is None else (file, resolved)

    async def changed(self, repo: RepoId | None, caller: Caller) -> None:
        """Ask anew, since this caller changed a repository upstream: this one, or one that is not named.

        Whoever uploads through us and then reads must see it. Other processes learn of it by the index, but
        for what their memory holds as fresh.
        """
        await self.access.forget(caller)
        self._memory.drop_audience(caller.key)
        self._refs.forget_absences()
        if repo is None:
            return
        repo = self._refs.canonical(repo)
        await self._refs.doubt(repo)
        for pairs in ("", "?include_prs=1"):
            await write_down(self._index.drop_answer, keys.of_repo("refs", repo, pairs))
        self.forget(repo)

    async def close(self) -> None:
        """Give up the questions that are in the air."""
        for room in (self._refs, self._entries, self._pinned, self._ageing, self.access):
            await room.close()

    def _at_hand(self, question: Hashable, caller: Caller) -> Answer | None:
        if self._offers is not None and self._offers.serial != self._offers_serial:
            self._offers_serial = self._offers.serial
            self._memory.clear()
        now = self._clock()
        answer = self._memory.get(PUBLIC, question, now)
        if answer is None and caller.credential is None:
            answer = self._memory.get(NOBODY, question, now)
        if answer is None and caller.key != NOBODY:
            answer = self._memory.get(caller.key, question, now)
        return answer

    async def _answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        question: Hashable,
        post_body: bytes | None,
        content_type: str,
    ) -> Answer:
        match route:
            case routes.Info() | routes.Tree() | routes.Commits() | routes.TreeSize():
                return await self._of_commit(route, query, caller, question)
            case routes.PathsInfo():
                if post_body is None:
                    raise BadRequest("paths-info is asked by POST")
                return await self._paths_info(route, post_body, content_type, caller, question)
            case routes.Refs():
                return await self._refs_list(route, query, caller, question)
            case routes.Listing():
                return await self._list(f"/api/{route.kind}s", query, caller, question, known=True)
            case routes.ApiOther():
                return await self._list(route.path, query, caller, question, known=False)
            case routes.RepoOther():
                return await self._repo_other(route, query, caller, question)
            case routes.Whoami():
                return await self._whoami(caller, question)
            case routes.AuthCheck():
                repo = await self._seen(route.repo, caller)
                return await auth_check(repo, route.write, caller, self.access, self._asker)
            case _:
                raise EntryAbsent("this address has no JSON answer")

    # About a commit

    async def _of_commit(self, route: CommitRoute, query: str, caller: Caller, question: Hashable) -> Answer:
        revision = route.revision or DEFAULT_REVISION
        resolved = await self._refs.resolve(route.repo, revision, caller)
        pairs = keys.normal_query(query)
        asked = commit_question(route, pairs, resolved)
        answer = self._pinned.kept(asked, resolved, pinned=is_commit_hash(revision))
        if answer is None and isinstance(route, routes.Tree):
            answer = self._from_listing(route.path or "", pairs, resolved)
        if answer is None:
            keep = self._lessons(route, pairs, resolved)
            answer = await self._pinned.ask(asked, resolved, caller, keep)
        elif asked.kind == "info" and not pairs and resolved.outcome == "miss":
            answer = replace(answer, outcome="miss")  # it came just now, with the ref
        if asked.lists_files:
            answer = await self._offered(answer)
        return self._keep_at_commit(question, answer, resolved, route.repo, revision, caller)

    async def _paths_info(
        self, route: routes.PathsInfo, body: bytes, content_type: str, caller: Caller, question: Hashable
    ) -> Answer:
        paths, expand = paths_asked(body, content_type or _guessed_type(body))
        resolved = await self._refs.resolve(route.repo, route.revision, caller)
        asked = paths_info_question(paths, expand, resolved)
        answer = self._pinned.kept(asked, resolved, pinned=is_commit_hash(route.revision))
        if answer is None and not expand:
            whole = self._listings.whole(resolved.repo, resolved.commit_hash)
            answer = self._derived(whole.paths(paths), resolved) if whole is not None else None
        if answer is None:
            answer = await self._pinned.ask(asked, resolved, caller, self._lessons(route, (), resolved))
        answer = await self._offered(answer)
        return self._keep_at_commit(question, answer, resolved, route.repo, route.revision, caller)

    def _lessons(
        self, route: CommitRoute | routes.PathsInfo, pairs: Sequence[tuple[str, str]], resolved: Resolved
    ) -> Keep:
        return lessons(
            route, pairs, resolved, self._index, self._listings, siblings_suffice=self._offers is None
        )

    async def _offered(self, answer: Answer) -> Answer:
        """A list of files with the Xet ids of those that are offered as Xet now."""
        if _XET_ID not in answer.body:
            return answer
        if len(answer.body) > _INLINE_BYTES:
            return replace(answer, body=await asyncio.to_thread(self._with_offers, answer.body))
        return replace(answer, body=self._with_offers(answer.body))

    def _with_offers(self, body: bytes) -> bytes:
        offered = self._offers.offered if self._offers is not None else _never
        return orjson.dumps(xet_where(orjson.loads(body), offered))

    def _from_listing(self, folder: str, pairs: list[tuple[str, str]], resolved: Resolved) -> Answer | None:
        whole = self._listings.whole(resolved.repo, resolved.commit_hash)
        if whole is None:
            return None
        if whole.lacks(folder):
            raise EntryAbsent(f"{folder} does not exist", resolved.commit_hash)
        body = whole.tree(folder, pairs)
        return self._derived(body, resolved) if body is not None else None

    @staticmethod
    def _derived(body: bytes, resolved: Resolved) -> Answer:
        outcome: Outcome = "stale" if resolved.outcome == "stale" else "hit"
        return Answer(200, _JSON, body, outcome, resolved.age_seconds)

    def _keep_at_commit(
        self,
        question: Hashable,
        answer: Answer,
        resolved: Resolved,
        asked: RepoId,
        revision: Revision,
        caller: Caller,
    ) -> Answer:
        if answer.outcome == "pass":
            return answer
        holds_until = self._refs.fresh_until(asked, revision)
        if answer.outcome == "stale":
            holds_until = min(holds_until, self._clock() + self._rules.retry_pause_seconds)
        self._remember(question, answer, holds_until, resolved.repo, caller)
        return answer

    # What ages

    async def _refs_list(self, route: routes.Refs, query: str, caller: Caller, question: Hashable) -> Answer:
        repo = await self._seen(route.repo, caller)
        pairs = keys.question(keys.normal_query(query))
        surely_public = self.access.lately_known(repo)
        audience = self.access.audience(caller, repo)
        credential = self.access.fetching_credential(caller, repo)
        asked = AgeingQuestion(
            path_qs=f"{repo.api_path}/refs{pairs}",
            key=keys.of_repo("refs", repo, pairs),
            identity=audience,
            credential=None if audience == PUBLIC and not surely_public else credential,
            repo=repo,
        )
        answer = await self._ageing.give(asked, ref_lessons(repo, self._index))
        self._remember(question, answer, self._holds_until(answer), repo, caller)
        return answer

    async def _list(
        self, path: str, query: str, caller: Caller, question: Hashable, *, known: bool
    ) -> Answer:
        identity = self.access.identity(caller)
        asked = AgeingQuestion(
            path_qs=f"{path}?{query}" if query else path,
            key=keys.of_path(path, query) if identity == NOBODY else None,
            identity=identity,
            credential=self.access.credential(caller),
            repo=None,
            json_only=known,
        )
        return self._keep_own(question, await self._ageing.give(asked), identity, None, caller)

    async def _repo_other(
        self, route: routes.RepoOther, query: str, caller: Caller, question: Hashable
    ) -> Answer:
        if route.rest.startswith("xet-read-token"):
            raise EntryAbsent("a Xet token is no JSON to keep; this gateway gives out its own, or none")
        repo = await self._seen(route.repo, caller)
        facts = self.access.facts(repo)
        public = facts is not None and facts.metadata_is_public
        # The gateway's own token may administer the repository: it opens nothing that everybody may ask for.
        identity = self.access.identity(caller, None if public else repo)
        path = f"{repo.api_path}/{route.rest}"
        asked = AgeingQuestion(
            path_qs=f"{path}?{query}" if query else path,
            key=keys.of_path(path, query) if identity == NOBODY else None,
            identity=identity,
            credential=self.access.credential(caller, None if public else repo),
            repo=repo,
            json_only=False,
        )
        return self._keep_own(question, await self._ageing.give(asked), identity, repo, caller)

    # Of one caller

    async def _whoami(self, caller: Caller, question: Hashable) -> Answer:
        answer = await whoami(caller, self._asker)
        until = self._clock() + self._rules.access_ttl_seconds
        self._memory.put(caller.key, question, answer, until)
        return answer

    async def _seen(self, repo: RepoId, caller: Caller) -> RepoId:
        """The canonical name of a repository that this caller may see."""
        canonical = self._refs.canonical(repo)
        if not self.access.sees(caller, canonical):
            await self.access.may_read_metadata(caller, canonical, DEFAULT_REVISION)
            canonical = self._refs.canonical(repo)
        return canonical

    # Memory

    def _holds_until(self, answer: Answer) -> float:
        if answer.outcome == "stale":
            return self._clock() + self._rules.retry_pause_seconds
        return self._clock() - answer.age_seconds + self._rules.ref_ttl_seconds

    def _keep_own(
        self, question: Hashable, answer: Answer, identity: str, repo: RepoId | None, caller: Caller
    ) -> Answer:
        if answer.outcome != "pass":
            audience = NOBODY if identity == NOBODY else caller.key
            self._memory.put(audience, question, answer, self._holds_until(answer), repo)
        return answer

    def _remember(
        self, question: Hashable, answer: Answer, holds_until: float, repo: RepoId, caller: Caller
    ) -> None:
        """Keep an answer about a repository in memory, for those who may see it."""
        if self.access.audience(caller, repo) == PUBLIC:
            self._memory.put(PUBLIC, question, answer, holds_until, repo)
        else:
            until = min(holds_until, self.access.fresh_until(caller, repo))
            self._memory.put(caller.key, question, answer, until, repo)


def _never(entry: FileEntry) -> bool:
    return False


def _guessed_type(body: bytes) -> str:
    return "application/json" if body.lstrip()[:1] == b"{" else "application/x-www-form-urlencoded"
