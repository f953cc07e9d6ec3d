"""Git objects by git's own rules: what they are called and how they lie in a bare repository.

The ids computed here are the ids git computes, so the API, the resolve headers and `git clone` agree.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_FILE_MODE = b"100644"
_FOLDER_MODE = b"40000"


@dataclass(frozen=True, slots=True)
class GitObject:
    """One blob, tree or commit; `oid` is its 40-hex git id."""

    kind: str
    body: bytes
    oid: str


def git_object(kind: str, body: bytes) -> GitObject:
    """The object of this kind (`blob`, `tree`, `commit`) with its id computed."""
    return GitObject(
        kind, body, hashlib.sha1(_header(kind, len(body)) + body, usedforsecurity=False).hexdigest()
    )


def _header(kind: str, size_bytes: int) -> bytes:
    return f"{kind} {size_bytes}\0".encode()


def pointer_text(sha256: str, size_bytes: int) -> bytes:
    """The git-lfs pointer that stands in git for a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n".encode()


def tree_objects(files: Mapping[str, str]) -> dict[str, GitObject]:
    """Every folder of a listing (path to blob id) as a tree object; the root is under the empty path."""
    folders: dict[str, dict[str, tuple[bytes, str]]] = {"": {}}
    for path, oid in files.items():
        folder, _, name = path.rpartition("/")
        _folder(folders, folder)[name] = (_FILE_MODE, oid)
    trees: dict[str, GitObject] = {}
    for folder in sorted(folders, key=lambda path: -_depth(path)):
        trees[folder] = git_object("tree", _tree_body((n, m, o) for n, (m, o) in folders[folder].items()))
        if folder:
            parent, _, name = folder.rpartition("/")
            _folder(folders, parent)[name] = (_FOLDER_MODE, trees[folder].oid)
    return trees


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def _folder(folders: dict[str, dict[str, tuple[bytes, str]]], path: str) -> dict[str, tuple[bytes, str]]:
    while path and path not in folders:
        folders[path] = {}
        parent = path.rpartition("/")[0]
        if parent in folders:
            break
        _folder(folders, parent)
    return folders[path]


def _tree_body(lines: Iterable[tuple[str, bytes, str]]) -> bytes:
    def order(line: tuple[str, bytes, str]) -> bytes:
        return line[0].encode() + (b"/" if line[1] == _FOLDER_MODE else b"")

    return b"".join(
        mode + b" " + name.encode() + b"\0" + bytes.fromhex(oid)
        for name, mode, oid in sorted(lines, key=order)
    )


def commit_object(tree: str, parents: Iterable[str], author: str, seconds: int, message: str) -> GitObject:
    """A commit by `author` (a user name) at `seconds` since the epoch, UTC."""
    who = f"{author} <{author}@users.noreply.hub.example> {seconds} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {who}", f"committer {who}"]
    return git_object("commit", ("\n".join(lines) + f"\n\n{message}\n").encode())


def write_bare(folder: Path, objects: Iterable[GitObject], refs: Mapping[str, str]) -> None:
    """Bring a bare repository up to date: missing loose objects are added, all refs are replaced."""
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
        "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
        "[http]\n\treceivepack = false\n"
    )
    for thing in objects:
        _write_loose(folder / "objects" / thing.oid[:2] / thing.oid[2:], thing)
    packed = "# pack-refs with: sorted\n" + "".join(f"{oid} {ref}\n" for ref, oid in sorted(refs.items()))
    _replace(folder / "packed-refs", packed.encode())


def _write_loose(path: Path, thing: GitObject) -> None:
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    _replace(path, zlib.compress(_header(thing.kind, len(thing.body)) + thing.body, 1))


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)
