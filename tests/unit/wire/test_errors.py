from __future__ import annotations

import json

import pytest

from moongate.core import errors
from moongate.core.errors import MoongateError
from moongate.wire.errors import (
    BAD_CREDENTIALS,
    DEFAULT_WAIT_SECONDS,
    error_answer,
    error_from_answer,
    wait_seconds,
)

COMMIT = "c" * 40


def every_kind(kind: type[MoongateError] = MoongateError) -> list[type[MoongateError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every_kind(below))]


_OF_THE_CALLER = (
    errors.BadRequest,
    errors.NotAllowed,
    errors.Absent,
    errors.Conflict,
    errors.RepoMoved,
    errors.UpstreamBusy,
)


def an_error(kind: type[MoongateError], text: str = "what happened") -> MoongateError:
    if kind is errors.GatedRepo:
        return errors.GatedRepo(text, authenticated=True)
    if kind is errors.UpstreamBusy:
        return errors.UpstreamBusy(text, 4.2)
    if kind is errors.RepoMoved:
        return errors.RepoMoved(text, "acme/new")
    if kind is errors.RefMoved:
        return errors.RefMoved(text, "refs/heads/main", None)
    if kind is errors.Recalled:
        return errors.Recalled(text, "")
    return kind(text)


@pytest.mark.parametrize("kind", [kind for kind in every_kind() if kind.__module__ == errors.__name__])
def test_every_error_has_a_status_a_code_and_a_text(kind: type[MoongateError]) -> None:
    answer = error_answer(an_error(kind))
    headers = dict(answer.headers)
    assert 400 <= answer.status <= 599
    assert headers["X-Error-Code"] == answer.code
    assert json.loads(answer.body) == {"error": "what happened"}
    assert (answer.status < 500) == issubclass(kind, _OF_THE_CALLER)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.RepoAbsent("x"), 404, "RepoNotFound"),
        (errors.RevisionAbsent("x"), 404, "RevisionNotFound"),
        (errors.EntryAbsent("x", COMMIT), 404, "EntryNotFound"),
        (errors.RefusedByPolicy("x"), 403, "RefusedByPolicy"),
        (errors.HeldByPolicy("x"), 403, "HeldByPolicy"),
        (errors.Recalled("x", ""), 403, "Recalled"),
        (errors.GatedRepo("x", authenticated=True), 403, "GatedRepo"),
        (errors.GatedRepo("x", authenticated=False), 401, "GatedRepo"),
    ],
)
def test_the_hubs_codes_go_both_ways(error: MoongateError, status: int, code: str) -> None:
    answer = error_answer(error)
    assert (answer.status, answer.code) == (status, code)
    back = error_from_answer(answer.status, dict(answer.headers), answer.body)
    assert type(back) is type(error)
    assert vars(back) == vars(error)


def test_bad_tokens_carry_the_text_that_clients_look_for() -> None:
    answer = error_answer(errors.BadToken("this token was revoked"))
    assert dict(answer.headers)["X-Error-Message"] == BAD_CREDENTIALS
    assert json.loads(answer.body) == {"error": "this token was revoked"}
    assert isinstance(error_from_answer(401, dict(answer.headers)), errors.BadToken)


def test_a_disabled_repository_keeps_its_exact_text() -> None:
    said = "Access to this resource is disabled."
    error = error_from_answer(403, {"X-Error-Message": said})
    assert type(error) is errors.NotAllowed
    assert dict(error_answer(error).headers)["X-Error-Message"] == said


def test_a_refusal_has_no_full_stop_for_clients_to_double() -> None:
    answer = error_answer(errors.QuotaExceeded("The namespace is full. Delete something."))
    said = "The namespace is full. Delete something"
    assert dict(answer.headers)["X-Error-Message"] == said
    assert json.loads(answer.body) == {"error": said}


def test_busy_says_how_long() -> None:
    headers = dict(error_answer(errors.UpstreamBusy("slow", 4.2)).headers)
    assert headers["Retry-After"] == "5"
    assert headers["RateLimit"].endswith("r=0;t=5")


@pytest.mark.parametrize(
    ("status", "authenticated", "about_repo", "kind"),
    [
        (401, False, True, errors.RepoAbsent),
        (401, False, False, errors.AuthRequired),
        (401, True, True, errors.BadToken),
        (403, True, True, errors.NotAllowed),
        (404, True, True, errors.Absent),
        (400, False, True, errors.BadRequest),
        (412, False, True, errors.BadRequest),
        (429, False, True, errors.UpstreamBusy),
        (500, False, True, errors.UpstreamUnreachable),
        (503, False, True, errors.UpstreamUnreachable),
        (504, False, True, errors.UpstreamTimeout),
        (302, False, True, errors.UpstreamBroken),
    ],
)
def test_uncoded_answers(
    status: int, authenticated: bool, about_repo: bool, kind: type[MoongateError]
) -> None:
    error = error_from_answer(status, {}, authenticated=authenticated, about_repo=about_repo)
    assert type(error) is kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "no such thing"}', "no such thing"),
        (b'{"error": ["one", "two"]}', "one; two"),
        (b'{"error_description": "told"}', "told"),
        (b'{"errors": [{"message": "first"}, 3, {"message": "second"}]}', "first; second"),
        (b'{"error": {"nested": 1}}', "upstream answered 404"),
        (b"[1, 2]", "upstream answered 404"),
        (b"{", "upstream answered 404"),
        (b"[" * 50_000, "upstream answered 404"),
    ],
)
def test_the_text_of_a_json_error(body: bytes, text: str) -> None:
    assert error_from_answer(404, {"content-type": "application/json"}, body).message == text


def test_texts_are_short_single_lines_without_tokens() -> None:
    token = "hf_" + "abcdef0123" * 4
    error = error_from_answer(404, {"X-Error-Message": f"{token} \x1b[31mred\r\nline\x00 " + "x" * 5000})
    assert token not in error.message
    assert error.message.isprintable()
    assert len(error.message) <= 300
    answer = error_answer(MoongateError(f"{token}\r\nSet-Cookie: a=b"))
    assert token.encode() not in answer.body
    assert not any("\r" in value or "\n" in value for _, value in answer.headers)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "3"}, 55),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "99999999"}, 3600),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            30,
        ),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:29:00 GMT"},
            0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, DEFAULT_WAIT_SECONDS),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "21 Oct 2026 07:28:30"},
            DEFAULT_WAIT_SECONDS,
        ),
        ({"Retry-After": "-5"}, DEFAULT_WAIT_SECONDS),
        ({"Retry-After": "soon"}, DEFAULT_WAIT_SECONDS),
        ({}, DEFAULT_WAIT_SECONDS),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert wait_seconds(headers) == seconds
