"""Repositories from a directory: what `python -m moongate.double --root DIR` serves.

    DIR/models/acme/tiny/config.json        a file of the model acme/tiny
    DIR/datasets/acme/rows/train.parquet
    DIR/models/gpt2/config.json             files right below a name: a one-segment id
    DIR/double.json                         optional: users, and what a repository is besides its files

    {"users": [{"name": "alice", "token": "hf_…", "grants": ["a/gated"], "orgs": ["acme"], "role": "read"}],
     "repos": {"models/acme/gated": {"gated": "manual", "private": false, "xet": false, "legacy_id": "old",
                                     "tags": ["v1"], "branches": ["dev"]}},
     "renamed": {"models/acme/before": "acme/tiny"}}

Files of at least the threshold, or that the repository's `.gitattributes` says, are in LFS. Their sha256 is
remembered in `state_dir`, so that a second start does not hash again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from moongate.double import attributes
from moongate.double.content import LfsFile
from moongate.double.double import HubDouble
from moongate.double.repo import Repo

DESCRIPTION = "double.json"
_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
_SKIPPED = {".git", ".cache", "__pycache__"}


class LayoutError(Exception):
    """The directory or its description cannot be read as repositories; the text says what and where."""


def load(double: HubDouble, root: Path, lfs_threshold_bytes: int) -> list[Repo]:
    """Add every repository below `root` to a double.

    Raises:
        LayoutError: no such directory, or a description that is not what it should be.
    """
    if not root.is_dir():
        raise LayoutError(f"{root} is not a directory")
    description = _description(root / DESCRIPTION)
    facts = _object(description, "repos")
    digests = _Digests(double.world.state_dir / "sha256.json")
    made = []
    for plural, repo_type in _TYPES.items():
        for repo_id, folder in _folders(root / plural):
            said = _object(facts, f"{plural}/{repo_id}")
            repo = _add(double, repo_type, repo_id, said)
            repo.commit(_files(folder, lfs_threshold_bytes, digests), message="Upload folder")
            _name_refs(repo, said)
            made.append(repo)
    digests.save()
    _people(double, description)
    return made


def _description(path: Path) -> Mapping[str, object]:
    if not path.exists():
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise LayoutError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise LayoutError(f"{path} must hold an object")
    return value


def _object(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = value.get(key, {})
    if not isinstance(found, dict):
        raise LayoutError(f"{DESCRIPTION}: {key} must be an object")
    return found


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    for first in sorted(root.iterdir()) if root.is_dir() else ():
        if not first.is_dir():
            continue
        if any(child.is_file() for child in first.iterdir()):
            yield first.name, first
            continue
        for second in sorted(first.iterdir()):
            if second.is_dir():
                yield f"{first.name}/{second.name}", second


def _add(double: HubDouble, repo_type: str, repo_id: str, facts: Mapping[str, object]) -> Repo:
    legacy = facts.get("legacy_id")
    gated = facts.get("gated", False)
    return double.add_repo(
        repo_id,
        repo_type,
        gated=gated if isinstance(gated, str) else bool(gated),
        private=bool(facts.get("private")),
        xet=bool(facts.get("xet")),
        legacy_id=str(legacy) if legacy else None,
    )


def _name_refs(repo: Repo, facts: Mapping[str, object]) -> None:
    for key, name_it in (("tags", repo.tag), ("branches", repo.branch)):
        names = facts.get(key, [])
        if not isinstance(names, list):
            raise LayoutError(f"{DESCRIPTION}: {key} of {repo.key} must be an array")
        for name in names:
            name_it(str(name))


def _files(folder: Path, lfs_threshold_bytes: int, digests: _Digests) -> dict[str, bytes | str | LfsFile]:
    listed = folder / attributes.NAME
    rules = listed.read_bytes() if listed.is_file() else b""
    files: dict[str, bytes | str | LfsFile] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or _SKIPPED & set(name.split("/")[:-1]):
            continue
        if path.stat().st_size >= lfs_threshold_bytes or attributes.is_lfs(rules, name):
            files[name] = LfsFile(path.resolve(), sha256=digests.of(path.resolve()))
        else:
            files[name] = path.read_bytes()
    return files


def _people(double: HubDouble, description: Mapping[str, object]) -> None:
    users = description.get("users", [])
    if not isinstance(users, list):
        raise LayoutError(f"{DESCRIPTION}: users must be an array")
    for user in users:
        try:
            double.add_user(**user)
        except TypeError as error:
            raise LayoutError(f"{DESCRIPTION}: a user: {error}") from None
    for old, new in _object(description, "renamed").items():
        plural, _, old_id = old.partition("/")
        if plural not in _TYPES:
            raise LayoutError(f"{DESCRIPTION}: renamed keys begin with models/, datasets/ or spaces/: {old}")
        double.world.shelf.alias(_TYPES[plural], old_id, str(new))


class _Digests:
    """The sha256 of files already hashed, by path, size and time of change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = dict(_description(path))

    def of(self, path: Path) -> str:
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = LfsFile(path).sha256
        return str(self._known[key])

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(orjson.dumps(self._known))
