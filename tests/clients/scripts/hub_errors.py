"""Which Python class each refusal becomes, and what its message tells the user."""

from __future__ import annotations

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from plain import PLAN, tell

KINDS = (
    EntryNotFoundError, GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError,
    RevisionNotFoundError,
)  # fmt: skip
api = HfApi(token=PLAN.get("token") or False)
CALLS = {
    "download": lambda **asked: hf_hub_download(token=PLAN.get("token") or False, **asked),
    "snapshot": lambda **asked: snapshot_download(token=PLAN.get("token") or False, **asked),
    "info": api.repo_info,
    "files": api.list_repo_files,
    "whoami": api.whoami,
}
answers = {}
for name, (call, asked) in PLAN["calls"].items():
    try:
        CALLS[call](**asked)
        answers[name] = {"raised": None}
    except Exception as error:  # noqa: BLE001 - the kind of error is the finding
        answers[name] = {
            "raised": type(error).__name__,
            "is": [kind.__name__ for kind in KINDS if isinstance(error, kind)],
            "status": getattr(getattr(error, "response", None), "status_code", None),
            "message": str(error),
        }
tell(answers)
