"""git's objects by git's own rules: what they are called, and how trees, commits and tags are spelled.

The ids computed here are the ids git computes, so the API, the resolve headers and `git clone` agree.
Writing is strict; reading accepts what git accepts and keeps what the Hub shows. Nobody re-encodes an object
that was pushed: its bytes are kept as they came. The pointer in an LFS file's place is in `wire.lfs`
(`pointer_text`, `read_pointer`).

Every reader raises `BadRequest` (or `BadName`) and never anything else. All modes of git can be spelled, also
symlinks and submodules; whether a repository takes them is not decided here.

Source: git `Documentation/gitformat-pack.txt`, `tree.c`, `commit.c`, `tag.c`, `ident.c`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from moongate.core.errors import BadName, BadRequest
from moongate.core.names import shown

ObjectKind = Literal["blob", "tree", "commit", "tag"]
OBJECT_KINDS: tuple[ObjectKind, ...] = ("blob", "tree", "commit", "tag")

MODE_FILE = 0o100644
MODE_EXECUTABLE = 0o100755
MODE_SYMLINK = 0o120000
MODE_FOLDER = 0o40000
MODE_SUBMODULE = 0o160000
_MODES = (MODE_FILE, MODE_EXECUTABLE, MODE_SYMLINK, MODE_FOLDER, MODE_SUBMODULE)
_OLD_MODES = {0o100664: MODE_FILE}
"""What git once wrote, and what it means."""

_OID = re.compile(r"[0-9a-f]{40}")
_TREE_LINE = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_SIGNATURE = re.compile(r"(.*?) ?<([^<>]*)> ?(-?[0-9]{1,18})? ?([+-][0-9]{4})?", re.DOTALL)
_CRUD = re.compile(r"[<>\n\0]")


@dataclass(frozen=True, slots=True)
class TreeItem:
    """One line of a tree. `name` is a single path segment."""

    mode: int
    name: str
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == MODE_FOLDER


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when: seconds since the epoch (before it too), and the clock's offset as `+0100`."""

    name: str
    email: str
    at: int
    offset: str = "+0000"


@dataclass(frozen=True, slots=True)
class CommitObject:
    """A commit. The message is verbatim: git's own commands end it with a newline, so should a writer."""

    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True)
class TagObject:
    """An annotated tag; very old ones have no tagger. The message is verbatim, a signature included."""

    target: str
    target_kind: ObjectKind
    name: str
    tagger: Signature | None
    message: str


def object_oid(kind: ObjectKind, body: bytes | bytearray | memoryview) -> str:
    """The id of an object: 40 hex digits."""
    hasher = hashlib.sha1(f"{kind} {len(body)}\0".encode(), usedforsecurity=False)
    hasher.update(body)
    return hasher.hexdigest()


def blob_oid(data: bytes | bytearray | memoryview) -> str:
    """The id of a regular file's content, which is its etag too."""
    return object_oid("blob", data)


EMPTY_TREE = object_oid("tree", b"")


def encode_tree(items: Iterable[TreeItem]) -> bytes:
    """A tree's body, in git's order whatever order the items come in.

    Raises:
        BadName: a name that no tree can hold, or twice the same.
        BadRequest: an unknown mode, or an oid that is none.
    """
    ordered = sorted(items, key=_tree_order)
    names = set()
    for item in ordered:
        _check_name(item.name)
        if item.mode not in _MODES:
            raise BadRequest(f"git has no mode {item.mode:o}")
        if item.name in names:
            raise BadName(f"twice in one folder: {shown(item.name)}")
        names.add(item.name)
    return b"".join(b"%o %s\0%s" % (item.mode, item.name.encode(), _raw(item.oid)) for item in ordered)


def parse_tree(body: bytes) -> tuple[TreeItem, ...]:
    """The lines of a tree, as ordered there.

    Raises:
        BadRequest: it is no tree, or not in git's order.
        BadName: a name that is no UTF-8, or no name of a file (`.`, `..`, with a slash), or twice the same.
    """
    items = []
    at = 0
    while at < len(body):
        line = _TREE_LINE.match(body, at)
        if line is None:
            raise BadRequest("not a git tree")
        mode = int(line[1], 8)
        mode = _OLD_MODES.get(mode, mode)
        if mode not in _MODES:
            raise BadRequest(f"git has no mode {mode:o}")
        items.append(TreeItem(mode, _name(line[2]), line[3].hex()))
        at = line.end()
    keys = [_tree_order(item) for item in items]
    if any(first >= second for first, second in itertools.pairwise(keys)):
        raise BadRequest("a git tree that is out of order")
    if len({item.name for item in items}) != len(items):
        raise BadName("a git tree names something twice")
    return tuple(items)


