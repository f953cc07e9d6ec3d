"""One repository of the double: its commits, trees, refs and facts, with real git ids.

A commit is immutable; a ref is a name for one. Changing a ref is one assignment, so that a server thread that
reads meanwhile sees the old commit or the new one and nothing between.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from moongate.double import attributes
from moongate.double.content import Content, LfsFile, MemoryContent
from moongate.double.objects import GitObject, commit_object, git_object, pointer_text, tree_objects
from moongate.double.xet_files import XetFile, XetFiles

_EPOCH_SECONDS = (
    1_704_067_200  # 2024-01-01T00:00:00Z; every repository starts somewhere in the months after it
)
_HASH = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class LfsFacts:
    """What the Hub says of a file kept in LFS; `xet` finds its id, and is None where Xet is not spoken."""

    sha256: str
    size_bytes: int
    pointer: bytes
    xet: Callable[[], XetFile] | None = None

    @property
    def xet_hash(self) -> str | None:
        """The file's id in Xet; the first time this may take as long as reading and hashing it."""
        return self.xet().id if self.xet else None


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file in a tree: its git blob id (the pointer's for LFS), true size, bytes and LFS facts."""

    oid: str
    size_bytes: int
    content: Content
    lfs: LfsFacts | None = None

    @property
    def etag(self) -> str:
        """The identity clients keep: the sha256 for LFS, else the git blob id. Unquoted."""
        return self.lfs.sha256 if self.lfs else self.oid


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with its whole listing: `files` by path, `folders` as path to tree id."""

    hash: str
    parents: tuple[str, ...]
    author: str
    seconds: int
    message: str
    files: Mapping[str, FileNode]
    folders: Mapping[str, str]

    @property
    def date(self) -> str:
        return datetime.fromtimestamp(self.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(slots=True)
class Repo:
    """A repository. `type` is model, dataset or space; `gated` is False, "auto" or "manual".

    `xet` is where its large files are packed for Xet, None when it does not speak it.
    `number` (24 hex) and the time it was created come from its first name and stay when it is renamed.
    """

    id: str
    type: str = "model"
    private: bool = False
    gated: bool | str = False
    xet: XetFiles | None = None
    disabled: bool = False
    downloads: int = 0
    likes: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    gitattributes: bool = True
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    objects: dict[str, GitObject] = field(default_factory=dict, repr=False)
    created_seconds: int = 0
    number: str = ""
    unpacked: list[LfsFacts] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.created_seconds = _EPOCH_SECONDS + zlib.crc32(self.key.encode()) % 10_000_000
        self.number = hashlib.sha256(self.key.encode()).hexdigest()[:24]

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def key(self) -> str:
        """`models/acme/tiny`: how the API, the bare repository and the fault tools name it."""
        return f"{self.type}s/{self.id}"

    @property
    def file_base(self) -> str:
        """`/acme/tiny` or `/datasets/acme/tiny`: where its files live."""
        return f"/{self.id}" if self.type == "model" else f"/{self.type}s/{self.id}"

    @property
    def created(self) -> str:
        return datetime.fromtimestamp(self.created_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def commit(
        self,
        files: Mapping[str, bytes | str | LfsFile],
        *,
        branch: str = "main",
        message: str = "Upload files",
        delete: Iterable[str] = (),
        author: str | None = None,
        fresh: bool = False,
    ) -> str:
        """Add a commit on a branch (or a full ref name) and move the branch there; the new commit hash.

        `files` are added or replaced, `delete` names files or folders (ending in `/`) to drop. A text is
        taken as UTF-8. `fresh` starts from nothing, with no parent. As on the Hub, LFS files get their line
        in `.gitattributes` when it is missing (not in a repository made with `gitattributes=False`).
        """
        ref = full_ref(branch)
        base = None if fresh else self._base(ref)
        listing = dict(base.files) if base else {}
        for gone in delete:
            for path in [p for p in listing if p == gone or (gone.endswith("/") and p.startswith(gone))]:
                del listing[path]
        for path, source in files.items():
            listing[path] = self._node(source)
        if self.gitattributes:
            self._cover(listing)
        self.refs[ref] = self._record(listing, base, message, author or self.namespace)
        return self.refs[ref]

    def _base(self, ref: str) -> Commit | None:
        known = self.refs.get(ref) or (
            self.refs.get("refs/heads/main") if ref.startswith("refs/pr/") else None
        )
        return self.commits[known] if known else None

    def _node(self, source: bytes | str | LfsFile) -> FileNode:
        if isinstance(source, LfsFile):
            size_bytes = source.content.size_bytes
            pointer = self._keep(git_object("blob", pointer_text(source.sha256, size_bytes)))
            xet = partial(self.xet.of, source) if self.xet and size_bytes else None
            facts = LfsFacts(source.sha256, size_bytes, pointer.body, xet)
            self.unpacked.append(facts)
            return FileNode(pointer.oid, size_bytes, source.content, facts)
        data = source.encode() if isinstance(source, str) else source
        return FileNode(self._keep(git_object("blob", data)).oid, len(data), MemoryContent(data))

    def pack(self) -> None:
        """Find the Xet ids of all files added since the last time. It may take long: call it in a thread."""
        while self.unpacked:
            facts = self.unpacked[0]
            if facts.xet is not None:
                facts.xet()
            with suppress(ValueError):  # another thread was at the same one
                self.unpacked.remove(facts)

    def _cover(self, listing: dict[str, FileNode]) -> None:
        lfs_paths = sorted(path for path, node in listing.items() if node.lfs)
        text = self._text(listing.get(attributes.NAME))
        covered = attributes.covering(text, lfs_paths)
        if covered != text:
            listing[attributes.NAME] = self._node(covered)

    @staticmethod
    def _text(node: FileNode | None) -> bytes:
        return node.content.data if node and isinstance(node.content, MemoryContent) else b""

    def _record(self, listing: dict[str, FileNode], base: Commit | None, message: str, author: str) -> str:
        listing = dict(sorted(listing.items()))
        trees = tree_objects({path: node.oid for path, node in listing.items()})
        for tree in trees.values():
            self._keep(tree)
        seconds = self.created_seconds + 60 * (len(self.commits) + 1)
        parents = (base.hash,) if base else ()
        made = self._keep(commit_object(trees[""].oid, parents, author, seconds, message))
        folders = {path: tree.oid for path, tree in trees.items()}
        self.commits[made.oid] = Commit(made.oid, parents, author, seconds, message, listing, folders)
        return made.oid

    def _keep(self, thing: GitObject) -> GitObject:
        return self.objects.setdefault(thing.oid, thing)

    def branch(self, name: str, at: str = "main") -> str:
        """Make or move a branch to a revision; its commit hash."""
        return self.set_ref(f"refs/heads/{name}", at)

    def tag(self, name: str, at: str = "main") -> str:
        """Make or move a tag to a revision; its commit hash."""
        return self.set_ref(f"refs/tags/{name}", at)

    def pull_request(self, at: str = "main") -> int:
        """Open `refs/pr/N` at a revision; N."""
        number = 1 + sum(ref.startswith("refs/pr/") for ref in self.refs)
        self.set_ref(f"refs/pr/{number}", at)
        return number

    def set_ref(self, ref: str, at: str) -> str:
        """Point a ref (short branch name or full `refs/…`) at a revision, backwards too; its commit hash.

        Raises:
            KeyError: no such revision here.
        """
        commit = self.resolve(at)
        if commit is None:
            raise KeyError(f"{self.key} has no revision {at}")
        self.refs[full_ref(ref)] = commit.hash
        return commit.hash

    def resolve(self, revision: str) -> Commit | None:
        """The commit a branch, tag, full ref or (short) commit hash names; None when there is none."""
        if revision == "HEAD":
            revision = "main"
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        if _HASH.fullmatch(revision):
            found = [commit for name, commit in self.commits.items() if name.startswith(revision)]
            return found[0] if len(found) == 1 else None
        return None

    def history(self, commit: Commit) -> Iterator[Commit]:
        """The commit and its first parents, newest first."""
        while True:
            yield commit
            if not commit.parents:
                return
            commit = self.commits[commit.parents[0]]

    @property
    def head(self) -> Commit | None:
        """The commit of `main`, when there is one."""
        return self.resolve("main")


def full_ref(name: str) -> str:
    """`main` is `refs/heads/main`; a name that begins with `refs/` is taken as it is."""
    return name if name.startswith("refs/") else f"refs/heads/{name}"
