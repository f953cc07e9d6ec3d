"""A change becomes a commit: operations on a tree, new objects, the branch moved by compare-and-swap.

The bytes come first: regular files are put into the store and leased as they arrive (`uploads.bring`), large
ones were uploaded before. A commit looks whether its author may use each content, and lands in one
transaction; until then nobody sees anything of it. Without `parentCommit`, a commit that meets another one is
made again on top of it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, Conflict, EntryAbsent, RefMoved, RevisionAbsent
from moongate.core.names import CommitHash, RepoId, RepoPath, is_commit_hash, shown
from moongate.hub.hosted.cards import CARD
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.landings import Landings
from moongate.hub.hosted.listings import commit_title
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.refs import MAIN, PULLS, HostedRefs
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.trees import TreeEdit
from moongate.hub.hosted.uploads import Uploads
from moongate.store.index import (
    DiscussionRow,
    GitObjectRow,
    HostedBlob,
    HostedRow,
    Index,
    Landing,
    RefUpdate,
)
from moongate.wire.commit_lines import (
    CommitHeader,
    CommitRequest,
    Copy,
    Delete,
    Move,
    Operation,
    PutBlob,
    PutFile,
    PutLfs,
)
from moongate.wire.git_objects import (
    EMPTY_TREE,
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_FOLDER,
    CommitObject,
    Signature,
    TreeItem,
    blob_oid,
    encode_commit,
    object_oid,
)
from moongate.wire.gitattributes import NAME as ATTRIBUTES
from moongate.wire.gitattributes import Attributes
from moongate.wire.lfs import pointer_text

_TRIES: Final = 20
_RECEIPT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that was made. `ref` by its full name; `pull_request`: its number, when one was opened."""

    commit_hash: CommitHash
    ref: str
    pull_request: int | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What lands in a new repository, the contents it needs in the store, and its commit."""

    landing: Landing
    contents: Mapping[Etag, bytes]
    commit_hash: CommitHash


@dataclass(frozen=True, slots=True)
class _Base:
    """What a commit is made on: the ref to move, where it is now, and the commit's parent."""

    ref: str
    old: str | None
    parent: CommitHash
    pull_request: int | None = None


