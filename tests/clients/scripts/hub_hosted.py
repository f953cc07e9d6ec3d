"""Does what its plan says with one repository: steps in order, each answered with what came of it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from plain import PLAN, contents, tell

api = HfApi(token=PLAN.get("token") or False)
REPO, REPO_TYPE = PLAN["repo"], PLAN.get("repo_type", "model")
WHERE: dict[str, Any] = {"repo_id": REPO, "repo_type": REPO_TYPE}


def create(step: Mapping[str, Any]) -> object:
    made = api.create_repo(**WHERE, private=step.get("private", False), space_sdk=step.get("space_sdk"))
    return str(made.repo_id)


def commit(step: Mapping[str, Any]) -> object:
    """`files`: text to keep; `large`: how often 1 KiB of the path's own bytes is repeated; `gone`: paths."""
    operations: list[Any] = [
        CommitOperationAdd(path, text.encode()) for path, text in step.get("files", {}).items()
    ]
    folder = Path(tempfile.mkdtemp())
    for number, (path, count) in enumerate(step.get("large", {}).items()):
        source = folder / str(number)
        source.write_bytes(hashlib.sha512(path.encode()).digest() * 16 * count)
        operations.append(CommitOperationAdd(path, str(source)))
    operations += [CommitOperationDelete(path) for path in step.get("gone", ())]
    done = api.create_commit(
        **WHERE,
        operations=operations,
        commit_message=step.get("message", "by the API"),
        revision=step.get("revision"),
        parent_commit=step.get("parent"),
    )
    return done.oid


def read(step: Mapping[str, Any]) -> object:
    """Every file of a revision by its sha256, with the commit."""
    revision = step.get("revision", "main")
    where = api.snapshot_download(**WHERE, revision=revision, local_dir=tempfile.mkdtemp())
    return {"commit": api.repo_info(**WHERE, revision=revision).sha, "files": contents(where)}


def tree(step: Mapping[str, Any]) -> object:
    """Every entry of a revision: its path, git id, and sha256 when it is an LFS file."""
    entries = api.list_repo_tree(**WHERE, revision=step.get("revision", "main"), recursive=True)
    return [
        [
            one.path,
            getattr(one, "blob_id", None) or one.tree_id,
            (getattr(one, "lfs", None) or {}).get("sha256"),
        ]
        for one in entries
    ]


def commits(step: Mapping[str, Any]) -> object:
    return [one.commit_id for one in api.list_repo_commits(**WHERE, revision=step.get("revision", "main"))]


def refs(step: Mapping[str, Any]) -> object:
    found = api.list_repo_refs(**WHERE)
    return {ref.ref: ref.target_commit for ref in [*found.branches, *found.tags]}


def branch(step: Mapping[str, Any]) -> object:
    return api.create_branch(**WHERE, branch=step["name"])


def tag(step: Mapping[str, Any]) -> object:
    return api.create_tag(**WHERE, tag=step["name"], tag_message=step.get("message"))


DEEDS = {deed.__name__: deed for deed in (create, commit, read, tree, commits, refs, branch, tag)}
tell([DEEDS[step["do"]](step) for step in PLAN["steps"]])
