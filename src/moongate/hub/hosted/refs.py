"""Which commit a revision is, and what changes that: branches and tags.

A revision is a branch, a tag, a full ref (`refs/pr/1`), a commit hash or the unambiguous beginning of one; a
branch comes before a tag of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from moongate.core.errors import BadName, BadRequest, Conflict, RefMoved, RevisionAbsent
from moongate.core.names import CommitHash, Revision, is_commit_hash, parse_revision, shown
from moongate.hub.hosted.objects import GitObjects
from moongate.store.index import GitObjectRow, HostedRef, HostedRow, Index, Landing, RefUpdate
from moongate.wire.git_objects import (
    EMPTY_TREE,
    CommitObject,
    Signature,
    TagObject,
    encode_commit,
    encode_tag,
    object_oid,
)
from moongate.wire.git_refs import in_the_way, is_ref_name

MAIN: Final = "refs/heads/main"
HEADS: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
PULLS: Final = "refs/pr/"

_SHORT_HASH = re.compile(r"[0-9a-f]{7,39}")
_GROUPS = (("branches", HEADS), ("converts", "refs/convert/"), ("tags", TAGS), ("pullRequests", PULLS))


class HostedRefs:
    """Revisions, branches and tags."""

    def __init__(self, index: Index, objects: GitObjects, clock: Callable[[], float]) -> None:
        self._index = index
        self._objects = objects
        self._clock = clock

    def resolve(self, row: HostedRow, revision: str) -> CommitHash:
        """The commit that a revision is.

        Raises:
            RevisionAbsent: the repository has none such.
        """
        ref = self.find(row, revision)
        if ref is not None:
            return ref.commit_hash
        if is_commit_hash(revision) and self._objects.has_commit(row, revision):
            return CommitHash(revision)
        if _SHORT_HASH.fullmatch(revision):
            near = self._index.git_objects_after(row.number, revision, 16)
            found = [one for one in near if one.oid.startswith(revision) and one.kind == "commit"]
            if len(found) == 1:
                return CommitHash(found[0].oid)
        raise RevisionAbsent(f"Invalid rev id: {revision}")

    def find(self, row: HostedRow, revision: str) -> HostedRef | None:
        """The ref that a revision names; None when it names none."""
        if revision == "HEAD":
            return self._index.hosted_ref(row.number, MAIN)
        names = [revision] if revision.startswith("refs/") else [HEADS + revision, TAGS + revision]
        return next((ref for name in names if (ref := self._index.hosted_ref(row.number, name))), None)

    def writable(self, row: HostedRow, revision: str) -> HostedRef:
        """The branch or pull request of this name, which a commit may be added to.

        Raises:
            RevisionAbsent: there is none; tags and bare commits cannot be written to.
        """
        name = revision if revision.startswith("refs/") else HEADS + revision
        ref = self._index.hosted_ref(row.number, name)
        if ref is None or not name.startswith((HEADS, PULLS)):
            raise RevisionAbsent(f"Invalid rev id: {revision}")
        return ref

    def all(self, row: HostedRow) -> list[HostedRef]:
        """Every ref by its full name, in order."""
        return self._index.hosted_refs(row.number)

    def as_told(self, row: HostedRow, *, include_prs: bool = False) -> dict[str, list[dict[str, str]]]:
        """The refs as the API shows them, in groups."""
        refs = self.all(row)
        return {
            group: [
                {"name": ref.name.removeprefix(prefix), "ref": ref.name, "targetCommit": ref.commit_hash}
                for ref in refs
                if ref.name.startswith(prefix)
            ]
            for group, prefix in _GROUPS
            if include_prs or group != "pullRequests"
        }

    def create_branch(
        self,
        row: HostedRow,
        name: str,
        start: str = "main",
        *,
        overwrite: bool = False,
        empty: bool = False,
        author: Signature | None = None,
    ) -> None:
        """Begin a branch at a revision, or (`empty`, with an author) with a commit that has no files.

        Raises:
            Conflict: there is such a branch.
            RevisionAbsent: there is no such start.
            BadName: no branch can be called so.
        """
        ref = HEADS + _checked(name)
        objects: list[GitObjectRow] = []
        if empty and author is not None:
            commit = CommitObject(EMPTY_TREE, (), author, author, "initial commit\n")
            body = encode_commit(commit)
            objects.append(GitObjectRow(object_oid("commit", body), "commit", body))
            target = CommitHash(objects[0].oid)
        else:
            target = self.resolve(row, start)
        known = self._index.hosted_ref(row.number, ref)
        if known is not None and not overwrite:
            raise Conflict(f"Reference {ref} already exists")
        self._check_room(row, ref)
        change = RefUpdate(ref, known.target if known else None, target, target)
        self._land(row, [change], objects)

    def delete_branch(self, row: HostedRow, name: str) -> None:
        """Give up a branch; its commits stay while something else leads to them.

        Raises:
            RevisionAbsent: there is none such.
            BadRequest: it is `main`.
        """
        if name in ("main", MAIN):
            raise BadRequest(f"Cannot delete {MAIN}")
        self._delete(row, name if name.startswith(HEADS) else HEADS + name)

    def create_tag(
        self, row: HostedRow, name: str, revision: Revision, message: str, tagger: Signature
    ) -> None:
        """Tag a revision; with a message, by an annotated tag.

        Raises:
            Conflict: there is such a tag.
            RevisionAbsent: there is no such revision.
            BadName: no tag can be called so.
        """
        commit_hash = self.resolve(row, revision)
        ref = TAGS + _checked(name)
        if self._index.hosted_ref(row.number, ref) is not None:
            raise Conflict(f"Tag reference exists already: {name}")
        self._check_room(row, ref)
        if not message:
            self._land(row, [RefUpdate(ref, None, commit_hash, commit_hash)])
            return
        body = encode_tag(TagObject(commit_hash, "commit", name, tagger, f"{message}\n"))
        tag = GitObjectRow(object_oid("tag", body), "tag", body)
        self._land(row, [RefUpdate(ref, None, tag.oid, commit_hash)], [tag])

    def delete_tag(self, row: HostedRow, name: str) -> None:
        """Give up a tag.

        Raises:
            RevisionAbsent: there is none such.
        """
        self._delete(row, name if name.startswith(TAGS) else TAGS + name)

    def _check_room(self, row: HostedRow, ref: str) -> None:
        other = in_the_way(ref, (one.name for one in self._index.hosted_refs(row.number)))
        if other is not None:
            raise Conflict(f"{ref} cannot be beside {other}: git could not clone both")

    def _delete(self, row: HostedRow, ref: str) -> None:
        known = self._index.hosted_ref(row.number, ref)
        if known is None:
            raise RevisionAbsent(f"Invalid rev id: {ref.split('/', 2)[-1]}")
        self._land(row, [RefUpdate(ref, known.target, None)])

    def _land(
        self, row: HostedRow, changes: Sequence[RefUpdate], objects: Sequence[GitObjectRow] = ()
    ) -> None:
        try:
            self._index.land(row.number, Landing(changes, objects), self._clock())
        except RefMoved as error:
            raise Conflict(error.message) from error


def _checked(name: str) -> str:
    """A name that a branch or tag may have.

    Raises:
        BadName: it may not.
    """
    parse_revision(name)
    if not is_ref_name(HEADS + name) or name.startswith("refs/") or name == "HEAD" or is_commit_hash(name):
        raise BadName(f"not a name for a branch or tag: {shown(name)}")
    return name
