from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moongate.cli import exits
from moongate.cli.gateway import Gateway, chosen_gateway, named_gateway, only_here
from moongate.core import errors
from moongate.core.callers import Secret


def test_questions_carry_token_and_document(speaker: Any) -> None:
    speaker.say("/api/moongate/v1/tokens", {"id": "a1"}, 201)
    gateway = Gateway(speaker.url, Secret("hf_x"))
    assert gateway.ask("POST", "/tokens", {"user": "alice"}) == {"id": "a1"}
    asked = speaker.asked[0]
    assert (asked.method, asked.path) == ("POST", "/api/moongate/v1/tokens")
    assert json.loads(asked.body) == {"user": "alice"}
    assert asked.headers["Authorization"] == "Bearer hf_x"


def test_a_gateway_below_a_path_is_asked_there(speaker: Any) -> None:
    speaker.say("/hub/api/moongate/v1/repos", {"repos": []})
    assert Gateway(f"{speaker.url}/hub/").ask("GET", "/repos") == {"repos": []}


@pytest.mark.parametrize(
    ("status", "token", "expected"),
    [
        (401, None, errors.AuthRequired),
        (401, "hf_x", errors.BadToken),
        (403, "hf_x", errors.ScopeMissing),
        (404, "hf_x", errors.Absent),
        (422, "hf_x", errors.BadRequest),
        (500, "hf_x", errors.MoongateError),
    ],
)
def test_a_no_of_the_gateway_is_an_error_of_ours(
    speaker: Any, status: int, token: str | None, expected: type[Exception]
) -> None:
    speaker.say("/api/moongate/v1/x", {"error": "so it is"}, status)
    with pytest.raises(expected, match="so it is") as caught:
        Gateway(speaker.url, Secret(token) if token else None).ask("GET", "/x")
    assert type(caught.value) is expected


def test_something_else_at_that_address_is_said_plainly(speaker: Any) -> None:
    speaker.answers["/api/moongate/v1/x"] = (200, {}, b"<html>")
    with pytest.raises(exits.CommandFailed, match="does not answer like a Moongate"):
        Gateway(speaker.url).ask("GET", "/x")


def test_nobody_at_that_address_is_unreachable(free_port: Callable[[], int]) -> None:
    with pytest.raises(exits.CommandFailed) as caught:
        Gateway(f"http://127.0.0.1:{free_port()}").ask("GET", "/x")
    assert caught.value.exit_code == exits.UNREACHABLE


def test_an_address_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(exits.CommandFailed) as caught:
        Gateway("localhost:8080").ask("GET", "/x")
    assert caught.value.exit_code == exits.USAGE


def test_the_environment_names_a_gateway_and_home_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_gateway() is None
    monkeypatch.setenv("MOONGATE_URL", "http://gate.test/")
    monkeypatch.setenv("MOONGATE_TOKEN", "hf_x")
    assert named_gateway() == Gateway("http://gate.test", Secret("hf_x"))
    assert chosen_gateway(Path("/somewhere")) is None
    only_here("gc", Path("/somewhere"))
    with pytest.raises(exits.CommandFailed) as caught:
        only_here("gc", None)
    assert caught.value.exit_code == exits.USAGE
