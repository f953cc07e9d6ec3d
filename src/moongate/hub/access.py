"""Who may see a repository, and who may read its files.

- What upstream shows to everybody, everybody may have: metadata when a repository is not private, files when
  it is not gated either.
- Otherwise a caller's own access counts: confirmed upstream with the caller's own credential, remembered for
  `access_ttl_seconds`, and for `access_grace_seconds` while upstream cannot be asked. What is cached changes
  nothing about that.
- Our own tokens and anonymous callers are nobody upstream. With a grant they act with the gateway's own
  token; the grant itself is the permission.
- The gateway's own token is used for what was lately known to be public and for callers with a grant, for
  nothing else.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final, Literal

from moongate.core.callers import Caller, Secret
from moongate.core.errors import (
    BadToken,
    EntryAbsent,
    GatedRepo,
    MoongateError,
    NotAllowed,
    RepoAbsent,
    UpstreamError,
    UpstreamUnreachable,
)
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import RepoFacts
from moongate.hub.answers import PUBLIC
from moongate.hub.asker import Asker
from moongate.hub.flights import Flights
from moongate.hub.infos import Infos, Learned
from moongate.hub.notes import write_down
from moongate.hub.rules import HubRules
from moongate.store.index import AccessRow, Index

Level = Literal["files", "metadata", "none"]

NOBODY: Final = "anonymous"
"""The identity of all who have no credential of their own upstream."""

GRANTED: Final = "granted"
"""The identity of those for whom the gateway's own token stands in."""

_GRANTS_HOLD_SECONDS = 5.0
_MEMORY_ROWS = 20_000
_NOT_LET_IN = "you are not in the authorized list"


