"""Files, one by one and as snapshots: into the client's cache, into a folder, twice."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from plain import PLAN, contents, outcome, sha256, tell

answers: dict[str, object] = {}
token = PLAN.get("token") or False
for name, asked in PLAN.get("files", {}).items():

    def fetch(asked: dict[str, object] = asked) -> dict[str, object]:
        path = Path(hf_hub_download(token=token, **asked))
        return {"sha256": sha256(path), "commit": path.parts[path.parts.index("snapshots") + 1]}

    answers[name] = outcome(fetch)
for name, asked in PLAN.get("snapshots", {}).items():
    answers[name] = outcome(lambda asked=asked: contents(snapshot_download(token=token, **asked)))
for asked in PLAN.get("remembered_absent", []):
    kept = try_to_load_from_cache(**asked)
    answers[f"absent {asked['filename']}"] = type(kept).__name__ if kept is not None else None
tell(answers)
