from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from moongate.cli.gateway import Gateway
from moongate.cli.jobs import run_job
from moongate.core.errors import MoongateError

BASE = "/api/moongate/v1"


def _job(state: str, **more: object) -> dict[str, object]:
    return {"id": "a1", "kind": "verify", "subject": "all blobs", "state": state, **more}


def test_a_job_is_watched_until_it_is_done(speaker: Any) -> None:
    speaker.say(f"{BASE}/verifications", _job("running"), 202)
    speaker.say(f"{BASE}/jobs/a1", _job("running", done_bytes=1))
    seen: list[object] = []

    def look(job: Mapping[str, object]) -> None:
        seen.append(job.get("done_bytes"))
        speaker.say(f"{BASE}/jobs/a1", _job("done", done_bytes=2))

    job = run_job(Gateway(speaker.url), "/verifications", {}, look, every_seconds=0.0)
    assert job["state"] == "done"
    assert seen == [1, 2]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_does_not_get_done_says_why(speaker: Any, state: str) -> None:
    speaker.say(f"{BASE}/verifications", _job(state, why="the disk is full"), 202)
    with pytest.raises(MoongateError, match=f"{state}: the disk is full"):
        run_job(Gateway(speaker.url), "/verifications", {}, lambda job: None, every_seconds=0.0)


def test_ctrl_c_here_ends_the_job_there(speaker: Any) -> None:
    speaker.say(f"{BASE}/verifications", _job("running"), 202)
    speaker.say(f"{BASE}/jobs/a1", _job("running"))

    def look(job: Mapping[str, object]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(Gateway(speaker.url), "/verifications", {}, look, every_seconds=0.0)
    assert [asked.method for asked in speaker.asked] == ["POST", "GET", "DELETE"]
