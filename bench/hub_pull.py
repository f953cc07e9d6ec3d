"""The official client as a program of its own: one file by `hf_hub_download` with `hf_xet`.

    PYTHON -m bench.hub_pull < job.json > result.json

A job is `{"endpoint", "repo", "commit", "path", "sha256"}`; the interpreter is that of an environment with
huggingface_hub and hf_xet, and the folders and settings of both come in the environment. The result is
`{"seconds", "cpu_seconds", "bytes"}`: of the download alone, without imports and without the check of what
arrived.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import hf_xet  # type: ignore[import-untyped]  # noqa: F401  (loaded before the clock runs)
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url


def main() -> int:
    job = json.loads(sys.stdin.readline())
    started, spent = time.perf_counter(), time.process_time()
    file = Path(hf_hub_download(job["repo"], job["path"], revision=job["commit"], endpoint=job["endpoint"]))
    seconds, spent = time.perf_counter() - started, time.process_time() - spent
    with file.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != job["sha256"]:
            print(f"{job['endpoint']} gave other bytes", file=sys.stderr)
            return 1
    url = hf_hub_url(job["repo"], job["path"], revision=job["commit"], endpoint=job["endpoint"])
    if get_hf_file_metadata(url, endpoint=job["endpoint"]).xet_file_data is None:
        print(f"{job['endpoint']} does not offer the file through Xet", file=sys.stderr)
        return 1
    print(json.dumps({"seconds": seconds, "cpu_seconds": spent, "bytes": file.stat().st_size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
