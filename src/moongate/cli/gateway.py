"""The admin API of a running gateway, for commands that MOONGATE_URL sends there.

MOONGATE_URL is the gateway's address, MOONGATE_TOKEN one of its tokens (scope `admin` for most of it).
Plain HTTP of the standard library: one question, one answer, a time limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from moongate import __version__
from moongate.cli.exits import UNREACHABLE, CommandFailed, wrong_usage
from moongate.core.callers import Secret
from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadRequest,
    BadToken,
    HeldByPolicy,
    MoongateError,
    RefusedByPolicy,
    ScopeMissing,
)

URL_VARIABLE = "MOONGATE_URL"
TOKEN_VARIABLE = "MOONGATE_TOKEN"  # noqa: S105  (a name, not a token)
BASE = "/api/moongate/v1"

_TIMEOUT_SECONDS = 30.0
_MAX_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway to talk to. Nothing is connected until something is asked."""

    url: str
    token: Secret | None = None
    timeout_seconds: float = _TIMEOUT_SECONDS

    def ask(
        self, method: str, path: str, document: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        """The JSON object the admin API answers; `path` starts below `/api/moongate/v1`.

        Raises:
            CommandFailed: nobody answers at MOONGATE_URL, or not a Moongate.
            MoongateError: the gateway says no; which one tells why.
        """
        got = self._exchange(method, BASE + path, document)
        try:
            answer = json.loads(got.body) if got.body.strip() else {}
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise CommandFailed(
                f"{self.url} does not answer like a Moongate gateway (status {got.status})",
                hint=f"check {URL_VARIABLE}; it is the address the gateway prints when it starts",
            )
        if got.status >= 400:
            words = str(answer.get("error") or f"status {got.status}")
            raise _refusal(got, words, bool(self.token))
        return answer

    def page(self, path: str) -> tuple[bytes, str | None]:
        """One page of a list that the gateway answers as a Hub does: its body, and the next page's path.

        Raises:
            CommandFailed: nobody answers at MOONGATE_URL.
            MoongateError: the gateway says no, or its upstream does.
        """
        from urllib.parse import urlsplit

        from moongate.wire.links import next_link

        got = self._exchange("GET", path, None)
        if got.status >= 400:
            words = got.headers.get("X-Error-Message") or f"status {got.status}"
            raise _refusal(got, words, bool(self.token))
        following = urlsplit(next_link(got.headers) or "")
        return got.body, f"{following.path}?{following.query}" if following.path else None

    def _exchange(self, method: str, path: str, document: Mapping[str, object] | None) -> _Answer:
        import http.client
        from urllib.parse import urlsplit

        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise wrong_usage(f"{URL_VARIABLE} is not an http:// or https:// address: {self.url!r}")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        headers = {"User-Agent": f"moongate/{__version__}", "Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            headers["Content-Type"] = "application/json"
        connection = connect(parts.hostname, parts.port, timeout=self.timeout_seconds)
        try:
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            return _Answer(answer.status, dict(answer.getheaders()), answer.read(_MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(
                f"the gateway at {self.url} does not answer: {error}",
                hint=f"start it with `moongate serve`, or unset {URL_VARIABLE} to work on a home here",
                exit_code=UNREACHABLE,
            ) from None
        finally:
            connection.close()


def number(answer: Mapping[str, object], name: str) -> int:
    """A count in an answer.

    Raises:
        CommandFailed: it is not there, or no number.
    """
    value = answer.get(name)
    if not isinstance(value, int | float):
        raise CommandFailed(f"the gateway's answer lacks {name!r}; is it of another version?")
    return int(value)


def rows(answer: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """A list of objects in an answer; empty when it is not there."""
    value = answer.get(name)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def named_gateway() -> Gateway | None:
    """The gateway that MOONGATE_URL names; None when commands work on a home of this machine."""
    url = os.environ.get(URL_VARIABLE, "").strip()
    if not url:
        return None
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return Gateway(url.rstrip("/"), Secret(token) if token else None)


def chosen_gateway(home: object | None) -> Gateway | None:
    """`named_gateway`, unless a `--home` on the command line says to work there."""
    return None if home is not None else named_gateway()


def only_here(command: str, home: object | None) -> None:
    """Refuse to act on the wrong store: `command` has no remote form, and MOONGATE_URL is set.

    Raises:
        CommandFailed: MOONGATE_URL is set and no `--home` was given.
    """
    if chosen_gateway(home) is not None:
        raise wrong_usage(
            f"`moongate {command}` works on a home of this machine, and {URL_VARIABLE} is set",
            hint="run it on the gateway's machine, or say which home you mean with --home",
        )


def _refusal(got: _Answer, message: str, authenticated: bool) -> MoongateError:
    if got.status == 401:
        return BadToken(message) if authenticated else AuthRequired(message)
    if got.status == 403:
        by_policy = {kind.__name__: kind for kind in (RefusedByPolicy, HeldByPolicy)}
        return by_policy.get(got.headers.get("X-Error-Code", ""), ScopeMissing)(message)
    if got.status == 404:
        return Absent(message)
    if got.status < 500:
        return BadRequest(message)
    return MoongateError(message)
