"""A user changes a repository of their own, and sees each change at once."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from plain import PLAN, outcome, tell

api = HfApi(token=PLAN.get("token") or False)
REPO = PLAN["repo"]
answers: dict[str, object] = {}


def ask(name: str, call: object) -> None:
    answers[name] = outcome(call)


def read(name: str, revision: str = "main") -> bytes:
    path = api.hf_hub_download(REPO, name, revision=revision, force_download=True)
    return Path(path).read_bytes()


ask("before", lambda: api.model_info(REPO).id)
ask("create", lambda: str(api.create_repo(REPO, private=PLAN["private"])))
ask("create again", lambda: str(api.create_repo(REPO, exist_ok=True)))
ask("upload", lambda: api.upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id=REPO) and None)
ask("read", lambda: read("a.txt").decode())
ask(
    "upload again",
    lambda: api.upload_file(path_or_fileobj=b"two", path_in_repo="a.txt", repo_id=REPO) and None,
)
ask("read again", lambda: read("a.txt").decode())
if PLAN["large"]:
    Path("w.bin").write_bytes(bytes(range(256)) * 5000)
    ask(
        "upload large",
        lambda: api.upload_file(path_or_fileobj="w.bin", path_in_repo="w.bin", repo_id=REPO) and None,
    )
    ask("read large", lambda: read("w.bin"))
ask("tag", lambda: api.create_tag(REPO, tag="v1"))
ask("branch", lambda: api.create_branch(REPO, branch="dev"))
ask(
    "upload to branch",
    lambda: (
        api.upload_file(path_or_fileobj=b"dev", path_in_repo="a.txt", repo_id=REPO, revision="dev") and None
    ),
)
ask("read branch", lambda: read("a.txt", "dev").decode())
ask("read tag", lambda: read("a.txt", "v1").decode())
ask("files", lambda: sorted(api.list_repo_files(REPO)))
ask("refs", lambda: sorted(ref.name for ref in api.list_repo_refs(REPO).branches))
ask("delete file", lambda: api.delete_file("a.txt", REPO) and None)
ask("read deleted", lambda: read("a.txt"))
ask("delete", lambda: api.delete_repo(REPO))
ask("info", lambda: api.model_info(REPO).id)
tell(answers)