def encode_commit(commit: CommitObject) -> bytes:
    """A commit's body.

    What cannot stand in a commit is left out, as git does: `<`, `>` and line breaks of names, NULs anywhere.

    Raises:
        BadRequest: an oid that is none, or an offset that is none.
    """
    lines = [f"tree {_checked(commit.tree)}"]
    lines += [f"parent {_checked(parent)}" for parent in commit.parents]
    lines += [f"author {_signed(commit.author)}", f"committer {_signed(commit.committer)}"]
    return _joined(lines, commit.message)


def parse_commit(body: bytes) -> CommitObject:
    """A commit. Headers that we do not know (a signature, a merged tag) are passed over.

    Text that is no UTF-8 is read with its `encoding` header, or with replacement characters.

    Raises:
        BadRequest: it is no commit.
    """
    headers, message = _split(body)
    names = [name for name, _ in headers]
    count = len([name for name in names if name == "parent"])
    if names[: count + 3] != ["tree", *["parent"] * count, "author", "committer"]:
        raise BadRequest("not a git commit")
    values = [value for _, value in headers]
    encoding = next((value.decode("ascii", "replace") for name, value in headers if name == "encoding"), "")
    return CommitObject(
        tree=_oid(values[0]),
        parents=tuple(_oid(value) for value in values[1 : count + 1]),
        author=_signature(_text(values[count + 1], encoding)),
        committer=_signature(_text(values[count + 2], encoding)),
        message=_text(message, encoding),
    )


def encode_tag(tag: TagObject) -> bytes:
    """An annotated tag's body. Raises as `encode_commit` does."""
    lines = [f"object {_checked(tag.target)}", f"type {tag.target_kind}", f"tag {_clean(tag.name)}"]
    if tag.tagger is not None:
        lines.append(f"tagger {_signed(tag.tagger)}")
    return _joined(lines, tag.message)


def parse_tag(body: bytes) -> TagObject:
    """An annotated tag.

    Raises:
        BadRequest: it is no tag.
    """
    headers, message = _split(body)
    told = dict(reversed(headers))
    kind = next((kind for kind in OBJECT_KINDS if told.get("type") == kind.encode()), None)
    if [name for name, _ in headers[:3]] != ["object", "type", "tag"] or kind is None:
        raise BadRequest("not a git tag")
    tagger = _signature(_text(told["tagger"])) if "tagger" in told else None
    return TagObject(_oid(told["object"]), kind, _text(told["tag"]), tagger, _text(message))


def _tree_order(item: TreeItem) -> bytes:
    """Folders sort as if their names ended with a slash."""
    name = item.name.encode("utf-8", "surrogatepass")
    return name + b"/" if item.is_folder else name + b"\0"


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name or any("\ud800" <= c <= "\udfff" for c in name):
        raise BadName(f"not a name in a folder: {shown(name)}")


def _name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise BadName(f"a name that is no UTF-8: {shown(raw.decode(errors='replace'))}") from None
    _check_name(name)
    return name


def _split(body: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """The headers, each with its continuation lines, and the message."""
    head, blank, message = body.partition(b"\n\n")
    if not blank:
        head = body.removesuffix(b"\n")
    headers: list[tuple[str, bytes]] = []
    for line in head.split(b"\n"):
        if line.startswith(b" ") and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + b"\n" + line[1:])
            continue
        name, _, value = line.partition(b" ")
        headers.append((name.decode("ascii", "replace"), value))
    return headers, message


def _signature(text: str) -> Signature:
    """Git writes nonsense dates down and reads them as the epoch; so do we."""
    found = _SIGNATURE.fullmatch(text)
    if found is None:
        raise BadRequest("a git commit or tag without a name and a time")
    return Signature(found[1], found[2], int(found[3] or 0), found[4] or "+0000")


def _signed(signature: Signature) -> str:
    if not re.fullmatch(r"[+-][0-9]{4}", signature.offset):
        raise BadRequest("a git offset is spelled like +0100")
    return f"{_clean(signature.name)} <{_clean(signature.email)}> {signature.at} {signature.offset}"


def _clean(text: str) -> str:
    return _CRUD.sub("", text).strip()


def _joined(lines: Sequence[str], message: str) -> bytes:
    text = "\n".join(lines) + "\n\n" + message.replace("\0", "")
    return text.encode("utf-8", "replace")


def _text(raw: bytes, encoding: str = "") -> str:
    try:
        return raw.decode(encoding or "utf-8")
    except (UnicodeDecodeError, LookupError, ValueError):
        return raw.decode("utf-8", "replace")


def _oid(raw: bytes) -> str:
    return _checked(raw.decode("ascii", "replace"))


def _checked(oid: str) -> str:
    if not _OID.fullmatch(oid):
        raise BadRequest(f"not a git object id: {shown(oid)}")
    return oid


def _raw(oid: str) -> bytes:
    return bytes.fromhex(_checked(oid))