class Commits:
    """Makes commits."""

    def __init__(
        self,
        index: Index,
        objects: GitObjects,
        refs: HostedRefs,
        landings: Landings,
        uploads: Uploads,
        contents: Contents,
        rules: HostedRules,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._landings = landings
        self._objects = objects
        self._refs = refs
        self._listings = landings.listings
        self._uploads = uploads
        self._contents = contents
        self._rules = rules
        self._clock = clock

    def commit(
        self,
        row: HostedRow,
        revision: str,
        request: CommitRequest,
        caller: Caller,
        *,
        create_pr: bool = False,
    ) -> Committed:
        """Make a commit on a branch or pull request, or open a pull request with it.

        The same request sent again, because its answer was lost, gives the commit that it made.

        Raises:
            RefMoved: `parent_commit` is not where the branch is, or others were faster every time.
            RevisionAbsent: there is no such branch.
            BadRequest, EntryAbsent: an operation cannot be done, or its content was not brought.
            In every case nothing happened.
        """
        request = self._with_contents_here(row, request, caller)
        receipt = _receipt(row, revision, request, caller, create_pr=create_pr)
        made = self._made_before(row, receipt)
        if made is not None:
            return made
        for attempt in range(_TRIES):
            base = self._base(row, revision, request.header, create_pr=create_pr)
            try:
                return self._make(row, base, request, caller, receipt)
            except (RefMoved, Conflict):
                mine_to_settle = request.header.parent_commit is not None and not create_pr
                if mine_to_settle or attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt returned or raised")

    def beginning(self, repo: RepoId, files: Mapping[str, bytes], caller: Caller) -> Beginning:
        """The first commit of a new repository, with these regular files on `main`."""
        edit = TreeEdit(_no_trees, EMPTY_TREE)
        contents = {Etag(blob_oid(content)): content for content in files.values()}
        for path, content in files.items():
            edit.put(path, MODE_FILE, blob_oid(content))
        tree, objects = edit.build()
        commit = self._object(tree, (), "initial commit\n", caller)
        made = CommitHash(commit.oid)
        blobs = [HostedBlob(etag, etag, len(content)) for etag, content in contents.items()]
        landing = Landing([RefUpdate(MAIN, None, made, made)], [*objects, commit], blobs)
        return Beginning(landing, contents, made)

    def squash(self, row: HostedRow, revision: str, message: str, caller: Caller) -> CommitHash:
        """Replace a branch's history by one commit of all that it has now.

        Raises:
            RevisionAbsent: there is no such branch.
            Conflict: somebody committed to it meanwhile.
        """
        ref = self._refs.writable(row, revision)
        tip = self._objects.commit(row, ref.commit_hash)
        text = message or f"Super-squash branch '{revision}' using Moongate"
        commit = self._object(tip.tree, (), f"{text}\n", caller)
        change = RefUpdate(ref.name, ref.target, commit.oid, CommitHash(commit.oid))
        self._index.land(row.number, Landing([change], [commit]), self._clock())
        self._listings.write_down(row, CommitHash(commit.oid), ref.commit_hash)
        return CommitHash(commit.oid)

    def merge(self, row: HostedRow, ref_name: str, into: str, message: str, caller: Caller) -> CommitHash:
        """Bring a pull request into a branch: the branch moves to it, or a commit of both is made.

        Raises:
            Conflict: both changed the same paths.
            RevisionAbsent: one of the refs is gone.
        """
        theirs, ours = self._refs.writable(row, ref_name), self._refs.writable(row, into)
        fork = self._fork(row, ours.commit_hash, theirs.commit_hash)
        tree, objects = self._merged(row, fork, ours.commit_hash, theirs.commit_hash)
        parents = (ours.commit_hash, theirs.commit_hash)
        commit = self._object(tree, parents, f"{message}\n", caller)
        change = RefUpdate(ours.name, ours.target, commit.oid, CommitHash(commit.oid))
        self._index.land(row.number, Landing([change], [*objects, commit]), self._clock())
        self._listings.write_down(row, CommitHash(commit.oid), ours.commit_hash)
        return CommitHash(commit.oid)

    def signature(self, caller: Caller) -> Signature:
        """Who a caller is in a commit, now."""
        name = author_name(caller)
        return Signature(name, f"{name}@{self._rules.mail_domain}", int(self._clock()))

    # Making one

    def _base(self, row: HostedRow, revision: str, header: CommitHeader, *, create_pr: bool) -> _Base:
        if create_pr:
            if is_commit_hash(revision):
                raise RevisionAbsent(f"Invalid rev id: {revision}")
            parent = header.parent_commit or self._refs.resolve(row, revision)
            if not self._objects.has_commit(row, parent):
                raise RevisionAbsent(f"Invalid rev id: {parent}")
            number = self._index.last_discussion(row.number) + 1
            return _Base(f"{PULLS}{number}", None, parent, number)
        if is_commit_hash(revision) and self._refs.find(row, revision) is None:
            raise BadRequest("A commit is made on a branch, not on another commit.")
        ref = self._refs.writable(row, revision)
        if header.parent_commit not in (None, ref.commit_hash):
            raise RefMoved(
                "The branch was updated since you opened this page. Please refresh and try again.",
                ref.name,
                ref.commit_hash,
            )
        return _Base(ref.name, ref.target, ref.commit_hash)

    def _make(
        self, row: HostedRow, base: _Base, request: CommitRequest, caller: Caller, receipt: str
    ) -> Committed:
        parent = self._objects.commit(row, base.parent)
        edit = TreeEdit(lambda oid: self._objects.tree(row, oid), parent.tree)
        blobs: dict[str, HostedBlob] = {}
        for operation in request.operations:
            self._apply(row, edit, operation, caller, blobs)
        self._cover(row, edit, blobs, caller)
        tree, objects = edit.build()
        if tree == parent.tree and base.pull_request is None:
            return Committed(base.parent, base.ref)
        commit = self._object(tree, (base.parent,), request.header.message, caller)
        made = CommitHash(commit.oid)
        landing = Landing(
            [RefUpdate(base.ref, base.old, made, made)],
            [*objects, commit],
            list(blobs.values()),
            self._pull_request(base, request.header, caller),
            (receipt, f"{made} {base.ref} {base.pull_request or 0}", self._clock() + _RECEIPT_SECONDS),
            needs=[base.parent],
        )
        self._landings.admit(row, blobs.values(), lambda: self._new_card(edit, blobs))
        put = edit.files_put()
        self._landings.judge(row, caller, [(path, blobs[it.oid]) for path, it in put if it.oid in blobs])
        with self._contents.claimed():
            self._check_contents(row, blobs.values(), caller)
            self._index.land(row.number, landing, self._clock())
        self._listings.write_down(row, made, base.parent)
        self._landings.landed(row, made, base.parent)
        return Committed(made, base.ref, base.pull_request)

    def _new_card(self, edit: TreeEdit, blobs: dict[str, HostedBlob]) -> bytes | None:
        item = edit.at(CARD)
        blob = blobs.get(item.oid) if item is not None else None
        return self._contents.read(blob.oid) if blob is not None and not blob.is_lfs else None

    def _pull_request(self, base: _Base, header: CommitHeader, caller: Caller) -> DiscussionRow | None:
        if base.pull_request is None:
            return None
        title = commit_title(header.summary)
        return DiscussionRow(base.pull_request, title, "open", True, author_name(caller), self._clock())

    def _object(self, tree: str, parents: Sequence[str], message: str, caller: Caller) -> GitObjectRow:
        who = self.signature(caller)
        body = encode_commit(CommitObject(tree, tuple(parents), who, who, message))
        return GitObjectRow(object_oid("commit", body), "commit", body)

    # Operations

    def _apply(
        self,
        row: HostedRow,
        edit: TreeEdit,
        operation: Operation,
        caller: Caller,
        blobs: dict[str, HostedBlob],
    ) -> None:
        match operation:
            case PutBlob(path, oid, size_bytes, old_path):
                blob = HostedBlob(oid, Etag(oid), size_bytes)
                self._put_blob(edit, path, old_path, blob, blobs)
            case PutLfs(path, etag, told_bytes, old_path):
                blob = self._large(row, path, etag, told_bytes, caller)
                self._put_blob(edit, path, old_path, blob, blobs)
            case Move(path, old_path):
                self._place(edit, path, old_path, drop=True)
            case Copy(path, source):
                self._place(edit, path, source, drop=False)
            case Delete(path, kind):
                item = edit.at(path)
                if item is None or (kind == "folder") > item.is_folder:  # clients call folders files, too
                    raise EntryAbsent(f"A {kind} with the name {shown(path)} does not exist")
                edit.drop(path)
            case PutFile(path, content, old_path):
                put = self._put(row, path, content, caller)
                self._apply(row, edit, replace(put, old_path=old_path), caller, blobs)

    @staticmethod
    def _put_blob(
        edit: TreeEdit, path: str, old_path: str | None, blob: HostedBlob, blobs: dict[str, HostedBlob]
    ) -> None:
        if old_path is not None and old_path != path:
            edit.drop(old_path)
        before = edit.at(path)
        keeps_mode = before is not None and before.mode == MODE_EXECUTABLE
        edit.put(path, MODE_EXECUTABLE if keeps_mode else MODE_FILE, blob.oid)
        blobs[blob.oid] = blob

    @staticmethod
    def _place(edit: TreeEdit, path: str, source: str, *, drop: bool) -> None:
        item = edit.at(source)
        if item is None:
            raise EntryAbsent(f"A file or folder with the name {shown(source)} does not exist")
        if drop and (path == source or path.startswith(f"{source}/")):
            raise BadRequest(f"{shown(source)} cannot be moved to {shown(path)}")
        oid = edit.folder_oid(source) if item.is_folder else item.oid
        if drop:
            edit.drop(source)
        edit.put(path, MODE_FOLDER if item.is_folder else item.mode, oid or item.oid)

    def _large(
        self, row: HostedRow, path: str, etag: Etag, told_bytes: int | None, caller: Caller
    ) -> HostedBlob:
        size_bytes = self._uploads.may_commit(row, caller, etag)
        if size_bytes is None:
            raise BadRequest(f"The content of {shown(path)} (sha256 {etag}) was not uploaded to {row.repo}.")
        if told_bytes not in (None, size_bytes):
            raise BadRequest(f"{shown(path)} has {size_bytes} bytes, not {told_bytes}.")
        oid = blob_oid(pointer_text(etag, size_bytes))
        return HostedBlob(oid, etag, size_bytes, self._contents.xet_hash(etag))

    def _put(self, row: HostedRow, path: str, content: bytes, caller: Caller) -> PutBlob:
        oid = self._uploads.bring(row, caller.key, [content])[0]
        return PutBlob(RepoPath(path), oid, len(content))

    def _with_contents_here(self, row: HostedRow, request: CommitRequest, caller: Caller) -> CommitRequest:
        """The request with every file's bytes in the store, and only their oids in it."""
        inline = [one for one in request.operations if isinstance(one, PutFile)]
        if not inline:
            return request
        oids = iter(self._uploads.bring(row, caller.key, [one.content for one in inline]))
        operations = [
            PutBlob(one.path, next(oids), len(one.content), one.old_path) if isinstance(one, PutFile) else one
            for one in request.operations
        ]
        return CommitRequest(request.header, operations)

    def _cover(self, row: HostedRow, edit: TreeEdit, blobs: dict[str, HostedBlob], caller: Caller) -> None:
        """Have `.gitattributes` say of every large file that was put that it is one: git goes by that."""
        put = dict(edit.files_put())
        known = blobs | self._index.hosted_blobs(
            row.number, {item.oid for item in put.values()} - blobs.keys()
        )
        large = [path for path, item in put.items() if item.oid in known and known[item.oid].is_lfs]
        if not large:
            return
        item = edit.at(ATTRIBUTES)
        text = self._contents.read(item.oid) if item is not None and not item.is_folder else None
        attributes = Attributes(text or b"")
        covered = attributes.covering(large)
        if covered != attributes.text:
            self._apply(row, edit, self._put(row, ATTRIBUTES, covered, caller), caller, blobs)

    def _check_contents(self, row: HostedRow, blobs: Iterable[HostedBlob], caller: Caller) -> None:
        """What is about to land is here, and the caller's to use; looked at while nobody may free it."""
        for blob in blobs:
            allowed = self._uploads.may_commit(row, caller, blob.etag) is not None
            if not allowed or not self._contents.is_here(blob.etag):
                raise BadRequest(f"The content {blob.etag} is not here (any more); upload it again.")

    # Merging

    def _fork(self, row: HostedRow, ours: CommitHash, theirs: CommitHash) -> CommitHash:
        """The newest commit that both have, as far as they have one."""
        seen = set(self._ancestors(row, ours))
        for commit_hash in self._ancestors(row, theirs):
            if commit_hash in seen:
                return commit_hash
        raise Conflict("The pull request and the branch have no commit in common.")

    def _ancestors(self, row: HostedRow, start: CommitHash) -> Iterator[CommitHash]:
        """A commit and those before it, nearest first."""
        waiting, seen = deque([start]), {start}
        while waiting:
            here = waiting.popleft()
            yield here
            for parent in self._objects.commit(row, here).parents:
                if parent not in seen:
                    seen.add(CommitHash(parent))
                    waiting.append(CommitHash(parent))

    def _merged(
        self, row: HostedRow, fork: CommitHash, ours: CommitHash, theirs: CommitHash
    ) -> tuple[str, list[GitObjectRow]]:
        their_gone, their_put = self._listings.compare(row, fork, theirs)
        our_gone, our_put = self._listings.compare(row, fork, ours)
        changed_here = {one.path: one.item for one in our_put} | dict.fromkeys(our_gone)
        edit = TreeEdit(lambda oid: self._objects.tree(row, oid), self._objects.commit(row, ours).tree)
        for path in their_gone:
            if changed_here.get(path, None) is not None:
                raise Conflict(f"{shown(path)} was deleted there and changed here.")
            if path not in changed_here:
                edit.drop(path)
        for one in their_put:
            if one.path in changed_here and changed_here[one.path] != one.item:
                raise Conflict(f"{shown(one.path)} was changed on both sides.")
            edit.put(one.path, one.item.mode, one.item.oid)
        return edit.build()

    # Requests that come twice

    def _made_before(self, row: HostedRow, receipt: str) -> Committed | None:
        """What this very request made, if nothing came after it."""
        owner = self._index.lease_owner(receipt, self._clock())
        if owner is None:
            return None
        commit_hash, ref, pull_request = owner.split(" ")
        now = self._index.hosted_ref(row.number, ref)
        if now is None or now.commit_hash != commit_hash:
            return None
        return Committed(CommitHash(commit_hash), ref, int(pull_request) or None)


def _no_trees(oid: str) -> Mapping[str, TreeItem]:
    raise AssertionError("a tree without folders asked for one")


def author_name(caller: Caller) -> str:
    """What a caller is called in a commit."""
    return caller.user


def _receipt(
    row: HostedRow, revision: str, request: CommitRequest, caller: Caller, *, create_pr: bool
) -> str:
    said = repr((row.number, revision, create_pr, caller.key, request.header, list(request.operations)))
    return f"commit:{hashlib.sha256(said.encode()).hexdigest()}"
