from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from moongate.cli.doctor.finding import Finding
from moongate.cli.doctor.upstream import check_gateway, check_upstream, judge_clock
from moongate.core.callers import Secret


def _levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_hub_that_answers_is_well_and_so_is_the_clock(speaker: Any) -> None:
    speaker.say("/api/models", [{"id": "acme/tiny"}])
    assert _levels(check_upstream(speaker.url, None, {}, 5.0)) == {"upstream": "ok", "clock": "ok"}


@pytest.mark.parametrize(
    ("status", "level", "advice"),
    [
        (429, "warning", "MOONGATE_UPSTREAM_TOKEN"),
        (503, "failed", "kept"),
        (401, "warning", "MOONGATE_UPSTREAM_TOKEN"),
        (404, "failed", "MOONGATE_UPSTREAM"),
    ],
)
def test_an_answer_that_is_not_well_is_told_apart(speaker: Any, status: int, level: str, advice: str) -> None:
    speaker.say("/api/models", {"error": "x"}, status)
    found = check_upstream(speaker.url, None, {}, 5.0)[0]
    assert found.level == level
    assert advice in (found.advice or "")


def test_a_page_that_is_no_hub_is_told_apart_from_one(speaker: Any) -> None:
    speaker.answers["/api/models"] = (200, {}, b"<html>welcome</html>")
    assert check_upstream(speaker.url, None, {}, 5.0)[0].level == "failed"


def test_a_redirect_is_not_followed(speaker: Any) -> None:
    speaker.say("/api/models", {}, 302, Location="http://portal.invalid/login")
    found = check_upstream(speaker.url, None, {}, 5.0)[0]
    assert found.level == "failed"
    assert "portal.invalid" in found.words
    assert len(speaker.asked) == 1


def test_nobody_listening_is_said_plainly(free_port: Callable[[], int]) -> None:
    found = check_upstream(f"http://127.0.0.1:{free_port()}", None, {}, 5.0)
    assert [item.level for item in found] == ["failed"]
    assert "nobody listens" in found[0].words


def test_an_unknown_name_is_said_plainly() -> None:
    found = check_upstream("http://hub.invalid", None, {}, 5.0)[0]
    assert "hub.invalid is not known" in found.words


def test_a_good_token_says_whose_it_is_and_shows_itself_to_whoami_only(speaker: Any) -> None:
    speaker.say("/api/models", [])
    speaker.say("/api/whoami-v2", {"name": "acme-robot"})
    found = check_upstream(speaker.url, Secret("hf_secret"), {}, 5.0)
    assert "acme-robot" in found[-1].words
    assert [asked.headers.get("Authorization") for asked in speaker.asked] == [None, "Bearer hf_secret"]
    assert not any("hf_secret" in f"{item.words}{item.advice}" for item in found)


def test_a_bad_token_is_a_failure(speaker: Any) -> None:
    speaker.say("/api/models", [])
    speaker.say("/api/whoami-v2", {"error": "x"}, 401)
    assert _levels(check_upstream(speaker.url, Secret("hf_x"), {}, 5.0))["upstream token"] == "failed"


@pytest.mark.parametrize(
    ("ahead_seconds", "level", "word"),
    [(2, "ok", "agrees"), (-45, "warning", "behind"), (3600, "failed", "ahead of")],
)
def test_the_clock_is_judged_by_the_date(ahead_seconds: float, level: str, word: str) -> None:
    found = judge_clock({"date": formatdate(1_000_000, usegmt=True)}, 1_000_000 + ahead_seconds)
    assert found is not None
    assert found.level == level
    assert word in found.words


def test_an_answer_from_a_cache_is_older_than_its_date() -> None:
    found = judge_clock({"date": formatdate(1_000_000, usegmt=True), "age": "600"}, 1_000_600)
    assert found is not None
    assert found.level == "ok"


def test_without_a_date_nothing_is_said_of_the_clock() -> None:
    assert judge_clock({}, time.time()) is None
    assert judge_clock({"date": "yesterday"}, time.time()) is None


def test_a_proxy_that_makes_no_sense_is_said_plainly(speaker: Any) -> None:
    found = check_upstream("https://hub.invalid", None, {"HTTPS_PROXY": "socks5://proxy.invalid:1080"}, 5.0)
    assert [item.level for item in found] == ["failed"]
    assert "socks5" in found[0].words


def test_a_gateway_is_looked_at_from_outside(speaker: Any) -> None:
    speaker.say("/healthz", {"status": "ok"})
    speaker.say("/readyz", {"status": "ok"})
    speaker.say("/api/whoami-v2", {"name": "alice"})
    found = check_gateway(speaker.url, Secret("hf_x"), {})
    assert _levels(found) == {"gateway": "ok", "clock": "ok", "token": "ok"}


def test_a_gateway_that_is_not_ready_is_a_failure(speaker: Any) -> None:
    speaker.say("/healthz", {"status": "ok"})
    speaker.say("/readyz", {"status": "starting"}, 503)
    found = check_gateway(speaker.url, None, {})
    assert any(item.level == "failed" and "not ready" in item.words for item in found)


def test_no_gateway_at_all_is_a_failure(free_port: Callable[[], int]) -> None:
    found = check_gateway(f"http://127.0.0.1:{free_port()}", None, {})
    assert [item.level for item in found] == ["failed"]
