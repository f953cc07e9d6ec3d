"""A user makes a repository of their company's, and does with it whatever the client can do."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
)
from plain import PLAN, contents, outcome, sha256, tell

api = HfApi(token=PLAN["token"])
REPO, TYPE = PLAN["repo"], PLAN["type"]
WHERE = {"repo_id": REPO, "repo_type": TYPE}
answers: dict[str, object] = {}


def ask(name: str, call: object) -> None:
    answers[name] = outcome(call)


def read(name: str, revision: str = "main") -> str:
    path = api.hf_hub_download(filename=name, revision=revision, force_download=True, **WHERE)
    return Path(path).read_bytes().decode()


def commit(*operations: object, **how: object) -> object:
    return api.create_commit(operations=operations, commit_message="change", **WHERE, **how)


def files(revision: str = "main") -> list[str]:
    return sorted(api.list_repo_files(revision=revision, **WHERE))


def messages(revision: str = "main") -> list[str]:
    return [one.title for one in api.list_repo_commits(revision=revision, **WHERE)]


def refs() -> dict[str, list[str]]:
    told = api.list_repo_refs(include_pull_requests=True, **WHERE)
    return {
        "branches": [one.name for one in told.branches],
        "tags": [one.name for one in told.tags],
        "pulls": [one.ref for one in told.pull_requests or ()],
    }


def after(call: object, then: object) -> object:
    call()
    return then()


folder = Path("folder")
(folder / "sub" / "empty").mkdir(parents=True)
for number in range(PLAN["small"]):
    (folder / "sub" / f"{number}.txt").write_text(f"{number}\n")
(folder / "sub" / "empty" / "nothing.txt").write_bytes(b"")
(folder / "weights.safetensors").write_bytes(os.urandom(PLAN["large"]))
(folder / "odd name+.bin").write_bytes(bytes(range(256)) * 100)

sdk = {"space_sdk": "static"} if TYPE == "space" else {}
ask("create", lambda: str(api.create_repo(**WHERE, **sdk)))
ask("create again", lambda: str(api.create_repo(**WHERE, exist_ok=True, **sdk)))
ask("create twice", lambda: str(api.create_repo(**WHERE, **sdk)))
ask("upload file", lambda: api.upload_file(path_or_fileobj=b"one", path_in_repo="a/b.txt", **WHERE) and None)
ask("read", lambda: read("a/b.txt"))
ask("upload folder", lambda: api.upload_folder(folder_path=folder, path_in_repo="f", **WHERE) and None)
ask("messages", messages)
ask("upload folder again", lambda: api.upload_folder(folder_path=folder, path_in_repo="f", **WHERE) and None)
ask("messages again", messages)
ask("folder here", lambda: contents(folder))
ask("snapshot", lambda: contents(Path(api.snapshot_download(allow_patterns="f/**", **WHERE)) / "f"))
ask(
    "operations",
    lambda: after(
        lambda: commit(
            CommitOperationDelete("a/b.txt"),
            CommitOperationAdd("new.txt", b"new"),
            CommitOperationCopy("f/weights.safetensors", "copied/w.safetensors"),
            CommitOperationDelete("f/sub/empty/"),
        ),
        lambda: [name for name in files() if not name.startswith("f/sub")],
    ),
)
ask("copied", lambda: sha256(api.hf_hub_download(filename="copied/w.safetensors", **WHERE)))
head = api.repo_info(**WHERE).sha
ask("on its parent", lambda: commit(CommitOperationAdd("p.txt", b"p"), parent_commit=head) and None)
ask("on an old parent", lambda: commit(CommitOperationAdd("q.txt", b"q"), parent_commit=head) and None)
ask("delete nothing", lambda: api.delete_file("nothing.txt", **WHERE) and None)
ask("branch", lambda: api.create_branch(branch="dev/x", **WHERE))
ask("branch twice", lambda: api.create_branch(branch="dev/x", **WHERE))
ask("branch again", lambda: api.create_branch(branch="dev/x", exist_ok=True, **WHERE))
ask(
    "upload to branch",
    lambda: (
        api.upload_file(path_or_fileobj=b"dev", path_in_repo="new.txt", revision="dev/x", **WHERE) and None
    ),
)
ask("read branch", lambda: read("new.txt", "dev/x"))
ask("upload nowhere", lambda: commit(CommitOperationAdd("x", b"x"), revision="nowhere") and None)
ask("tag", lambda: api.create_tag(tag="v1", tag_message="first", **WHERE))
ask("pull request", lambda: commit(CommitOperationAdd("pr.txt", b"pr"), create_pr=True).pr_num)
ask("pull request files", lambda: "pr.txt" in files("refs/pr/1"))
ask("comment", lambda: api.comment_discussion(discussion_num=1, comment="well", **WHERE).content)
ask("details", lambda: [one.type for one in api.get_discussion_details(discussion_num=1, **WHERE).events])
ask("merge", lambda: after(lambda: api.merge_pull_request(discussion_num=1, **WHERE), lambda: read("pr.txt")))
ask("discussions", lambda: [(one.num, one.status) for one in api.get_repo_discussions(**WHERE)])
ask("refs", refs)
ask(
    "expanded",
    lambda: {
        one.path: one.last_commit.title for one in api.list_repo_tree(expand=True, **WHERE) if one.last_commit
    },
)
ask("paths", lambda: [one.path for one in api.get_paths_info(paths=["new.txt", "f", "none"], **WHERE)])
ask("squash", lambda: after(lambda: api.super_squash_history(**WHERE), lambda: len(messages())))
ask("after squash", lambda: read("new.txt"))
ask("tag still", lambda: "a/b.txt" in files("v1"))
ask("large files", lambda: sorted(one.filename for one in api.list_lfs_files(**WHERE)))
ask(
    "move",
    lambda: after(lambda: api.move_repo(REPO, f"{REPO}-moved", repo_type=TYPE), lambda: read("new.txt")),
)
ask("info moved", lambda: api.repo_info(**WHERE).id)
ask("delete branch", lambda: api.delete_branch(branch="dev/x", **WHERE))
ask("delete tag", lambda: api.delete_tag(tag="v1", **WHERE))
ask("delete", lambda: api.delete_repo(f"{REPO}-moved", repo_type=TYPE))
ask("exists", lambda: api.repo_exists(**WHERE))
ask("delete again", lambda: api.delete_repo(f"{REPO}-moved", repo_type=TYPE, missing_ok=True))
tell(answers)
