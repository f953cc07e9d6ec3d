"""Another user looks at a repository, and tries to change it."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from plain import PLAN, contents, outcome, tell

api = HfApi(token=PLAN.get("token") or False)
REPO = PLAN["repo"]
answers = {
    "whoami": outcome(lambda: api.whoami()["name"]),
    "info": outcome(lambda: api.model_info(REPO).id),
    "exists": outcome(lambda: api.repo_exists(REPO)),
    "snapshot": outcome(lambda: contents(Path(api.snapshot_download(REPO)))),
    "listed": outcome(lambda: [one.id for one in api.list_models(author=REPO.partition("/")[0])]),
    "check": outcome(lambda: api.auth_check(REPO)),
    "upload": outcome(
        lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO) and None
    ),
    "upload large": outcome(
        lambda: api.upload_file(path_or_fileobj=b"\0" * 5000, path_in_repo="x.bin", repo_id=REPO) and None
    ),
    "pull request": outcome(
        lambda: (
            api.upload_file(path_or_fileobj=b"pr", path_in_repo="pr.txt", repo_id=REPO, create_pr=True)
            and None
        )
    ),
    "make private": outcome(lambda: api.update_repo_settings(REPO, private=True)),
    "delete": outcome(lambda: api.delete_repo(REPO)),
}
tell(answers)
