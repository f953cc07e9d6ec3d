"""Hosted repositories over a store, without a gateway."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.hub.hosted.commits import Committed
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.intake import Intake, Upload
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.repositories import NewRepo
from moongate.hub.hosted.rules import HostedRules
from moongate.store.at_rest import AtRest
from moongate.store.blobs import Blobs
from moongate.store.claims import Claims
from moongate.store.index import HostedRow, Index
from moongate.store.keeping import Keeping
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from moongate.store.upload_files import UploadFiles
from moongate.wire.commit_lines import CommitHeader, CommitRequest, Operation, PutFile, PutLfs

ALICE = Caller("token", user="alice", scope="write")
BOB = Caller("token", user="bob", scope="write")
REPO = RepoId("model", "acme/tiny")


def hosted_over(
    layout: Layout, index: Index, rules: HostedRules, clock: Callable[[], float] = time.time
) -> HostedRepos:
    """What lives in a store that is there."""
    blobs = Blobs(layout)
    contents = Contents(blobs, Claims(layout), index, lambda incoming_bytes: None, clock)
    at_rest = AtRest(blobs, Segments(layout), index)
    return HostedRepos(index, contents, at_rest, rules, offered=lambda entry: True, clock=clock)


class HostingHouse:
    """A store with one hosted repository, `acme/tiny`, made by alice."""

    def __init__(self, folder: Path, rules: HostedRules | None = None) -> None:
        self.now = 1_700_000_000.0
        self.folder = folder
        self.layout = Layout(folder)
        self.layout.prepare()
        self.index = Index(self.layout.index_path)
        self.blobs = Blobs(self.layout)
        self.rules = rules or HostedRules(namespaces=("acme",))
        self.repos = hosted_over(self.layout, self.index, self.rules, self.clock)
        known = self.index.get_hosted(REPO)
        self.row = known or self.repos.repositories.create(NewRepo(REPO), ALICE)
        self.intake = Intake(
            self.index,
            UploadFiles(self.layout),
            self.repos.contents,
            self.repos.uploads,
            self.repos.quotas,
            self.rules,
            self.clock,
        )

    def reopened(self) -> HostingHouse:
        """The same store as another process would open it, now."""
        other = HostingHouse(self.folder, self.rules)
        other.now = self.now
        return other

    def clock(self) -> float:
        """A second later each time: two commits are never of one moment."""
        self.now += 1.0
        return self.now

    @property
    def head(self) -> CommitHash:
        """Where `main` is."""
        return self.repos.refs_of.resolve(self.row, "main")

    def commit(
        self,
        *operations: Operation,
        parent: CommitHash | None = None,
        caller: Caller = ALICE,
        revision: str = "main",
        summary: str = "change",
        create_pr: bool = False,
        row: HostedRow | None = None,
    ) -> Committed:
        """Make a commit."""
        request = CommitRequest(CommitHeader(summary, "", parent), operations)
        return self.repos.commit(row or self.row, revision, request, caller, create_pr=create_pr)

    def put(self, files: Mapping[str, bytes], **how: object) -> Committed:
        """Commit these regular files."""
        operations = [PutFile(RepoPath(path), content) for path, content in files.items()]
        return self.commit(*operations, **how)  # type: ignore[arg-type]

    def upload(self, content: bytes, caller: Caller = ALICE, row: HostedRow | None = None) -> Etag:
        """Send a large file; its etag."""
        etag = Etag(hashlib.sha256(content).hexdigest())
        place = row or self.row
        with self.intake.whole(Upload(place.number, caller.key, etag, len(content))) as file:
            file.write(content)
        return etag

    def put_large(self, path: str, content: bytes, **how: object) -> Committed:
        """Send a large file and commit it."""
        etag = self.upload(content)
        return self.commit(PutLfs(RepoPath(path), etag, len(content)), **how)  # type: ignore[arg-type]

    def paths(self, revision: str = "main") -> list[str]:
        """The paths at a revision, without the attributes that every repository begins with."""
        commit_hash = self.repos.refs_of.resolve(self.row, revision)
        found = [str(entry.path) for entry in self.repos.listings.files(self.row, commit_hash)]
        return [path for path in found if path != ".gitattributes"]

    def read(self, path: str, revision: str = "main") -> bytes:
        """The bytes of a file at a revision."""
        commit_hash = self.repos.refs_of.resolve(self.row, revision)
        entry = self.repos.listings.file(self.row, commit_hash, RepoPath(path))
        return self.layout.blob(entry.etag).read_bytes()

    def keeping(self, **limits: int) -> Keeping:
        """The upkeep of this store."""
        return Keeping(self.layout, self.blobs, self.index, clock=self.clock, **limits)

    def close(self) -> None:
        self.index.close()
