"""Exit codes, and the hint that goes with each kind of error: one table.

0    done
1    failed
2    wrong usage
3    refused by policy (no access, a bad token, an address that may not be asked)
4    upstream (or the gateway) cannot be reached
130  interrupted
"""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core import errors

DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
INTERRUPTED = 130


class CommandFailed(Exception):
    """A command that cannot go on, in words fit for a user; `exit_code` is one of the codes above."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


def wrong_usage(message: str, *, hint: str | None = None) -> CommandFailed:
    """The arguments make no sense together; nothing was done."""
    return CommandFailed(message, hint=hint, exit_code=USAGE)


@dataclass(frozen=True, slots=True)
class _Row:
    error: type[errors.MoongateError]
    exit_code: int
    hint: str | None = None


# The first row whose class fits wins, so the special ones stand first.
_ROWS = (
    _Row(errors.BadName, USAGE, "a repository is written acme/tiny, datasets/acme/squad or acme/tiny@v1.0"),
    _Row(errors.BadRequest, USAGE),
    _Row(
        errors.GatedRepo,
        REFUSED,
        "ask for access on the repository's page, then set MOONGATE_UPSTREAM_TOKEN to a token that has it",
    ),
    _Row(errors.BadToken, REFUSED, "`moongate token list` shows which tokens are good"),
    _Row(errors.AuthRequired, REFUSED, "set MOONGATE_TOKEN; `moongate token create` makes one"),
    _Row(errors.ScopeMissing, REFUSED, "`moongate token create --scope admin` makes a token that may"),
    _Row(errors.NotAllowed, REFUSED),
    _Row(
        errors.RepoAbsent,
        FAILED,
        "check the spelling; a private repository needs MOONGATE_UPSTREAM_TOKEN, "
        "a dataset is written datasets/acme/squad",
    ),
    _Row(errors.RevisionAbsent, FAILED, "check the spelling; without @revision you get main"),
    _Row(
        errors.UpstreamBusy,
        UNREACHABLE,
        "upstream limits how often it may be asked: run the same command later",
    ),
    _Row(
        errors.UpstreamRefused,
        REFUSED,
        "a host that upstream may send us to is named in MOONGATE_UPSTREAM_ALLOWED_HOSTS",
    ),
    _Row(errors.UpstreamBroken, FAILED, "`moongate doctor` shows what upstream answers"),
    _Row(
        errors.UpstreamError,
        UNREACHABLE,
        "`moongate doctor` finds out why; `moongate serve --offline` serves what is kept meanwhile",
    ),
    _Row(errors.VerificationFailed, FAILED, "nothing bad was kept: run the same command again"),
    _Row(
        errors.StoreFull,
        FAILED,
        "`moongate du` shows what takes the room; `moongate rm` and `moongate gc` free it",
    ),
)


def exit_code_of(error: errors.MoongateError) -> int:
    """The exit code an error ends a command with."""
    row = _row(error)
    return row.exit_code if row else FAILED


def hint_of(error: errors.MoongateError) -> str | None:
    """What the user can do about it, when we know."""
    row = _row(error)
    return row.hint if row else None


def _row(error: errors.MoongateError) -> _Row | None:
    return next((row for row in _ROWS if isinstance(error, row.error)), None)
