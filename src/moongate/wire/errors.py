"""Errors as statuses, codes and texts: one table, read for upstream's answers and written on ours.

Real clients choose their exception by `X-Error-Code` first, so every refusal of ours carries one. The four
codes of the Hub keep the Hub's meaning in both directions; the others are ours, and clients that do not know
them go by the status. Texts are short, one line, and hold nothing that looks like a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import ceil

from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadName,
    BadPath,
    BadRequest,
    BadToken,
    Conflict,
    EntryAbsent,
    GatedRepo,
    HeldByPolicy,
    MoongateError,
    NotAllowed,
    QuotaExceeded,
    Recalled,
    RefMoved,
    RefusedByPolicy,
    RepoAbsent,
    RepoMoved,
    RevisionAbsent,
    ScopeMissing,
    StoreError,
    StoreFull,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.core.names import is_commit_hash
from moongate.wire.headers import header_text

DEFAULT_WAIT_SECONDS = 10.0
MAX_WAIT_SECONDS = 3600.0

# With any other text, a Hub client on https takes a 401 for a missing repository.
BAD_CREDENTIALS = "Invalid credentials in Authorization header"

# Most special first: the first row whose class fits is the one.
_TABLE: tuple[tuple[type[MoongateError], int, str], ...] = (
    (BadPath, 422, "BadPath"),
    (BadName, 400, "BadName"),
    (BadRequest, 400, "BadRequest"),
    (BadToken, 401, "BadToken"),
    (AuthRequired, 401, "AuthRequired"),
    (GatedRepo, 403, "GatedRepo"),
    (ScopeMissing, 403, "ScopeMissing"),
    (QuotaExceeded, 403, "QuotaExceeded"),
    (RefusedByPolicy, 403, "RefusedByPolicy"),
    (HeldByPolicy, 403, "HeldByPolicy"),
    (Recalled, 403, "Recalled"),
    (NotAllowed, 403, "Forbidden"),
    (RepoAbsent, 404, "RepoNotFound"),
    (RepoMoved, 404, "RepoNotFound"),  # where nobody follows a redirect
    (RevisionAbsent, 404, "RevisionNotFound"),
    (EntryAbsent, 404, "EntryNotFound"),
    (Absent, 404, "NotFound"),
    (RefMoved, 412, "PreconditionFailed"),
    (Conflict, 409, "Conflict"),
    (UpstreamBusy, 429, "UpstreamBusy"),
    (UpstreamUnreachable, 503, "UpstreamUnreachable"),
    (UpstreamTimeout, 504, "UpstreamTimeout"),
    (UpstreamRefused, 502, "UpstreamRefused"),
    (UpstreamBroken, 502, "UpstreamBroken"),
    (UpstreamError, 502, "UpstreamError"),
    (VerificationFailed, 502, "VerificationFailed"),
    (StoreFull, 507, "StoreFull"),
    (StoreError, 500, "StoreError"),
    (MoongateError, 500, "Error"),
)

_OUR_REFUSALS = (QuotaExceeded, ScopeMissing, Recalled)
"""Refusals in words of ours; those of rules and of upstream are told as they were written."""

_CODE = re.compile(r"[A-Za-z]{1,40}")
_RATE_LIMIT = re.compile(r"\bt=([0-9]{1,9})")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_MAX_BODY_BYTES = 64 * 1024
_MAX_TEXT_CHARS = 300


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as HTTP says it. `headers` hold the code and text, and what this error adds."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...]

    @property
    def body(self) -> bytes:
        """The JSON that Hub clients read."""
        return json.dumps({"error": self.message}).encode()


def error_answer(error: MoongateError) -> ErrorAnswer:
    """The answer that tells a client about this error."""
    status, code = next((status, code) for kind, status, code in _TABLE if isinstance(error, kind))
    message = _clean(error.message)
    if isinstance(error, _OUR_REFUSALS):
        message = message.removesuffix(".")  # clients put one behind it
    said = message
    more: list[tuple[str, str]] = []
    if isinstance(error, GatedRepo) and not error.authenticated:
        status = 401
    if isinstance(error, BadToken | AuthRequired):
        said = BAD_CREDENTIALS
        more.append(("WWW-Authenticate", 'Bearer realm="moongate"'))
    if isinstance(error, EntryAbsent) and error.commit_hash and is_commit_hash(error.commit_hash):
        more.append(("X-Repo-Commit", error.commit_hash))
    if isinstance(error, UpstreamBusy):
        seconds = max(1, ceil(error.retry_after_seconds))
        more += [("Retry-After", str(seconds)), ("RateLimit", f'"upstream";r=0;t={seconds}')]
    headers = (("X-Error-Code", code), ("X-Error-Message", header_text(said)), *more)
    return ErrorAnswer(status, code, message, headers)


def error_from_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    authenticated: bool = False,
    about_repo: bool = True,
) -> MoongateError:
    """The error that an upstream answer of 400 or more means.

    Args:
        authenticated: a credential went with the request; tells a bad token from a missing repository.
        about_repo: the request was about one repository; tells a missing repository from other absences.
    """
    said = {name.lower(): value for name, value in headers.items()}
    code = said.get("x-error-code", "")
    message = _message_of(said, body) or f"upstream answered {status}"
    if status == 429:
        return UpstreamBusy(f"upstream is limiting requests: {message}", wait_seconds(headers))
    if status >= 500:
        what = UpstreamTimeout if status == 504 else UpstreamUnreachable
        return what(f"upstream answered {status}: {message}")
    coded = _from_code(code, status, said, message)
    if coded is not None:
        return coded
    if status == 401:
        if authenticated or message == BAD_CREDENTIALS:
            return BadToken(message)
        return RepoAbsent(message) if about_repo else AuthRequired(message)
    if status == 403:
        return NotAllowed(message)
    if status in (404, 410):
        return Absent(message)
    if 400 <= status < 500:
        return BadRequest(message)
    return UpstreamBroken(f"upstream answered {status}, which makes no sense here")


def wait_seconds(headers: Mapping[str, str]) -> float:
    """How long a 429 or 503 asks us to wait, 0 to 3600 seconds; 10 when it does not say.

    `RateLimit: "api";r=0;t=55` goes before `Retry-After`, which may be seconds or a date; a date is compared
    with the answer's own `Date`, so that no clock but upstream's counts.
    """
    said = {name.lower(): value for name, value in headers.items()}
    limited = _RATE_LIMIT.search(said.get("ratelimit", ""))
    if limited:
        return min(float(limited[1]), MAX_WAIT_SECONDS)
    after = said.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", after):
        return min(float(after), MAX_WAIT_SECONDS)
    try:
        until = parsedate_to_datetime(after)
        seconds = (until - parsedate_to_datetime(said.get("date", ""))).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return DEFAULT_WAIT_SECONDS
    return min(max(seconds, 0.0), MAX_WAIT_SECONDS)


def _from_code(code: str, status: int, said: Mapping[str, str], message: str) -> MoongateError | None:
    if not _CODE.fullmatch(code):
        return None
    kind = next((kind for kind, _, ours in _TABLE if ours == code), None)
    if kind is GatedRepo:
        return GatedRepo(message, authenticated=status != 401)
    if kind is EntryAbsent:
        commit_hash = said.get("x-repo-commit", "").strip().lower()
        return EntryAbsent(message, commit_hash if is_commit_hash(commit_hash) else None)
    if kind is Recalled:
        return Recalled(message, "")
    if kind in (RepoAbsent, RevisionAbsent, RefusedByPolicy, HeldByPolicy):
        return kind(message)
    return None


def _message_of(said: Mapping[str, str], body: bytes) -> str:
    """The text of an upstream error, wherever it stands; empty when it gives none."""
    if said.get("x-error-message"):
        return _clean(said["x-error-message"])
    if "json" not in said.get("content-type", "") or len(body) > _MAX_BODY_BYTES:
        return ""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(told, dict):
        return ""
    error = told.get("error") or told.get("error_description")
    if isinstance(error, list):
        error = "; ".join(item for item in error if isinstance(item, str))
    if not error and isinstance(told.get("errors"), list):
        items = [item.get("message") for item in told["errors"] if isinstance(item, dict)]
        error = "; ".join(item for item in items if isinstance(item, str))
    return _clean(error) if isinstance(error, str) else ""


def _clean(text: str) -> str:
    """One short printable line without anything that looks like a token."""
    redacted = _TOKEN.sub("hf_•••", text[: _MAX_TEXT_CHARS * 4])
    line = " ".join("".join(char if char.isprintable() else " " for char in redacted).split())
    return line if len(line) <= _MAX_TEXT_CHARS else line[: _MAX_TEXT_CHARS - 1] + "…"
