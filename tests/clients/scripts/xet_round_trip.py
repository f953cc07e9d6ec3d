"""Get whole repositories, then perhaps put a folder up and get it back; what each file's bytes are."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download


def digests(folder: Path) -> dict[str, str]:
    """sha256 by path of all files but .gitattributes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitattributes"
    }


def main() -> None:
    plan = json.loads(sys.argv[1])
    here = Path.cwd()
    told = {}
    for repo in plan.get("get", []):
        told[repo] = digests(Path(snapshot_download(repo, cache_dir=here / "got")))
    for repo, name in plan.get("files", []):
        path = hf_hub_download(repo, name, local_dir=here / "one")
        told[f"{repo} {name}"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if "put" in plan:
        api = HfApi(token=os.environ["HF_TOKEN"])
        repo = plan["repo"]
        api.create_repo(repo, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=plan["put"])
        if "one" in plan:
            api.upload_file(repo_id=repo, path_or_fileobj=plan["one"], path_in_repo="one/file.bin")
        told["back"] = digests(Path(snapshot_download(repo, cache_dir=here / "back")))
    print(json.dumps(told))


main()