class Access:
    """What every caller may have, asked as seldom as the rules allow."""

    def __init__(
        self, index: Index, asker: Asker, infos: Infos, rules: HubRules, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._asker = asker
        self._infos = infos
        self._rules = rules
        self._clock = clock
        self._flights = Flights()
        self._rows: OrderedDict[tuple[str, RepoId], AccessRow] = OrderedDict()
        self._grants: tuple[tuple[str, str], ...] = ()
        self._grants_until = 0.0
        self._refusals: dict[tuple[str, RepoId], float] = {}

    # Who somebody is upstream

    def identity(self, caller: Caller, repo: RepoId | None = None) -> str:
        """Under what a caller's own answers and access to a repository are remembered."""
        if caller.credential is not None:
            return caller.key
        return GRANTED if repo is not None and self.granted(caller, repo) else NOBODY

    def credential(self, caller: Caller, repo: RepoId | None = None) -> Secret | None:
        """What a caller's own access is asked with: their credential, ours with a grant, else nothing."""
        if caller.credential is not None:
            return caller.credential
        return self._rules.upstream_token if repo is not None and self.granted(caller, repo) else None

    def has_credential(self, caller: Caller, repo: RepoId) -> bool:
        """Whether upstream may show this caller more than it shows to everybody."""
        return self.credential(caller, repo) is not None

    def fetching_credential(self, caller: Caller, repo: RepoId, *, files: bool = False) -> Secret | None:
        """What to fetch with on a caller's behalf: as `credential`, or ours for what is surely public."""
        own = self.credential(caller, repo)
        if own is not None or self._rules.upstream_token is None:
            return own
        facts = self._infos.facts(repo)
        if facts is None or not self._lately(facts):
            return None
        shared = facts.files_are_public if files else facts.metadata_is_public
        return self._rules.upstream_token if shared else None

    def granted(self, caller: Caller, repo: RepoId) -> bool:
        """Whether an administrator lets this caller have what the gateway's own token can reach."""
        if caller.kind == "upstream" or not caller.reaches(repo):
            return False
        now = self._clock()
        if now >= self._grants_until:
            self._grants = tuple((grant.user, grant.repo_pattern) for grant in self._index.grants())
            self._grants_until = now + _GRANTS_HOLD_SECONDS
        return any(
            user == caller.user and (fnmatchcase(str(repo), pattern) or fnmatchcase(repo.repo_id, pattern))
            for user, pattern in self._grants
        )

    # What is known without asking

    def facts(self, repo: RepoId) -> RepoFacts | None:
        return self._infos.facts(repo)

    def lately_known(self, repo: RepoId) -> bool:
        """Whether the repository's facts were confirmed within `access_ttl_seconds`."""
        facts = self._infos.facts(repo)
        return facts is not None and self._lately(facts)

    def audience(self, caller: Caller, repo: RepoId) -> str:
        """With whom a caller shares what is learned of a repository: `public`, or only themselves."""
        facts = self._infos.facts(repo)
        public = facts is not None and facts.metadata_is_public
        return PUBLIC if public else self.identity(caller, repo)

    def sees(self, caller: Caller, repo: RepoId, *, within_grace: bool = False) -> bool:
        """Whether this caller may have the repository's metadata, as far as is known without asking."""
        facts = self._infos.facts(repo)
        if facts is None:
            return False
        return facts.metadata_is_public or self._holds(caller, repo, ("files", "metadata"), within_grace)

    def reads(self, caller: Caller, repo: RepoId, *, within_grace: bool = False) -> bool:
        """Whether this caller may read the repository's files, as far as is known without asking."""
        facts = self._infos.facts(repo)
        if facts is None:
            return False
        return facts.files_are_public or self._holds(caller, repo, ("files",), within_grace)

    def fresh_until(self, caller: Caller, repo: RepoId) -> float:
        """Until when a caller's confirmed access needs no asking; seconds since the epoch."""
        if self.granted(caller, repo):
            return self._clock() + _GRANTS_HOLD_SECONDS
        row = self._row(self.identity(caller, repo), repo)
        return row.checked_at + self._rules.access_ttl_seconds if row is not None else 0.0

    # Asking

    async def may_read_metadata(self, caller: Caller, repo: RepoId, revision: Revision) -> None:
        """Return when this caller may have the repository's info and listings.

        Raises:
            RepoAbsent: upstream does not show the repository to this caller.
            UpstreamError: that could not be found out, and was not confirmed lately.
        """
        if self.sees(caller, repo):
            return
        identity = self.identity(caller, repo)
        self._raise_refusal(identity, repo)
        await self._confirmed(
            self._flights.start((identity, repo), lambda: self.learn(caller, repo, revision)),
            lambda: self.sees(caller, repo, within_grace=True),
        )

    async def may_read_files(
        self, caller: Caller, repo: RepoId, commit_hash: CommitHash, path: RepoPath
    ) -> None:
        """Return when this caller may read the repository's files; `path` is one that can be asked about.

        Raises:
            GatedRepo: upstream refuses the files to this caller, or cannot be asked and did not let the
                caller in lately.
            RepoAbsent: upstream does not show the repository to this caller.
            UpstreamError: it could not be found out whether a private repository may be read.
        """
        if self.reads(caller, repo):
            return
        identity = self.identity(caller, repo)
        self._raise_refusal(identity, repo)
        if self._refusals.get((identity, repo), 0.0) > self._clock():
            raise self._gated(caller, repo, _NOT_LET_IN)
        try:
            await self._confirmed(
                self._flights.start(
                    (identity, repo, path), lambda: self._try_file(caller, repo, commit_hash, path)
                ),
                lambda: self.reads(caller, repo, within_grace=True),
            )
        except UpstreamError as error:
            facts = self._infos.facts(repo)
            if facts is not None and facts.gated:
                why = f"upstream cannot be asked whether you may read it ({error})"
                raise self._gated(caller, repo, why) from error
            raise

    async def learn(self, caller: Caller, repo: RepoId, revision: Revision) -> Learned:
        """Ask for the repository's info with the caller's own credential; what it said, and access noted.

        Raises:
            RepoAbsent, RevisionAbsent, BadToken, UpstreamError: as upstream answered.
        """
        identity = self.identity(caller, repo)
        try:
            learned = await self._infos.ask(repo, revision, self.credential(caller, repo))
        except RepoAbsent:
            await self.note(identity, repo, "none")
            raise
        if not learned.facts.metadata_is_public:
            await self.note(identity, learned.repo, "files" if learned.facts.gated is False else "metadata")
        return learned

    async def reconfirm(self, caller: Caller, repo: RepoId, commit_hash: CommitHash) -> None:
        """Learn anew whether a repository is public, and whether this caller may see it.

        Raises:
            RepoAbsent: no longer for this caller.
            UpstreamError: that cannot be found out.
        """
        revision = Revision(commit_hash)
        try:
            await self._flights.run(
                (self.identity(caller, repo), repo), lambda: self.learn(caller, repo, revision)
            )
        except BadToken:
            await self._infos.ask(repo, revision, None)

    async def note(self, identity: str, repo: RepoId, level: Level) -> None:
        """Remember what upstream let an identity have. Seeing metadata takes no confirmed files away."""
        kept = self._row(identity, repo)
        if level == "metadata" and kept is not None and self._fresh(kept, ("files",), within_grace=False):
            return
        if level == "files":
            self._refusals.pop((identity, repo), None)
        await self._write(identity, repo, level)

    async def refused(self, caller: Caller, repo: RepoId, error: NotAllowed | RepoAbsent) -> MoongateError:
        """Note that upstream refused a file to this caller; the error to raise."""
        identity = self.identity(caller, repo)
        if isinstance(error, GatedRepo):
            if len(self._refusals) > _MEMORY_ROWS:
                self._refusals.clear()
            self._refusals[identity, repo] = self._clock() + self._rules.absent_ttl_seconds
            await self._write(identity, repo, "metadata")
            return self._gated(caller, repo, _NOT_LET_IN)
        if isinstance(error, RepoAbsent):
            await self._write(identity, repo, "none")
        return error

    async def forget(self, caller: Caller) -> None:
        """Drop what is remembered of a caller, since something of theirs was changed."""
        identity = self.identity(caller)
        for key in [key for key in self._rows if key[0] == identity]:
            del self._rows[key]
        for key in [key for key in self._refusals if key[0] == identity]:
            del self._refusals[key]
        await write_down(self._index.drop_access, identity)

    async def close(self) -> None:
        await self._flights.close()

    async def _write(self, identity: str, repo: RepoId, level: Level) -> None:
        now = self._clock()
        self._remember(identity, repo, AccessRow(level, now))
        await write_down(self._index.put_access, identity, repo, level, now)

    async def _try_file(self, caller: Caller, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> None:
        try:
            await self._asker.head_file(repo, commit_hash, path, self.credential(caller, repo), "access")
        except (NotAllowed, RepoAbsent) as error:
            raise await self.refused(caller, repo, error) from error
        except EntryAbsent:
            raise UpstreamUnreachable("upstream no longer has the file that access was asked for") from None
        await self.note(self.identity(caller, repo), repo, "files")

    async def _confirmed(self, task: asyncio.Task[object], within_grace: Callable[[], bool]) -> None:
        """Wait for the asking; when it takes long or fails and access was confirmed before, that counts."""
        if not within_grace():
            await asyncio.shield(task)
            return
        done, _ = await asyncio.wait({task}, timeout=self._rules.stale_wait_seconds)
        if done and (error := task.exception()) is not None and not isinstance(error, UpstreamError):
            raise error

    # What is remembered

    def _raise_refusal(self, identity: str, repo: RepoId) -> None:
        """Repeat that there is no such repository, as long as an absence is remembered."""
        row = self._row(identity, repo)
        if row is None or row.allowed != "none":
            return
        if self._clock() - row.checked_at < self._rules.absent_ttl_seconds:
            raise RepoAbsent("Repository not found")

    def _holds(self, caller: Caller, repo: RepoId, levels: tuple[Level, ...], within_grace: bool) -> bool:
        if self.granted(caller, repo):
            return True
        return self._fresh(self._row(self.identity(caller, repo), repo), levels, within_grace=within_grace)

    def _fresh(self, row: AccessRow | None, levels: tuple[Level, ...], *, within_grace: bool) -> bool:
        if row is None or row.allowed not in levels:
            return False
        limit = self._rules.access_ttl_seconds
        if within_grace or self._rules.offline:
            limit = max(limit, self._rules.access_grace_seconds)
        return self._clock() - row.checked_at < limit

    def _row(self, identity: str, repo: RepoId) -> AccessRow | None:
        row = self._rows.get((identity, repo))
        if row is not None and self._fresh(row, ("files", "metadata"), within_grace=False):
            return row
        found = self._index.get_access(identity, repo)
        if found is not None:
            self._remember(identity, repo, found)
        return found or row

    def _remember(self, identity: str, repo: RepoId, row: AccessRow) -> None:
        self._rows[identity, repo] = row
        self._rows.move_to_end((identity, repo))
        if len(self._rows) > _MEMORY_ROWS:
            self._rows.popitem(last=False)

    def _lately(self, facts: RepoFacts) -> bool:
        return self._clock() - facts.checked_at < self._rules.access_ttl_seconds

    @staticmethod
    def _gated(caller: Caller, repo: RepoId, why: str) -> GatedRepo:
        known = caller.kind != "anonymous"
        if why == _NOT_LET_IN and not known:
            why = "you must be authenticated to have access to it; please log in"
        text = f"Access to {repo.repo_type} {repo.repo_id} is restricted: {why}."
        return GatedRepo(text, authenticated=known)
