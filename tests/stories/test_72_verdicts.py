"""Verdicts are told: in the Hub's words, by the admin API with the evidence, and by `moongate show`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.pickled import EVIL
from support.raw import ask

MOONGATE = Path(sys.executable).parent / "moongate"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/mixed").commit({"evil.bin": LfsFile(EVIL), "config.json": "{}"})
    with double.running():
        yield double


def test_what_was_judged_is_told_everywhere(tmp_path: Path, hub: HubDouble) -> None:
    with Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc) as running:
        tree = ask(running.url, "/api/models/acme/mixed/tree/main?expand=true").json()
        before = {entry["path"]: entry["securityFileStatus"]["status"] for entry in tree}
        for name, status in (("evil.bin", 403), ("config.json", 200), (".gitattributes", 200)):
            assert ask(running.url, f"/acme/mixed/resolve/main/{name}").status == status

        tree = ask(running.url, "/api/models/acme/mixed/tree/main?expand=true").json()
        after = {entry["path"]: entry["securityFileStatus"]["status"] for entry in tree}
        assert after["evil.bin"] == "unsafe" != before["evil.bin"]
        assert after["config.json"] == "safe"
        asked = json.dumps({"paths": ["evil.bin"], "expand": True}).encode()
        kind = {"Content-Type": "application/json"}
        info = ask(running.url, "/api/models/acme/mixed/paths-info/main", "POST", kind, asked).json()
        assert info[0]["securityFileStatus"]["status"] == "unsafe"
        issues = [{"path": "evil.bin", "level": "unsafe"}]
        told = ask(running.url, "/api/models/acme/mixed?securityStatus=true").json()
        assert told["securityRepoStatus"]["filesWithIssues"] == issues
        assert ask(running.url, "/api/models/acme/mixed/scan").json()["filesWithIssues"] == issues

        admin = f"{running.url}/api/moongate/v1"
        listed = ask(admin, "/api/moongate/v1/verdicts?verdict=dangerous").json()
        assert listed["counts"]["dangerous"] == 1
        digest = listed["verdicts"][0]["etag"]
        details = ask(admin, f"/api/moongate/v1/verdicts/{digest}").json()
        assert details["places"][0]["path"] == "evil.bin"
        assert "system" in json.dumps(details["verdicts"][0]["findings"])
        of_repo = ask(admin, "/api/moongate/v1/verdicts?repo=acme/mixed").json()
        assert len(of_repo["verdicts"]) == 3
        for query, status in (("verdict=odd", 400), ("limit=0", 400), ("before=x", 400)):
            assert ask(admin, f"/api/moongate/v1/verdicts?{query}").status == status
        assert ask(admin, f"/api/moongate/v1/verdicts/{'0' * 64}").status == 404
        assert ask(admin, "/api/moongate/v1/verdicts/nothing").status == 400

    done = subprocess.run(
        [MOONGATE, "show", "acme/mixed", "--home", str(tmp_path / "home"), "--json"],
        capture_output=True,
        check=True,
        text=True,
    )
    files = {file["path"]: file["verdict"] for file in json.loads(done.stdout)["files"]}
    assert (files["evil.bin"], files["config.json"]) == ("dangerous", "clean")
